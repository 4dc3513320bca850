// Package spool is a gateway's durable queue: the content of its messages, a
// record of each, and the ledgers that make custody over CPQ exactly once. It
// implements queue.Store on the embedded key-value engine.
//
// It is not the schedule (queue) and holds no quarantine (store, blob).
//
// It promises that a nil from Commit, and from Apply of a durable update, means
// that the bytes are on stable storage and will be found again (P1): content
// and record enter in one synced batch, or the record comes last, after the
// chunks of a long content. Commits of all sessions share their flushes; none
// is answered before its own is through. What was being received when the
// process died is swept away. Message numbers, once given out, never return.
// A record or content that fails its check is set aside and reported, never
// delivered (P5). After a write or flush that failed nothing more is accepted:
// the engine may not know what is on the disk, so the process has to
// start again from what is.
//
// # Keys
//
//	c MID chunk    content: up to 256 KiB and a checksum
//	m MID          record of a live message
//	x MID          record set aside, with its cause
//	a ACTIONKEY    ledger "taken": a release carried out
//	s KEY          ledger "sent": custody passed to a manager
//	h MID          shadow: the content stays while a manager holds the message
//	r ACTIONKEY    what is to be said of a release: its account
//	i NAME         message numbers reserved
//	n NAME         small states of other rooms
//	v              format of all this
package spool

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Log is where faults go; *logs.Mail implements it.
type Log interface {
	Fault(component, text string)
}

// Options of a spool. Dir and Log are required.
type Options struct {
	Dir    string
	Serial string // of this appliance, for message keys
	Log    Log
	FS     vfs.FS // nil: the operating system's
	Clock  func() time.Time

	// OnFatal is called once, in a goroutine of its own, when the engine can
	// write no more. The owner has to end the process (or this role): commits
	// under way may wait until it does, and none of them will say yes.
	OnFatal func(error)

	// MinBytes and MinInodes must stay free on the file system, otherwise mail
	// is refused with errs.Full. 0: 256 MiB, 2,000 inodes.
	MinBytes  uint64
	MinInodes uint64
	// Space gives what is free. Nil: the file system of Dir; none with another FS.
	Space func() (bytes, inodes uint64, err error)

	// Disk watches the disk, and hears of it when mail is refused for want of
	// space. Nil: one that tells nobody.
	Disk *disk.Watch

	// Accounts hears of each account that was written by Apply; it must not wait.
	Accounts func(mail.ActionKey)

	// MaxShadows is how many bytes of messages are kept that a manager holds by
	// an outbreak rule. 0: none.
	MaxShadows int64

	chunk int           // bytes of content in one key, for tests; 0: chunkSize
	wait  time.Duration // for the answer to a client, for tests; 0: patience
	ahead int64         // octets of a log file made ahead, for tests; with FS nil: MemTable
	cache *pebble.Cache // for tests that open many spools; nil: one of its own

	Stall    time.Duration // how much longer each flush is to take, for measurements
	MemTable uint64        // bytes of the engine's write buffer; 0: 32 MiB
}

// Spool is an open spool.
type Spool struct {
	opt   Options
	now   func() time.Time
	db    *pebble.DB
	cache *pebble.Cache
	ahead *disk.Ahead // nil: the engine makes its own log files
	space space

	number   number
	departed departed
	shadows  shadows
	fresh    fresh
	old      mail.MID // numbers below were given out by earlier lives

	taking   sync.Mutex // guards inFlight
	inFlight map[mail.ActionKey]chan struct{}

	gate   disk.Gate // who is in the engine
	group  group
	orders sync.Pool // *order
	bufs   sync.Pool // *[]byte for chunks

	unsynced atomic.Uint64 // commits made without a sync
	synced   atomic.Uint64 // of these, how many a later sync has covered

	dead    atomic.Pointer[error] // the engine failed
	died    chan struct{}         // closed when it did
	fatal   sync.Once
	closing chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

// format is the version of keys and records. A newer one is refused.
const format = 1

// Open opens the spool in Options.Dir, or makes it.
func Open(opt Options) (*Spool, error) {
	if opt.Log == nil || opt.Dir == "" {
		return nil, errs.New(errs.Internal, "spool needs a directory and a log")
	}
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Disk == nil {
		opt.Disk = disk.NewWatch("spool", nil)
	}
	if opt.MemTable == 0 {
		opt.MemTable = 32 << 20 // docs/decisions/spool-engine.md says why not more
	}
	if opt.FS == nil {
		opt.FS, opt.ahead = vfs.Default, int64(opt.MemTable)
		if opt.Space == nil {
			opt.Space = func() (uint64, uint64, error) { return free(opt.Dir) }
		}
	}
	if opt.Stall > 0 {
		opt.FS = disk.Slow(opt.FS, opt.Stall)
	}
	if opt.wait == 0 {
		opt.wait = patience
	}
	if opt.chunk == 0 {
		opt.chunk = chunkSize
	}
	if opt.MinBytes == 0 {
		opt.MinBytes = 256 << 20
	}
	if opt.MinInodes == 0 {
		opt.MinInodes = 2000
	}
	s := &Spool{opt: opt, now: opt.Clock, inFlight: make(map[mail.ActionKey]chan struct{}), closing: make(chan struct{}), died: make(chan struct{})}
	s.bufs.New = func() any { b := make([]byte, 0, 8<<10); return &b }
	if err := opt.FS.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, errs.Wrap(errs.Internal, err, "making the spool directory %s", opt.Dir)
	}
	if err := s.orDead(s.start); err != nil {
		return nil, errs.Context(err, "opening the spool in %s", opt.Dir)
	}
	opt.Disk.Patient()
	s.wg.Go(s.sweep)
	return s, nil
}

