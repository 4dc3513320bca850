package blob

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

const (
	prefixList   = 'i'
	prefixObject = 'o'
	prefixChunk  = 'c'
	prefixKey    = 'k'

	classSmall = 's'
	classLarge = 'l'

	idSize    = 1 + 16 // class and number
	chunkSize = 256 << 10
	maxChunks = 1 << 20 // 256 GiB

	recordVersion = 1
	headerSize    = 8 + 32 + 4
	tagSize       = 16
	sealedHeader  = headerSize + tagSize
	headerNonce   = 1<<64 - 1 // chunks count from 0 and never come here

	raw, packed = 0, 1 // first byte of a chunk before sealing
)

// object is the number of one object.
type object [idSize]byte

func newObject(large bool) object {
	var o object
	rand.Read(o[1:]) // never fails, crypto/rand
	o[0] = classSmall
	if large {
		o[0] = classLarge
	}
	return o
}

func (o object) id() quarantine.ContentID {
	return quarantine.ContentID(string(o[0]) + hex.EncodeToString(o[1:]))
}

func parseID(id quarantine.ContentID) (o object, err error) {
	if len(id) != 1+2*(idSize-1) || id[0] != classSmall && id[0] != classLarge {
		return o, errs.New(errs.Invalid, "%.60q is not the number of a content", string(id))
	}
	o[0] = id[0]
	if _, err := hex.Decode(o[1:], []byte(id[1:])); err != nil {
		return o, errs.New(errs.Invalid, "%.60q is not the number of a content", string(id))
	}
	return o, nil
}

func (o object) key(prefix byte) []byte {
	k := make([]byte, 0, 1+idSize+4)
	return append(append(k, prefix), o[:]...)
}

func (o object) chunkKey(n uint32) []byte {
	return binary.BigEndian.AppendUint32(o.key(prefixChunk), n)
}

// remove puts the deletion of all keys of the object into a batch.
func (o object) remove(b *pebble.Batch) error {
	if o[0] == classLarge {
		if err := b.DeleteRange(o.chunkKey(0), o.chunkKey(1<<32-1), nil); err != nil {
			return err
		}
	}
	if err := b.Delete(o.key(prefixObject), nil); err != nil {
		return err
	}
	return b.Delete(o.key(prefixList), nil)
}

// seal makes the cipher of one object.
func (s *Store) seal(o object) (cipher.AEAD, error) {
	mac := hmac.New(sha256.New, s.opt.Key)
	mac.Write([]byte("lazaret content"))
	mac.Write(o[:])
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(n uint64) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[4:], n)
	return b
}

// header is what an object says about itself.
type header struct {
	size   int64
	hash   mail.Hash
	chunks uint32
}

func (h header) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(h.size))
	b = append(b, h.hash[:]...)
	return binary.BigEndian.AppendUint32(b, h.chunks)
}

func parseHeader(b []byte) (h header, ok bool) {
	if len(b) != headerSize {
		return h, false
	}
	h.size = int64(binary.BigEndian.Uint64(b))
	copy(h.hash[:], b[8:])
	h.chunks = binary.BigEndian.Uint32(b[40:])
	return h, h.size >= 0 && h.chunks <= maxChunks && h.size <= int64(h.chunks)*chunkSize
}

// pack compresses one chunk when that helps, behind a byte that says so.
func (s *Store) pack(dst, chunk []byte) []byte {
	dst = append(dst[:0], packed)
	dst = s.enc.EncodeAll(chunk, dst)
	if len(dst) >= 1+len(chunk) {
		dst = append(append(dst[:0], raw), chunk...)
	}
	return dst
}

// unpack undoes pack.
func (s *Store) unpack(dst, b []byte) ([]byte, error) {
	switch {
	case len(b) > 0 && b[0] == raw:
		return append(dst[:0], b[1:]...), nil
	case len(b) > 0 && b[0] == packed:
		return s.dec.DecodeAll(b[1:], dst[:0])
	}
	return nil, errs.New(errs.Damaged, "unknown form of a chunk")
}
