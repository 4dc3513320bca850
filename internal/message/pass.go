package message

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"

	"lazaret/internal/mail"
)

// PassField is the header field by which a gateway knows mail that it had before.
const PassField = "X-Lazaret-Pass"

// Passes makes and knows the marks that one gateway leaves on mail (register
// B7): its serial, the number of the message, and a keyed hash of both. Nobody
// without the key can make one, so that text from outside cannot have mail of
// somebody else taken for a loop; who copies one can only stop his own mail.
// It may be used by several at once.
type Passes struct {
	serial string
	key    []byte
}

// PassKeySize is the size of the key, in bytes.
const PassKeySize = 32

// NewPasses gives the marks of a gateway. The serial has no blanks.
func NewPasses(serial string, key []byte) *Passes { return &Passes{serial: serial, key: key} }

// passSum is as long as a mark needs to be for nobody to guess one.
const passSum = 16

// Mark gives the value of the field for a message.
func (p *Passes) Mark(mid mail.MID) string {
	id := p.serial + " " + mid.String()
	return id + " " + string(p.sum(make([]byte, 0, 2*passSum), []byte(id)))
}

// Line gives the whole header line with CRLF.
func (p *Passes) Line(mid mail.MID) string { return PassField + ": " + p.Mark(mid) + "\r\n" }

// sum appends the hash of id, in hexadecimal.
func (p *Passes) sum(to, id []byte) []byte {
	var full [sha256.Size]byte
	h := hmac.New(sha256.New, p.key)
	h.Write(id) // never fails
	return hex.AppendEncode(to, h.Sum(full[:0])[:passSum])
}

// ours reports whether value is a mark that we made. What is not of our serial
// costs no hash.
func (p *Passes) ours(value []byte) bool {
	value = bytes.Trim(value, " \t")
	i := bytes.LastIndexByte(value, ' ')
	if i <= len(p.serial) || len(value)-i-1 != 2*passSum || string(value[:len(p.serial)]) != p.serial || value[len(p.serial)] != ' ' {
		return false
	}
	var want [2 * passSum]byte
	return subtle.ConstantTimeCompare(p.sum(want[:0], value[:i]), value[i+1:]) == 1
}
