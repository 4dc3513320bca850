package filter

import (
	"slices"
	"strings"
)

// Step is one thing that a run did: it came to a filter, asked a rule or did an
// action.
type Step struct {
	Filter  string
	Rule    string   // that was asked, as the script has it
	Held    bool     // the rule did
	Matched []string // what a rule about text matched; hostile
	Action  string   // that was done, as the script has it
}

// step tells a step of the filter under way.
func (r *run) step(s Step) {
	if r.tell != nil {
		s.Filter = r.filter
		r.tell(s)
	}
}

// asked tells of a rule.
func (r *run) asked(u *rule, held bool, err error) {
	if r.tell == nil || err != nil {
		return
	}
	var b strings.Builder
	u.print(&b)
	s := Step{Rule: b.String(), Held: held}
	if held && u.body != nil && r.window != nil {
		s.Matched = slices.Clone(r.window.Found(u.body.Index))
	}
	r.step(s)
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
