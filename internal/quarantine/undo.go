package quarantine

import (
	"context"
	"slices"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// undo takes back what was last decided by hand about a message, in those
// quarantines that the party may work in.
type undo struct {
	id    DecisionID // only this decision; 0: the last one
	may   func(string) bool
	rules Rules
	at    time.Time
}

// on implements operation.
func (op undo) on(r *Record) (*Change, string, error) {
	if r.State != Held && !r.State.Open() {
		return nil, r.first(op.may) + ": that cannot be taken back any more", nil
	}
	id := op.id
	if id == 0 {
		id = op.last(r)
	}
	c := &Change{Before: r, After: r.clone()}
	for i := range c.After.Memberships {
		m := &c.After.Memberships[i]
		if m.Decision != id || id == 0 || m.State != Released && m.State != Deleted || !op.may(m.Quarantine) || !op.inTime(r, m) {
			continue
		}
		next, err := m.State.To(In)
		if err != nil {
			return nil, "", err
		}
		m.State, m.Cause, m.By, m.Left, m.Decision = next, "", "", time.Time{}, 0
		c.member(i)
	}
	again := r.State.Open() && r.Decision == id && id != 0 // a failed release that was decided about again
	if len(c.Members) == 0 && !again {
		return nil, "there is nothing about message " + r.MID.String() + " that could be taken back", nil
	}
	if r.State == Held {
		return c, "", nil
	}
	c.After.Until, c.After.Decision = time.Time{}, 0
	if c.After.in() {
		return c, "", c.move(Held, op.at)
	}
	return c, "", c.move(Failed, op.at)
}

// last gives the newest decision that the party could take back.
func (op undo) last(r *Record) (id DecisionID) {
	if r.State.Open() {
		return r.Decision
	}
	for i := range r.Memberships {
		m := &r.Memberships[i]
		if m.State != In && op.may(m.Quarantine) && op.inTime(r, m) {
			id = max(id, m.Decision)
		}
	}
	return id
}

// inTime reports whether leaving one quarantine can still be taken back: as
// long as the message as a whole can, or for the time it would have had.
func (op undo) inTime(r *Record, m *Membership) bool {
	if r.State.Open() {
		return true
	}
	return m.Left.Add(op.rules.wait(m.State == Deleted)).After(op.at)
}

// Undo takes back, for each message, what was last decided about it by hand:
// while its release has not left and its deletion rests in the bin. What one
// decision changed comes back together.
func (s *Service) Undo(ctx context.Context, p mail.Principal, mids []mail.MID) (Outcome, error) {
	return s.undo(ctx, p, mids, 0)
}

// UndoDecision takes back a whole decision, however many messages it was about.
func (s *Service) UndoDecision(ctx context.Context, p mail.Principal, id DecisionID) (Outcome, error) {
	if err := s.guard(p); err != nil {
		return Outcome{}, err
	}
	if id == 0 {
		return Outcome{}, errs.New(errs.Invalid, "a decision has a number above zero")
	}
	mids, err := s.opt.Store.DecidedBy(ctx, id)
	if err != nil {
		return Outcome{}, err
	}
	may := s.may(p)
	if len(mids) == 0 {
		return Outcome{}, errs.New(errs.NotFound, "there is no decision %s that could be taken back", id)
	}
	list, err := s.opt.Store.Load(ctx, mids[:1])
	if err != nil {
		return Outcome{}, err
	}
	if len(list) == 1 && !slices.ContainsFunc(list[0].Memberships, func(m Membership) bool { return may(m.Quarantine) }) {
		return Outcome{}, errs.New(errs.NotFound, "there is no decision %s that could be taken back", id)
	}
	return s.undo(ctx, p, mids, id)
}

func (s *Service) undo(ctx context.Context, p mail.Principal, mids []mail.MID, id DecisionID) (Outcome, error) {
	what := "quarantine undo"
	if id != 0 {
		what += " decision " + id.String()
	}
	who := party{p: p, may: s.may(p)}
	return s.byHand(ctx, who, what, mids, undo{id: id, may: who.may, rules: s.rules(), at: s.stamp()})
}
