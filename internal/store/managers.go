package store

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// Several managers on one database. Each says every few seconds that it is
// alive, by the server's clock; what one that is not had under way, the others
// take over. Being wrong about that does no harm: a record is changed by
// compare-and-set, the release of one whose owner changed is written by the new
// one only, and a gateway takes each action key once.
const (
	lease  = 30 * time.Second // a manager that gave no sign of life for this long is dead
	beats  = 6                // signs of life in that time
	takes  = 500              // releases taken over at once
	skew   = time.Minute      // a clock that is off by this is told of
	astray = 5 * time.Minute  // with one that is off by this, nothing is done by the clock
)

const serverNow = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

// turns is what this manager knows of whose turn it is.
type turns struct {
	mu       sync.Mutex
	mine     map[string]time.Time // until then, by our own count
	others   map[string]time.Time // not asked again before
	settings atomic.Pointer[string]
	skewed   atomic.Int64 // our clock less the server's
	alive    atomic.Int64 // unix ns: since when we have been alive without a break; 0: we are not
	last     atomic.Int64 // unix ns of the last sign of life
	told     atomic.Bool
	differ   atomic.Bool
}

// register enters this manager into the table, in the place of what its name
// had before, and refuses a database whose content lies elsewhere.
func (s *Store) register(ctx context.Context) error {
	if !s.d.shared() {
		return nil
	}
	s.life = rand.Text()
	s.turns.mine, s.turns.others = map[string]time.Time{}, map[string]time.Time{}
	if err := s.encoding(ctx); err != nil {
		return err
	}
	_, err := s.conn.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('contents', $1) ON CONFLICT (name) DO NOTHING", []byte(s.opt.Place))
	if err == nil {
		if err := s.contentsHere(ctx); err != nil {
			return err
		}
		_, err = s.conn.ExecContext(ctx, `INSERT INTO manager (name, life, until, batch) VALUES ($1, $2, `+serverNow+` + $3, 0)
			ON CONFLICT (name) DO UPDATE SET life = excluded.life, until = excluded.until, batch = 0`, s.opt.Name, s.life, s.opt.Lease.Milliseconds())
	}
	return sqlError(err, "opening the database %s", s.d.place())
}

// leave says at a clean end that this manager is gone, so that others need not
// wait for that.
func (s *Store) leave() error {
	if !s.d.shared() || s.conn == nil || s.life == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectWait)
	defer cancel()
	_, err := s.conn.ExecContext(ctx, "UPDATE manager SET until = 0 WHERE name = $1 AND life = $2", s.opt.Name, s.life)
	if err == nil {
		_, err = s.conn.ExecContext(ctx, "UPDATE turn SET until = 0 WHERE owner = $1", s.opt.Name)
	}
	if isAway(err) {
		return nil // they wait
	}
	return sqlError(err, "leaving the database")
}

// heartbeat says that this manager is alive.
func (s *Store) heartbeat() {
	t := time.NewTicker(s.opt.Lease / beats)
	defer t.Stop()
	for {
		if err := s.sign(); err != nil && !isAway(err) && !errs.Is(err, errs.Closed) {
			s.fault(errs.Context(err, "telling other managers of this one"))
		}
		if err := s.lookForTexts(context.Background()); err != nil && !isAway(err) {
			s.fault(err)
		}
		select {
		case <-t.C:
		case <-s.done:
			return
		}
	}
}

func (s *Store) sign() error {
	var until int64
	settings := ""
	if p := s.turns.settings.Load(); p != nil {
		settings = *p
	}
	err := s.do(context.Background(), false, func(t *tx) error {
		_, err := t.row("UPDATE manager SET until = "+serverNow+" + $1, settings = $2 WHERE name = $3 AND life = $4 RETURNING until",
			[]any{s.opt.Lease.Milliseconds(), settings, s.opt.Name, s.life}, &until)
		return err
	})
	if err != nil {
		return err
	}
	now := time.Now()
	if last := s.turns.last.Swap(now.UnixNano()); last == 0 || now.UnixNano()-last > int64(s.opt.Lease) {
		s.turns.alive.Store(now.UnixNano())
	}
	off := s.now().Sub(time.UnixMilli(until).Add(-s.opt.Lease))
	if s.opt.AnyClock {
		off = 0
	}
	s.turns.skewed.Store(int64(off))
	if far := off.Abs() > skew; s.turns.told.Swap(far) != far && far {
		s.fault(errs.New(errs.Invalid, "the clock of this machine is %s from that of the database server: with more than %s nothing expires here",
			off.Round(time.Second), astray))
	}
	return nil
}

// Announce says by which settings this manager lets mail leave. While managers
// that are alive differ in them, none lets anything leave by the clock: a
// message must not leave by the default action of somebody who does not know
// its quarantine.
func (s *Store) Announce(digest string) { s.turns.settings.Store(&digest) }

