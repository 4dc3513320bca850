package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// link is the writer's connection to a server, which may be lost at any moment.
// What the server has committed stands; the one question is whether a commit
// whose answer was lost was made, and the mark of the batch answers it: each
// transaction writes its number into this manager's row.
type link struct {
	batch int64     // number of the last transaction begun
	doubt *doubt    // one of which the answer was lost
	down  time.Time // since when the server cannot be reached; zero: it can
	next  time.Time // no attempt to connect before
	why   error     // of the last attempt
	away  atomic.Bool
	mu    sync.Mutex
	late  []mail.MID // releases of batches that were committed after all, when nobody waited any more
}

// doubt is a batch that was perhaps committed.
type doubt struct {
	batch   int64
	jobs    []*job // whose callers wait; nil: they have heard that it is not known
	durable bool
	garbage []quarantine.ContentID
	intents []mail.MID
}

const (
	// patience is how long callers wait for a server that was lost just now:
	// a restart or a failover passes unnoticed.
	patience = 5 * time.Second
	// pauseConnect is between two attempts to connect.
	pauseConnect = 200 * time.Millisecond
	// maxClashes is how often a batch is repeated that others were in the way of.
	maxClashes = 20
)

// errMade ends the repetition of a batch that turns out to be committed.
var errMade = errors.New("committed already")

// errUnsure is what callers get when a commit was sent and no answer came.
var errUnsure = errors.New("no answer to a commit")

// errAway wraps what connect says while the server is away.
var errAway = errors.New("not connected")

// connect sees to it that there is a connection, and limits what follows in
// time; end is to be called behind it. After a lost answer it first finds out
// what became of that batch.
func (s *Store) connect() (end func(), err error) {
	l := &s.w.link
	s.w.ctx = context.Background()
	if !s.d.shared() {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeWait)
	s.w.ctx = ctx
	if s.conn == nil {
		if err := s.reconnect(ctx); err != nil {
			cancel()
			return nil, err
		}
	}
	if l.doubt != nil {
		if err := s.settle(ctx); err != nil {
			cancel()
			return nil, s.lost(err)
		}
	}
	return cancel, nil
}

func (s *Store) reconnect(ctx context.Context) error {
	l := &s.w.link
	if now := time.Now(); now.Before(l.next) && l.why != nil {
		return l.why
	}
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	c, err := s.write.Conn(ctx)
	if err == nil {
		if err = c.PingContext(ctx); err != nil {
			err = errors.Join(err, dropConn(c))
		}
	}
	if err != nil {
		l.next = time.Now().Add(pauseConnect)
		if l.down.IsZero() {
			l.down = time.Now()
			s.fault(errs.Wrap(errs.Temporary, err, "%s cannot be reached: mail waits at the gateways", s.d.place()))
		}
		l.away.Store(true)
		l.why = errs.Wrap(errs.Temporary, errors.Join(errAway, err), "the database cannot be reached")
		return l.why
	}
	s.conn, s.w.relax = c, false
	if !l.down.IsZero() {
		s.fault(errs.New(errs.Temporary, "%s can be reached again, after %s", s.d.place(), time.Since(l.down).Round(time.Second)))
	}
	l.down, l.why = time.Time{}, nil
	l.away.Store(false)
	return nil
}

// lost gives up the connection after an error of it.
func (s *Store) lost(err error) error {
	if !s.d.shared() || !isAway(err) {
		return err
	}
	s.giveUp()
	return errs.Wrap(errs.Temporary, errors.Join(errAway, err), "the database cannot be reached")
}

func (s *Store) giveUp() {
	if s.conn != nil {
		if err := dropConn(s.conn); err != nil {
			s.fault(errs.Wrap(errs.Internal, err, "closing a connection to the database"))
		}
		s.conn = nil
	}
	s.w.link.away.Store(true)
}

// dropConn closes a connection that is not to be used again.
func dropConn(c *sql.Conn) error {
	err := c.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		err = nil
	}
	if e := c.Close(); e != nil && !errors.Is(e, sql.ErrConnDone) {
		err = errors.Join(err, e)
	}
	return err
}

// again waits before a batch is repeated; false: not now.
func (s *Store) again(try int, waited time.Duration, err error) bool {
	l, pause := &s.w.link, pauseConnect
	if isClash(err) {
		if try >= maxClashes {
			return false
		}
		pause = time.Duration(rand.Int64N(int64(min(try+1, 10)) * int64(10*time.Millisecond)))
	} else if waited > s.opt.Patience || !l.down.IsZero() && time.Since(l.down) > s.opt.Patience {
		return s.giveAnswer()
	}
	select {
	case <-time.After(pause):
		return true
	case <-s.done:
		return s.giveAnswer()
	}
}

// giveAnswer notes that callers do not wait any longer, and keeps what is to be
// done in their place if the batch turns out to be committed.
func (s *Store) giveAnswer() bool {
	if d := s.w.link.doubt; d != nil {
		for _, j := range d.jobs {
			d.garbage, d.intents = append(d.garbage, j.garbage...), append(d.intents, j.intents...)
			j.garbage = nil // removed only when it is known that no record names it
		}
		d.jobs = nil
	}
	return false
}

// settle finds out what became of a commit without an answer. Its transaction
// may still be under way at the server; the row is locked until it is over.
func (s *Store) settle(ctx context.Context) error {
	l := &s.w.link
	d := l.doubt
	var life string
	var batch int64
	err := s.conn.QueryRowContext(ctx, "SELECT life, batch FROM manager WHERE name = $1"+s.d.mine(), s.opt.Name).Scan(&life, &batch)
	if err != nil {
		return sqlError(err, "asking what was committed")
	}
	if life != s.life {
		return s.usurped()
	}
	l.doubt = nil
	if batch != d.batch {
		return nil
	}
	if d.jobs != nil {
		return errMade
	}
	if d.durable {
		s.remove(d.garbage)
	} else {
		s.w.late = append(s.w.late, d.garbage...)
	}
	l.mu.Lock()
	l.late = append(l.late, d.intents...)
	l.mu.Unlock()
	return nil
}

// usurped ends the manager when another one works under its name.
func (s *Store) usurped() error {
	s.w.dead = errs.New(errs.Closed, "another manager works on %s under the name %s", s.d.place(), s.opt.Name)
	s.die(s.w.dead)
	return s.w.dead
}

// mark writes the number of the batch.
func (t *tx) mark() error {
	s := t.s
	if !s.d.shared() {
		return nil
	}
	l := &s.w.link
	l.batch++
	n, err := t.execN("UPDATE manager SET batch = $1 WHERE name = $2 AND life = $3", l.batch, s.opt.Name, s.life)
	if err == nil && n == 0 {
		return s.usurped()
	}
	return err
}

// unsure notes that the answer to a commit was lost.
func (s *Store) unsure(err error, batch []*job) error {
	l := &s.w.link
	l.doubt = &doubt{batch: l.batch, jobs: batch, durable: durable(batch)}
	s.giveUp()
	return errs.Wrap(errs.Temporary, errors.Join(errUnsure, errAway, err), "the database was lost while the change was committed: whether it was made will show when it is back")
}
