package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// chunkSize is how much content one key holds. Larger contents enter the
// engine unsynced, a chunk at a time, so that a message in flight costs one
// chunk of memory.
const chunkSize = 256 << 10

// Draft is a message that is coming in. Exactly one of Commit and Abort ends
// it; Abort after Commit does nothing.
type Draft struct {
	s      *Spool
	mid    mail.MID
	buf    *[]byte
	chunks uint32 // written to the engine
	size   int64
	hash   hash.Hash
	sum    mail.Hash
	summed bool
	err    error
	ended  bool
	left   bool // to the goroutine that waits for a slow commit: it cleans up
}

// Receive begins a message under a number that NextMID gave.
func (s *Spool) Receive(ctx context.Context, mid mail.MID) (*Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, errs.Wrap(errs.Closed, err, "receiving MID %d", mid)
	}
	if mid == 0 {
		return nil, errs.New(errs.Internal, "a message needs a number")
	}
	if err := s.Ready(0); err != nil {
		return nil, err
	}
	d := &Draft{s: s, mid: mid, hash: sha256.New()}
	d.buf = s.bufs.Get().(*[]byte)
	return d, nil
}

// Write takes content as received.
func (d *Draft) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.ended {
		return 0, errs.New(errs.Internal, "write to a message that is complete")
	}
	d.hash.Write(p)
	d.size += int64(len(p))
	for rest := p; ; {
		n := min(len(rest), d.s.opt.chunk-len(*d.buf))
		*d.buf = append(*d.buf, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			return len(p), nil
		}
		if d.err = d.spill(); d.err != nil {
			return 0, d.err
		}
	}
}

// spill writes a full chunk, unsynced.
func (d *Draft) spill() error {
	if err := d.s.Ready(0); err != nil {
		return err
	}
	b := d.s.db.NewBatch()
	if err := d.chunk(b); err != nil {
		b.Close()
		return err
	}
	return d.bounded(b, false)
}

// bounded commits a batch of the draft and undoes the draft when it is too late.
func (d *Draft) bounded(b *pebble.Batch, sync bool) (err error) {
	s, mid, chunks := d.s, d.mid, int(d.chunks)
	err, d.left = s.bounded(b, sync, s.opt.wait, func() error {
		b := s.db.NewBatch()
		defer b.Close()
		if err := s.dropContent(b, mid, chunks); err != nil {
			return err
		}
		if sync {
			if err := b.Delete(midKey(keyRecord, mid), nil); err != nil {
				return err
			}
		}
		return s.commit(b, false)
	})
	return err
}

// chunk adds what is in the buffer to a batch and empties the buffer.
func (d *Draft) chunk(b *pebble.Batch) error {
	key := chunkKey(d.mid, d.chunks)
	*d.buf = seal(key, *d.buf)
	if err := b.Set(key, *d.buf, nil); err != nil {
		return errs.Wrap(errs.Internal, err, "storing content of MID %d", d.mid)
	}
	d.chunks++
	*d.buf = (*d.buf)[:0]
	return nil
}

// Size is the number of bytes written so far.
func (d *Draft) Size() int64 { return d.size }

// Hash is the SHA-256 of what was written. Nothing may be written after it.
func (d *Draft) Hash() mail.Hash {
	if !d.summed {
		d.hash.Sum(d.sum[:0])
		d.summed = true
	}
	return d.sum
}

// CommitOption changes what a commit does besides storing the message.
type CommitOption func(*commitOptions)

type commitOptions struct{ action mail.ActionKey }

// WithAction writes the action into the ledger in the same batch. When the
// ledger has it already nothing is stored and the error is a *Taken.
func WithAction(a mail.ActionKey) CommitOption {
	return func(o *commitOptions) { o.action = a }
}

// Taken says that an action was carried out before, as which message.
type Taken struct {
	Action mail.ActionKey
	MID    mail.MID
}

// Error gives the sentence.
func (t *Taken) Error() string { return "already taken as MID " + t.MID.String() }

