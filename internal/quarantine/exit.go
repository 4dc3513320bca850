package quarantine

import (
	"context"
	"slices"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// delay moves the exit time of a message later (reference 2.3, 2.4).
type delay struct {
	quarantine string
	may        func(string) bool
	by         time.Duration
	at         time.Time
}

// on implements operation.
func (op delay) on(r *Record) (*Change, string, error) {
	if r.State != Held {
		return nil, r.first(op.may), nil
	}
	latest := op.at.Add(MaxRetention)
	c := &Change{Before: r, After: r.clone()}
	for i := range c.After.Memberships {
		m := &c.After.Memberships[i]
		if m.State != In || op.quarantine != "" && m.Quarantine != op.quarantine || !op.may(m.Quarantine) {
			continue
		}
		exit := m.Exit.Add(op.by)
		if exit.After(latest) {
			exit = latest
		}
		if exit.After(m.Exit) {
			m.Exit = exit
			c.member(i)
		}
	}
	if len(c.Members) == 0 {
		return nil, r.first(op.may), nil
	}
	return c, "", nil
}

// Delay moves the scheduled exit of messages later, in one quarantine or with
// an empty name in all that the principal may work in; never beyond
// MaxRetention from now.
func (s *Service) Delay(ctx context.Context, p mail.Principal, mids []mail.MID, quarantine string, by time.Duration) (Outcome, error) {
	what := "quarantine delay by " + by.String()
	if err := s.entitled(p, what, quarantine); err != nil {
		return Outcome{}, err
	}
	if by <= 0 || by > MaxRetention {
		return Outcome{}, errs.New(errs.Invalid, "a delay is longer than nothing and at most 10 years")
	}
	who := party{p: p, may: s.may(p)}
	return s.byHand(ctx, who, what, mids, delay{quarantine: s.named(quarantine), may: who.may, by: by, at: s.stamp()})
}

// move takes a message from one quarantine into another. Its exit time and
// reason go along, and overwrite those of a membership that is there already
// (reference 2.3).
type move struct {
	from, to string
	may      func(string) bool
	by       string
	at       time.Time
}

// on implements operation.
func (op move) on(r *Record) (*Change, string, error) {
	if r.State != Held {
		return nil, r.first(op.may), nil
	}
	c := &Change{Before: r, After: r.clone()}
	i := slices.IndexFunc(r.Memberships, func(m Membership) bool { return m.Quarantine == op.from && m.State == In })
	if i < 0 {
		return nil, r.first(op.may), nil
	}
	from := r.Memberships[i]
	j := slices.IndexFunc(r.Memberships, func(m Membership) bool { return m.Quarantine == op.to })
	if j < 0 {
		j = len(c.After.Memberships)
		c.After.Memberships = append(c.After.Memberships, Membership{Quarantine: op.to, Entered: op.at})
	} else if to := &c.After.Memberships[j]; to.State == Deleted {
		return nil, "message " + r.MID.String() + ` was deleted from "` + op.to + `" before: it cannot be moved there`, nil
	} else if to.State != In {
		next, err := to.State.To(In)
		if err != nil {
			return nil, "", err
		}
		*to = Membership{Quarantine: op.to, State: next, Entered: op.at}
	}
	to := &c.After.Memberships[j]
	to.Exit, to.Reason, to.Matched = from.Exit, from.Reason, from.Matched
	next, err := from.State.To(Moved)
	if err != nil {
		return nil, "", err
	}
	away := &c.After.Memberships[i]
	away.State, away.Cause, away.By, away.Left = next, Manual, op.by, op.at
	c.member(i)
	c.member(j)
	return c, "", nil
}

// Move takes messages from one quarantine into another policy quarantine.
func (s *Service) Move(ctx context.Context, p mail.Principal, mids []mail.MID, from, to string) (Outcome, error) {
	what := `quarantine move from "` + from + `" to "` + to + `"`
	if err := s.entitled(p, what, from, to); err != nil {
		return Outcome{}, err
	}
	from, to = s.named(from), s.named(to)
	q, known := s.setting(to)
	switch {
	case from == "" || to == "" || from == to:
		return Outcome{}, errs.New(errs.Invalid, "a move names two quarantines")
	case !known || q.Kind != KindPolicy:
		return Outcome{}, errs.New(errs.Invalid, "messages are moved into policy quarantines only, and %q is none", clip(to))
	}
	who := party{p: p, may: s.may(p)}
	return s.byHand(ctx, who, what, mids, move{from: from, to: to, may: who.may, by: p.Name, at: s.stamp()})
}

// hold sets or lifts a legal hold.
type hold struct {
	set Hold // zero: lift
}

// on implements operation.
func (op hold) on(r *Record) (*Change, string, error) {
	switch {
	case !r.State.HasContent() || r.State == Releasing:
		return nil, "message " + r.MID.String() + " is " + r.State.String() + ": there is nothing to hold any more", nil
	case r.Hold.On() && op.set.On():
		return nil, r.heldBy(), nil
	case !r.Hold.On() && !op.set.On():
		return nil, "message " + r.MID.String() + " is not on hold", nil
	}
	c := &Change{Before: r, After: r.clone()}
	c.After.Hold = op.set
	return c, "", nil
}

// MaxWhy is the longest reason of a hold.
const MaxWhy = 200

// SetHold puts messages on hold: until it is lifted they neither expire nor
// make room, and nobody can release, delete or remove them. It takes the right
// to all quarantines, for it binds those who have rights to some.
func (s *Service) SetHold(ctx context.Context, p mail.Principal, mids []mail.MID, why string) (Outcome, error) {
	return s.changeHold(ctx, p, "quarantine hold", mids, Hold{By: p.Name, Why: why, At: s.stamp()})
}

// LiftHold ends a hold.
func (s *Service) LiftHold(ctx context.Context, p mail.Principal, mids []mail.MID) (Outcome, error) {
	return s.changeHold(ctx, p, "quarantine lift the hold of", mids, Hold{})
}

func (s *Service) changeHold(ctx context.Context, p mail.Principal, what string, mids []mail.MID, h Hold) (Outcome, error) {
	if err := s.entitled(p, what); err != nil {
		return Outcome{}, err
	}
	if !auth.Can(p.Role, auth.QuarantineAll) {
		err := errs.New(errs.Denied, "role %q may not set or lift a hold", p.Role)
		s.opt.Audit.Record(p, what, errs.Public(err))
		return Outcome{}, err
	}
	if len(h.Why) > MaxWhy || h.On() && h.Why == "" {
		return Outcome{}, errs.New(errs.Invalid, "the reason of a hold has 1 to %d bytes", MaxWhy)
	}
	return s.byHand(ctx, party{p: p, may: everything}, what, mids, hold{h})
}
