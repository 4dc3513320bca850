package blob

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// reader is one content on its way out.
type reader struct {
	s      *Store
	o      object
	aead   cipher.AEAD
	header header
	next   uint32 // chunk
	inline []byte // sealed chunk of a small object
	plain  []byte // opened, not yet given
	buf    []byte
	sum    hash.Hash
	size   int64
	err    error
}

// Open gives content from its start: errs.NotFound when there is none,
// errs.Damaged, here or on Read, when it is not what was put.
func (s *Store) Open(_ context.Context, id quarantine.ContentID) (io.ReadCloser, error) {
	o, err := parseID(id, classSmall, classLarge)
	if err != nil {
		return nil, err
	}
	value, err := s.get(o.key(prefixObject))
	if err != nil {
		return nil, err
	}
	r := &reader{s: s, o: o, sum: sha256.New()}
	if r.aead, err = s.seal(o); err != nil {
		return nil, err
	}
	if len(value) < 1+sealedHeader || value[0] != recordVersion {
		return nil, r.damaged("its record has an unknown form")
	}
	plain, err := r.aead.Open(nil, nonce(headerNonce), value[1:1+sealedHeader], nil)
	if err != nil {
		return nil, r.damaged("its record fails the check")
	}
	var ok bool
	if r.header, ok = parseHeader(plain); !ok || (o[0] == classSmall && r.header.chunks != 1) {
		return nil, r.damaged("its record contradicts itself")
	}
	r.inline = value[1+sealedHeader:]
	return r, nil
}

// get copies a value out of the engine.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, errs.New(errs.NotFound, "the content is not there")
	}
	if err != nil {
		kind := errs.Internal
		if pebble.IsCorruptionError(err) {
			kind = errs.Damaged
		}
		return nil, errs.Wrap(kind, err, "reading content")
	}
	defer closer.Close()
	return append([]byte(nil), v...), nil
}

func (r *reader) damaged(why string) error {
	return errs.New(errs.Damaged, "content %s is damaged: %s", r.o.id(), why)
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
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

// WriteTo implements io.WriterTo: whole chunks, no buffer in between.
func (r *reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if len(r.plain) > 0 {
			n, err := w.Write(r.plain)
			total += int64(n)
			r.plain = r.plain[n:]
			if err != nil {
				return total, err
			}
		}
		if r.err == nil {
			r.err = r.load()
		}
		if errors.Is(r.err, io.EOF) && len(r.plain) == 0 {
			return total, nil
		}
		if r.err != nil {
			return total, r.err
		}
	}
}

// load opens the next chunk. The last one is given only when size and hash of
// the whole are right.
func (r *reader) load() error {
	if r.next >= r.header.chunks {
		return io.EOF
	}
	sealed := r.inline
	if r.o[0] == classLarge {
		var err error
		if sealed, err = r.s.get(r.o.chunkKey(r.next)); err != nil {
			if errs.Is(err, errs.NotFound) {
				if _, gone := r.s.get(r.o.key(prefixObject)); errs.Is(gone, errs.NotFound) {
					return err // deleted while it was read
				}
				return r.damaged("a part is missing")
			}
			return err
		}
	}
	opened, err := r.aead.Open(sealed[:0], nonce(uint64(r.next)), sealed, nil)
	if err != nil {
		return r.damaged("a part fails the check")
	}
	if r.buf, err = r.s.unpack(r.buf, opened); err != nil {
		return r.damaged("a part cannot be unpacked")
	}
	r.next++
	r.sum.Write(r.buf)
	r.size += int64(len(r.buf))
	if r.next == r.header.chunks {
		var h mail.Hash
		if r.sum.Sum(h[:0]); h != r.header.hash || r.size != r.header.size {
			return r.damaged("its hash is not that of what was put")
		}
	}
	r.plain = r.buf
	return nil
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.err, r.plain, r.inline, r.buf = errs.New(errs.Closed, "the content is closed"), nil, nil, nil
	return nil
}
