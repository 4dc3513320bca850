package filter

import (
	"fmt"
	"regexp"
	"slices"
)

// Site is what of the gateway a script can name.
type Site struct {
	Listeners  []string
	Interfaces []string
}

// For marks the filters that name a listener or an interface that there is
// none of: such a filter is invalid, and not run (reference 7.4). It is called
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

// missing says what a rule names that does not exist.
func (site Site) missing(r *rule) string {
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
