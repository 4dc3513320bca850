package filter

import (
	"fmt"
	"regexp"
	"slices"

	"lazaret/internal/filter/match"
)

// Site is what of the gateway a script can name.
type Site struct {
	Listeners  []string
	Interfaces []string

	// Dictionary gives the dictionary of a name, nil when there is none. It is
	// asked about those only that a rule names; nil: there are none.
	Dictionary func(name string) *match.Dictionary

	// Text gives the text resource of a name, nil when there is none; nil: there
	// are none.
	Text     func(name string) *Text
	Profiles []string // bounce profiles
}

// For marks the filters that name something that there is none of: a listener,
// an interface, a dictionary, a text, a bounce profile: such a filter is invalid, and not run (reference 7.4). It is called
// once, before the Set is used.
func (s *Set) For(site Site) *Set {
	for _, f := range s.filters {
		f.invalid = ""
		f.root.eachRule(func(r *rule) {
			if f.invalid == "" {
				f.invalid = site.missing(r)
			}
		})
		f.root.eachAction(func(a *action) {
			if f.invalid == "" {
				f.invalid = site.lacks(a)
			}
		})
	}
	s.gather()
	return s
}

// lacks says what an action names that does not exist. It gives an action the
// text or the terms that it names.
func (site Site) lacks(a *action) string {
	name := ""
	switch a.word {
	case "alt-src-host":
		if name = a.args[0].text; !slices.Contains(site.Interfaces, name) {
			return "there is no interface " + quote(name)
		}
	case "bounce-profile":
		if name = a.args[0].text; !slices.Contains(site.Profiles, name) {
			return "there is no bounce profile " + quote(name)
		}
	case "drop-attachments-where-dictionary-match":
		return site.dictionary(a.args[0].text, a.body)
	case "add-heading", "add-footer":
		return site.text(a, a.args[0].text)
	case "notify", "notify-copy":
		if len(a.args) > 3 {
			return site.text(a, a.args[3].text)
		}
	}
	return ""
}

// text gives an action its text.
func (site Site) text(a *action, name string) string {
	a.texts = nil
	if site.Text != nil {
		if t := site.Text(name); t != nil {
			var err error
			if a.texts, err = t.compile(); err != nil {
				return "the text " + quote(name) + ": " + err.Error()
			}
			return ""
		}
	}
	return "there is no text " + quote(name)
}

// dictionary gives a rule the terms of its dictionary.
func (site Site) dictionary(name string, to *match.Rule) string {
	var d *match.Dictionary
	if site.Dictionary != nil {
		d = site.Dictionary(name)
	}
	if d == nil {
		to.Terms = nil
		return "there is no dictionary " + quote(name)
	}
	to.Terms = d.Terms()
	return ""
}

// terms gives where the terms of the rule's dictionary are, nil without one.
func (r *rule) terms() *match.Rule {
	switch {
	case r.kind != dictionaryRule:
		return nil
	case r.body != nil:
		return r.body
	}
	return r.dict
}

// missing says what a rule names that does not exist. It gives a rule the terms
// of its dictionary.
func (site Site) missing(r *rule) string {
	if to := r.terms(); to != nil {
		return site.dictionary(r.text, to)
	}
	lack := func(what string, names []string, re *regexp.Regexp) string {
		if slices.ContainsFunc(names, re.MatchString) {
			return ""
		}
		return fmt.Sprintf("no %s matches %s", what, quote(r.text))
	}
	switch r.word {
	case "recv-listener":
		return lack("listener", site.Listeners, r.re)
	case "recv-int":
		return lack("interface", site.Interfaces, r.re)
	}
	return ""
}
