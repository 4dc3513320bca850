package policy

import (
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Antispam is the anti-spam settings of a policy.
type Antispam struct {
	Scan     bool
	Verdicts map[mail.SpamVerdict]Response // each but negative; one that is missing is the default
}

// SpamDefaults are what a verdict leads to when nothing is set. In doubt the
// mail is kept (P3).
func SpamDefaults() map[mail.SpamVerdict]Response {
	return map[mail.SpamVerdict]Response{
		mail.SpamPositive: {Action: Quarantine},
		mail.SpamSuspect:  {Action: Deliver, Tag: "[SUSPECTED SPAM]"},
		mail.SpamUnknown:  {Action: Wait},
	}
}

// For gives the response to a verdict. Negative has none.
func (a *Antispam) For(v mail.SpamVerdict) Response {
	if r, ok := a.Verdicts[v]; ok {
		return r
	}
	return SpamDefaults()[v]
}

// Check finds what is wrong with anti-spam settings.
func (a *Antispam) Check() error {
	for v, r := range a.Verdicts {
		if v == mail.SpamNegative {
			return errs.New(errs.Invalid, "what is no spam needs no action")
		}
		if err := r.check(v == mail.SpamUnknown); err != nil {
			return errs.New(errs.Invalid, "antispam, %s: %s", v, errs.Public(err))
		}
	}
	return nil
}
