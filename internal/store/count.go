package store

import (
	"context"
	"database/sql"
	"math/bits"
	"slices"
	"strconv"

	"lazaret/internal/quarantine"
)

// A count is exact as far as it is cheap: what one quarantine holds is kept, a
// rare text is found, and the newest messages are looked at. Beyond that some
// windows all over the rest are counted, and the whole follows from them. The
// bounds are numbers of messages, not times, so the same question has the same
// answer.
const (
	countExact   = 40_000 // newest numbers looked at one by one
	countIndexed = 20_000 // candidates of the index looked at before it is estimated
	countWindows = 64
	countWindow  = 500 // numbers in a window
)

// Count implements quarantine.Store.
func (s *Store) Count(ctx context.Context, q quarantine.Query) (total quarantine.Total, err error) {
	f := search{q: &q, filter: where{d: s.d}}
	f.terms = s.census.rarest(terms(&q))
	if !conditions(&f.filter, &q) {
		return quarantine.Total{Exact: true}, nil
	}
	err = s.withReader(ctx, func(r *reader) error {
		f.r = r
		if ok, err := f.kept(ctx, &total); ok || err != nil {
			return err
		}
		ok, err := f.bounds(ctx)
		if err != nil || !ok {
			total.Exact = err == nil
			return err
		}
		if f.lo, f.hi, err = f.ends(ctx); err != nil {
			return err
		}
		total, err = f.count(ctx)
		return err
	})
	return total, err
}

// kept takes the number from the counters, when all that a quarantine holds is
// asked for.
func (f *search) kept(ctx context.Context, total *quarantine.Total) (bool, error) {
	bare := quarantine.Query{Quarantine: f.q.Quarantine, States: f.q.States, Ascending: f.q.Ascending}
	if f.q.Quarantine == "" || f.inside() == "" || !sameConditions(f.q, &bare) {
		return false, nil
	}
	total.Exact = true
	return true, f.each(ctx, "SELECT messages FROM tally WHERE quarantine = $1", []any{f.q.Quarantine}, func(rows *sql.Rows) error {
		return rows.Scan(&total.Messages)
	})
}

// sameConditions compares what two queries ask for; bare has what counters know.
func sameConditions(q, bare *quarantine.Query) bool {
	return q.Sender.Any() && q.Recipient.Any() && q.Subject.Any() && q.Reason.Any() && q.Attachment.Any() && q.Body.Any() && q.MessageID == "" &&
		q.Gateway == "" && q.NotGateway == "" && q.MID == 0 && q.GatewayMID == 0 && q.Since.IsZero() && q.Until.IsZero() &&
		len(q.NotStates) == 0 && q.Quarantine == bare.Quarantine
}

// ends narrows the bounds to the numbers that there are.
func (f *search) ends(ctx context.Context) (lo, hi int64, err error) {
	var first, last sql.NullInt64
	err = f.one(ctx, "SELECT (SELECT MIN(mid) FROM message), (SELECT MAX(mid) FROM message)", nil, &first, &last)
	return max(f.lo, first.Int64-1), min(f.hi, last.Int64+1), err
}

// count counts what the index finds, or the newest part, and estimates the rest.
func (f *search) count(ctx context.Context) (total quarantine.Total, err error) {
	if f.indexed() {
		found, all, err := f.race(ctx, 1<<31-1, countIndexed)
		if err != nil || all {
			return quarantine.Total{Messages: int64(len(found)), Exact: true}, err
		}
		about, err := f.sampled(ctx, f.lo, f.hi)
		return quarantine.Total{Messages: rounded(max(about, int64(len(found))))}, err
	}
	from := max(f.lo, f.hi-countExact)
	newest, err := f.window(ctx, from, f.hi)
	if err != nil || from == f.lo {
		return quarantine.Total{Messages: newest, Exact: true}, err
	}
	about, err := f.sampled(ctx, f.lo, from+1)
	return quarantine.Total{Messages: rounded(newest + about)}, err
}

// sampled estimates how many there are between two numbers, exclusive.
func (f *search) sampled(ctx context.Context, lo, hi int64) (int64, error) {
	width := hi - lo - 1
	if width <= countWindows*countWindow {
		return f.window(ctx, lo, hi)
	}
	hits := int64(0)
	for i := range int64(countWindows) {
		at := lo + i*width/countWindows
		n, err := f.window(ctx, at, at+countWindow+1)
		if err != nil {
			return 0, err
		}
		hits += n
	}
	high, low := bits.Mul64(uint64(hits), uint64(width))
	about, _ := bits.Div64(high, low, countWindows*countWindow)
	return int64(about), nil
}

// window counts between two numbers, exclusive.
func (f *search) window(ctx context.Context, lo, hi int64) (n int64, err error) {
	w := f.filter
	w.conds, w.args = slices.Clone(w.conds), slices.Clone(w.args)
	if f.q.Quarantine != "" {
		w.add("EXISTS (SELECT 1 FROM membership b WHERE b.quarantine = ? AND b.mid = m.mid"+f.inside()+")", f.q.Quarantine)
	}
	w.add("m.mid > ? AND m.mid < ?", lo, hi)
	err = f.one(ctx, "SELECT COUNT(*) FROM message m"+w.String(), w.args, &n)
	return n, err
}

// rounded gives two digits of an estimate: more would be a lie.
func rounded(n int64) int64 {
	s := strconv.FormatInt(n, 10)
	if len(s) <= 2 {
		return n
	}
	unit := int64(1)
	for range len(s) - 2 {
		unit *= 10
	}
	return (n + unit/2) / unit * unit
}
