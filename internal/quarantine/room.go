package quarantine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// pool is what the service remembers of how full it is.
type pool struct {
	full  atomic.Bool  // no room could be made
	level atomic.Int64 // the highest of levels that was told and is not yet left
	wake  chan struct{}
}

// levels are the parts of the pool, in percent, of which administrators are
// told when it rises to them (reference 1.5).
var levels = []int64{75, 85, 95}

// fallen is how far below a level the pool must sink before it is told again.
const fallen = 2

// Ready says whether a message of this size may come in. When the pool is full
// and nothing may make room, mail waits at the gateways (reference 1.4).
func (s *Service) Ready(size int64) error {
	if s.pool.full.Load() && s.rules().Pool > 0 {
		return errs.New(errs.Full, "the quarantines are full, and nothing in them may make room")
	}
	if p := s.rules().Pool; p > 0 && size > p {
		return errs.New(errs.Full, "the message is larger than all quarantines together may be")
	}
	return nil
}

// filled asks for a look at the pool soon; it never waits.
func (s *Service) filled() {
	select {
	case s.pool.wake <- struct{}{}:
	default:
	}
}

// MakeRoom brings the pool below its limit: first the bin is emptied, then held
// messages leave by their default action, those first whose latest exit time
// comes first. What is on its way home counts as gone already. It gives the
// number of messages that left.
func (s *Service) MakeRoom(ctx context.Context) (int, error) {
	total := 0
	for ctx.Err() == nil {
		u, err := s.opt.Store.Usage(ctx)
		if err != nil {
			return total, err
		}
		s.tellLevel(u)
		over := s.over(u)
		if over <= 0 {
			s.pool.full.Store(false)
			return total, nil
		}
		mine, err := s.opt.Store.Turn(ctx, turnRoom, roomFor)
		if err != nil || !mine { // another appliance makes room now
			return total, err
		}
		n, needed, err := s.evictInTurn(ctx)
		total += n
		if err != nil {
			return total, err
		}
		if !needed {
			continue
		}
		if n == 0 {
			if !s.pool.full.Swap(true) {
				s.opt.Alert("the quarantines are full, and nothing in them may make room: mail waits at the gateways")
			}
			return total, nil
		}
	}
	return total, ctx.Err()
}

// over is by how much the pool is above its limit.
func (s *Service) over(u Usage) int64 {
	if limit := s.rules().Pool; limit > 0 {
		return u.All.Bytes - u.Going.Bytes - limit
	}
	return 0
}

// evictInTurn frees what one batch can, while no other appliance does; needed
// is whether that was still to be done.
func (s *Service) evictInTurn(ctx context.Context) (n int, needed bool, err error) {
	u, err := s.opt.Store.Usage(ctx) // again: somebody may have made room just before
	if over := s.over(u); err == nil && over > 0 {
		needed = true
		n, err = s.evict(ctx, over)
	}
	return n, needed, errors.Join(err, s.opt.Store.EndTurn(ctx, turnRoom))
}

// evict frees at least the bytes asked for, if one batch can.
func (s *Service) evict(ctx context.Context, bytes int64) (int, error) {
	list, err := s.opt.Store.Binned(ctx, batch)
	if err != nil {
		return 0, err
	}
	if len(list) > 0 {
		out, err := s.act(ctx, enough(list, bytes), party{p: mail.System(), may: everything}, purge{s.stamp()}, nil)
		return out.Count, err
	}
	// What a gateway has is safe there: its content is kept here for a second try.
	if list, err = s.opt.Store.Sent(ctx, s.stamp(), batch); err != nil {
		return 0, err
	}
	if len(list) > 0 {
		out, err := s.act(ctx, enough(list, bytes), party{p: mail.System(), may: everything}, letGo{s.stamp()}, nil)
		return out.Count, err
	}
	var exempt []string
	for _, n := range *s.order.Load() {
		if q, _ := s.setting(n); q.Exempt {
			exempt = append(exempt, n)
		}
	}
	if list, err = s.opt.Store.Evictable(ctx, exempt, batch); err != nil {
		return 0, err
	}
	return s.byDefault(ctx, enough(list, bytes), func() *decision {
		return &decision{cause: QueueFull, at: s.stamp(), extras: s.early}
	}, "overflow")
}

// early gives what a quarantine wants done to what leaves it before its time.
// That is only what makes room: what is released by hand, or at its exit time,
// goes as it came (reference 1.3, F21).
func (s *Service) early(name string) mail.Extras {
	q, _ := s.setting(name)
	return q.Early
}

// enough gives the first messages that weigh as much as asked for together.
func enough(list []Weight, bytes int64) (mids []mail.MID) {
	for _, w := range list {
		if bytes <= 0 {
			break
		}
		bytes -= w.Bytes
		mids = append(mids, w.MID)
	}
	return mids
}

// tellLevel warns when the pool rises to a level, once until it has sunk again.
func (s *Service) tellLevel(u Usage) {
	limit := s.PoolLimit()
	if limit == 0 {
		return
	}
	percent := u.All.Bytes * 100 / limit
	told := s.pool.level.Load()
	reached := int64(0)
	for _, l := range levels {
		if percent >= l || told >= l && percent > l-fallen {
			reached = l
		}
	}
	if reached > told {
		s.opt.Alert(fmt.Sprintf("the quarantines are %d%% full: %s of %s", percent, mib(u.All.Bytes), mib(limit)))
	}
	s.pool.level.Store(reached)
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
