package testlib

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CertOptions says what a certificate of a test looks like.
type CertOptions struct {
	Names    []string
	NotAfter time.Time // zero: in an hour

	Key    crypto.Signer      // nil: one on P-256
	Uses   []x509.ExtKeyUsage // nil: any
	SHA1   bool               // names SHA-1 as its signature's hash; Key must be RSA
	Parent *tls.Certificate   // who signs it; nil: itself
}

// Certificate makes a self-signed certificate.
func Certificate(t testing.TB, o CertOptions) tls.Certificate {
	t.Helper()
	key := o.Key
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = time.Now().Add(time.Hour)
	}
	if len(o.Names) == 0 {
		o.Names = []string{"test.example"}
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: o.Names[0]},
		DNSNames:     o.Names,
		NotBefore:    o.NotAfter.Add(-24 * time.Hour),
		NotAfter:     o.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IsCA:         true, BasicConstraintsValid: true,
		ExtKeyUsage: o.Uses,
	}
	parent, by := tmpl, key
	if o.Parent != nil {
		parent, by = o.Parent.Leaf, o.Parent.PrivateKey.(crypto.Signer)
	}
	if o.SHA1 {
		tmpl.SignatureAlgorithm = x509.SHA256WithRSA
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	if o.SHA1 { // which crypto/x509 signs no more: another name for the hash does
		const rsa = "\x2a\x86\x48\x86\xf7\x0d\x01\x01"
		der = bytes.ReplaceAll(der, []byte(rsa+"\x0b"), []byte(rsa+"\x05"))
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// CertificateFiles writes certificate and key for programs that want files.
func CertificateFiles(t testing.TB, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
