package spool

import (
	"context"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Open gives the content of a message as it was received. Damage, and a
// message that is missing some of it, gives errs.Damaged and never io.EOF.
func (s *Spool) Open(ctx context.Context, mid mail.MID) (io.ReadCloser, error) {
	it, err := s.Load(ctx, mid)
	if err != nil {
		return nil, err
	}
	return s.OpenSized(ctx, mid, it.Size)
}

// OpenSized implements queue.SizedStore.
func (s *Spool) OpenSized(_ context.Context, mid mail.MID, size int64) (io.ReadCloser, error) {
	if b := s.fresh.get(mid); int64(len(b)) == size {
		return &content{s: s, mid: mid, chunk: b}, nil
	}
	return &content{s: s, mid: mid, left: size}, nil
}

// content reads chunk by chunk.
type content struct {
	s      *Spool
	mid    mail.MID
	next   uint32
	left   int64  // not yet fetched
	chunk  []byte // fetched and not yet read
	closer io.Closer
	err    error
}

func (c *content) Read(p []byte) (int, error) {
	if err := c.fetch(); err != nil {
		return 0, err
	}
	n := copy(p, c.chunk)
	c.chunk = c.chunk[n:]
	return n, nil
}

// WriteTo hands the chunks on without copying them.
func (c *content) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := c.fetch(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		m, err := w.Write(c.chunk)
		n += int64(m)
		c.chunk = c.chunk[m:]
		if err != nil {
			return n, err
		}
	}
}

// fetch makes sure that there is something to read.
func (c *content) fetch() error {
	if len(c.chunk) > 0 || c.err != nil {
		return c.err
	}
	c.release()
	if c.left == 0 {
		c.err = io.EOF
		return c.err
	}
	key := chunkKey(c.mid, c.next)
	v, closer, err := c.s.db.Get(key)
	if err == pebble.ErrNotFound {
		c.err = errs.New(errs.Damaged, "content of MID %d: %d bytes are missing", c.mid, c.left)
		return c.err
	}
	if err != nil {
		c.err = engineError(err, "reading the content of MID "+c.mid.String())
		return c.err
	}
	c.closer = closer
	body, err := unseal(key, v)
	if err == nil && int64(len(body)) != min(c.left, int64(c.s.opt.chunk)) {
		err = errs.New(errs.Damaged, "a chunk has %d bytes instead of %d", len(body), min(c.left, int64(c.s.opt.chunk)))
	}
	if err != nil {
		c.release()
		c.err = errs.Context(err, "content of MID %d", c.mid)
		return c.err
	}
	c.chunk, c.left = body, c.left-int64(len(body))
	c.next++
	return nil
}

func (c *content) release() {
	if c.closer != nil {
		c.closer.Close() // of a pinned block: cannot fail
		c.closer, c.chunk = nil, nil
	}
}

func (c *content) Close() error {
	c.release()
	if c.err == nil {
		c.err = errs.New(errs.Closed, "content of MID %d is closed", c.mid)
	}
	return nil
}

// dropContent deletes the chunks of a message. Each was set once and never
// again, so a single delete can cancel it inside the write buffer.
func (s *Spool) dropContent(b *pebble.Batch, mid mail.MID, chunks int) error {
	s.fresh.drop(mid)
	for n := range chunks {
		if err := b.SingleDelete(chunkKey(mid, uint32(n)), nil); err != nil {
			return errs.Wrap(errs.Internal, err, "dropping the content of MID %d", mid)
		}
	}
	return nil
}

func (s *Spool) chunksOf(size int64) int { n := int64(s.opt.chunk); return int((size + n - 1) / n) }

// copyContent stores the content of one message again under another. Long
// ones go ahead of the batch, like those of a draft.
func (s *Spool) copyContent(b *pebble.Batch, from, to mail.MID, size int64) error {
	c := &content{s: s, mid: from, left: size}
	defer c.Close()
	long := size > int64(s.opt.chunk)
	for n := uint32(0); ; n++ {
		err := c.fetch()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		key := chunkKey(to, n)
		value := seal(key, append(make([]byte, 0, len(c.chunk)+4), c.chunk...))
		c.chunk = nil
		if !long {
			if err := b.Set(key, value, nil); err != nil {
				return errs.Wrap(errs.Internal, err, "copying MID %d", from)
			}
			continue
		}
		if err := s.setChunk(key, value); err != nil {
			return err
		}
	}
}

func (s *Spool) setChunk(key, value []byte) error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.Set(key, value, nil); err != nil {
		return errs.Wrap(errs.Internal, err, "storing content")
	}
	return s.commit(b, false)
}