// Commit stores the message: after nil it is on stable storage and the queue
// may have the item. It fills in MID, Size, Hash and, when it is empty, Key.
// On an error nothing was promised and the draft is ended.
func (d *Draft) Commit(ctx context.Context, it *queue.Item, opts ...CommitOption) error {
	if d.err != nil || d.ended {
		d.Abort()
		return errors.Join(d.err, errs.New(errs.Internal, "MID %d cannot be committed", d.mid))
	}
	var o commitOptions
	for _, f := range opts {
		f(&o)
	}
	it.MID, it.Size, it.Hash = d.mid, d.size, d.Hash()
	if it.Key == "" {
		it.Key = mail.NewKey(d.s.opt.Serial, d.mid, it.Hash)
	}
	if it.State == queue.Receiving {
		it.State = queue.Work
	}
	err := ctx.Err()
	if err == nil {
		if o.action == "" {
			err = d.commit(it, "")
		} else {
			err = d.take(ctx, it, o.action)
		}
	}
	if err != nil {
		d.Abort()
		return errs.Context(err, "storing MID %d", d.mid)
	}
	d.end()
	return nil
}

// Keep ends a draft whose content stays in the store without a record: the
// update that adds a message from it (queue.Copy of its own number) has to
// follow, and is what makes it durable. Content that none follows is swept at
// the next start.
func (d *Draft) Keep() error {
	if d.err != nil || d.ended {
		d.Abort()
		return errors.Join(d.err, errs.New(errs.Internal, "MID %d cannot be kept", d.mid))
	}
	d.Hash()
	if len(*d.buf) > 0 {
		if err := d.spill(); err != nil {
			d.Abort()
			return errs.Context(err, "storing MID %d", d.mid)
		}
	}
	d.end()
	return nil
}

// Drop drops content that Keep kept and no message was made of.
func (d *Draft) Drop() {
	if err := d.drop(); err != nil {
		d.s.opt.Log.Fault("spool", "dropping MID "+d.mid.String()+": "+err.Error())
	}
}

// commit writes the last chunk, the record and the ledger in one synced batch.
func (d *Draft) commit(it *queue.Item, action mail.ActionKey) error {
	b := d.s.db.NewBatchWithSize(len(*d.buf) + 1024)
	var short []byte
	if n := len(*d.buf); d.chunks == 0 && n > 0 && n <= maxFreshOne {
		short = append(make([]byte, 0, n), *d.buf...)
	}
	if err := d.fill(b, it, action); err != nil {
		b.Close()
		return err
	}
	if action == "" {
		err := d.bounded(b, true)
		if err == nil && short != nil {
			d.s.fresh.put(d.mid, short)
		}
		return err
	}
	// A decision waits: the ledger has it or not when the manager asks again.
	defer b.Close()
	return d.s.commit(b, true)
}

func (d *Draft) fill(b *pebble.Batch, it *queue.Item, action mail.ActionKey) error {
	if len(*d.buf) > 0 {
		if err := d.chunk(b); err != nil {
			return err
		}
	}
	key := midKey(keyRecord, d.mid)
	*d.buf = appendRecord((*d.buf)[:0], key, it)
	if err := b.Set(key, *d.buf, nil); err != nil {
		return errs.Wrap(errs.Internal, err, "storing the record")
	}
	if action == "" {
		return nil
	}
	if err := d.s.addAction(b, action, d.mid); err != nil {
		return err
	}
	return d.s.openAccount(b, it)
}

// Abort drops the message. What is in the engine already goes without a sync:
// if that is lost, the sweep at the next start finds it. Somebody waits for the
// answer that stands behind it, so on a full disk the drop is left to a
// goroutine that waits for room; nothing new is begun meanwhile, so these are
// no more than there are sessions.
func (d *Draft) Abort() {
	if d.ended {
		return
	}
	d.end()
	if d.left || d.chunks == 0 || d.s.dead.Load() != nil {
		return
	}
	if err := d.drop(); err != nil {
		d.s.opt.Log.Fault("spool", "dropping MID "+d.mid.String()+": "+err.Error())
	}
}

// drop deletes what was spilled.
func (d *Draft) drop() error {
	s := d.s
	b := s.db.NewBatch()
	if err := s.dropContent(b, d.mid, int(d.chunks)); err != nil {
		b.Close()
		return err
	}
	wait := s.opt.wait
	if s.opt.Disk.Ready() != nil {
		wait = 0
	}
	err, abandoned := s.bounded(b, false, wait, func() error { return nil })
	if abandoned {
		return nil // it goes when there is room
	}
	return err
}

func (d *Draft) end() {
	d.ended = true
	*d.buf = (*d.buf)[:0]
	d.s.bufs.Put(d.buf)
	d.buf = nil
}
