package outbreak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// Limits of a feed.
const (
	MaxFeed     = 8 << 20 // bytes, with its signatures
	MaxRules    = 5000
	MaxPatterns = 1000    // expressions of all rules together
	MaxTerms    = 200_000 // hosts, hashes, types, extensions of all rules together
	MaxName     = 64      // bytes of the name of a feed
)

// Feed is what is signed: all rules that are in force, under a serial that
// grows with each change.
type Feed struct {
	Name      string    `json:"feed"` // which feed it is; gateways pin it
	Serial    uint64    `json:"serial"`
	Published time.Time `json:"published"`
	Expires   time.Time `json:"expires"` // a newer one should have come by then
	Rules     []Rule    `json:"rules"`
}

// Compile reads a regular expression; it bounds its size.
type Compile func(pattern string) (*regexp.Regexp, error)

// ParseFeed reads the signed part of a feed and checks it. Unknown fields are
// errors: a gateway that ignored what a rule asks for would hold too much.
func ParseFeed(b []byte, compile Compile) (*Feed, error) {
	f := new(Feed)
	if err := parseJSON(b, f); err != nil {
		return nil, because(err, "outbreak feed")
	}
	if err := f.Check(compile); err != nil {
		return nil, because(err, "outbreak feed")
	}
	return f, nil
}

// because says what was being done in front of an error, in one sentence that
// may be shown: all of it is about what somebody wrote.
func because(err error, format string, args ...any) error {
	return errs.New(errs.KindOf(err), "%s: %s", fmt.Sprintf(format, args...), err)
}

// parseJSON reads one document and nothing behind it.
func parseJSON(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return errs.New(errs.Invalid, "octet %d: %s", d.InputOffset(), strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return errs.New(errs.Invalid, "octet %d: there is something behind the end", d.InputOffset())
	}
	return nil
}

// Check finds what is wrong with a feed, and names the rule.
func (f *Feed) Check(compile Compile) error {
	switch {
	case f.Name == "" || !sayable(f.Name, MaxName) || strings.ContainsAny(f.Name, " \"'"):
		return errs.New(errs.Invalid, "feed is a name of 1 to %d printable characters without blanks and quotes", MaxName)
	case f.Serial == 0:
		return errs.New(errs.Invalid, "serial is missing")
	case f.Published.IsZero() || !f.Expires.After(f.Published):
		return errs.New(errs.Invalid, "published and expires are two times, one after the other")
	case len(f.Rules) > MaxRules:
		return errs.New(errs.Invalid, "there are more than %d rules", MaxRules)
	}
	seen := make(map[string]bool, len(f.Rules))
	patterns, terms := 0, 0
	for i := range f.Rules {
		r := &f.Rules[i]
		if err := r.check(); err != nil {
			return because(err, "rule %d (%s)", i+1, clip(r.ID))
		}
		if seen[r.ID] {
			return errs.New(errs.Invalid, "rule %s is there twice", r.ID)
		}
		seen[r.ID] = true
		all := r.patterns()
		terms += len(r.Hosts)
		if r.File != nil {
			terms += len(r.File.Extensions) + len(r.File.Types) + len(r.File.Kinds) + len(r.File.SHA256)
		}
		if patterns += len(all); patterns > MaxPatterns || terms > MaxTerms {
			return errs.New(errs.Invalid, "there are more than %d expressions, or more than %d hosts, hashes and the like, in all rules together", MaxPatterns, MaxTerms)
		}
		for _, p := range all {
			if _, err := compile(p); err != nil {
				return errs.New(errs.Invalid, "rule %d (%s): %s", i+1, r.ID, err)
			}
		}
	}
	return nil
}

// patterns are the expressions of a rule.
func (r *Rule) patterns() []string {
	all := append([]string(nil), r.Body...)
	for _, h := range r.Headers {
		all = append(all, h.Match)
	}
	if r.File != nil {
		all = append(all, r.File.Names...)
	}
	return all
}
