// Package dlp looks in outgoing mail for what is not to leave: smart identifiers
// and terms of dictionaries, added up to a risk factor (reference 7.3, 7.5).
//
// It decides nothing: what is done about a severity is said by the policy that
// was violated.
package dlp

import (
	"context"
	"strings"
	"unicode"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
)

// Severity of a violation.
type Severity uint8

// The severities.
const (
	None Severity = iota
	Low
	Medium
	High
	Critical
	numSeverities
)

var names = [numSeverities]string{"NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL"}

// String gives the severity as log lines have it.
func (s Severity) String() string { return names[min(s, numSeverities-1)] }

// MaxRisk is the largest risk factor; more is not counted.
const MaxRisk = 100

// Response is what a policy does about a severity.
type Response struct {
	Action     string // deliver, drop, quarantine
	Quarantine string // with quarantine: which
	Tag        string // in front of the subject
	Header     string // "X-Name: value"
}

// Policy is one DLP policy.
type Policy struct {
	Name         string
	Dictionaries []*match.Dictionary
	Identifiers  []string // such as *credit
	Weight       int      // of a match of an identifier
	From         [numSeverities]int
	Responses    [numSeverities]Response
}

// severity gives that of a risk factor.
func (p *Policy) severity(risk int) (s Severity) {
	for l := Low; l <= Critical; l++ {
		if p.From[l] > 0 && risk >= p.From[l] {
			s = l
		}
	}
	return s
}

// Violation is what was found in a message. The zero value: nothing.
type Violation struct {
	Severity Severity
	Risk     int
	Policy   *Policy
	Matched  []mail.Matched
}

// Response gives what its policy does about it.
func (v Violation) Response() Response { return v.Policy.Responses[v.Severity] }

// Set is the DLP policies of a mail policy, the first one first. It does not
// change and is safe for concurrent use.
type Set struct {
	policies []*Policy
	set      *match.Set
}

// New makes a set ready.
func New(policies []*Policy) (*Set, error) {
	s := &Set{policies: policies}
	var rules []*match.Rule
	for i, p := range policies {
		r := &match.Rule{Least: MaxRisk, Index: i}
		for _, d := range p.Dictionaries {
			r.Terms = append(r.Terms, d.Terms()...)
		}
		if len(p.Identifiers) > 0 {
			d, err := match.NewDictionary(p.Name, p.Identifiers, match.DictionaryOptions{})
			if err != nil {
				return nil, errs.Context(err, "DLP policy %s", p.Name)
			}
			for _, t := range d.Terms() {
				t.Weight = p.Weight
				r.Terms = append(r.Terms, t)
			}
		}
		if len(r.Terms) == 0 {
			return nil, errs.New(errs.Invalid, "DLP policy %q looks for nothing: it needs a dictionary with terms or an identifier", p.Name)
		}
		rules = append(rules, r)
	}
	s.set = match.NewSet(rules)
	return s, nil
}

// Content is where a message is looked into.
type Content interface {
	Content(ctx context.Context, w filter.Want) (filter.Content, error)
}

// Look gives what the first policy finds that is violated. A nil set finds
// nothing.
func (s *Set) Look(ctx context.Context, m Content) (v Violation, err error) {
	if s == nil || len(s.policies) == 0 {
		return v, nil
	}
	w := s.set.Window(ctx)
	if _, err := m.Content(ctx, filter.Want{Text: w.Add, Inside: true}); err != nil {
		return v, err
	}
	total := w.Total()
	for i, p := range s.policies {
		risk := min(total[i], MaxRisk)
		if p.severity(risk) == None {
			continue
		}
		v = Violation{Severity: p.severity(risk), Risk: risk, Policy: p}
		for _, m := range w.Found(i) {
			v.Matched = append(v.Matched, mail.Matched{Rule: clip("DLP policy " + p.Name), Part: clip(m.Part), Text: clip(m.Text)})
		}
		break
	}
	return v, nil
}

// clip makes one line of text from outside, not longer than is kept.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), mail.MaxMatchedText)], ""))
	return s
}
