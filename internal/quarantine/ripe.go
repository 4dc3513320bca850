package quarantine

import (
	"context"
	"time"

	"lazaret/internal/mail"
)

// ripen carries out what can no longer be taken back.
type ripen struct{ at time.Time }

// on implements operation.
func (op ripen) on(r *Record) (*Change, string, error) {
	if !r.State.Open() || r.Until.After(op.at) || r.Hold.On() {
		return nil, "", nil
	}
	c := &Change{Before: r, After: r.clone()}
	if r.State == Binned {
		c.After.Until = time.Time{}
		return c, "", c.move(Removed, op.at)
	}
	cause, by := Manual, "system"
	if m := r.last(everything); m != nil {
		cause, by = m.Cause, m.By
	}
	return c, "", c.leave(cause, by, op.at)
}

// purge removes what is in the bin before its time, to make room.
type purge struct{ at time.Time }

// on implements operation.
func (op purge) on(r *Record) (*Change, string, error) {
	if r.State != Binned || r.Hold.On() {
		return nil, "", nil
	}
	c := &Change{Before: r, After: r.clone()}
	c.After.Until = time.Time{}
	return c, "", c.move(Removed, op.at)
}

// letGo drops what a gateway took and nothing more is expected of, or waited for.
type letGo struct{ at time.Time }

// on implements operation.
func (op letGo) on(r *Record) (*Change, string, error) {
	if r.State != Sent || r.Hold.On() {
		return nil, "", nil
	}
	c := &Change{Before: r, After: r.clone()}
	return c, "", c.move(Gone, op.at)
}

// LetGo drops the content of what a gateway took so long ago that no proof is
// waited for any more. It gives the number of messages.
func (s *Service) LetGo(ctx context.Context) (int, error) {
	if s.Clock().Doubt {
		return 0, nil
	}
	now := s.stamp()
	list, err := s.opt.Store.Sent(ctx, now.Add(-s.rules().KeepTaken), batch)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	out, err := s.act(ctx, midsOf(list), party{p: mail.System(), may: everything}, letGo{now}, nil)
	return out.Count, err
}

func midsOf(list []Weight) (out []mail.MID) {
	for _, w := range list {
		out = append(out, w.MID)
	}
	return out
}

func everything(string) bool { return true }

// Ripen lets go what was released, and removes what was deleted, so long ago
// that it cannot be taken back any more. It gives the number of messages.
func (s *Service) Ripen(ctx context.Context) (int, error) {
	if s.Clock().Doubt {
		return 0, nil // nothing leaves the bin, or home, because of a clock that jumped
	}
	total := 0
	for ctx.Err() == nil {
		now := s.stamp()
		mids, err := s.opt.Store.Ripe(ctx, now, batch)
		if err != nil || len(mids) == 0 {
			return total, err
		}
		out, err := s.act(ctx, mids, party{p: mail.System(), may: everything}, ripen{now}, nil)
		total += out.Count
		if err != nil || len(mids) < batch || out.Count == 0 { // 0: others were first; next time
			return total, err
		}
	}
	return total, ctx.Err()
}
