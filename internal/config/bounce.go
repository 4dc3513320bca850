package config

import (
	"strings"
	"time"

	"lazaret/internal/bounce"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// BounceProfile is one named bounce profile, reference 8.4; times in seconds.
type BounceProfile struct {
	Name          string `xml:"profile_name"`
	MaxRetries    int    `xml:"max_retries"`
	MaxTime       int    `xml:"max_time_in_queue"`
	FirstRetry    int    `xml:"first_retry"`
	Longest       int    `xml:"longest_interval"`
	HardBounces   string `xml:"send_hard_bounces"`   // yes or no; empty: yes
	Format        string `xml:"bounce_format"`       // dsn or text; empty: dsn
	DelayWarnings string `xml:"send_delay_warnings"` // yes or no; empty: yes
	DelayInterval int    `xml:"delay_interval"`      // 0: four hours
	MaxWarnings   int    `xml:"max_delay_warnings"`  // 0: one
	Alternate     string `xml:"alternate_recipient"` // empty: the sender
	Subject       string `xml:"bounce_subject"`
	DelaySubject  string `xml:"delay_subject"`
	Notification  string `xml:"notification"`
}

// Reports are the settings of reports to senders that all profiles share.
type Reports struct {
	Sender    string `xml:"sender_address"`
	PerDomain int    `xml:"outside_per_domain"` // an hour; 0: DefaultPerDomain
	PerHour   int    `xml:"outside_per_hour"`   // 0: DefaultPerHour
	KeepDays  int    `xml:"undelivered_days"`   // 0: DefaultKeepDays
}

// The defaults of Reports.
const (
	DefaultPerDomain = 20
	DefaultPerHour   = 200
	DefaultKeepDays  = 30
)

// NewBounceProfile gives a profile in the form of the file.
func NewBounceProfile(p bounce.Profile) BounceProfile {
	out := BounceProfile{
		Name: p.Name, MaxRetries: p.MaxRetries, MaxTime: seconds(p.MaxTime), FirstRetry: seconds(p.FirstRetry), Longest: seconds(p.LongestWait),
		HardBounces: yesNo(!p.Silent), Format: "dsn", DelayWarnings: yesNo(p.Warnings > 0), DelayInterval: seconds(p.WarnAfter), MaxWarnings: p.Warnings,
		Alternate: p.Alternate.String(), Subject: p.Subject, DelaySubject: p.DelaySubject, Notification: p.Notification,
	}
	if p.Simple {
		out.Format = "text"
	}
	return out
}

func seconds(d time.Duration) int { return int(d / time.Second) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Profile gives the profile as the domain reads it. The error begins with the
// element and a colon.
func (p BounceProfile) Profile() (bounce.Profile, error) {
	out := bounce.DefaultProfile()
	out.Name, out.MaxRetries = p.Name, p.MaxRetries
	for _, f := range []struct {
		to *time.Duration
		n  int
	}{{&out.MaxTime, p.MaxTime}, {&out.FirstRetry, p.FirstRetry}, {&out.LongestWait, p.Longest}} {
		*f.to = time.Duration(min(max(f.n, -1), 1<<31)) * time.Second
	}
	if p.DelayInterval != 0 {
		out.WarnAfter = time.Duration(min(max(p.DelayInterval, -1), 1<<31)) * time.Second
	}
	if p.MaxWarnings != 0 {
		out.Warnings = p.MaxWarnings
	}
	out.Subject, out.DelaySubject, out.Notification = p.Subject, p.DelaySubject, p.Notification
	bad := func(field, format string, args ...any) error {
		return errs.New(errs.Invalid, field+": "+format, args...)
	}
	for _, f := range []struct {
		field, text, yes, no string
		set                  func()
	}{
		{"send_hard_bounces", p.HardBounces, "yes", "no", func() { out.Silent = true }},
		{"bounce_format", p.Format, "dsn", "text", func() { out.Simple = true }},
		{"send_delay_warnings", p.DelayWarnings, "yes", "no", func() { out.Warnings = 0 }},
	} {
		switch f.text {
		case "", f.yes:
		case f.no:
			f.set()
		default:
			return out, bad(f.field, "%q is neither %s nor %s", clip(f.text), f.yes, f.no)
		}
	}
	if p.Alternate != "" {
		a, err := mail.ParseAddress(p.Alternate)
		if err != nil || a.Domain == "" {
			return out, bad("alternate_recipient", "%q is not an address", clip(p.Alternate))
		}
		out.Alternate = a
	}
	return out, out.Check()
}

// BounceProfile gives the profile of that name; Default when there is none.
func (c *Config) BounceProfile(name string) bounce.Profile {
	found := bounce.DefaultProfile()
	for _, p := range c.BounceProfiles {
		if p.Name == bounce.Default || p.Name == name {
			profile, err := p.Profile()
			if err != nil {
				continue // it was checked when it was loaded
			}
			if found = profile; p.Name == name {
				break
			}
		}
	}
	return found
}

// HasBounceProfile reports whether there is a profile of that name.
func (c *Config) HasBounceProfile(name string) bool {
	for _, p := range c.BounceProfiles {
		if p.Name == name {
			return true
		}
	}
	return false
}

// ReportSender gives the address in the field From of reports.
func (c *Config) ReportSender() mail.Address {
	if a, err := mail.ParseAddress(c.Reports.Sender); err == nil && a.Domain != "" {
		return a
	}
	return mail.Address{Local: "MAILER-DAEMON", Domain: c.Hostname}
}

// oldBounceProfile gives the one profile of older files its name and its place
// in the list.
func (n *node) oldBounceProfile() {
	for i, c := range n.children {
		if c.name != "bounce_profile" || child(n, "bounce_profiles", 0) != nil {
			continue
		}
		name := &node{name: "profile_name", path: c.path + "/profile_name", line: c.line, text: bounce.Default}
		c.children = append([]*node{name}, c.children...)
		n.children[i] = &node{name: "bounce_profiles", path: n.path + "/bounce_profiles", line: c.line, children: []*node{c}}
	}
}

// settleProfiles makes sure of Default.
func (c *Config) settleProfiles() {
	if !c.HasBounceProfile(bounce.Default) {
		c.BounceProfiles = append(c.BounceProfiles, NewBounceProfile(bounce.DefaultProfile())) // last: places count from the file
	}
}

func (k checker) bounceProfiles() error {
	const path = "bounce_profiles/bounce_profile"
	seen := map[string]bool{}
	for i, p := range k.c.BounceProfiles {
		if _, err := p.Profile(); err != nil {
			field, text, _ := strings.Cut(errs.Public(err), ": ")
			return k.at(path, i, field, "%s", text)
		}
		if seen[p.Name] {
			return k.at(path, i, "profile_name", "bounce profile %q exists already", p.Name)
		}
		seen[p.Name] = true
	}
	if !seen[bounce.Default] {
		return k.at("bounce_profiles", 0, "", "the bounce profile %s cannot be missing", bounce.Default)
	}
	for i, l := range k.c.Listeners {
		if l.Profile != "" && !seen[l.Profile] {
			return k.at("listeners/listener", i, "bounce_profile", "there is no bounce profile %q", clip(l.Profile))
		}
	}
	return nil
}

func (k checker) reports() error {
	r := k.c.Reports
	if a, err := mail.ParseAddress(r.Sender); r.Sender != "" && (err != nil || a.Domain == "") {
		return k.at("bounces", 0, "sender_address", "%q is not an address", clip(r.Sender))
	}
	for _, f := range []struct {
		field    string
		n, limit int
	}{{"outside_per_domain", r.PerDomain, 100_000}, {"outside_per_hour", r.PerHour, 1_000_000}, {"undelivered_days", r.KeepDays, 3650}} {
		if f.n < 0 || f.n > f.limit {
			return k.at("bounces", 0, f.field, "%d is not a number from 0 (default) to %d", f.n, f.limit)
		}
	}
	return nil
}
