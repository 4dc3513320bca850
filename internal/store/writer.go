package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// maxBatch is the most jobs in one transaction: larger ones gain nothing and
// make the first wait for the last.
const maxBatch = 512

// job is one change of the database. run may be called again after a rollback,
// so whatever it leaves outside of tx it must set anew each time.
type job struct {
	run     func(*tx) error
	add     *addition // in place of run: those of a batch are made together
	durable bool
	garbage []quarantine.ContentID // objects that no record names once the job is committed
	intents []mail.MID             // releases that begin with it
	err     error
	done    chan struct{}
	over    atomic.Bool // whoever sets it first, the writer or the caller, has the last word
}

// writer is the one goroutine that writes.
type writer struct {
	jobs  chan *job
	gone  chan struct{} // closed when it has ended
	stmts map[string]*sql.Stmt
	forms map[textKey]string
	relax bool                   // the connection does not flush at commit now
	late  []quarantine.ContentID // objects set free by commits that are not on stable storage yet
	dead  error                  // a flush failed: nothing written after it can be believed
	ctx   context.Context

	link link // to a server
}

// tx is the open transaction of a batch.
type tx struct {
	s     *Store
	j     *job
	tally map[string]*tally
	hours map[int64]*arrival
}

// do runs a change in a transaction that it may share with others, waits until
// it is committed, and removes the content it set free. It does not look at a
// context while it waits: whether the change was made would be unknown. It is
// for what nobody waits for at the other end of a line: see ask.
func (s *Store) do(ctx context.Context, durable bool, run func(*tx) error) error {
	return s.submit(ctx, &job{run: run, durable: durable, done: make(chan struct{})}, nil)
}

// submit is do for a job, until there is something from giveUp: then the answer
// is an error, and what became of the change is settled behind it (late).
func (s *Store) submit(ctx context.Context, j *job, giveUp <-chan time.Time) error {
	if err := ctx.Err(); err != nil {
		return errs.Wrap(errs.Temporary, err, "the change was not begun")
	}
	select {
	case <-s.done:
		return errs.New(errs.Closed, "the database is closed")
	default:
	}
	select {
	case s.w.jobs <- j:
	case <-ctx.Done():
		return errs.Wrap(errs.Temporary, ctx.Err(), "the change was not begun")
	case <-giveUp:
		return noAnswer()
	case <-s.done:
		return errs.New(errs.Closed, "the database is closed")
	}
	select {
	case <-j.done:
	case <-giveUp:
		if j.over.CompareAndSwap(false, true) {
			return noAnswer()
		}
		<-j.done // just in time
	case <-s.w.gone:
		select { // the writer answers all it took; a job that it never saw stays ours
		case <-j.done:
		default:
			return errs.New(errs.Closed, "the database is closed")
		}
	}
	s.remove(j.garbage)
	return j.err
}

// remove removes content that no record names any more.
func (s *Store) remove(list []quarantine.ContentID) {
	for _, id := range list {
		if err := s.opt.Contents.Delete(context.Background(), id); err != nil {
			s.fault(errs.Context(err, "removing content")) // the next sweep finds it
		}
	}
}

// writeLoop commits batch after batch. While one is flushed, the next gathers:
// the more callers, the fewer flushes for each.
func (s *Store) writeLoop() {
	defer close(s.w.gone)
	batch := make([]*job, 0, maxBatch)
	for {
		select {
		case j := <-s.w.jobs:
			batch = append(batch[:0], j)
		case <-s.done:
			return
		}
	more:
		for len(batch) < maxBatch {
			select {
			case j := <-s.w.jobs:
				batch = append(batch, j)
			default:
				break more
			}
		}
		if batch = slices.DeleteFunc(batch, s.refused); len(batch) == 0 {
			continue
		}
		s.writeAll(batch)
		for _, j := range batch {
			if !j.over.CompareAndSwap(false, true) {
				s.late(j)
			}
			close(j.done)
		}
	}
}

// writeAll commits a batch. One that failed is repeated job by job: what is
// wrong with one is not the others' affair, unless it is wrong for all.
func (s *Store) writeAll(batch []*job) {
	err := s.commit(batch)
	if err == nil {
		return
	}
	if len(batch) > 1 && !isAway(err) && !errors.Is(err, errUnsure) {
		for _, j := range batch {
			j.err = s.commit([]*job{j})
		}
		return
	}
	for _, j := range batch {
		j.err = err
	}
}

// commit makes the jobs of a batch durable together: all or none. Over a
// network it goes on after what is no fault of theirs: another transaction that
// was in the way, a connection that was lost and is there again soon.
func (s *Store) commit(batch []*job) error {
	var began time.Time
	for try := 0; ; try++ {
		err := s.commitOnce(batch)
		if err == nil || errors.Is(err, errMade) {
			s.holdBack(batch)
			return nil
		}
		if !s.d.shared() || !isClash(err) && !isAway(err) {
			return err
		}
		if try == 0 {
			began = time.Now()
		}
		if !s.again(try, time.Since(began), err) {
			return err
		}
	}
}

// durable reports whether a batch is to be on stable storage.
func durable(batch []*job) bool {
	return slices.ContainsFunc(batch, func(j *job) bool { return j.durable })
}

// holdBack keeps content that a batch set free until the batch is on stable
// storage: a power cut may take the batch back, and then the content is needed.
// A commit that flushes takes all earlier ones with it.
func (s *Store) holdBack(batch []*job) {
	if durable(batch) {
		batch[0].garbage = append(batch[0].garbage, s.w.late...)
		s.w.late = nil
		return
	}
	for _, j := range batch {
		s.w.late = append(s.w.late, j.garbage...)
		j.garbage = nil
	}
}

