package blob

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"

	"lazaret/internal/errs"
)

// codec packs and seals chunks, the same in every store.
type codec struct {
	key  []byte
	enc  *zstd.Encoder
	dec  *zstd.Decoder
	bufs sync.Pool // *[]byte of chunkSize
}

func (c *codec) init(key []byte) (err error) {
	c.key = key
	c.bufs.New = func() any { b := make([]byte, chunkSize); return &b }
	// 256 KiB is all that a chunk can refer back to.
	c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(chunkSize),
		zstd.WithEncoderConcurrency(max(2, runtime.GOMAXPROCS(0))), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return err
	}
	c.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(max(2, runtime.GOMAXPROCS(0))), zstd.WithDecoderMaxMemory(2*chunkSize))
	return err
}

func (c *codec) close() {
	if c.dec != nil {
		c.dec.Close()
	}
}

// keyCheck is what tells a key from another and says nothing about it.
func keyCheck(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("lazaret content key check"))
	return mac.Sum(nil)
}

// seal makes the cipher of one object.
func (c *codec) seal(o object) (cipher.AEAD, error) {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte("lazaret content"))
	mac.Write(o[:])
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// pack compresses one chunk when that helps, behind a byte that says so.
func (c *codec) pack(dst, chunk []byte) []byte {
	dst = append(dst[:0], packed)
	dst = c.enc.EncodeAll(chunk, dst)
	if len(dst) >= 1+len(chunk) {
		dst = append(append(dst[:0], raw), chunk...)
	}
	return dst
}

// unpack undoes pack.
func (c *codec) unpack(dst, b []byte) ([]byte, error) {
	switch {
	case len(b) > 0 && b[0] == raw:
		return append(dst[:0], b[1:]...), nil
	case len(b) > 0 && b[0] == packed:
		return c.dec.DecodeAll(b[1:], dst[:0])
	}
	return nil, errs.New(errs.Damaged, "unknown form of a chunk")
}