// orDead runs f, and does not wait for it when the engine fails meanwhile: it
// may hang then, until the process ends.
func (s *Spool) orDead(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-s.died:
		return *s.dead.Load()
	}
}

// start opens the engine and looks at what is in it.
func (s *Spool) start() error {
	if err := s.openEngine(); err != nil {
		return errs.Wrap(errs.Internal, err, "opening the engine")
	}
	if err := s.begin(); err != nil {
		if s.dead.Load() == nil {
			err = errors.Join(err, s.db.Close())
			s.ahead.Close()
			s.cache.Unref()
		}
		return err
	}
	return nil
}

// begin checks the format, loads the number, and carries out what is noted of the
// last life.
func (s *Spool) begin() error {
	v, found, err := s.get([]byte{keyFormat})
	if err != nil {
		return err
	}
	if !found {
		if err := s.db.Set([]byte{keyFormat}, []byte{format}, pebble.Sync); err != nil {
			return err
		}
	} else if len(v) != 1 || v[0] > format {
		return errs.New(errs.Invalid, "the spool was written by a newer version")
	}
	if err := s.number.load(s); err != nil {
		return err
	}
	s.old = mail.MID(s.number.next)
	if err := s.loadShadows(); err != nil {
		return err
	}
	return s.openDeparted()
}

// Close ends the spool. Everything applied is on stable storage after nil.
func (s *Spool) Close() (err error) {
	s.once.Do(func() {
		close(s.closing)
		s.opt.Disk.Stop() // nobody waits for room any more
		// The engine of a dead spool may hang, and the sweep with it: that is left to
		// the end of the process.
		if err = s.orDead(func() error { s.wg.Wait(); return s.Err() }); err != nil {
			return
		}
		if err = s.closeNumber(); s.dead.Load() != nil {
			return
		}
		if e := s.orDead(func() error { s.gate.Close(); return s.db.Close() }); err == nil {
			err = e
		}
		if s.dead.Load() != nil {
			return
		}
		s.ahead.Close()
		if e := s.closeDeparted(); err == nil {
			err = e
		}
		s.cache.Unref()
		err = errs.Wrap(errs.Internal, err, "closing the spool")
	})
	return err
}

// Key prefixes.
const (
	keyContent = 'c'
	keyRecord  = 'm'
	keyAside   = 'x'
	keyAction  = 'a'
	keySent    = 's'
	keyShadow  = 'h'
	keyReport  = 'r'
	keyNumber  = 'i'
	keyState   = 'n'
	keyFormat  = 'v'
)

func midKey(prefix byte, mid mail.MID) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 13), prefix), uint64(mid))
}

func chunkKey(mid mail.MID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(midKey(keyContent, mid), n)
}

func nameKey(prefix byte, name string) []byte {
	return append(append(make([]byte, 0, 1+len(name)), prefix), name...)
}

// keyMID reads the number in a key of the form prefix MID ...
func keyMID(key []byte) (mail.MID, error) {
	if len(key) < 9 {
		return 0, errs.New(errs.Damaged, "key %x has no message number", key)
	}
	return mail.MID(binary.BigEndian.Uint64(key[1:])), nil
}

// get gives a copy of a value.
func (s *Spool) get(key []byte) (value []byte, found bool, err error) {
	v, closer, err := s.db.Get(key)
	switch {
	case err == pebble.ErrNotFound:
		return nil, false, nil
	case err != nil:
		return nil, false, engineError(err, "reading the spool")
	}
	defer closer.Close()
	return append([]byte(nil), v...), true, nil
}

// engineError classifies an error of a read.
func engineError(err error, what string) error {
	if pebble.IsCorruptionError(err) {
		return errs.Wrap(errs.Damaged, err, "%s", what)
	}
	return errs.Wrap(errs.Internal, err, "%s", what)
}

// Put stores a small state of another room, durably. Nil deletes it.
func (s *Spool) Put(name string, value []byte) error {
	b := s.db.NewBatch()
	defer b.Close()
	key := nameKey(keyState, name)
	var err error
	if value == nil {
		err = b.Delete(key, nil)
	} else {
		err = b.Set(key, value, nil)
	}
	if err == nil {
		err = s.commit(b, true)
	}
	return errs.Context(err, "storing %s", name)
}

// Get gives what Put stored; nil when there is nothing.
func (s *Spool) Get(name string) ([]byte, error) {
	v, _, err := s.get(nameKey(keyState, name))
	return v, errs.Context(err, "reading %s", name)
}
