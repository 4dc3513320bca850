package spool

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// A message that outbreak rules hold, or file analysis, and whose custody a manager takes, leaves
// its content here (reference 2.6): a shadow, by which it is judged again when
// there are other rules. It comes to be in the batch that writes the ledger
// "sent" and removes the message, so a crash knows no state between the two, and
// nothing is copied. The ledger has all else that there is to know of it.

// Shadow is the content of a message that a manager holds.
type Shadow struct {
	MID  mail.MID // ours, that the content is kept under
	Key  mail.Key // of the message, in the ledger "sent"
	Size int64
	At   time.Time // since when it is one
	Rule string    // that holds it, as far as the manager knows
}

// maxShadows is how many there are at most, however small.
const maxShadows = 100_000

// shadows counts what is kept.
type shadows struct {
	mu       sync.Mutex
	n        int
	bytes    int64
	dropping sync.Mutex // whoever changes one that is there
}

// shadowOf gives the receipt of a message that leaves a shadow; nil: none.
func (s *Spool) shadowOf(u *queue.Update, mid mail.MID) *queue.Receipt {
	for i := range u.Receipts {
		r := &u.Receipts[i]
		if r.Item.MID == mid && r.Remote != Own && again(r.Item.Placements) && s.shadowRoom(r.Item.Size) {
			return r
		}
	}
	return nil
}

// again reports whether a message is judged again while it is held: by outbreak
// rules, or until its analysis is over.
func again(held []mail.Placement) bool {
	return slices.ContainsFunc(held, func(p mail.Placement) bool { return mail.OutbreakRule(p.Reason) != "" || mail.Analysing(p.Reason) })
}

// shadowRoom reports whether one more may be kept. Without room a message has
// no shadow: it leaves by hand, or when its time is up.
func (s *Spool) shadowRoom(size int64) bool {
	s.shadows.mu.Lock()
	defer s.shadows.mu.Unlock()
	return s.shadows.n < maxShadows && s.shadows.bytes+size <= s.opt.MaxShadows
}

// addShadow puts a shadow in place of a message.
func (s *Spool) addShadow(b *pebble.Batch, r *queue.Receipt) error {
	it := r.Item
	sh := Shadow{MID: it.MID, Key: it.Key, Size: it.Size, At: r.At}
	for i := range it.Placements {
		sh.Rule = cmp.Or(sh.Rule, mail.OutbreakRule(it.Placements[i].Reason))
	}
	if err := sh.set(b); err != nil {
		return err
	}
	return errs.Wrap(errs.Internal, b.Delete(midKey(keyRecord, it.MID), nil), "removing MID %d", it.MID)
}

func (sh *Shadow) set(b *pebble.Batch) error {
	key := midKey(keyShadow, sh.MID)
	var e encoder
	e.b = append(e.b, recordVersion)
	e.string(string(sh.Key))
	e.uint(uint64(sh.Size))
	e.time(sh.At)
	e.string(sh.Rule)
	return errs.Wrap(errs.Internal, b.Set(key, seal(key, e.b), nil), "keeping a copy of MID %d", sh.MID)
}

// SetShadow notes the rule of a shadow, if it is there yet. A crash may lose
// the note: then the manager hears the same once more.
func (s *Spool) SetShadow(sh Shadow) error {
	s.shadows.dropping.Lock()
	defer s.shadows.dropping.Unlock()
	if _, found, err := s.get(midKey(keyShadow, sh.MID)); err != nil || !found {
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	if err := sh.set(b); err != nil {
		return err
	}
	return s.commit(b, false)
}

func decodeShadow(key, v []byte) (sh Shadow, err error) {
	if sh.MID, err = keyMID(key); err != nil {
		return sh, err
	}
	d, err := opened(key, v)
	if err != nil {
		return sh, errs.Context(err, "copy of MID %d", sh.MID)
	}
	sh.Key, sh.Size, sh.At, sh.Rule = mail.Key(d.string()), int64(d.uint()), d.time(), d.string()
	return sh, errs.Context(d.end(), "copy of MID %d", sh.MID)
}

// Shadows gives what is kept, oldest message first. Damaged ones are left out,
// told, and dropped: the manager has the mail.
func (s *Spool) Shadows(ctx context.Context) ([]Shadow, error) {
	var list, bad []Shadow
	err := s.eachShadow(func(sh Shadow, damage error) error {
		if damage != nil {
			s.opt.Log.Fault("spool", damage.Error())
			bad = append(bad, sh)
		} else {
			list = append(list, sh)
		}
		return ctx.Err()
	})
	if err != nil || len(bad) == 0 {
		return list, err
	}
	return list, s.DropShadows(bad)
}

func (s *Spool) eachShadow(fn func(sh Shadow, damage error) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyShadow}, UpperBound: []byte{keyShadow + 1}})
	if err != nil {
		return engineError(err, "reading copies")
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return engineError(err, "reading copies")
		}
		if err := fn(decodeShadow(it.Key(), v)); err != nil {
			return err
		}
	}
	return engineError(it.Error(), "reading copies")
}

// OpenShadow gives the content of a shadow. Of one that was dropped meanwhile,
// or is damaged, it gives errs.Damaged and never io.EOF.
func (s *Spool) OpenShadow(ctx context.Context, sh Shadow) (io.ReadCloser, error) {
	return s.OpenSized(ctx, sh.MID, sh.Size)
}

// DropShadows drops shadows; it is no error when they are gone. The first time
// is not on stable storage before others are: one that comes back is dropped
// again.
func (s *Spool) DropShadows(list []Shadow) error {
	for some := range slices.Chunk(list, 1000) {
		if err := s.dropShadows(some); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) dropShadows(list []Shadow) error {
	s.shadows.dropping.Lock()
	defer s.shadows.dropping.Unlock()
	b := s.db.NewBatch()
	defer b.Close()
	var n int
	var bytes int64
	for _, sh := range list {
		key := midKey(keyShadow, sh.MID)
		v, found, err := s.get(key)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if old, err := decodeShadow(key, v); err == nil {
			bytes += old.Size
		}
		n++
		s.fresh.drop(sh.MID)
		if err := cmp.Or(b.DeleteRange(midKey(keyContent, sh.MID), midKey(keyContent, sh.MID+1), nil), b.Delete(key, nil)); err != nil {
			return errs.Wrap(errs.Internal, err, "dropping a copy of MID %d", sh.MID)
		}
	}
	if b.Empty() {
		return nil
	}
	if err := s.commit(b, false); err != nil {
		return err
	}
	s.countShadows(-n, -bytes)
	return nil
}

func (s *Spool) countShadows(n int, bytes int64) {
	s.shadows.mu.Lock()
	defer s.shadows.mu.Unlock()
	s.shadows.n, s.shadows.bytes = max(0, s.shadows.n+n), max(0, s.shadows.bytes+bytes)
}

// ShadowUse gives the number of shadows and their bytes.
func (s *Spool) ShadowUse() (n int, bytes int64) {
	s.shadows.mu.Lock()
	defer s.shadows.mu.Unlock()
	return s.shadows.n, s.shadows.bytes
}

// loadShadows counts what the last life left.
func (s *Spool) loadShadows() error {
	return s.eachShadow(func(sh Shadow, _ error) error {
		s.countShadows(1, sh.Size)
		return nil
	})
}
