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
}

// For marks the filters that name a listener, an interface or a dictionary that
// there is none of: such a filter is invalid, and not run (reference 7.4). It is called
// once, before the Set is used.
func (s *Set) For(site Site) *Set {
	for _, f := range s.filters {
		f.invalid = ""
		f.root.eachRule(func(r *rule) {
			if f.invalid == "" {
				f.invalid = site.missing(r)
			}
		})
	}
	s.gather()
	return s
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
		var d *match.Dictionary
		if site.Dictionary != nil {
			d = site.Dictionary(r.text)
		}
		if d == nil {
			to.Terms = nil
			return "there is no dictionary " + quote(r.text)
		}
		to.Terms = d.Terms()
		return ""
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
