package outbreak

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"lazaret/internal/errs"
)

// A signed feed is text lines, a blank line, and the feed as it was signed:
//
//	lazaret-outbreak-feed 1
//	signature KEYID BASE64
//
//	{"feed":...}
//
// There is one file, so that nobody sees a new feed with an old signature, and
// what is signed are its octets, so that there is nothing to agree on about JSON.
const (
	magic         = "lazaret-outbreak-feed 1\n"
	maxSignatures = 4
	keyPrefix     = "ed25519:"
)

// Key is a public key that feeds are signed with (RFC 8032).
type Key struct{ public ed25519.PublicKey }

// ParseKey reads ed25519:BASE64.
func ParseKey(s string) (Key, error) {
	b64, ok := strings.CutPrefix(s, keyPrefix)
	b, err := base64.StdEncoding.Strict().DecodeString(b64)
	if !ok || err != nil || len(b) != ed25519.PublicKeySize {
		return Key{}, errs.New(errs.Invalid, "%q is not a key: %s and 44 characters of base64", clip(s), keyPrefix)
	}
	return Key{b}, nil
}

// PublicKey gives the key of a private one.
func PublicKey(k ed25519.PrivateKey) Key { return Key{k.Public().(ed25519.PublicKey)} }

// String gives what ParseKey reads.
func (k Key) String() string { return keyPrefix + base64.StdEncoding.EncodeToString(k.public) }

// ID is short enough to be read aloud. It proves nothing.
func (k Key) ID() string {
	h := sha256.Sum256(k.public)
	return hex.EncodeToString(h[:8])
}

// Sign writes a signed feed. Several keys make it good for those who have pinned
// any of them, while keys change.
func Sign(feed []byte, keys ...ed25519.PrivateKey) ([]byte, error) {
	if len(keys) == 0 || len(keys) > maxSignatures {
		return nil, errs.New(errs.Invalid, "a feed has 1 to %d signatures", maxSignatures)
	}
	var b bytes.Buffer
	b.WriteString(magic)
	for _, k := range keys {
		b.WriteString("signature " + PublicKey(k).ID() + " " + base64.StdEncoding.EncodeToString(ed25519.Sign(k, signed(feed))) + "\n")
	}
	b.WriteString("\n")
	b.Write(feed)
	if b.Len() > MaxFeed {
		return nil, errs.New(errs.Full, "the feed is longer than %d bytes", MaxFeed)
	}
	return b.Bytes(), nil
}

// signed is what a signature is of: with the magic, so that it is of nothing else.
func signed(feed []byte) []byte { return append([]byte(magic), feed...) }

// Verify gives the feed in a signed one. One good signature by one of the keys
// is enough; by is the key.
func Verify(b []byte, keys []Key) (feed []byte, by Key, err error) {
	sigs, feed, err := split(b)
	if err != nil {
		return nil, Key{}, err
	}
	text := signed(feed)
	for _, s := range sigs {
		for _, k := range keys {
			if k.ID() == s.id && ed25519.Verify(k.public, text, s.sig) {
				return feed, k, nil
			}
		}
	}
	var ids []string
	for _, s := range sigs {
		ids = append(ids, s.id)
	}
	return nil, Key{}, errs.New(errs.Denied, "the feed has no good signature by a key that is configured; it claims to be signed by %s", strings.Join(ids, ", "))
}

type signature struct {
	id  string
	sig []byte
}

// split takes a signed feed apart and believes nothing of it.
func split(b []byte) (sigs []signature, feed []byte, err error) {
	bad := func(what string) error { return errs.New(errs.Invalid, "this is no signed feed: %s", what) }
	if len(b) > MaxFeed {
		return nil, nil, bad("it is too long")
	}
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, nil, bad("it does not begin with " + strings.TrimSpace(magic))
	}
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok || len(line) > 200 {
			return nil, nil, bad("its signatures have no end")
		}
		if rest = after; len(line) == 0 {
			return sigs, rest, nil
		}
		words := strings.Split(string(line), " ")
		if len(words) != 3 || words[0] != "signature" || len(words[1]) != 16 || strings.Trim(words[1], "0123456789abcdef") != "" {
			return nil, nil, bad("a line is not signature, key and base64")
		}
		sig, err := base64.StdEncoding.Strict().DecodeString(words[2])
		if err != nil || len(sig) != ed25519.SignatureSize {
			return nil, nil, bad("a signature is not one")
		}
		if sigs = append(sigs, signature{words[1], sig}); len(sigs) > maxSignatures {
			return nil, nil, bad("it has too many signatures")
		}
	}
}

// Unverified reads a signed feed and believes it: for who writes feeds, and for
// looking at one.
func Unverified(b []byte, compile Compile) (*Feed, error) {
	_, text, err := split(b)
	if err != nil {
		return nil, err
	}
	return ParseFeed(text, compile)
}

// Read verifies a signed feed and reads it.
func Read(b []byte, keys []Key, compile Compile) (*Feed, error) {
	text, _, err := Verify(b, keys)
	if err != nil {
		return nil, err
	}
	return ParseFeed(text, compile)
}
