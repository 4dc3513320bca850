package senderauth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"

	"lazaret/internal/errs"
)

// minKeyBits is what RFC 8301 section 3.2 asks of an RSA key at least.
const minKeyBits = 1024

// tagList reads a list of tags (RFC 6376 section 3.2).
func tagList(s string) (map[string]string, error) {
	out := make(map[string]string)
	for _, tag := range strings.Split(s, ";") {
		name, value, ok := strings.Cut(tag, "=")
		name = strings.TrimSpace(unfold(name))
		switch {
		case !ok && name == "":
			continue
		case !ok || name == "":
			return nil, errs.New(errs.Invalid, "a tag has no value")
		}
		if _, twice := out[name]; twice {
			return nil, errs.New(errs.Invalid, "a tag stands twice")
		}
		out[name] = strings.TrimSpace(unfold(value))
	}
	return out, nil
}

// noBlanks takes out what folding put into a value.
func noBlanks(s string) string { return strings.Join(strings.Fields(s), "") }

// decode64 reads base64 that may be folded.
func decode64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(noBlanks(s)) }

// publicKey is a key from DNS that signatures are checked with.
type publicKey struct {
	rsa     *rsa.PublicKey
	ed25519 ed25519.PublicKey
}

// checks reports whether sig is the key's signature of a SHA-256 hash.
func (k *publicKey) checks(hash, sig []byte) bool {
	if k.rsa != nil {
		return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, hash, sig) == nil
	}
	return ed25519.Verify(k.ed25519, hash, sig)
}

// fetchKey asks for the key of a signature. An error that is not Temporary is
// one of the key.
func (v *Verifier) fetchKey(ctx context.Context, selector, domain, algorithm string) (*publicKey, error) {
	name := selector + "._domainkey." + domain
	txt, err := v.resolver.LookupTXT(ctx, name)
	if err != nil && !gone(err) {
		return nil, errs.Wrap(errs.Temporary, err, "asking for a key")
	}
	if len(txt) == 0 {
		return nil, errs.New(errs.Invalid, "there is no key")
	}
	if len(txt[0]) > maxKeyRecord {
		return nil, errs.New(errs.Invalid, "the key record is longer than %d bytes", maxKeyRecord)
	}
	return parseKey(txt[0], algorithm)
}

// parseKey reads a key record (RFC 6376 section 3.6.1, RFC 8463 section 4).
func parseKey(record, algorithm string) (*publicKey, error) {
	tags, err := tagList(record)
	if err != nil {
		return nil, err
	}
	kind, hash, _ := strings.Cut(algorithm, "-")
	has := func(list, word string) bool { return slices.Contains(strings.Split(noBlanks(list), ":"), word) }
	of := tags["k"]
	if of == "" {
		of = "rsa"
	}
	switch v, given := tags["v"]; {
	case given && v != "DKIM1":
		return nil, errs.New(errs.Invalid, "the key record has an unknown version")
	case hash != "sha256" || of != kind:
		return nil, errs.New(errs.Invalid, "the algorithm of the signature is not that of the key")
	case tags["h"] != "" && !has(tags["h"], hash), tags["s"] != "" && !has(tags["s"], "email") && !has(tags["s"], "*"):
		return nil, errs.New(errs.Invalid, "the key is not for this use")
	case noBlanks(tags["p"]) == "":
		return nil, errs.New(errs.Invalid, "the key is revoked")
	}
	der, err := decode64(tags["p"])
	if err != nil {
		return nil, errs.New(errs.Invalid, "the key cannot be read")
	}
	switch kind {
	case "ed25519":
		if len(der) == ed25519.PublicKeySize {
			return &publicKey{ed25519: der}, nil
		}
	case "rsa":
		if k := rsaKey(der); k != nil && k.N.BitLen() >= minKeyBits && k.N.BitLen() <= maxKeyBits {
			return &publicKey{rsa: k}, nil
		}
	}
	return nil, errs.New(errs.Invalid, "the key cannot be used")
}

func rsaKey(der []byte) *rsa.PublicKey {
	if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		k, _ := key.(*rsa.PublicKey)
		return k
	}
	k, err := x509.ParsePKCS1PublicKey(der)
	if err != nil {
		return nil
	}
	return k
}

// sum is a SHA-256 hash.
func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}
