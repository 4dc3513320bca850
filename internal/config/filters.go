package config

import "lazaret/internal/filter"

// Site gives what message filters can name. The hidden listener takes no mail
// that is judged.
func (c *Config) Site() (s filter.Site) {
	for _, i := range c.Interfaces {
		s.Interfaces = append(s.Interfaces, i.Name)
	}
	for _, l := range c.Listeners {
		if l.Protocol != "CPQ" {
			s.Listeners = append(s.Listeners, l.Name)
		}
	}
	for _, p := range c.BounceProfiles {
		s.Profiles = append(s.Profiles, p.Name)
	}
	s.Dictionary, s.Text = c.dictionaryOnce(), c.TextResource
	return s
}
