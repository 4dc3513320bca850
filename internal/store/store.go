// Package store keeps what the quarantine knows in SQL: records, memberships,
// release decisions, keys, counters. It implements quarantine.Store and
// quarantine.Calendar, and by Releases queue.Store for the manager's queue.
//
// It is not where content lies (blob), and it decides nothing: which change is
// right is the domain's business, the store makes it or says that somebody else
// was first.
//
// It promises that what returned without error is on stable storage (but for
// updates of the queue that ask for less), that many callers at once share one
// transaction and one flush, and that content is removed only after the last
// record that names it is.
package store

import (
	"context"
	"database/sql"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

var (
	_ quarantine.Store    = (*Store)(nil)
	_ quarantine.Calendar = (*Store)(nil)
	_ queue.Store         = (*Releases)(nil)
)

// Options of a store.
type Options struct {
	Path     string              // of the SQLite file
	DSN      string              // of a PostgreSQL database, in place of Path
	Name     string              // with DSN: of this manager among those on the database
	Place    string              // with DSN: where content lies; all managers on a database must say the same
	AnyClock bool                // with DSN: a clock that differs from the server's is none the worse (tests)
	Contents quarantine.Contents // where content lies
	OnFatal  func(error)         // nothing more can be written: end the process; called at most once
	OnFault  func(error)         // something to be logged
	Clock    func() time.Time
	Lease    time.Duration // with DSN: how long a manager is believed to be alive; 0: 30 s
	Patience time.Duration // with DSN: how long callers wait for a server that was lost just now; 0: 5 s
	Disk     *disk.Watch   // nil: one that tells nobody
	Readers  int           // searches at once; 0: 4

	vfs  string        // of SQLite; tests have a disk that fails
	wait time.Duration // for an answer, in tests; 0: answerWait
}

// Store is one open database. Safe for concurrent use.
type Store struct {
	opt     Options
	d       dialect
	now     func() time.Time
	read    *sql.DB
	write   *sql.DB
	conn    *sql.Conn // of write: the only one
	w       writer
	numbers numbers
	life    string // of this process, with DSN
	turns   turns
	readers chan *reader
	census  census
	texts   atomic.Bool   // there are, or were, texts of messages
	pending chan struct{} // capacity 1: something is to be indexed
	done    chan struct{}
	wg      sync.WaitGroup
	once    sync.Once
}

// Open opens the database, makes or migrates it, and refuses one that a newer
// program made.
func Open(ctx context.Context, opt Options) (s *Store, err error) {
	if opt.Contents == nil || (opt.Path == "") == (opt.DSN == "") {
		return nil, errs.New(errs.Internal, "store needs contents and either a path or the address of a server")
	}
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Disk == nil {
		opt.Disk = disk.NewWatch("database", nil)
	}
	if opt.Lease <= 0 {
		opt.Lease = lease
	}
	if opt.Patience <= 0 {
		opt.Patience = patience
	}
	if opt.wait <= 0 {
		opt.wait = answerWait
	}
	if opt.Readers <= 0 {
		opt.Readers = 4
	}
	s = &Store{opt: opt, now: opt.Clock, done: make(chan struct{}), d: liteDialect{opt.Path, opt.vfs}, readers: make(chan *reader, opt.Readers), pending: make(chan struct{}, 1)}
	if opt.DSN != "" {
		if opt.Name == "" || opt.Place == "" {
			return nil, errs.New(errs.Internal, "a store on a server needs the name of its manager and the place of content")
		}
		if s.d, err = newPostgres(opt.DSN); err != nil {
			return nil, err
		}
	}
	for range opt.Readers {
		s.readers <- &reader{stmts: make(map[string]*sql.Stmt)}
	}
	s.w.jobs, s.w.gone = make(chan *job, 4*maxBatch), make(chan struct{})
	if s.write, err = s.d.write(); err != nil {
		return nil, err
	}
	if s.conn, err = s.write.Conn(ctx); err != nil {
		return nil, errors.Join(sqlError(err, "opening the database %s", s.d.place()), s.write.Close())
	}
	if err = s.migrate(ctx); err == nil {
		err = s.register(ctx)
	}
	if err == nil {
		s.read, err = s.d.read(2 * opt.Readers)
	}
	if err != nil {
		return nil, errors.Join(err, s.conn.Close(), s.write.Close())
	}
	s.wg.Go(s.writeLoop)
	if err := s.loadNumbers(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.wg.Go(s.numberLoop)
	if s.d.shared() {
		s.wg.Go(s.heartbeat)
	}
	s.wg.Go(s.indexLoop)
	if err := s.lookForTexts(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close waits for what was begun and ends the store.
func (s *Store) Close() (err error) {
	s.once.Do(func() {
		close(s.done)
		s.wg.Wait()
		err = errors.Join(s.giveBack(), s.leave(), s.closeReaders(), s.closeStatements())
		if s.conn != nil {
			err = errors.Join(err, s.conn.Close())
		}
		err = errors.Join(err, s.write.Close())
		if s.read != nil {
			err = errors.Join(err, s.read.Close())
		}
	})
	return err
}

func (s *Store) fault(err error) {
	if err != nil && s.opt.OnFault != nil {
		s.opt.OnFault(err)
	}
}

// Known gives a question for blob.Sweep: which contents are some record's. It
// holds a mark of eight bytes for each, for as long as the sweep takes.
func (s *Store) Known(ctx context.Context) (func(context.Context, []quarantine.ContentID) ([]bool, error), error) {
	seed, marks := maphash.MakeSeed(), make(map[uint64]struct{})
	rows, err := s.read.QueryContext(ctx, "SELECT object FROM content")
	if err != nil {
		return nil, sqlError(err, "listing content")
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, sqlError(err, "listing content")
		}
		marks[maphash.String(seed, id)] = struct{}{}
	}
	if err := rows.Err(); err != nil {
		return nil, sqlError(err, "listing content")
	}
	return func(_ context.Context, ids []quarantine.ContentID) ([]bool, error) {
		out := make([]bool, len(ids))
		for i, id := range ids {
			_, out[i] = marks[maphash.String(seed, string(id))]
		}
		return out, nil
	}, nil
}
