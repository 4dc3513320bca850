package quarantine

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Kind is the feature family of a quarantine, reference 1.1.
type Kind string

// The kinds.
const (
	KindPolicy       Kind = "policy"
	KindVirus        Kind = "virus"
	KindOutbreak     Kind = "outbreak"
	KindFileAnalysis Kind = "file analysis"
	KindUnclassified Kind = "unclassified"
)

// Action is what is done to a message: by hand, or by default when its time is up.
type Action string

// The actions.
const (
	Delete  Action = "Delete"
	Release Action = "Release"
)

// Names of the quarantines that the system makes. Names are case sensitive.
const (
	Policy       = "Policy"
	Virus        = "Virus"
	Outbreak     = "Outbreak"
	FileAnalysis = "File Analysis"
	Unclassified = "Unclassified"
)

// Settings are those of one quarantine, reference 1.3.
type Settings struct {
	Name          string
	Former        []string // names that it had: what still uses one of them means this quarantine
	Kind          Kind
	Retention     time.Duration // whole hours; of messages that enter from now on
	DefaultAction Action
	Exempt        bool        // makes no room when the pool is full
	Users         []string    // who may work in it; those with the right to all need not be named
	Roles         []mail.Role // likewise by role
	ReleaseClean  bool        // what is scanned again and found harmless is released
	Early         mail.Extras // done to what leaves before its time, to make room; only with default action Release
}

// Limits of settings.
const (
	MinRetention   = time.Hour
	MaxRetention   = 10 * 366 * 24 * time.Hour
	MaxName        = 64
	MaxQuarantines = 1000
	MaxFormer      = 10 // names that a quarantine had
)

const day = 24 * time.Hour

// Defaults are the quarantines of a new appliance, reference 1.2. No source
// gives the values of Unclassified: it is treated like Policy.
func Defaults() []Settings {
	return []Settings{
		{Name: Policy, Kind: KindPolicy, Retention: 10 * day, DefaultAction: Delete},
		{Name: Virus, Kind: KindVirus, Retention: 30 * day, DefaultAction: Delete},
		{Name: Outbreak, Kind: KindOutbreak, Retention: day, DefaultAction: Release},
		{Name: FileAnalysis, Kind: KindFileAnalysis, Retention: time.Hour, DefaultAction: Release},
		{Name: Unclassified, Kind: KindUnclassified, Retention: 10 * day, DefaultAction: Delete},
	}
}

// System gives the kind that a system-made quarantine of this name must have.
func System(name string) (Kind, bool) {
	for _, s := range Defaults() {
		if s.Name == name && s.Kind != KindPolicy {
			return s.Kind, true
		}
	}
	return "", false
}

// Check finds what is wrong with one quarantine.
func (s Settings) Check() error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	want := KindPolicy
	if k, ok := System(s.Name); ok {
		want = k
	}
	if s.Kind != want {
		return errs.New(errs.Invalid, "quarantine %q is of kind %q, not %q", s.Name, want, clip(string(s.Kind)))
	}
	if len(s.Former) > MaxFormer {
		return errs.New(errs.Invalid, "quarantine %q has more than %d former names", s.Name, MaxFormer)
	}
	if _, ok := System(s.Name); len(s.Former) > 0 && (ok || s.Name == Policy) {
		return errs.New(errs.Invalid, "quarantine %q is the system's own and had no other name", s.Name)
	}
	for _, n := range s.Former {
		if err := CheckName(n); err != nil {
			return errs.Context(err, "former name of quarantine %q", s.Name)
		}
	}
	if s.Retention < MinRetention || s.Retention > MaxRetention || s.Retention%time.Hour != 0 {
		return errs.New(errs.Invalid, "retention of quarantine %q must be whole hours, from 1 hour to 10 years", s.Name)
	}
	if s.DefaultAction != Delete && s.DefaultAction != Release {
		return errs.New(errs.Invalid, "default action of quarantine %q must be Delete or Release, not %q", s.Name, clip(string(s.DefaultAction)))
	}
	if err := s.Early.Check(); err != nil {
		return errs.Context(err, "quarantine %q", s.Name)
	}
	if s.Early != (mail.Extras{}) && s.DefaultAction != Release {
		return errs.New(errs.Invalid, "quarantine %q: only what it releases can be tagged or stripped, and its default action is Delete", s.Name)
	}
	for _, r := range s.Roles {
		if !auth.ValidRole(r) {
			return errs.New(errs.Invalid, "quarantine %q: there is no role %q", s.Name, clip(string(r)))
		}
	}
	return nil
}

// CheckName finds what is wrong with the name of a quarantine. Quotes and
// control characters are refused because names stand quoted in log lines and
// filters.
func CheckName(n string) error {
	if n == "" || len(n) > MaxName || n != strings.TrimSpace(n) || !utf8.ValidString(n) {
		return errs.New(errs.Invalid, "name of a quarantine has 1 to %d bytes and no blanks around it", MaxName)
	}
	for _, r := range n {
		if r < ' ' || r == '"' || r == '\\' || r == '\'' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return errs.New(errs.Invalid, "name of a quarantine %q has a forbidden character", clip(n))
		}
	}
	return nil
}

// Check finds what is wrong with a whole set: each alone, names twice, and
// system-made quarantines that are missing.
func Check(all []Settings) error {
	if len(all) > MaxQuarantines {
		return errs.New(errs.Invalid, "there are more than %d quarantines", MaxQuarantines)
	}
	seen := make(map[string]bool, len(all))
	for _, s := range all {
		if err := s.Check(); err != nil {
			return err
		}
		if seen[s.Name] {
			return errs.New(errs.Invalid, "quarantine %q is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	for _, s := range all {
		for _, n := range s.Former {
			if seen[n] {
				return errs.New(errs.Invalid, "%q is the name of a quarantine, and a former name of %q: only one can be meant", n, s.Name)
			}
			seen[n] = true
		}
	}
	if !slices.ContainsFunc(all, func(s Settings) bool { return !s.Exempt }) && len(all) > 0 {
		return errs.New(errs.Invalid, "all quarantines are exempt: when the pool is full, one must make room")
	}
	for _, d := range Defaults() {
		if !seen[d.Name] {
			return errs.New(errs.Invalid, "quarantine %q is missing: the system made it and needs it", d.Name)
		}
	}
	return nil
}

// may reports whether a principal may work in a quarantine (reference 1.7).
func (s Settings) may(p mail.Principal) bool {
	if !auth.Can(p.Role, auth.Quarantine) {
		return false
	}
	return auth.Can(p.Role, auth.QuarantineAll) || slices.Contains(s.Users, p.Name) || slices.Contains(s.Roles, p.Role)
}
