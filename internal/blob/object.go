package blob

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

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
	classKept  = 'b' // in a bucket

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

func newObject(class byte) object {
	o := object{class}
	rand.Read(o[1:]) // never fails, crypto/rand
	return o
}

// localObject is newObject for this machine's own store. It begins with the
// time, so that what comes in stands one behind the other, in the engine's tables
// and in the index of the record's database: that one writes a page for some fifty
// of them and not one for each. 72 bits are random.
func localObject(class byte, at time.Time) object {
	o := newObject(class)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(at.UnixMicro())<<8) // 56 bits: up to the year 4253
	copy(o[1:8], b[:7])
	return o
}

func (o object) id() quarantine.ContentID {
	return quarantine.ContentID(string(o[0]) + hex.EncodeToString(o[1:]))
}

// parseID reads the number of a content that is of one of some classes.
func parseID(id quarantine.ContentID, classes ...byte) (o object, err error) {
	if len(id) != 1+2*(idSize-1) || !slices.Contains(classes, id[0]) {
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
