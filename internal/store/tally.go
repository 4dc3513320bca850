package store

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// tally is a counter that is kept with each change: counting a million rows
// takes too long for a list.
type tally struct {
	messages, bytes, newest int64
}

// arrival is what came in in one hour, and the range of its numbers.
type arrival struct {
	messages, bytes int64
	lo, hi          mail.MID
}

// Names of counters of all quarantines together. No quarantine has a quote in
// its name.
const (
	poolTally  = `"pool`  // all that has content
	binTally   = `"bin`   // of these: deleted, and to be removed
	goingTally = `"going` // of these: released, and not yet taken by a gateway
)

// count notes a change of what a quarantine holds.
func (t *tx) count(quarantine string, messages, bytes int64, newest time.Time) {
	c := t.tally[quarantine]
	if c == nil {
		c = new(tally)
		t.tally[quarantine] = c
	}
	c.messages += messages
	c.bytes += bytes
	if !newest.IsZero() {
		c.newest = max(c.newest, newest.UnixMilli())
	}
}

// holds notes n (1 or -1) messages more in a state, in the counters of the pool.
func (t *tx) holds(s quarantine.State, n, size int64) {
	if s.HasContent() {
		t.count(poolTally, n, n*size, time.Time{})
	}
	switch s {
	case quarantine.Binned:
		t.count(binTally, n, n*size, time.Time{})
	case quarantine.Leaving, quarantine.Releasing:
		t.count(goingTally, n, n*size, time.Time{})
	}
}

// arrived notes a new message.
func (t *tx) arrived(r *quarantine.Record) {
	hour := ms(r.Received) / hourMS
	c := t.hours[hour]
	if c == nil {
		c = &arrival{lo: r.MID}
		t.hours[hour] = c
	}
	c.messages++
	c.bytes += r.Size
	c.lo, c.hi = min(c.lo, r.MID), max(c.hi, r.MID)
}

// saveTally writes the counters once a batch.
func (t *tx) saveTally() error {
	for _, q := range slices.Sorted(maps.Keys(t.tally)) { // in one order, or two managers lock each other out
		c := t.tally[q]
		if *c == (tally{}) {
			continue
		}
		err := t.exec(`INSERT INTO tally (quarantine, messages, bytes, newest) VALUES ($1, $2, $3, $4)
			ON CONFLICT (quarantine) DO UPDATE SET messages = tally.messages + excluded.messages,
			bytes = tally.bytes + excluded.bytes,
			newest = CASE WHEN excluded.newest > tally.newest THEN excluded.newest ELSE tally.newest END`,
			q, c.messages, c.bytes, c.newest)
		if err != nil {
			return err
		}
	}
	for _, hour := range slices.Sorted(maps.Keys(t.hours)) {
		c := t.hours[hour]
		err := t.exec(`INSERT INTO arrival (hour, messages, bytes) VALUES ($1, $2, $3)
			ON CONFLICT (hour) DO UPDATE SET messages = arrival.messages + excluded.messages, bytes = arrival.bytes + excluded.bytes`,
			hour, c.messages, c.bytes)
		if err != nil {
			return err
		}
		err = t.exec(`INSERT INTO span (hour, lo, hi) VALUES ($1, $2, $3) ON CONFLICT (hour) DO UPDATE SET
			lo = CASE WHEN excluded.lo < span.lo THEN excluded.lo ELSE span.lo END,
			hi = CASE WHEN excluded.hi > span.hi THEN excluded.hi ELSE span.hi END WHERE excluded.lo < span.lo OR excluded.hi > span.hi`,
			hour, int64(c.lo), int64(c.hi))
		if err != nil {
			return err
		}
	}
	return nil
}

// Counts implements quarantine.Store.
func (s *Store) Counts(ctx context.Context) (out []quarantine.Count, err error) {
	return s.counts(ctx, `(messages > 0 OR newest > 0) AND substr(quarantine, 1, 1) <> '"'`)
}

func (s *Store) counts(ctx context.Context, cond string) (out []quarantine.Count, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT quarantine, messages, bytes, newest FROM tally WHERE "+cond+" ORDER BY quarantine")
	if err != nil {
		return nil, sqlError(err, "counting messages")
	}
	defer rows.Close()
	for rows.Next() {
		var c quarantine.Count
		var newest int64
		if err := rows.Scan(&c.Quarantine, &c.Messages, &c.Bytes, &newest); err != nil {
			return nil, sqlError(err, "counting messages")
		}
		c.Last = fromMS(newest)
		out = append(out, c)
	}
	return out, sqlError(rows.Err(), "counting messages")
}

// Usage implements quarantine.Pool.
func (s *Store) Usage(ctx context.Context) (u quarantine.Usage, err error) {
	list, err := s.counts(ctx, `substr(quarantine, 1, 1) = '"'`)
	for _, c := range list {
		f := quarantine.Flow{Messages: c.Messages, Bytes: c.Bytes}
		switch c.Quarantine {
		case poolTally:
			u.All = f
		case binTally:
			u.Bin = f
		case goingTally:
			u.Going = f
		}
	}
	return u, err
}

// Sent implements quarantine.Pool.
func (s *Store) Sent(ctx context.Context, before time.Time, limit int) ([]quarantine.Weight, error) {
	return s.weights(ctx, "SELECT mid, size FROM message WHERE state = 8 AND changed <= $1 AND hold_at = 0 ORDER BY changed, mid LIMIT $2", ms(before), limit)
}

