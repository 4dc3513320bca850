package blob

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// Put keeps content, read to io.EOF; when err is nil the server has all of it.
//
// What fits into one chunk goes as it is. Larger content is sealed into a file
// without a name first: then its length and hash are known, a slow gateway holds
// no request open, a try can be repeated, and memory stays one chunk a message.
func (b *Bucket) Put(ctx context.Context, content io.Reader) (quarantine.ContentID, int64, mail.Hash, error) {
	fail := func(err error) (quarantine.ContentID, int64, mail.Hash, error) { return "", 0, mail.Hash{}, err }
	if err := b.Ready(0); err != nil {
		return fail(err)
	}
	if err := b.prove(ctx); err != nil {
		return fail(temporary(err))
	}
	buf := b.bufs.Get().(*[]byte)
	defer b.bufs.Put(buf)
	n, last, err := fill(content, *buf)
	if err != nil {
		return fail(err)
	}
	p, err := b.newPutter(newObject(classKept))
	if err != nil {
		return fail(err)
	}
	if last {
		body := p.whole((*buf)[:n])
		err = b.store(ctx, p.o, bytes.NewReader(body), int64(len(body)), sha256.Sum256(body))
	} else {
		err = b.putLarge(ctx, p, content, *buf, n)
	}
	if err != nil {
		return fail(err)
	}
	return p.o.id(), p.header.size, p.header.hash, nil
}

// temporary keeps mail waiting whatever is wrong with the store.
func temporary(err error) error {
	if errs.Is(err, errs.Temporary) {
		return err
	}
	return errs.Wrap(errs.Temporary, err, "%s", errs.Public(err))
}

// frame adds a sealed chunk behind its length.
func (p *putter) frame(dst, chunk []byte) []byte {
	at := len(dst)
	dst = p.take(append(dst, 0, 0, 0, 0), chunk)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// tail gives the end of an object.
func (p *putter) tail(dst []byte) []byte {
	p.sum.Sum(p.header.hash[:0])
	dst = append(dst, 0, 0, 0, 0)
	return p.aead.Seal(dst, nonce(headerNonce), p.header.append(make([]byte, 0, headerSize)), nil)
}

// whole gives the object of a content of one chunk.
func (p *putter) whole(chunk []byte) []byte {
	return p.tail(p.frame(append(make([]byte, 0, 1+4+len(chunk)+64+4+sealedHeader), recordVersion), chunk))
}

func (b *Bucket) putLarge(ctx context.Context, p *putter, content io.Reader, buf []byte, n int) (err error) {
	f, err := b.scratch()
	if err != nil {
		return err
	}
	defer f.Close() // nothing of it is needed any more
	hash := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, hash), chunkSize)
	w.WriteByte(recordVersion) // an error stays until Flush
	frame := make([]byte, 0, chunkSize+64)
	for last := false; ; {
		if p.header.chunks >= maxChunks-1 {
			return errs.New(errs.Full, "the content is too large")
		}
		if n > 0 {
			frame = p.frame(frame[:0], buf[:n])
			if _, err := w.Write(frame); err != nil {
				return scratchError(err)
			}
		}
		if last {
			break
		}
		if err := ctx.Err(); err != nil {
			return errs.Wrap(errs.Temporary, err, "the content broke off")
		}
		if n, last, err = fill(content, buf); err != nil {
			return err
		}
	}
	w.Write(p.tail(nil))
	if err := w.Flush(); err != nil {
		return scratchError(err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return scratchError(err)
	}
	return b.store(ctx, p.o, f, size, [sha256.Size]byte(hash.Sum(nil)))
}

// scratch makes a file that is gone when it is closed, or with the process.
func (b *Bucket) scratch() (*os.File, error) {
	f, err := os.CreateTemp(b.opt.Scratch, ".content-*")
	if err != nil {
		return nil, scratchError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, scratchError(errors.Join(err, f.Close()))
	}
	return f, nil
}

func scratchError(err error) error {
	if disk.IsFull(err) {
		return errs.Wrap(errs.Full, err, "not enough free space for content on its way")
	}
	return errs.Wrap(errs.Temporary, err, "keeping content on its way")
}
