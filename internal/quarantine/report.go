package quarantine

import (
	"context"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Opinion is what somebody says to whoever makes the outbreak rules (reference
// 2.3).
type Opinion string

// The opinions.
const (
	FalsePositive Opinion = "false-positive" // it is harmless, and a rule holds it
	Suspicious    Opinion = "suspicious"     // it is what the rule says, or worse
)

// mayReport gives the address that hears of an opinion; the null address: nobody
// is to hear.
func (r *Rules) mayReport(o Opinion) (mail.Address, error) {
	switch o {
	case FalsePositive:
		return r.FalsePositives, nil
	case Suspicious:
		return r.Suspicious, nil
	}
	return mail.Address{}, errs.New(errs.Invalid, "a report is %s or %s, not %q", FalsePositive, Suspicious, clip(string(o)))
}

// Report sends a copy of messages in an outbreak quarantine to the address that
// the rules have for an opinion, and changes nothing else. Unlike a copy to
// anywhere it is for everybody who works there: where it goes an administrator
// has said. What is in Outcome.Count is in a queue, durably.
func (s *Service) Report(ctx context.Context, p mail.Principal, mids []mail.MID, o Opinion) (out Outcome, err error) {
	what := "quarantine report as " + clip(string(o))
	rules := s.rules()
	to, err := rules.mayReport(o)
	if err == nil {
		err = s.entitled(p, what)
	}
	switch {
	case err != nil:
	case to.IsNull():
		err = errs.New(errs.Invalid, "nobody is to hear of it: quarantineconfig rules report_false_positive and report_suspicious have no address")
	case s.opt.Copier == nil:
		err = errs.New(errs.Invalid, "this appliance delivers no mail of its own")
	case len(mids) > MaxCopied:
		err = errs.New(errs.Invalid, "at most %d messages are reported at once", MaxCopied)
	}
	if err != nil {
		s.opt.Audit.Record(p, what, errs.Public(err))
		return out, err
	}
	may := s.may(p)
	return s.sendCopies(ctx, p, what, mids, []mail.Address{to}, func(r *Record) string {
		if slices.ContainsFunc(r.Memberships, func(m Membership) bool { return s.isKind(m.Quarantine, KindOutbreak) && may(m.Quarantine) }) {
			return ""
		}
		return "message " + r.MID.String() + " is in no outbreak quarantine"
	})
}
