package blob

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

const sweepBatch = 1000

// Sweep removes content that was there when the store was opened and that
// nobody knows: a crash came between content and record, or between the end of
// a record and that of its content. It looks at a snapshot of that moment, so
// it may run while mail comes in. known says for each number whether a record
// has it. Sweep works once in the life of a store.
func (s *Store) Sweep(ctx context.Context, known func(context.Context, []quarantine.ContentID) ([]bool, error)) (removed int, err error) {
	s.oldMu.Lock()
	old := s.old
	s.old = nil
	s.oldMu.Unlock()
	if old == nil {
		return 0, errs.New(errs.Conflict, "the content store was swept before")
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	it, err := old.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixList}, UpperBound: []byte{prefixList + 1}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	ids := make([]quarantine.ContentID, 0, sweepBatch)
	for ok := it.First(); ok; ok = it.Next() {
		var o object
		if copy(o[:], it.Key()[1:]) != idSize {
			continue
		}
		if ids = append(ids, o.id()); len(ids) < sweepBatch {
			continue
		}
		n, err := s.sweepSome(ctx, ids, known)
		removed += n
		if err != nil {
			return removed, err
		}
		ids = ids[:0]
	}
	n, err := s.sweepSome(ctx, ids, known)
	return removed + n, err
}

func (s *Store) sweepSome(ctx context.Context, ids []quarantine.ContentID, known func(context.Context, []quarantine.ContentID) ([]bool, error)) (n int, err error) {
	if len(ids) == 0 || ctx.Err() != nil {
		return 0, ctx.Err()
	}
	is, err := known(ctx, ids)
	if err != nil {
		return 0, err
	}
	for i, id := range ids {
		if is[i] {
			continue
		}
		if err := s.Delete(ctx, id); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// endSweep lets go of the snapshot when nobody swept.
func (s *Store) endSweep() {
	s.oldMu.Lock()
	defer s.oldMu.Unlock()
	if s.old != nil {
		s.old.Close()
		s.old = nil
	}
}

// freeSpace remembers how much room there was a moment ago: asking the kernel
// for each message would cost more than it tells.
type freeSpace struct {
	mu    sync.Mutex
	asked time.Time
	avail uint64
	err   error
}

const freeSpaceAge = time.Second

// Ready says whether content of a size can be taken: errs.Full below the floor
// (register G4).
func (s *Store) Ready(size int64) error {
	if e := s.dead.Load(); e != nil {
		return *e
	}
	if err := s.opt.Disk.Ready(); err != nil {
		return err
	}
	f := &s.free
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); f.asked.IsZero() || now.Sub(f.asked) > freeSpaceAge {
		u, err := s.opt.FS.GetDiskUsage(s.opt.Dir)
		f.asked, f.avail, f.err = now, u.AvailBytes, err
	}
	if f.err != nil {
		return errs.Wrap(errs.Temporary, f.err, "asking for the free space of the content store")
	}
	s.opt.Disk.Floor(f.avail < s.opt.MinFree)
	if f.avail < s.opt.MinFree || f.avail-s.opt.MinFree < uint64(max(size, 0)) {
		return errs.New(errs.Full, "not enough free space for content")
	}
	return nil
}
