package spool

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
)

// openEngine opens the key-value engine with settings for a queue: what comes
// in is mostly gone before the write buffer is full, so that it never reaches
// a table.
func (s *Spool) openEngine() (err error) {
	if s.cache = s.opt.cache; s.cache == nil {
		s.cache = pebble.NewCache(16 << 20)
	} else {
		s.cache.Ref()
	}
	fs := s.opt.FS
	if s.opt.ahead > 0 {
		s.ahead = disk.NewAhead(disk.AheadOptions{FS: fs, Dir: s.opt.Dir, Size: s.opt.ahead, Room: s.roomAhead})
		fs = s.ahead
	}
	o := &pebble.Options{
		FS:                          disk.Engine(fs, s.opt.Disk, func(err error) { _ = s.die(err) }),
		Cache:                       s.cache,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      engineLog{s},
		MemTableSize:                s.opt.MemTable,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       16,
		L0StopWritesThreshold:       1000, // back-pressure comes from the space floor, not from stalls
		LBaseMaxBytes:               256 << 20,
		BytesPerSync:                1 << 20,
		MaxOpenFiles:                256,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	// A damaged table is an error of the read that met it, not the end (P5). The
	// engine's default is to end the process.
	o.EventListener = &pebble.EventListener{
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			s.opt.Log.Fault("spool", "damaged file "+i.Path+": "+i.Details.Error())
		},
		BackgroundError: func(err error) { s.opt.Log.Fault("spool", "background work: "+err.Error()) },
	}
	// No value separation, although it costs a third less CPU for a backlog: in
	// 2.1.7 a flush that meets an I/O error while it is on ends in a nil pointer
	// (docs/decisions/spool-engine.md).
	for i := range o.Levels {
		// What reaches a table waits for a host that is down; it is read once.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
	}
	s.db, err = pebble.Open(s.opt.Dir, o)
	if err != nil {
		s.cache.Unref()
	}
	return err
}

// commit applies a batch. With sync it returns after the flush that covers it.
// On a disk that is full or does not answer it waits.
func (s *Spool) commit(b *pebble.Batch, sync bool) error { return s.apply(b, sync) }

// apply is the only way into the engine for anything that matters.
func (s *Spool) apply(b *pebble.Batch, sync bool) (err error) {
	if e := s.dead.Load(); e != nil {
		return *e
	}
	if !s.gate.Enter() {
		return errClosed()
	}
	defer s.gate.Leave()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = p.err
		default:
			panic(p)
		}
	}()
	o := pebble.NoSync
	if sync {
		o = pebble.Sync
	}
	before := s.unsynced.Load()
	if err := s.db.Apply(b, o); err != nil {
		return s.die(err)
	}
	if !sync {
		s.unsynced.Add(1)
		return nil
	}
	// The log is one: what was in it before this batch is on stable storage too.
	for old := s.synced.Load(); old < before && !s.synced.CompareAndSwap(old, before); old = s.synced.Load() {
	}
	return nil
}

// errClosed is what those hear who come too late.
func errClosed() error { return errs.New(errs.Closed, "the spool is closed") }

// covered reports whether everything committed so far is on stable storage.
func (s *Spool) covered() bool {
	return s.dead.Load() == nil && s.synced.Load() == s.unsynced.Load()
}

// die notes that the engine cannot be believed any more and gives the error
// that everybody gets from now on.
func (s *Spool) die(cause error) error {
	s.fatal.Do(func() {
		err := errs.Wrap(errs.Temporary, cause, "the spool cannot be written")
		s.dead.Store(&err)
		close(s.died)
		s.opt.Log.Fault("spool", err.Error())
		if s.opt.OnFatal != nil {
			go s.opt.OnFatal(err)
		}
	})
	return *s.dead.Load()
}

// Err gives why the spool stopped, or nil.
func (s *Spool) Err() error {
	if e := s.dead.Load(); e != nil {
		return *e
	}
	return nil
}

// failure carries a fatal error from the engine's logger back to apply.
type failure struct{ err error }

// engineLog is the engine's logger. The engine calls Fatalf when a write
// failed and believes that it does not return.
type engineLog struct{ s *Spool }

func (l engineLog) Infof(string, ...any) {}

func (l engineLog) Errorf(format string, args ...any) {
	l.s.opt.Log.Fault("spool", fmt.Sprintf(format, args...))
}

func (l engineLog) Fatalf(format string, args ...any) {
	err := l.s.die(fmt.Errorf(format, args...))
	if disk.Below("spool.(*Spool).apply") {
		panic(failure{err}) // a session waits for this commit: it gets the error
	}
	select {} // a goroutine of the engine, with locks held; the process is about to end
}
