package quarantine

import (
	"context"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Forecast says when the pool is full, if mail comes in as it did and leaves as
// scheduled.
type Forecast struct {
	At       time.Time `json:"at"`
	Used     int64     `json:"used"`  // bytes
	Limit    int64     `json:"limit"` // bytes; 0: none
	Bin      int64     `json:"bin"`   // bytes of Used that are emptied first
	PerDay   int64     `json:"per_day"`
	Basis    string    `json:"basis"`    // what PerDay was taken from: day or week
	Full     time.Time `json:"full"`     // zero: not within the horizon
	Horizon  int       `json:"horizon"`  // days looked ahead
	Clock    Clock     `json:"clock"`    // whether expiry goes on
	Retained int64     `json:"retained"` // hours that mail stays, on average
}

const horizon = 365

// Forecast looks ahead for a year. It takes the right to all quarantines.
func (s *Service) Forecast(ctx context.Context, p mail.Principal) (f Forecast, err error) {
	if !auth.Can(p.Role, auth.QuarantineAll) {
		return f, errs.New(errs.Denied, "role %q may not see all quarantines", p.Role)
	}
	u, err := s.opt.Store.Usage(ctx)
	if err != nil {
		return f, err
	}
	now := s.now().UTC()
	f = Forecast{At: now, Used: u.All.Bytes, Limit: s.rules().Pool, Bin: u.Bin.Bytes, Horizon: horizon, Clock: s.Clock()}
	if f.PerDay, f.Basis, err = s.perDay(ctx, now); err != nil {
		return f, err
	}
	exits, err := s.opt.Store.Exits(ctx)
	if err != nil {
		return f, err
	}
	stay := s.stay(ctx)
	f.Retained = int64(stay / time.Hour)
	if f.Limit > 0 {
		f.Full = fullAt(f, exits, stay)
	}
	return f, nil
}

// perDay is the larger of what came in within a day and, by the day, within a
// week: a wave that has begun counts, and so does one that pauses.
func (s *Service) perDay(ctx context.Context, now time.Time) (int64, string, error) {
	last, err := s.opt.Store.Arrivals(ctx, now.Add(-day))
	if err != nil {
		return 0, "", err
	}
	week, err := s.opt.Store.Arrivals(ctx, now.Add(-7*day))
	if err != nil {
		return 0, "", err
	}
	if week.Bytes/7 > last.Bytes {
		return week.Bytes / 7, "week", nil
	}
	return last.Bytes, "day", nil
}

// stay is how long mail that comes in will stay: the retention of each
// quarantine, weighed by what it holds.
func (s *Service) stay(ctx context.Context) time.Duration {
	counts, err := s.opt.Store.Counts(ctx)
	if err != nil {
		return 10 * day
	}
	var weighed, bytes float64
	for _, c := range counts {
		q, _ := s.setting(c.Quarantine)
		weighed += float64(c.Bytes) * float64(q.Retention)
		bytes += float64(c.Bytes)
	}
	if bytes == 0 {
		return 10 * day
	}
	return time.Duration(weighed / bytes)
}

// fullAt goes ahead day by day: new mail comes in, what is held leaves as
// scheduled, and new mail leaves after its stay.
func fullAt(f Forecast, exits []Day, stay time.Duration) time.Time {
	staying := max(1, int(stay/day))
	gone, next := int64(0), 0
	for d := range horizon {
		end := f.At.Add(time.Duration(d+1) * day)
		for next < len(exits) && exits[next].Start.Before(end) {
			gone += exits[next].Bytes
			next++
		}
		if f.Used+f.PerDay*int64(min(d+1, staying))-gone > f.Limit {
			return end.Truncate(time.Hour)
		}
	}
	return time.Time{}
}

// Due is what the clock will do in one quarantine.
type Due struct {
	Quarantine string    `json:"quarantine"`
	Action     Action    `json:"action"`
	Messages   int64     `json:"messages"`
	Bytes      int64     `json:"bytes"`
	Last       time.Time `json:"last"` // the latest exit time among these
}

// DueBy is a dry run of expiry: what will leave each quarantine by a time, of
// those that the principal may see. Nothing is changed.
func (s *Service) DueBy(ctx context.Context, p mail.Principal, at time.Time) ([]Due, error) {
	if err := s.guard(p); err != nil {
		return nil, err
	}
	list, err := s.opt.Store.DueBy(ctx, at)
	if err != nil {
		return nil, err
	}
	may, out := s.may(p), []Due{}
	for _, c := range list {
		if may(c.Quarantine) {
			q, _ := s.setting(c.Quarantine)
			out = append(out, Due{Quarantine: c.Quarantine, Action: q.DefaultAction, Messages: c.Messages, Bytes: c.Bytes, Last: c.Last.UTC()})
		}
	}
	return out, nil
}

// retain gives a held message the exit time of its quarantine's present
// retention.
type retain struct {
	quarantine string
	retention  time.Duration
}

// on implements operation.
func (op retain) on(r *Record) (*Change, string, error) {
	c := &Change{Before: r, After: r.clone()}
	for i := range c.After.Memberships {
		m := &c.After.Memberships[i]
		if exit := m.Entered.Add(op.retention); m.State == In && m.Quarantine == op.quarantine && !m.Exit.Equal(exit) {
			m.Exit = exit
			c.member(i)
		}
	}
	if len(c.Members) == 0 || r.State != Held {
		return nil, "message " + r.MID.String() + " has that exit time already, or is not held there any more", nil
	}
	return c, "", nil
}

// Retain applies a quarantine's present retention to what it holds already: a
// changed one holds only for what comes in (reference 1.6). Delays made by hand
// are overwritten. It takes the right to all quarantines.
func (s *Service) Retain(ctx context.Context, p mail.Principal, quarantine string) (Outcome, error) {
	what := `quarantine apply the retention of "` + quarantine + `"`
	if err := s.entitled(p, what, quarantine); err != nil {
		return Outcome{}, err
	}
	q, known := s.setting(quarantine)
	switch {
	case !auth.Can(p.Role, auth.QuarantineAll):
		return Outcome{}, errs.New(errs.Denied, "role %q may not change the retention of what is held", p.Role)
	case !known || quarantine == "":
		return Outcome{}, errs.New(errs.NotFound, "there is no quarantine %q", clip(quarantine))
	}
	var mids []mail.MID
	for m, err := range s.Search(ctx, p, Query{Quarantine: quarantine, States: []State{Held}}) {
		if err != nil {
			return Outcome{}, err
		}
		mids = append(mids, m.MID)
	}
	out, err := s.act(ctx, mids, party{p: p, may: everything}, retain{q.Name, q.Retention}, nil)
	out.Missed = nil // those already right are no failure
	s.opt.Audit.Record(p, what, "ok")
	return out, err
}
