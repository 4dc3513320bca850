package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"time"

	"lazaret/internal/errs"
)

// minRSA is the least size of an RSA key in bits (NIST SP 800-131A).
const minRSA = 2048

// Use is what a certificate is for.
type Use uint8

// The uses.
const (
	ServerUse Use = iota // shown to those who connect
	ClientUse            // shown when we connect
)

// Strength refuses a key or a signature that proves nothing any more. The words
// are ours: nothing of the certificate's text is in them.
func Strength(c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return errs.New(errs.Denied, "has an RSA key of %d bits; at least %d are needed", key.N.BitLen(), minRSA)
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 256 {
			return errs.New(errs.Denied, "has an elliptic key of %d bits; at least 256 are needed", key.Curve.Params().BitSize)
		}
	case ed25519.PublicKey:
	default:
		return errs.New(errs.Denied, "has a key that is neither RSA nor ECDSA nor Ed25519")
	}
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return errs.New(errs.Denied, "is signed with %s, which can be forged", c.SignatureAlgorithm)
	case x509.UnknownSignatureAlgorithm:
		return errs.New(errs.Denied, "is signed in a way that is not known")
	}
	return nil
}

// InTime refuses a certificate outside its dates. The words are ours.
func InTime(c *x509.Certificate, now time.Time) error {
	const day = "2 Jan 2006 15:04 MST"
	switch {
	case now.After(c.NotAfter):
		return errs.New(errs.Denied, "expired on %s", c.NotAfter.UTC().Format(day))
	case now.Before(c.NotBefore):
		return errs.New(errs.Denied, "is not valid before %s", c.NotBefore.UTC().Format(day))
	}
	return nil
}

// For refuses a certificate that was made for something else: its extended
// key usage, where it has one, must name the use (RFC 5280 section 4.2.1.12).
func For(c *x509.Certificate, use Use) error {
	want, word := x509.ExtKeyUsageServerAuth, "TLS servers"
	if use == ClientUse {
		want, word = x509.ExtKeyUsageClientAuth, "TLS clients"
	}
	none := len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0
	if none || slices.Contains(c.ExtKeyUsage, want) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	return errs.New(errs.Denied, "is not one for %s", word)
}

// CheckFile finds what is wrong with a pair that an administrator configures:
// the error names the certificate of the chain, counted from 1.
func (p Pair) CheckFile(now time.Time) error {
	for i, der := range p.TLS.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return errs.Wrap(errs.Invalid, err, "certificate %d of the file", i+1)
		}
		err = InTime(c, now)
		// An authority's own signature on itself is checked by nobody.
		if err == nil && (i == 0 || string(c.RawIssuer) != string(c.RawSubject)) {
			err = Strength(c)
		}
		if err == nil && i == 0 {
			err = For(c, ServerUse)
		}
		if err != nil {
			return errs.New(errs.Invalid, "certificate %d of the file %s", i+1, err.Error())
		}
	}
	return nil
}

// Names gives what the certificate is for: its host names and addresses, and
// the common name where there are none.
func (p Pair) Names() []string {
	names := slices.Clone(p.Leaf.DNSNames)
	for _, ip := range p.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 && p.Leaf.Subject.CommonName != "" {
		names = append(names, p.Leaf.Subject.CommonName)
	}
	return names
}
