// Package blob keeps the content of quarantined messages on this machine:
// compressed, encrypted and checked on the way out.
//
// It is not the record of a message: it knows neither who sent it nor which
// content belongs to whom, and it does not look for content it already has.
// The SQL store does both.
//
// It promises that a content is on stable storage when Put returns nil, that
// what Open gives is byte for byte what Put took or ends in errs.Damaged, that
// nothing readable is on the disk without the key, and that content whose
// record never came to be is found and removed by Sweep.
//
// # Form on disk
//
// One Pebble store. An object has a number of 16 bytes (the time, then 72 random
// bits; objects of a bucket have nothing but random ones) and a class: small (one
// chunk) or large. Its keys:
//
//	i ID          nothing; the list of what is there, so that a sweep reads no content
//	o ID          version, sealed header (size, SHA-256, chunks), and the chunk of a small object
//	c ID number   one sealed chunk of a large object
//	k             check value of the key
//
// Chunks are 256 KiB of content, zstd at its fastest when that makes them
// smaller, sealed with AES-256-GCM under a key made of the master key and the
// object's number. So each object has a key of its own, the chunk's number is
// the nonce, and no chunk can stand in for another.
package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

// KeySize is the length of the master key.
const KeySize = 32

// Options of a store.
type Options struct {
	Dir     string
	Key     []byte      // KeySize bytes, from LoadKey
	FS      vfs.FS      // nil: the operating system's
	MinFree uint64      // bytes that must stay free on the disk; 0: 256 MiB
	OnFatal func(error) // the engine cannot go on: end the process; called at most once
	OnFault func(error) // something to be logged
	Disk    *disk.Watch // nil: one that tells nobody

	MemTable uint64 // bytes of the engine's write buffer; 0: 64 MiB

	wait time.Duration // for an answer, for tests; 0: patience
}

const (
	defaultMinFree = 256 << 20
	memTable       = 64 << 20
	blockCache     = 16 << 20
)

// Store is one content store. Safe for concurrent use.
type Store struct {
	opt   Options
	db    *pebble.DB
	cache *pebble.Cache
	codec
	old   *pebble.Snapshot
	oldMu sync.Mutex // guards old
	free  freeSpace
	dead  atomic.Pointer[error] // the engine failed
	died  chan struct{}         // closed when it did
	once  sync.Once
	gate  disk.Gate // who writes, those that nobody waits for among them
}

// Open opens the store in a directory and makes it when it is not there.
func Open(opt Options) (*Store, error) {
	if len(opt.Key) != KeySize {
		return nil, errs.New(errs.Internal, "the content key has %d bytes, not %d", KeySize, len(opt.Key))
	}
	if opt.FS == nil {
		opt.FS = vfs.Default
	}
	if opt.MemTable == 0 {
		opt.MemTable = memTable
	}
	if opt.wait == 0 {
		opt.wait = patience
	}
	if opt.Disk == nil {
		opt.Disk = disk.NewWatch("content", nil)
	}
	if opt.MinFree == 0 {
		opt.MinFree = defaultMinFree
	}
	s := &Store{opt: opt, cache: pebble.NewCache(blockCache), died: make(chan struct{})}
	if err := s.orDead(s.start); err != nil {
		return nil, errs.Context(err, "opening the content store %s", opt.Dir)
	}
	return s, nil
}

// orDead runs f, and does not wait for it when the engine fails meanwhile: it
// may hang then, until the process ends.
func (s *Store) orDead(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-s.died:
		return *s.dead.Load()
	}
}

func (s *Store) start() (err error) {
	if s.db, err = pebble.Open(s.opt.Dir, s.engine()); err != nil {
		s.cache.Unref()
		return errs.Wrap(errs.Internal, err, "opening the engine")
	}
	if err = s.prepare(); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// prepare makes what is needed besides the engine and checks the key.
func (s *Store) prepare() (err error) {
	if err := s.codec.init(s.opt.Key); err != nil {
		return err
	}
	if err := s.checkKey(); err != nil {
		return err
	}
	s.old = s.db.NewSnapshot()
	s.opt.Disk.Patient()
	return nil
}

// engine sets up Pebble. Content is compressed and encrypted already: its own
// compression would only cost.
func (s *Store) engine() *pebble.Options {
	o := &pebble.Options{
		FS:                          disk.Engine(s.opt.FS, s.opt.Disk, s.fatal),
		Cache:                       s.cache,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                s.opt.MemTable,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                500,
		Logger:                      logger{s},
	}
	o.CompactionConcurrencyRange = func() (int, int) { return 1, 2 }
	for i := range o.Levels {
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// logger passes on what matters. Pebble calls Fatalf when a commit cannot be
// made durable and expects it not to return: nobody who waits for that commit
// may go on to say 250 (rule Q-2).
type logger struct{ s *Store }

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) { l.s.fault(fmt.Errorf(format, args...)) }

func (l logger) Fatalf(format string, args ...any) {
	l.s.fatal(fmt.Errorf(format, args...))
	select {}
}

// fatal tells the owner, once, that nothing more can be written.
func (s *Store) fatal(cause error) {
	s.once.Do(func() {
		err := errs.Wrap(errs.Temporary, cause, "the content store cannot be written")
		s.dead.Store(&err)
		close(s.died)
		if s.opt.OnFatal == nil {
			panic(err)
		}
		go s.opt.OnFatal(err)
	})
}

func (s *Store) fault(err error) {
	if s.opt.OnFault != nil {
		s.opt.OnFault(err)
	}
}

// checkKey holds the key against the one that this store was made with: with
// another one all content would look damaged.
func (s *Store) checkKey() error {
	want := keyCheck(s.opt.Key)
	got, closer, err := s.db.Get([]byte{prefixKey})
	if errors.Is(err, pebble.ErrNotFound) {
		return s.db.Set([]byte{prefixKey}, want, pebble.Sync)
	}
	if err != nil {
		return errs.Wrap(errs.Internal, err, "reading the content store %s", s.opt.Dir)
	}
	defer closer.Close()
	if !bytes.Equal(got, want) {
		return errs.New(errs.Invalid, "the content store %s was made with another content key: put the old key file back", s.opt.Dir)
	}
	return nil
}

// Close ends the store. Nobody may use it any more.
func (s *Store) Close() error {
	s.opt.Disk.Stop() // nobody waits for room any more
	s.codec.close()
	if e := s.dead.Load(); e != nil {
		return *e // the engine may hang: leave it to the end of the process
	}
	err := s.orDead(func() error {
		s.endSweep() // asks the engine, which may hang
		s.gate.Close()
		return s.db.Close()
	})
	if s.dead.Load() == nil {
		s.cache.Unref()
	}
	return err
}

// Delete removes content; one that is not there is no error. It is not synced:
// should a crash undo it, the next sweep finds it again.
func (s *Store) Delete(ctx context.Context, id quarantine.ContentID) error {
	o, err := parseID(id, classSmall, classLarge)
	if err != nil {
		return err
	}
	return s.remove(ctx, o)
}
