package mtasts

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Limits of a policy, RFC 8461 section 3.2 and ours.
const (
	MaxPolicy = 64 << 10                   // bytes of the file, section 3.3
	MaxAge    = 31557600 * time.Second     // one year, section 3.2
	maxMX     = 100                        // patterns; real policies have under twenty
	leastAge  = time.Minute                // nobody makes us fetch at each delivery
	maxID     = 32                         // characters, section 3.1
	version   = "STSv1"                    // of record and policy
	recordTag = "v=" + version             // how a record begins
	Path      = "/.well-known/mta-sts.txt" // of the file, section 3.3
)

// Mode says what becomes of mail when a server does not fit the policy.
type Mode string

// The modes of RFC 8461 section 3.2.
const (
	Enforce Mode = "enforce" // nothing is sent
	Testing Mode = "testing" // it is sent, and logged
	None    Mode = "none"    // the domain has withdrawn its policy
)

// Policy is what a domain demands.
type Policy struct {
	Mode   Mode
	MX     []string // names, or *.name for one label more; lower case
	MaxAge time.Duration
}

// Matches reports whether a host may be an MX of the domain, RFC 8461 section
// 4.1. A wildcard stands for exactly one label.
func (p Policy) Matches(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, parent, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(p.MX, func(pattern string) bool {
		if base, wild := strings.CutPrefix(pattern, "*."); wild {
			return parent != "" && parent == base
		}
		return pattern == host
	})
}

// ParsePolicy reads a policy file, RFC 8461 section 3.2. Lines that say nothing
// known are passed over, as the section asks; of a field that stands twice the
// first counts.
func ParsePolicy(b []byte) (Policy, error) {
	if len(b) > MaxPolicy {
		return Policy{}, errs.New(errs.Invalid, "the policy is larger than %d bytes", MaxPolicy)
	}
	fields, mx := map[string]string{}, []string(nil)
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch _, twice := fields[key]; {
		case !ok:
		case key == "mx":
			mx = append(mx, value)
		case !twice && (key == "version" || key == "mode" || key == "max_age"):
			fields[key] = value
		}
	}
	if fields["version"] != version {
		return Policy{}, errs.New(errs.Invalid, "the policy is not of version %s", version)
	}
	p := Policy{Mode: Mode(fields["mode"])}
	if err := p.patterns(mx); err != nil {
		return Policy{}, err
	}
	seconds, err := strconv.ParseUint(fields["max_age"], 10, 63)
	if err != nil || len(fields["max_age"]) > 10 {
		return Policy{}, errs.New(errs.Invalid, "max_age of the policy is not a number of seconds")
	}
	p.MaxAge = MaxAge
	if seconds < uint64(MaxAge/time.Second) {
		p.MaxAge = time.Duration(seconds) * time.Second
	}
	return p, p.check()
}

func (p *Policy) patterns(mx []string) error {
	if len(mx) > maxMX {
		return errs.New(errs.Invalid, "the policy has more than %d mx patterns", maxMX)
	}
	for _, pattern := range mx {
		base, wild := strings.CutPrefix(pattern, "*.")
		name, err := mail.ParseDomain(base)
		if err != nil || name[0] == '[' {
			return errs.New(errs.Invalid, "%q in the policy is not an mx pattern", clip(pattern))
		}
		if wild {
			name = "*." + name
		}
		p.MX = append(p.MX, name)
	}
	return nil
}

func (p Policy) check() error {
	switch p.Mode {
	case Enforce, Testing:
		if len(p.MX) == 0 {
			return errs.New(errs.Invalid, "the policy has no mx pattern")
		}
	case None:
	default:
		return errs.New(errs.Invalid, "mode of the policy is none of enforce, testing, none")
	}
	return nil
}

// ParseRecord finds the id of a policy among the TXT records of _mta-sts,
// RFC 8461 section 3.1. Exactly one must be of this version; without one the
// error is errs.NotFound.
func ParseRecord(texts []string) (id string, err error) {
	count := 0
	for _, text := range texts {
		fields := strings.Split(text, ";")
		if strings.TrimRight(fields[0], " \t") != recordTag || len(fields) < 2 {
			continue
		}
		count++
		for _, f := range fields[1:] {
			if value, ok := strings.CutPrefix(strings.TrimSpace(f), "id="); ok && id == "" {
				id = strings.TrimSpace(value)
			}
		}
	}
	switch {
	case count == 0:
		return "", errs.New(errs.NotFound, "no record of %s", version)
	case count > 1:
		return "", errs.New(errs.Invalid, "%d records of %s: there must be one", count, version)
	case id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}):
		return "", errs.New(errs.Invalid, "the id of the record is not 1 to %d letters and digits", maxID)
	}
	return id, nil
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
