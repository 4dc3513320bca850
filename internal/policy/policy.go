// Package policy is the mail policies of a gateway (reference 7.8): which
// settings a message gets, by direction, sender and recipient; and what is done
// about the verdict of an engine (reference 7.6).
//
// It is pure: it reads no message and asks no engine. It promises that every
// recipient of every message has exactly one policy, for DEFAULT is the last
// row of each table and takes what no other took.
package policy

import (
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Default is the name of the last row of each table.
const Default = "DEFAULT"

// Limits of a table.
const (
	MaxRows     = 1000
	MaxPatterns = 10_000 // of one row
	MaxName     = 40
)

// Table is the policies of one direction, the first one first, without DEFAULT.
type Table struct {
	Name    string // "inbound" or "outbound", as log lines call it
	Rows    []Row
	Default Row
}

// Row is one policy. It is for a message when the sender is among From and the
// recipient among To; an empty list is everybody.
type Row struct {
	Name      string
	From, To  []string // user@domain, user@, domain, .domain, ALL
	Antispam  Antispam
	Antivirus Antivirus
	Ambiguous Response // zero: the default, see ForAmbiguous
	Outbreak  Outbreak
	Analysis  Analysis
}

// Key names a policy in its table.
type Key struct{ Table, Name string }

// Match gives the policy for one sender and recipient: the first row that is
// for them.
func (t *Table) Match(from, to mail.Address) *Row {
	for i := range t.Rows {
		if r := &t.Rows[i]; among(r.From, from) && among(r.To, to) {
			return r
		}
	}
	return &t.Default
}

// Part is the recipients of a message that have one policy.
type Part struct {
	Row        *Row
	Recipients []int // indexes, ascending
}

// Split gives the parts of a message in the order of the table. A message
// without recipients has none.
func (t *Table) Split(from mail.Address, to []mail.Address) []Part {
	var parts []Part
	for i, a := range to {
		row := t.Match(from, a)
		at := slices.IndexFunc(parts, func(p Part) bool { return p.Row == row })
		if at < 0 {
			parts = append(parts, Part{Row: row})
			at = len(parts) - 1
		}
		parts[at].Recipients = append(parts[at].Recipients, i)
	}
	if len(parts) > 1 {
		slices.SortStableFunc(parts, func(a, b Part) int { return t.place(a.Row) - t.place(b.Row) })
	}
	return parts
}

// place is where a row stands.
func (t *Table) place(row *Row) int {
	for i := range t.Rows {
		if &t.Rows[i] == row {
			return i
		}
	}
	return len(t.Rows)
}

// among reports whether an address is one of a list; nobody is everybody.
func among(list []string, a mail.Address) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(p string) bool { return matches(p, a) })
}

// matches compares without case: no two mailboxes of one organisation differ
// by it (reference 7.2 has the same forms).
func matches(pattern string, a mail.Address) bool {
	if pattern == "ALL" {
		return true
	}
	local, domain, at := strings.Cut(pattern, "@")
	switch {
	case at && domain == "":
		return strings.EqualFold(local, a.Local)
	case at:
		return strings.EqualFold(local, a.Local) && strings.EqualFold(domain, a.Domain)
	case strings.HasPrefix(pattern, "."):
		return len(a.Domain) > len(pattern) && strings.EqualFold(a.Domain[len(a.Domain)-len(pattern):], pattern)
	}
	return strings.EqualFold(pattern, a.Domain)
}

// Check finds what is wrong with a table, and names the row.
func (t *Table) Check() error {
	if len(t.Rows) > MaxRows {
		return errs.New(errs.Invalid, "there are more than %d policies", MaxRows)
	}
	seen := make(map[string]bool)
	for i := range t.Rows {
		r := &t.Rows[i]
		if err := checkName(r.Name); err != nil {
			return err
		}
		if seen[strings.ToLower(r.Name)] {
			return errs.New(errs.Invalid, "policy %q stands twice", r.Name)
		}
		seen[strings.ToLower(r.Name)] = true
		if len(r.From)+len(r.To) == 0 {
			return errs.New(errs.Invalid, "policy %q is for nobody in particular: it needs a sender or a recipient, or ALL", r.Name)
		}
		if err := r.check(); err != nil {
			return errs.New(errs.Invalid, "policy %q: %s", r.Name, errs.Public(err))
		}
	}
	if err := t.Default.checkEngines(); err != nil {
		return errs.New(errs.Invalid, "policy %s: %s", Default, errs.Public(err))
	}
	return nil
}

func (r *Row) check() error {
	for _, list := range [][]string{r.From, r.To} {
		if len(list) > MaxPatterns {
			return errs.New(errs.Invalid, "it names more than %d addresses", MaxPatterns)
		}
		for _, p := range list {
			if err := CheckPattern(p); err != nil {
				return err
			}
		}
	}
	return r.checkEngines()
}

func (r *Row) checkEngines() error {
	if err := r.Antispam.Check(); err != nil {
		return err
	}
	if err := r.checkAmbiguous(); err != nil {
		return err
	}
	if err := r.Outbreak.Check(); err != nil {
		return err
	}
	if err := r.Analysis.Check(); err != nil {
		return err
	}
	return r.Antivirus.Check()
}

// checkName accepts what may stand in log lines and on the command line.
func checkName(s string) error {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\<>&`, r) }
	switch {
	case s == "" || len(s) > MaxName || strings.ContainsFunc(s, bad):
		return errs.New(errs.Invalid, "%q is no name of a policy: 1 to %d printable characters without blanks and quotes", clip(s), MaxName)
	case strings.EqualFold(s, Default):
		return errs.New(errs.Invalid, "%s is the last policy of each table and stands there already", Default)
	}
	return nil
}

// CheckPattern finds what is wrong with an address of a row.
func CheckPattern(p string) error {
	local, domain, at := strings.Cut(p, "@")
	var err error
	switch {
	case p == "ALL":
	case at && domain == "":
		_, err = mail.ParseAddress(local + "@example.com")
	case at:
		_, err = mail.ParseAddress(p)
	default:
		_, err = mail.ParseDomain(strings.TrimPrefix(p, "."))
	}
	if err != nil {
		return errs.New(errs.Invalid, "%q is not user@domain, user@, domain, .domain or ALL", clip(p))
	}
	return nil
}

// clip shortens what is shown in an error.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
