// Package certs makes and checks certificates: the hidden CPQ certificate that
// gateway and manager pin, and a plain one for STARTTLS on ordinary listeners.
//
// On CPQ there is no public authority: each side made its certificate itself,
// and pairing told the other side its pin, the SHA-256 of its public key. The
// promise (P4) is that neither side goes on with anybody else, whatever the
// cipher lists of ordinary TLS say: TLS 1.3 only, both certificates required,
// pins and dates checked by us.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// Lifetime of the certificates made here: ten years. What protects CPQ is the
// pin; a short date would only stop mail on a forgotten day.
const Lifetime = 3653 * 24 * time.Hour

// Pin is the SHA-256 of a certificate's SubjectPublicKeyInfo (as in RFC 7469).
// It survives a renewed certificate with the same key.
type Pin [sha256.Size]byte

const pinPrefix = "sha256/"

// String gives sha256/ and base64.
func (p Pin) String() string { return pinPrefix + base64.StdEncoding.EncodeToString(p[:]) }

// ParsePin reads what String gives.
func ParsePin(s string) (Pin, error) {
	var p Pin
	b64, ok := strings.CutPrefix(s, pinPrefix)
	b, err := base64.StdEncoding.Strict().DecodeString(b64)
	if !ok || err != nil || len(b) != len(p) {
		return p, errs.New(errs.Invalid, "a pin is %s and 44 characters of base64", pinPrefix)
	}
	copy(p[:], b)
	return p, nil
}

// PinOf gives the pin of a certificate.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// Pair is a certificate with its key.
type Pair struct {
	TLS  tls.Certificate
	Leaf *x509.Certificate
}

// Pin gives the pair's pin.
func (p Pair) Pin() Pin { return PinOf(p.Leaf) }

// NewCPQ makes the hidden CPQ certificate of an appliance, by its serial.
func NewCPQ(serial string, now time.Time) (certPEM, keyPEM []byte, err error) {
	return selfMade("CPQ "+serial, nil, now)
}

// NewHost makes a certificate for STARTTLS on ordinary listeners, to be
// replaced by one of an authority.
func NewHost(host string, now time.Time) (certPEM, keyPEM []byte, err error) {
	return selfMade(host, []string{host}, now)
}

func selfMade(name string, hosts []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, errs.Wrap(errs.Internal, err, "making a key")
	}
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, errs.Wrap(errs.Internal, err, "making a certificate")
	}
	t := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(Lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, nil, errs.Wrap(errs.Internal, err, "making a certificate")
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, errs.Wrap(errs.Internal, err, "making a key")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// Parse reads a pair from PEM.
func Parse(certPEM, keyPEM []byte) (Pair, error) {
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return Pair{}, errs.New(errs.Invalid, "certificate or key: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return Pair{}, errs.Wrap(errs.Invalid, err, "certificate")
	}
	c.Leaf = leaf
	return Pair{TLS: c, Leaf: leaf}, nil
}

// Load reads a pair from two files.
func Load(certFile, keyFile string) (Pair, error) {
	c, err := os.ReadFile(certFile)
	if err != nil {
		return Pair{}, errs.Wrap(errs.Invalid, err, "certificate")
	}
	k, err := os.ReadFile(keyFile)
	if err != nil {
		return Pair{}, errs.Wrap(errs.Invalid, err, "key")
	}
	p, err := Parse(c, k)
	return p, errs.Context(err, "%s", filepath.Base(certFile))
}

// Save writes a pair to two new files, durably; the key is readable by its
// owner alone. A file that exists is left alone and is an error.
func Save(certFile, keyFile string, certPEM, keyPEM []byte) error {
	if err := writeNew(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	if err := writeNew(certFile, certPEM, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyFile)) // a key alone would stop the next try
	}
	return nil
}

func writeNew(name string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return errs.Wrap(errs.Conflict, err, "writing a key file")
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	return errs.Wrap(errs.Internal, err, "writing %s", name)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