// commitOnce is one transaction.
func (s *Store) commitOnce(batch []*job) (err error) {
	if s.w.dead != nil {
		return s.w.dead
	}
	end, err := s.connect()
	if err != nil {
		return err
	}
	defer end()
	if err := s.flushing(durable(batch)); err != nil {
		return s.lost(err)
	}
	if err := s.exec(s.d.begin()); err != nil {
		return s.lost(err)
	}
	if err = s.runAll(batch); err == nil {
		o := s.opt.Disk.Begin("commit", "database")
		err = s.exec("COMMIT")
		o.End()
		s.check(err)
		if err == nil {
			return nil
		}
		if isAway(err) {
			return s.unsure(err, batch)
		}
	}
	for _, j := range batch {
		j.garbage, j.intents = nil, nil
	}
	if isAway(err) {
		return s.lost(err)
	}
	if rerr := s.exec("ROLLBACK"); rerr != nil && !isCode(rerr, sqliteError) { // "no transaction": it was rolled back
		return errors.Join(err, s.lost(rerr))
	}
	return err
}

// runAll runs the jobs of a batch in the open transaction.
func (s *Store) runAll(batch []*job) error {
	t := &tx{s: s, tally: make(map[string]*tally), hours: make(map[int64]*arrival)}
	if err := t.mark(); err != nil {
		return err
	}
	for _, j := range batch {
		j.garbage, j.intents = nil, nil
	}
	if err := t.addAll(batch); err != nil {
		return err
	}
	for _, j := range batch {
		if t.j = j; j.add != nil {
			continue
		}
		if err := j.run(t); err != nil {
			return err
		}
	}
	return t.saveTally()
}

// flushing sets whether a commit flushes the log. One that does takes all
// earlier commits with it: they stand before it in the same file.
func (s *Store) flushing(on bool) error {
	if s.w.relax == !on {
		return nil
	}
	if err := s.d.flush(s.w.ctx, s.conn, on); err != nil {
		return sqlError(err, "writing the database")
	}
	s.w.relax = !on
	return nil
}

// check ends all writing when the disk failed at a commit: after a failed flush
// the kernel takes the lost pages for written, and what is committed later
// would stand behind a hole in the log (rule Q-2). A server sees to that itself.
func (s *Store) check(err error) {
	if !diskFailed(err) {
		return
	}
	s.w.dead = errs.Wrap(errs.Closed, err, "the database has stopped after a failure of the disk")
	s.die(s.w.dead)
}

func (s *Store) die(err error) {
	if s.opt.OnFatal != nil {
		s.opt.OnFatal(err)
	}
}

// exec runs a statement on the writer's connection.
func (s *Store) exec(query string, args ...any) error {
	_, err := s.execN(query, args...)
	return err
}

func (s *Store) execN(query string, args ...any) (int64, error) {
	var r sql.Result
	st, err := s.stmt(query)
	switch {
	case err != nil:
		return 0, err
	case st != nil:
		r, err = st.Exec(bind(args)...)
	default:
		r, err = s.conn.ExecContext(s.w.ctx, query, bind(args)...)
	}
	if err != nil {
		return 0, sqlError(err, "writing the database")
	}
	return r.RowsAffected()
}

// stmt gives a prepared statement, or nil when the driver keeps its own; texts
// are constants, so there are few.
func (s *Store) stmt(query string) (*sql.Stmt, error) {
	if !s.d.prepares() {
		return nil, nil
	}
	if st := s.w.stmts[query]; st != nil {
		return st, nil
	}
	st, err := s.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, sqlError(err, "preparing a statement")
	}
	if s.w.stmts == nil {
		s.w.stmts = make(map[string]*sql.Stmt)
	}
	s.w.stmts[query] = st
	return st, nil
}

func (s *Store) closeStatements() (err error) {
	for _, st := range s.w.stmts {
		err = errors.Join(err, st.Close())
	}
	return err
}

func (t *tx) exec(query string, args ...any) error { return t.s.exec(query, args...) }

func (t *tx) execN(query string, args ...any) (int64, error) { return t.s.execN(query, args...) }

// row reads one row; false when there is none.
func (t *tx) row(query string, args []any, dest ...any) (bool, error) {
	st, err := t.s.stmt(query)
	if err != nil {
		return false, err
	}
	var row *sql.Row
	if st != nil {
		row = st.QueryRow(bind(args)...)
	} else {
		row = t.s.conn.QueryRowContext(t.s.w.ctx, query, bind(args)...)
	}
	err = row.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, sqlError(err, "reading the database")
}

// each reads rows inside the transaction.
func (t *tx) each(query string, args []any, fn func(*sql.Rows) error) error {
	st, err := t.s.stmt(query)
	if err != nil {
		return err
	}
	var rows *sql.Rows
	if st != nil {
		rows, err = st.Query(bind(args)...)
	} else {
		rows, err = t.s.conn.QueryContext(t.s.w.ctx, query, bind(args)...)
	}
	if err != nil {
		return sqlError(err, "reading the database")
	}
	for rows.Next() {
		if err := fn(rows); err != nil {
			return errors.Join(sqlError(err, "reading the database"), rows.Close())
		}
	}
	return sqlError(errors.Join(rows.Err(), rows.Close()), "reading the database")
}
