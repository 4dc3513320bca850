// Package mail holds the values that all rooms speak in: numbers, addresses,
// envelopes, dispositions, principals. It has values only: nothing here reads,
// writes, waits or logs.
package mail

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

// MID numbers a message on one appliance. Never reused, zero is "none".
type MID uint64

// ICID numbers an incoming connection on one appliance.
type ICID uint64

// DCID numbers a delivery connection on one appliance.
type DCID uint64

// RID is the index of a recipient inside a message, from 0.
type RID int

// String gives the number in decimal.
func (m MID) String() string { return strconv.FormatUint(uint64(m), 10) }

// String gives the number in decimal.
func (i ICID) String() string { return strconv.FormatUint(uint64(i), 10) }

// String gives the number in decimal.
func (d DCID) String() string { return strconv.FormatUint(uint64(d), 10) }

// ParseMID reads a decimal MID above zero.
func ParseMID(s string) (MID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, errs.New(errs.Invalid, "%q is not a message ID", clip(s))
	}
	return MID(n), nil
}

// Hash is the SHA-256 of a message's content as received.
type Hash [sha256.Size]byte

// String gives the hash in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads 64 hexadecimal digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*len(h) {
		return h, errs.New(errs.Invalid, "a content hash has %d digits, not %d", 2*len(h), len(s))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return h, errs.New(errs.Invalid, "a content hash is hexadecimal")
	}
	return h, nil
}

// Key names one accepted message for ever and everywhere: the serial of the
// gateway that accepted it, its MID there, and the start of its content hash
// (promise P2). Form: SERIAL-MID-HASH16.
type Key string

// NewKey makes the key of a message at its acceptance.
func NewKey(serial string, mid MID, hash Hash) Key {
	return Key(serial + "-" + mid.String() + "-" + hex.EncodeToString(hash[:8]))
}

// ParseKey checks the form of a key and gives its serial and MID.
func ParseKey(s string) (k Key, serial string, mid MID, err error) {
	bad := errs.New(errs.Invalid, "%q is not a message key", clip(s))
	parts := strings.Split(s, "-")
	if len(s) > 100 || len(parts) != 3 || !ValidSerial(parts[0]) || len(parts[2]) != 16 {
		return "", "", 0, bad
	}
	if _, err := hex.DecodeString(parts[2]); err != nil || strings.ToLower(parts[2]) != parts[2] {
		return "", "", 0, bad
	}
	mid, err = ParseMID(parts[1])
	if err != nil || mid.String() != parts[1] {
		return "", "", 0, bad
	}
	return Key(s), parts[0], mid, nil
}

// ValidSerial reports whether s is a serial: 8 to 40 upper-case letters and digits.
func ValidSerial(s string) bool {
	if len(s) < 8 || len(s) > 40 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// ActionKey names one decision about one message: its key and the number of
// the action. The gateway's ledger takes each only once (promise P2).
// Form: KEY-N.
type ActionKey string

// NewActionKey makes the key of the n-th action on a message.
func NewActionKey(k Key, n uint32) ActionKey {
	return ActionKey(string(k) + "-" + strconv.FormatUint(uint64(n), 10))
}

// ParseActionKey checks the form and gives the message key in it.
func ParseActionKey(s string) (ActionKey, Key, error) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return "", "", errs.New(errs.Invalid, "%q is not an action key", clip(s))
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != s[i+1:] {
		return "", "", errs.New(errs.Invalid, "%q is not an action key", clip(s))
	}
	k, _, _, err := ParseKey(s[:i])
	if err != nil {
		return "", "", err
	}
	return ActionKey(s), k, nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
