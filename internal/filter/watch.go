package filter

import (
	"slices"
	"strings"

	"lazaret/internal/mail"
)

// Step is one thing that a run did: it came to a filter, asked a rule or did an
// action.
type Step struct {
	Filter  string
	Rule    string         // that was asked, as the script has it
	Held    bool           // the rule did
	Matched []mail.Matched // by the rule
	Action  string         // that was done, as the script has it
}

// step tells a step of the filter under way.
func (r *run) step(s Step) {
	if r.tell != nil {
		s.Filter = r.filter
		r.tell(s)
	}
}

// asked tells of a rule.
func (r *run) asked(u *rule, held bool, matched []mail.Matched, err error) {
	if r.tell == nil || err != nil {
		return
	}
	var b strings.Builder
	u.print(&b)
	r.step(Step{Rule: b.String(), Held: held, Matched: slices.Clone(matched)})
}

// acts tells of an action.
func (r *run) acts(a *action) {
	if r.tell == nil {
		return
	}
	var b strings.Builder
	a.print(&b)
	r.step(Step{Action: strings.TrimSuffix(b.String(), ";")})
}
