package policy

import (
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Action is what is done with a message that has a verdict.
type Action string

// The actions of reference 7.6, and wait for what no engine has seen.
const (
	Deliver    Action = "deliver"    // as it is, with the additions
	Drop       Action = "drop"       // nobody gets it
	Quarantine Action = "quarantine" // into Virus, or spam into Policy
	Wait       Action = "wait"       // in the work queue, until an engine answers; only for unscanned
)

// Antivirus is the antivirus settings of a policy.
type Antivirus struct {
	Scan     bool
	Verdicts map[mail.Verdict]Response // each but clean; one that is missing is the default
	Unopened Response                  // what Respond says; zero: as unscannable
}

// Response is an action and what is added to a message that goes on.
type Response struct {
	Action Action
	Tag    string // in front of the subject; empty: none
	Header string // "X-Name: value"; empty: none
}

// Defaults are what a verdict leads to when nothing is set. In doubt the mail
// is kept (P3); the texts are those that administrators know.
func Defaults() map[mail.Verdict]Response {
	return map[mail.Verdict]Response{
		mail.Repaired:    {Action: Deliver, Tag: "[WARNING: VIRUS REMOVED]"},
		mail.Encrypted:   {Action: Deliver, Tag: "[WARNING: MESSAGE ENCRYPTED]"},
		mail.Unscannable: {Action: Quarantine},
		mail.Infected:    {Action: Quarantine},
		mail.Unscanned:   {Action: Wait},
	}
}

// For gives the response to a verdict. Clean has none.
func (a *Antivirus) For(v mail.Verdict) Response {
	if r, ok := a.Verdicts[v]; ok {
		return r
	}
	return Defaults()[v]
}

// Check finds what is wrong with antivirus settings.
func (a *Antivirus) Check() error {
	for v, r := range a.Verdicts {
		if v == mail.Clean {
			return errs.New(errs.Invalid, "what is clean needs no action")
		}
		if err := r.check(v == mail.Unscanned); err != nil {
			return errs.New(errs.Invalid, "antivirus, %s: %s", v, errs.Public(err))
		}
	}
	return a.checkUnopened()
}

// check finds what is wrong with a response; open is of a verdict that no engine
// has given.
func (r Response) check(open bool) error {
	switch r.Action {
	case Deliver, Drop, Quarantine:
	case Wait:
		if !open {
			return errs.New(errs.Invalid, "only what is unscanned can wait")
		}
	default:
		return errs.New(errs.Invalid, "action is deliver, drop, quarantine or, of unscanned, wait; not %q", clip(string(r.Action)))
	}
	if (r.Action == Drop || r.Action == Wait) && (r.Tag != "" || r.Header != "") {
		return errs.New(errs.Invalid, "action %s adds nothing to the message", r.Action)
	}
	_, err := r.Extras()
	return err
}

// Check finds what is wrong with a response to a verdict that was given.
func (r Response) Check() error { return r.check(false) }

// Extras gives what is added, as the message editor takes it.
func (r Response) Extras() (mail.Extras, error) {
	x := mail.Extras{Tag: r.Tag}
	if r.Header != "" {
		name, value, ok := strings.Cut(r.Header, ":")
		if !ok {
			return x, errs.New(errs.Invalid, "header is not of the form X-Name: value")
		}
		x.Header, x.Value = name, strings.TrimSpace(value)
	}
	return x, x.Check()
}