// Binned implements quarantine.Pool.
func (s *Store) Binned(ctx context.Context, limit int) ([]quarantine.Weight, error) {
	return s.weights(ctx, "SELECT mid, size FROM message WHERE state IN (1, 4) AND state = 4 AND hold_at = 0 ORDER BY until, mid LIMIT $1", limit)
}

// Evictable implements quarantine.Pool.
func (s *Store) Evictable(ctx context.Context, exempt []string, limit int) ([]quarantine.Weight, error) {
	w := where{d: s.d}
	w.add("m.state = 0 AND m.hold_at = 0")
	if len(exempt) > 0 {
		w.add("NOT EXISTS (SELECT 1 FROM membership b WHERE b.mid = m.mid AND b.state = 0 AND b.quarantine IN ("+marks(len(exempt))+"))", anys(exempt)...)
	}
	return s.weights(ctx, "SELECT m.mid, m.size FROM message m"+w.String()+" ORDER BY m.latest, m.mid LIMIT "+strconv.Itoa(limit), w.args...)
}

func (s *Store) weights(ctx context.Context, query string, args ...any) (out []quarantine.Weight, err error) {
	rows, err := s.read.QueryContext(ctx, query, bind(args)...)
	if err != nil {
		return nil, sqlError(err, "looking for room")
	}
	defer rows.Close()
	for rows.Next() {
		var w quarantine.Weight
		var mid int64
		if err := rows.Scan(&mid, &w.Bytes); err != nil {
			return nil, sqlError(err, "looking for room")
		}
		w.MID = mail.MID(mid)
		out = append(out, w)
	}
	return out, sqlError(rows.Err(), "looking for room")
}

// Arrivals implements quarantine.Outlook.
func (s *Store) Arrivals(ctx context.Context, since time.Time) (f quarantine.Flow, err error) {
	row := s.read.QueryRowContext(ctx, "SELECT COALESCE(SUM(messages), 0), COALESCE(SUM(bytes), 0) FROM arrival WHERE hour >= $1", since.Unix()/3600)
	return f, sqlError(row.Scan(&f.Messages, &f.Bytes), "reading arrivals")
}

// Exits implements quarantine.Outlook.
func (s *Store) Exits(ctx context.Context) (out []quarantine.Day, err error) {
	err = s.eachRow(ctx, "SELECT latest / 86400000, COUNT(*), SUM(size) FROM message WHERE state = 0 GROUP BY 1 ORDER BY 1", nil, func(scan func(...any) error) error {
		var day int64
		var d quarantine.Day
		err := scan(&day, &d.Messages, &d.Bytes)
		d.Start = time.Unix(day*86400, 0).UTC()
		out = append(out, d)
		return err
	})
	return out, err
}

// DueBy implements quarantine.Outlook.
func (s *Store) DueBy(ctx context.Context, at time.Time) (out []quarantine.Count, err error) {
	err = s.eachRow(ctx, `SELECT b.quarantine, COUNT(*), SUM(m.size), MAX(b.exit) FROM membership b CROSS JOIN message m
		WHERE b.state = 0 AND b.exit <= $1 AND m.mid = b.mid AND m.hold_at = 0 GROUP BY b.quarantine ORDER BY b.quarantine`, []any{ms(at)}, func(scan func(...any) error) error {
		var c quarantine.Count
		var last int64
		err := scan(&c.Quarantine, &c.Messages, &c.Bytes, &last)
		c.Last = fromMS(last)
		out = append(out, c)
		return err
	})
	return out, err
}

func (s *Store) eachRow(ctx context.Context, query string, args []any, fn func(scan func(...any) error) error) error {
	rows, err := s.read.QueryContext(ctx, query, bind(args)...)
	if err != nil {
		return sqlError(err, "reading the database")
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return errs.Context(sqlError(err, "reading the database"), "a row")
		}
	}
	return sqlError(rows.Err(), "reading the database")
}

// clockName is the row of meta that has the time last seen.
const clockName = "clock"

// Seen implements quarantine.Calendar. It is written with the next commit that
// flushes: a minute more or less does not matter.
func (s *Store) Seen(ctx context.Context, at time.Time) error {
	return s.do(ctx, false, func(t *tx) error {
		return t.exec("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			clockName, []byte(strconv.FormatInt(at.UnixMilli(), 10)))
	})
}

// LastSeen implements quarantine.Calendar.
func (s *Store) LastSeen(ctx context.Context) (t time.Time, err error) {
	err = s.eachRow(ctx, "SELECT value FROM meta WHERE name = $1", []any{clockName}, func(scan func(...any) error) error {
		var b []byte
		if err := scan(&b); err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(b), 10, 64)
		t = fromMS(n)
		return err
	})
	return t, err
}

// Retire implements quarantine.Calendar.
func (s *Store) Retire(ctx context.Context, name string, a quarantine.Action) error {
	return s.do(ctx, true, func(t *tx) error {
		return t.exec("INSERT INTO retired (quarantine, action) VALUES ($1, $2) ON CONFLICT (quarantine) DO UPDATE SET action = excluded.action", name, string(a))
	})
}

// Unretire implements quarantine.Calendar.
func (s *Store) Unretire(ctx context.Context, name string) error {
	return s.do(ctx, true, func(t *tx) error { return t.exec("DELETE FROM retired WHERE quarantine = $1", name) })
}

// Retired implements quarantine.Calendar.
func (s *Store) Retired(ctx context.Context) (map[string]quarantine.Action, error) {
	out := map[string]quarantine.Action{}
	err := s.eachRow(ctx, "SELECT quarantine, action FROM retired", nil, func(scan func(...any) error) error {
		var name, action string
		err := scan(&name, &action)
		out[name] = quarantine.Action(action)
		return err
	})
	return out, err
}
