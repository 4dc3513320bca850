package quarantine

import (
	"context"

	"lazaret/internal/mail"
)

// retire notes quarantines that are configured no more, with their default
// action: what they hold leaves by it, exempt or not (reference 1.4, 1.6).
func (s *Service) retire(before, after map[string]Settings) error {
	for name, q := range before {
		if _, stays := after[name]; stays || name != q.Name { // a former name takes nothing with it
			continue
		}
		if err := s.opt.Store.Retire(context.Background(), name, q.DefaultAction); err != nil {
			return err
		}
	}
	return nil
}

// rename gives what is held under a former name of a quarantine its name. A
// crash in between is made good by the next start; until then, and for what
// gateways bring by that name, it is as good as the new one.
func (s *Service) rename(ctx context.Context, all []Settings) error {
	const some = 5000 // changed in one transaction, so that others have their turn
	for _, q := range all {
		for _, old := range q.Former {
			for ctx.Err() == nil {
				n, err := s.opt.Store.Rename(ctx, old, q.Name, some)
				if err != nil {
					return err
				}
				if n < some {
					break
				}
			}
		}
	}
	return nil
}

// ClearRetired lets go what quarantines hold that were taken away, and gives
// the number of messages. What is on hold stays, and is looked at again.
func (s *Service) ClearRetired(ctx context.Context) (int, error) {
	retired, err := s.opt.Store.Retired(ctx)
	if err != nil {
		return 0, err
	}
	total := 0
	for name, a := range retired {
		n, left, err := s.clear(ctx, name, a)
		total += n
		if err == nil && left == 0 {
			err = s.opt.Store.Unretire(ctx, name)
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// clear applies an action to all that a quarantine holds; left is how many it
// did not change.
func (s *Service) clear(ctx context.Context, name string, a Action) (n, left int, err error) {
	if _, again := s.setting(name); again {
		return 0, 0, nil // it was made anew: what it holds stays
	}
	q := Query{Quarantine: name, States: []State{Held}, Limit: batch, all: true}
	for {
		list, err := s.opt.Store.Find(ctx, q)
		if err != nil || len(list) == 0 {
			return n, left, err
		}
		mids := make([]mail.MID, len(list))
		for i, r := range list {
			mids[i] = r.MID
		}
		q.After.MID = mids[len(mids)-1]
		p := mail.System()
		d := &decision{action: a, quarantine: name, may: everything, cause: Expired, by: p.Name, at: s.stamp()}
		out, err := s.act(ctx, mids, party{p: p, may: everything}, d, func(c *Change) {
			s.opt.Audit.Record(p, `quarantine "`+name+`" is deleted (`+string(a)+`) MID `+c.After.MID.String(), "ok")
		})
		n, left = n+out.Count, left+len(out.Missed)
		if err != nil {
			return n, left, err
		}
	}
}
