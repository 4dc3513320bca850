package blob

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// putter is one content on its way in.
type putter struct {
	c      *codec
	o      object
	aead   cipher.AEAD
	sum    hash.Hash
	header header
	packed []byte
}

// Put keeps content, read to io.EOF; any other error of the reader leaves
// nothing behind. When err is nil it is on stable storage; many callers at once
// share one flush.
func (s *Store) Put(ctx context.Context, content io.Reader) (quarantine.ContentID, int64, mail.Hash, error) {
	if err := s.Ready(0); err != nil {
		return "", 0, mail.Hash{}, err
	}
	buf := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(buf)
	n, last, err := fill(content, *buf)
	if err != nil {
		return "", 0, mail.Hash{}, err
	}
	class := byte(classSmall)
	if !last {
		class = classLarge
	}
	p, err := s.newPutter(localObject(class, time.Now()))
	if err != nil {
		return "", 0, mail.Hash{}, err
	}
	if last {
		err = s.small(p, *buf, n)
	} else {
		err = s.large(ctx, p, content, *buf, n)
	}
	if err != nil {
		return "", 0, mail.Hash{}, err
	}
	return p.o.id(), p.header.size, p.header.hash, nil
}

func (c *codec) newPutter(o object) (p *putter, err error) {
	p = &putter{c: c, o: o, sum: sha256.New()}
	p.aead, err = c.seal(o)
	return p, err
}

// fill reads until buf is full or the content ends. It does not use
// io.ReadFull: that one makes an end and a break-off look the same.
func fill(r io.Reader, buf []byte) (n int, last bool, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	if err == io.EOF { // not wrapped: only this is the end of a content
		return n, true, nil
	}
	return n, false, err
}

// take adds a chunk to size and hash and gives it sealed, behind dst.
func (p *putter) take(dst, chunk []byte) []byte {
	p.pack(chunk)
	return p.seal(dst)
}

// pack adds a chunk to size and hash and makes packed of it.
func (p *putter) pack(chunk []byte) {
	p.sum.Write(chunk)
	p.header.size += int64(len(chunk))
	p.packed = p.c.pack(p.packed, chunk)
}

// seal gives packed sealed as the next chunk, behind dst.
func (p *putter) seal(dst []byte) []byte {
	dst = p.aead.Seal(dst, nonce(uint64(p.header.chunks)), p.packed, nil)
	p.header.chunks++
	return dst
}

// record gives the value of the object's own key, without a chunk.
func (p *putter) record(dst []byte) []byte {
	p.sum.Sum(p.header.hash[:0])
	dst = append(dst, recordVersion)
	return p.aead.Seal(dst, nonce(headerNonce), p.header.append(make([]byte, 0, headerSize)), nil)
}

// small writes everything in one batch, without a buffer in between. What is
// free of buf behind the content takes what is packed.
func (s *Store) small(p *putter, buf []byte, n int) error {
	p.packed = buf[n:n]
	p.pack(buf[:n])
	b := s.db.NewBatch()
	key := p.o.key(prefixObject)
	op := b.SetDeferred(len(key), 1+sealedHeader+len(p.packed)+p.aead.Overhead())
	copy(op.Key, key)
	p.seal(op.Value[1+sealedHeader : 1+sealedHeader])
	p.record(op.Value[:0])
	if err := errors.Join(op.Finish(), b.Set(p.o.key(prefixList), nil, nil)); err != nil {
		return errors.Join(err, b.Close())
	}
	err, _ := s.commit(b, p.o)
	return err
}

// large writes chunks unsynced as they come; the record, synced, comes last and
// takes them all to stable storage with it: they are earlier in the same log.
func (s *Store) large(ctx context.Context, p *putter, content io.Reader, buf []byte, n int) (err error) {
	abandoned := false // what was written is taken back behind the write that nobody waits for
	defer func() {
		if err != nil && !abandoned {
			err = errors.Join(err, s.undo(p.o))
		}
	}()
	if err, abandoned = s.set(p.o, p.o.key(prefixList), nil); err != nil {
		return err
	}
	sealed := make([]byte, 0, chunkSize+64)
	for last := false; ; {
		if p.header.chunks >= maxChunks-1 {
			return errs.New(errs.Full, "the content is too large")
		}
		if n > 0 || p.header.chunks == 0 {
			num := p.header.chunks
			sealed = p.take(sealed[:0], buf[:n])
			if err, abandoned = s.set(p.o, p.o.chunkKey(num), sealed); err != nil {
				return err
			}
		}
		if last {
			break
		}
		if err := ctx.Err(); err != nil {
			return errs.Wrap(errs.Temporary, err, "the content broke off")
		}
		if err := s.Ready(chunkSize); err != nil {
			return err
		}
		if n, last, err = fill(content, buf); err != nil {
			return err
		}
	}
	b := s.db.NewBatch()
	if err := b.Set(p.o.key(prefixObject), p.record(nil), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	err, abandoned = s.commit(b, p.o)
	return err
}
