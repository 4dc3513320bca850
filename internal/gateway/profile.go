package gateway

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"lazaret/internal/bounce"
	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// profileName gives the name of the bounce profile for mail that came in at a
// listener and goes to a destination: that of the destination's own row of the
// destination controls, else the listener's, else that of the row DEFAULT.
func profileName(c *config.Config, domain, listener string) string {
	var def string
	for _, d := range c.Destinations {
		if d.Domain == "DEFAULT" {
			def = d.BounceProfile
		} else if d.BounceProfile != "" {
			if name, err := mail.ParseDomain(d.Domain); err == nil && name == domain {
				return d.BounceProfile
			}
		}
	}
	if l := c.Listener(listener); l != nil && l.Profile != "" {
		return l.Profile
	}
	return def
}

// profile gives the bounce profile of a message at a destination.
func (g *Gateway) profile(it *queue.Item, domain string) bounce.Profile {
	c := g.Config.Committed()
	return c.BounceProfile(cmp.Or(it.Route.Profile, profileName(c, domain, it.Origin.Listener)))
}

// schedule puts the queue's part of a profile into settings.
func schedule(s *queue.Settings, p bounce.Profile) {
	s.MaxRetries, s.MaxTime, s.FirstRetry, s.LongestWait = p.MaxRetries, p.MaxTime, p.FirstRetry, p.LongestWait
	s.WarnAfter, s.Warnings = p.WarnAfter, p.Warnings
}

// destinationProfile puts the profile of a destination into settings, and what
// the shortest profile of a listener asks of its schedule.
func destinationProfile(s *queue.Settings, c *config.Config, domain string) {
	schedule(s, c.BounceProfile(profileName(c, domain, "")))
	s.ShortestTime, s.ShortestWarn = s.MaxTime, s.WarnAfter
	if s.Warnings == 0 {
		s.ShortestWarn = 0
	}
	for _, l := range c.Listeners {
		if l.Profile == "" {
			continue
		}
		p := c.BounceProfile(l.Profile)
		s.ShortestTime = min(s.ShortestTime, p.MaxTime)
		if p.Warnings > 0 && (s.ShortestWarn == 0 || p.WarnAfter < s.ShortestWarn) {
			s.ShortestWarn = p.WarnAfter
		}
	}
	if !namesProfiles(c) {
		return
	}
	for _, b := range c.BounceProfiles {
		p := c.BounceProfile(b.Name)
		s.ShortestTime = min(s.ShortestTime, p.MaxTime)
		if p.Warnings > 0 && (s.ShortestWarn == 0 || p.WarnAfter < s.ShortestWarn) {
			s.ShortestWarn = p.WarnAfter
		}
	}
}

// namesProfiles reports whether a filter may give mail a bounce profile.
func namesProfiles(c *config.Config) bool {
	const word = "bounce-profile"
	if strings.Contains(strings.ToLower(c.Filters), word) {
		return true
	}
	return slices.ContainsFunc(c.ContentFilters, func(f config.ContentFilter) bool {
		return slices.ContainsFunc(f.Actions, func(a string) bool { return strings.Contains(strings.ToLower(a), word) })
	})
}

// messageProfile implements queue.Options.Profile.
func (g *Gateway) messageProfile(it *queue.Item, d queue.Dest, s queue.Settings) queue.Settings {
	c := g.Config.Committed()
	if name := it.Route.Profile; name != "" {
		schedule(&s, c.BounceProfile(name))
		return s
	}
	if l := c.Listener(it.Origin.Listener); l == nil || l.Profile == "" {
		return s
	}
	schedule(&s, c.BounceProfile(profileName(c, d.Name, it.Origin.Listener)))
	return s
}

// hourly counts something in hours: at most limit in each, exactly. It forgets
// at a restart, like all rates.
type hourly struct {
	began time.Time
	total int
	by    map[string]int
}

// take counts one more for a name, unless that or all together are at their
// limit.
func (h *hourly) take(now time.Time, name string, perName, all int) bool {
	if since := now.Sub(h.began); since >= time.Hour || since < 0 || h.by == nil {
		h.began, h.total, h.by = now, 0, make(map[string]int)
	}
	if h.total >= all || h.by[name] >= perName {
		return false
	}
	h.total++
	h.by[name]++ // at most all names
	return true
}

// giveBack undoes take.
func (h *hourly) giveBack(name string) {
	if h.by[name] > 0 {
		h.by[name]--
		h.total--
	}
}
