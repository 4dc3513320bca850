package quarantine

import (
	"context"
	"slices"
	"strconv"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Limits of one Copy.
const (
	MaxCopied   = 1000 // messages
	MaxCopiesTo = 10   // addresses
)

// Copy sends copies of messages to addresses, as they would be delivered, and
// changes nothing else (reference 2.3). They leave by the appliance's own
// delivery, never through a gateway (P4); what is in Outcome.Count is in its
// queue, durably.
func (s *Service) Copy(ctx context.Context, p mail.Principal, mids []mail.MID, to []mail.Address) (out Outcome, err error) {
	what := "quarantine copy to"
	for _, a := range to {
		what += " " + a.String()
	}
	if err = s.entitled(p, what); err == nil {
		err = s.mayCopy(p, mids, to)
	}
	if err != nil {
		s.opt.Audit.Record(p, what, errs.Public(err))
		return out, err
	}
	return s.sendCopies(ctx, p, what, mids, to, func(*Record) string { return "" })
}

// sendCopies sends copies of what the principal may see; but says why one is
// left out.
func (s *Service) sendCopies(ctx context.Context, p mail.Principal, what string, mids []mail.MID, to []mail.Address, but func(*Record) string) (out Outcome, err error) {
	mids = unique(mids)
	list, err := s.opt.Store.Load(ctx, mids)
	if err != nil {
		return out, err
	}
	may := s.may(p)
	for _, mid := range mids {
		i := slices.IndexFunc(list, func(r *Record) bool { return r.MID == mid })
		if i < 0 || !slices.ContainsFunc(list[i].Memberships, func(m Membership) bool { return may(m.Quarantine) }) {
			out.Missed = append(out.Missed, Missed{MID: mid, Why: "there is no message " + mid.String() + " in the quarantine"})
			continue
		}
		why := but(list[i])
		if why == "" {
			why, err = s.copyOne(ctx, p, list[i], to)
		}
		if err != nil {
			s.opt.Audit.Record(p, what, strconv.Itoa(out.Count)+" of "+strconv.Itoa(len(mids))+", then: "+err.Error())
			return out, err
		} else if why != "" {
			out.Missed = append(out.Missed, Missed{MID: mid, Why: why})
			continue
		}
		out.Count++
		s.opt.Audit.Record(p, what+" MID "+mid.String(), "ok")
	}
	return out, nil
}

func (s *Service) mayCopy(p mail.Principal, mids []mail.MID, to []mail.Address) error {
	switch {
	case !auth.Can(p.Role, auth.SendCopy):
		return errs.New(errs.Denied, "role %q may not send copies of messages", p.Role)
	case s.opt.Copier == nil:
		return errs.New(errs.Invalid, "this appliance delivers no mail of its own")
	case len(to) == 0 || len(to) > MaxCopiesTo:
		return errs.New(errs.Invalid, "a copy goes to 1 to %d addresses", MaxCopiesTo)
	case len(mids) > MaxCopied:
		return errs.New(errs.Invalid, "at most %d messages are copied at once", MaxCopied)
	}
	for _, a := range to {
		if a.Domain == "" {
			return errs.New(errs.Invalid, "%q is not an address with a domain", clip(a.String()))
		}
	}
	return nil
}

// copyOne sends copies of one message; why says that there is nothing to send.
func (s *Service) copyOne(ctx context.Context, p mail.Principal, r *Record, to []mail.Address) (why string, err error) {
	if !r.State.HasContent() {
		return "message " + r.MID.String() + " is " + r.State.String() + ": its content is not kept any more", nil
	}
	content, err := s.opt.Contents.Open(ctx, r.Content)
	if errs.Is(err, errs.NotFound) { // it left between the two looks, or is lost
		return "message " + r.MID.String() + ": its content is not kept any more", nil
	}
	if err != nil {
		return "", err
	}
	err = s.opt.Copier.Copy(ctx, r, content, to)
	if cerr := content.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		for i := range r.Memberships {
			if m := &r.Memberships[i]; m.State == In {
				s.opt.Log.Decided(p, r.MID, "sent a copy of", m.Quarantine)
				break
			}
		}
	}
	return "", err
}
