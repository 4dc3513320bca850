package blob

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"

	"lazaret/internal/blob/s3"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// kept is one content on its way out of a bucket.
type kept struct {
	b      *Bucket
	ctx    context.Context
	o      object
	aead   cipher.AEAD
	body   *s3.Reader
	at     int64 // of the next frame
	next   uint32
	length uint32 // of the next frame, read with the one before; 0: none follows
	sealed []byte
	buf    []byte
	plain  []byte // opened, not yet given
	sum    hash.Hash
	size   int64
	again  bool // the frame came spoiled once and was asked for again
	err    error
}

// Open gives content from its start: errs.NotFound when there is none,
// errs.Damaged, here or on Read, when it is not what was put. ctx holds until
// the content is closed.
func (b *Bucket) Open(ctx context.Context, id quarantine.ContentID) (io.ReadCloser, error) {
	o, err := parseID(id, classKept)
	if err != nil {
		return nil, err
	}
	if b.deletes.has(o) {
		return nil, errs.New(errs.NotFound, "the content is not there")
	}
	if err := b.prove(ctx); err != nil {
		return nil, temporary(err)
	}
	r, err := b.open(ctx, o)
	if err != nil {
		return nil, b.felt(err)
	}
	return r, nil
}

func (b *Bucket) open(ctx context.Context, o object) (*kept, error) {
	r := &kept{b: b, ctx: ctx, o: o, sum: sha256.New()}
	var err error
	if r.aead, err = b.seal(o); err != nil {
		return nil, err
	}
	if r.body, err = b.s3.Get(ctx, b.name(o), 0); err != nil {
		return nil, err
	}
	var head [5]byte
	if err := r.full(head[:]); err != nil {
		r.body.Close()
		return nil, err
	}
	if head[0] != recordVersion {
		r.body.Close()
		return nil, r.damaged("it has an unknown form")
	}
	r.at, r.length = 1, binary.BigEndian.Uint32(head[1:])
	return r, nil
}

func (r *kept) damaged(why string) error {
	return errs.New(errs.Damaged, "content %s is damaged: %s", r.o.id(), why)
}

// full fills p; an object that ends before is damaged.
func (r *kept) full(p []byte) error {
	_, err := io.ReadFull(r.body, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return r.damaged("it ends too early")
	}
	return err
}

// Read implements io.Reader.
func (r *kept) Read(p []byte) (int, error) {
	for len(r.plain) == 0 && r.err == nil {
		r.err = r.load()
	}
	if len(r.plain) == 0 {
		return 0, r.err
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// load opens the next chunk. One that fails its check is asked for once more,
// as it may have been spoiled on its way.
func (r *kept) load() error {
	if r.next > 0 && r.length == 0 {
		return io.EOF
	}
	err := r.frame()
	if !errs.Is(err, errs.Damaged) || r.again {
		return err
	}
	r.again = true
	r.body.Close()
	body, e := r.b.s3.Get(r.ctx, r.b.name(r.o), r.at)
	if e != nil {
		return e
	}
	r.body = body
	var head [4]byte
	if err := r.full(head[:]); err != nil {
		return err
	}
	r.length = binary.BigEndian.Uint32(head[:])
	return r.frame()
}

// maxFrame is the longest a sealed chunk can be.
const maxFrame = 1 + chunkSize + tagSize

// frame reads a chunk and the length behind it; behind the last one, the header
// too. It changes the reader only when all is well.
func (r *kept) frame() error {
	if r.length < 1+tagSize || r.length > maxFrame {
		return r.damaged("a part has an impossible length")
	}
	r.sealed = append(r.sealed[:0], make([]byte, int(r.length)+4)...)
	if err := r.full(r.sealed); err != nil {
		return err
	}
	follow := binary.BigEndian.Uint32(r.sealed[r.length:])
	opened, err := r.aead.Open(nil, nonce(uint64(r.next)), r.sealed[:r.length], nil)
	if err != nil {
		return r.damaged("a part fails the check")
	}
	if r.buf, err = r.b.unpack(r.buf, opened); err != nil {
		return r.damaged("a part cannot be unpacked")
	}
	if follow == 0 {
		if err := r.last(); err != nil {
			return err
		}
	}
	if follow != 0 {
		r.sum.Write(r.buf)
	}
	r.size += int64(len(r.buf))
	r.at += 4 + int64(r.length)
	r.next++
	r.length, r.again, r.plain = follow, false, r.buf
	return nil
}

// last reads the header behind the last chunk, which is in buf.
func (r *kept) last() error {
	sealed := make([]byte, sealedHeader)
	if err := r.full(sealed); err != nil {
		return err
	}
	if n, err := r.body.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return r.damaged("something follows its end")
	}
	plain, err := r.aead.Open(nil, nonce(headerNonce), sealed, nil)
	if err != nil {
		return r.damaged("its record fails the check")
	}
	h, ok := parseHeader(plain)
	if !ok || h.chunks != r.next+1 {
		return r.damaged("its record contradicts itself")
	}
	r.sum.Write(r.buf)
	var got mail.Hash
	if r.sum.Sum(got[:0]); got != h.hash || r.size+int64(len(r.buf)) != h.size {
		return r.damaged("its hash is not that of what was put")
	}
	return nil
}

// Close implements io.Closer.
func (r *kept) Close() error {
	r.err, r.plain, r.sealed, r.buf = errs.New(errs.Closed, "the content is closed"), nil, nil, nil
	return r.body.Close()
}
