package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"slices"

	"lazaret/internal/errs"
)

// signDomain stands in front of what is signed with a CPQ key, so that a
// signature is good for nothing else: TLS signs other things.
const signDomain = "lazaret CPQ statement 1\x00"

// Signature is one over a statement, with the public key that made it.
type Signature struct {
	Key       string `json:"key"` // SubjectPublicKeyInfo in base64: its SHA-256 is a pin
	Signature string `json:"signature"`
}

// MaxSignatures is how many a statement bears at most: a certificate, its
// predecessor and its successor.
const MaxSignatures = 3

// Sign signs a statement with all CPQ keys that count, so that a peer finds the
// one that it trusts among them.
func (o *Own) Sign(statement []byte) ([]Signature, error) {
	sum := sha256.Sum256(append([]byte(signDomain), statement...))
	var all []Signature
	for _, p := range o.Pairs() {
		key, ok := p.TLS.PrivateKey.(crypto.Signer)
		if !ok {
			return nil, errs.New(errs.Internal, "the CPQ key cannot sign")
		}
		sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			return nil, errs.Wrap(errs.Internal, err, "signing")
		}
		all = append(all, Signature{
			Key: base64.StdEncoding.EncodeToString(p.Leaf.RawSubjectPublicKeyInfo), Signature: base64.StdEncoding.EncodeToString(sig),
		})
	}
	return all, nil
}

// VerifySigned accepts a statement that a key behind one of the pins has
// signed. Dates do not matter: a peer whose certificate ran out says with its
// old key which one it has now.
func VerifySigned(statement []byte, sigs []Signature, pins []Pin) error {
	if len(sigs) > MaxSignatures {
		return errs.New(errs.Invalid, "a statement has more than %d signatures", MaxSignatures)
	}
	sum := sha256.Sum256(append([]byte(signDomain), statement...))
	for _, s := range sigs {
		spki, err := base64.StdEncoding.DecodeString(s.Key)
		if err != nil || !slices.Contains(pins, Pin(sha256.Sum256(spki))) {
			continue
		}
		sig, err := base64.StdEncoding.DecodeString(s.Signature)
		if err != nil {
			continue
		}
		pub, err := x509.ParsePKIXPublicKey(spki)
		if key, ok := pub.(*ecdsa.PublicKey); err == nil && ok && ecdsa.VerifyASN1(key, sum[:], sig) {
			return nil
		}
	}
	return errs.New(errs.Denied, "the statement is not signed with a key that is pinned")
}