// Ready says whether the database can be reached.
func (s *Store) Ready() error {
	if s.w.link.away.Load() {
		return errs.New(errs.Temporary, "the database cannot be reached")
	}
	return nil
}

// Turn implements quarantine.Calendar.
func (s *Store) Turn(ctx context.Context, name string, d time.Duration) (bool, error) {
	if !s.d.shared() {
		return true, nil
	}
	u := &s.turns
	if time.Duration(u.skewed.Load()).Abs() > astray {
		return false, s.EndTurn(ctx, name)
	}
	now := time.Now()
	u.mu.Lock()
	mine, others := u.mine[name], u.others[name]
	u.mu.Unlock()
	if mine.Sub(now) > d/2 {
		return true, nil
	}
	if now.Before(others) {
		return false, nil
	}
	got := false
	err := s.do(ctx, false, func(t *tx) (err error) {
		got, err = t.turn(name, d)
		return err
	})
	if err != nil {
		return false, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if delete(u.mine, name); got {
		u.mine[name] = now.Add(d)
	} else {
		u.others[name] = now.Add(d / 6)
	}
	return got, nil
}

func (t *tx) turn(name string, d time.Duration) (bool, error) {
	s := t.s
	if p := s.turns.settings.Load(); p != nil {
		var who string
		differ, err := t.row("SELECT name FROM manager WHERE until > "+serverNow+" AND name <> $1 AND settings NOT IN ('', $2) LIMIT 1",
			[]any{s.opt.Name, *p}, &who)
		if err != nil {
			return false, err
		}
		if s.turns.differ.Swap(differ) != differ && differ {
			s.fault(errs.New(errs.Conflict, "manager %s has other settings of quarantines than this one: nothing leaves by the clock until they are the same", who))
		}
		if differ {
			return false, nil
		}
	}
	n, err := t.execN(`INSERT INTO turn (name, owner, until) VALUES ($1, $2, `+serverNow+` + $3)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
		WHERE turn.owner = excluded.owner OR turn.until < `+serverNow, name, s.opt.Name, d.Milliseconds())
	return n > 0, err
}

// EndTurn implements quarantine.Calendar.
func (s *Store) EndTurn(ctx context.Context, name string) error {
	if !s.d.shared() {
		return nil
	}
	s.turns.mu.Lock()
	_, mine := s.turns.mine[name]
	delete(s.turns.mine, name)
	s.turns.mu.Unlock()
	if !mine {
		return nil
	}
	return s.do(ctx, false, func(t *tx) error {
		return t.exec("UPDATE turn SET until = 0 WHERE name = $1 AND owner = $2", name, s.opt.Name)
	})
}

// TakeOver gives, until ctx ends, the numbers of releases that are this
// manager's from now on: those of managers that are dead, and those of which it
// became known only late that they are decided.
func (q *Releases) TakeOver(ctx context.Context, take func(mail.MID)) error {
	s := q.s
	t := time.NewTicker(s.opt.Lease / beats)
	defer t.Stop()
	for {
		for _, mid := range s.lateIntents() {
			take(mid)
		}
		for s.d.shared() {
			mids, err := s.takeOver(ctx)
			if err != nil && !isAway(err) && ctx.Err() == nil {
				s.fault(errs.Context(err, "taking over releases"))
			}
			for _, mid := range mids {
				take(mid)
			}
			if len(mids) < takes {
				break
			}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Store) lateIntents() []mail.MID {
	l := &s.w.link
	l.mu.Lock()
	defer l.mu.Unlock()
	late := l.late
	l.late = nil
	return late
}

// takeOver takes some releases of dead managers. Only one that has itself been
// alive for a lease does so: after the server was away all others look dead.
func (s *Store) takeOver(ctx context.Context) (mids []mail.MID, err error) {
	now, alive := time.Now().UnixNano(), s.turns.alive.Load()
	if last := s.turns.last.Load(); alive == 0 || now-alive < int64(s.opt.Lease) || now-last > int64(s.opt.Lease) {
		return nil, nil
	}
	err = s.do(ctx, true, func(t *tx) error {
		mids = mids[:0]
		rows, err := s.conn.QueryContext(s.w.ctx, `UPDATE intent SET owner = $1, qstate = $2, tries = 0 WHERE mid IN (
			SELECT i.mid FROM intent i LEFT JOIN manager m ON m.name = i.owner
			WHERE i.owner <> $1 AND (m.name IS NULL OR m.until < `+serverNow+`)
			ORDER BY i.mid LIMIT $3 FOR UPDATE OF i SKIP LOCKED) RETURNING mid`, s.opt.Name, int(queue.Work), takes)
		if err != nil {
			return sqlError(err, "taking over releases")
		}
		defer rows.Close()
		for rows.Next() {
			var mid int64
			if err := rows.Scan(&mid); err != nil {
				return sqlError(err, "taking over releases")
			}
			mids = append(mids, mail.MID(mid))
		}
		return sqlError(rows.Err(), "taking over releases")
	})
	if err != nil {
		return nil, err
	}
	return mids, nil
}
