package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"lazaret/internal/errs"
)

// Cost of a new hash: the second choice of RFC 9106 scaled down as OWASP does,
// 19 MiB and two passes, some 20 ms. Stored hashes carry their own cost.
const (
	memoryKiB = 19 * 1024
	passes    = 2
	lanes     = 1
	saltLen   = 16
	keyLen    = 32
)

// MaxPassword is the longest password that is looked at.
const MaxPassword = 256

type hash struct {
	memory uint32
	passes uint32
	lanes  uint8
	salt   []byte
	key    []byte
}

// HashPassword gives the stored form: $argon2id$v=19$m=…,t=…,p=…$salt$key.
func HashPassword(password string) (string, error) {
	if password == "" || len(password) > MaxPassword {
		return "", errs.New(errs.Invalid, "a password has 1 to %d bytes", MaxPassword)
	}
	salt := make([]byte, saltLen)
	if _, err := rand.Read(salt); err != nil {
		return "", errs.Wrap(errs.Internal, err, "no randomness for a salt")
	}
	h := hash{memory: memoryKiB, passes: passes, lanes: lanes, salt: salt}
	return h.format(h.derive(password, keyLen)), nil
}

// NewPassword gives a random password of 80 bits, for the first administrator.
func NewPassword() string { return strings.ToLower(rand.Text()[:16]) }

func (h hash) derive(password string, n int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(n))
}

// matches compares in constant time.
func (h hash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.key)), h.key) == 1
}

func (h hash) format(key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		b64.EncodeToString(h.salt), b64.EncodeToString(key))
}

// parseHash reads the stored form. The cost is limited: a configuration must
// not be able to make one login take all memory.
func parseHash(s string) (hash, error) {
	bad := errs.New(errs.Invalid, "password hash is not in the form $argon2id$v=19$m=...,t=...,p=...$salt$key")
	parts := strings.Split(s, "$")
	if len(s) > 512 || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return hash{}, bad
	}
	var h hash
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes); err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.passes, h.lanes) {
		return hash{}, bad
	}
	if h.memory < 8 || h.memory > 256*1024 || h.passes < 1 || h.passes > 10 || h.lanes < 1 || h.lanes > 8 {
		return hash{}, errs.New(errs.Invalid, "password hash has a cost outside of m=8-262144, t=1-10, p=1-8")
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return hash{}, bad
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(h.key) < 16 || len(h.key) > 64 {
		return hash{}, bad
	}
	return h, nil
}
