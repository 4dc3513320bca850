// Package dane judges a mail server's certificate by the TLSA records of its
// name: RFC 6698, updated by RFC 7671, as RFC 7672 uses them for SMTP.
//
// It asks no DNS and makes no connection. Records come from whoever looked them
// up and knows that they are validated; it says what they demand and whether a
// chain of certificates meets it. It promises that records it cannot use never
// make a certificate good.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"strconv"
	"time"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
)

// The certificate usages that SMTP can use. Usages 0 and 1 ask for a known
// authority as well, and between mail servers there is none that both know:
// RFC 7672 section 3.1.3 has clients treat them as unusable.
const (
	trustAnchor = 2 // DANE-TA
	endEntity   = 3 // DANE-EE
)

// Selectors and matching types of RFC 6698 section 2.1.
const (
	wholeCertificate = 0
	publicKey        = 1

	exact  = 0
	sha2of = 1 // SHA-256
	sha5of = 2 // SHA-512
)

// Name gives the name that the records of a service have, RFC 6698 section 3.
func Name(host string, port uint16) string {
	return "_" + strconv.Itoa(int(port)) + "._tcp." + host
}

// Text gives a record as people write it, without its data.
func Text(r dns.TLSA) string {
	return "TLSA " + strconv.Itoa(int(r.Usage)) + " " + strconv.Itoa(int(r.Selector)) + " " + strconv.Itoa(int(r.Matching))
}

// Usable gives those of the records that can decide about a server. When there
// are records and none is usable, TLS is a must all the same, and who answers
// is not looked at (RFC 7672 section 2.2).
func Usable(all []dns.TLSA) []dns.TLSA {
	var out []dns.TLSA
	for _, r := range all {
		if wellFormed(r) && !outdone(r, all) {
			out = append(out, r)
		}
	}
	return out
}

func wellFormed(r dns.TLSA) bool {
	if r.Usage != trustAnchor && r.Usage != endEntity || r.Selector > publicKey {
		return false
	}
	switch r.Matching {
	case exact:
		if r.Usage == endEntity {
			return len(r.Data) > 0
		}
		return r.Selector == publicKey && validKey(r.Data) || r.Selector == wholeCertificate && anchor(r) != nil
	case sha2of:
		return len(r.Data) == sha256.Size
	case sha5of:
		return len(r.Data) == sha512.Size
	}
	return false
}

func validKey(der []byte) bool {
	_, err := x509.ParsePKIXPublicKey(der)
	return err == nil
}

// outdone reports whether a digest stands beside a stronger one for the same
// usage and selector: then only the stronger counts, RFC 7671 section 9.
func outdone(r dns.TLSA, all []dns.TLSA) bool {
	if r.Matching != sha2of {
		return false
	}
	for _, o := range all {
		if o.Usage == r.Usage && o.Selector == r.Selector && o.Matching == sha5of && wellFormed(o) {
			return true
		}
	}
	return false
}

// Verify checks the certificates that a server showed, its own first, against
// usable records, and gives the record that it met. names are those that a
// certificate under a trust anchor may be for, RFC 7672 section 3.2.2: the name
// of the records, and the domain of the mail when its MX is validated.
func Verify(usable []dns.TLSA, chain []*x509.Certificate, names []string, now time.Time) (dns.TLSA, error) {
	if len(chain) == 0 {
		return dns.TLSA{}, errs.New(errs.Denied, "no certificate from server")
	}
	for _, r := range usable {
		// RFC 7671 section 5.1: names and dates of a certificate that is itself
		// in DNS do not matter.
		if r.Usage == endEntity && matches(r, chain[0]) {
			return r, nil
		}
	}
	err := errs.New(errs.Denied, "no TLSA record matches the certificate")
	for _, r := range usable {
		if r.Usage != trustAnchor {
			continue
		}
		aerr := underAnchor(r, chain, names, now)
		if aerr == nil {
			return r, nil
		}
		if !errors.Is(aerr, errNoAnchor) { // says more than that nothing matches
			err = aerr
		}
	}
	return dns.TLSA{}, err
}

var errNoAnchor = errors.New("the trust anchor is not in the chain")

// underAnchor checks a chain that must end in the certificate of a record,
// RFC 7671 section 5.2. The server has to send that certificate, unless the
// record holds it whole.
func underAnchor(r dns.TLSA, chain []*x509.Certificate, names []string, now time.Time) error {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now}
	found := false
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
		if matches(r, c) {
			opts.Roots.AddCert(c)
			found = true
		}
	}
	if c := anchor(r); c != nil {
		opts.Roots.AddCert(c)
		found = true
	}
	if !found {
		return errNoAnchor
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return errs.Wrap(errs.Denied, err, "%s", Text(r))
	}
	var err error
	for _, name := range names {
		if err = chain[0].VerifyHostname(name); err == nil {
			return nil
		}
	}
	return errs.Wrap(errs.Denied, err, "%s", Text(r))
}

// anchor gives the certificate that a record holds whole, or nil.
func anchor(r dns.TLSA) *x509.Certificate {
	if r.Usage != trustAnchor || r.Selector != wholeCertificate || r.Matching != exact {
		return nil
	}
	c, err := x509.ParseCertificate(r.Data)
	if err != nil {
		return nil
	}
	return c
}

// matches compares one certificate with one record, RFC 6698 section 2.1.
func matches(r dns.TLSA, c *x509.Certificate) bool {
	raw := c.Raw
	if r.Selector == publicKey {
		raw = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case exact:
		return bytes.Equal(r.Data, raw)
	case sha2of:
		sum := sha256.Sum256(raw)
		return bytes.Equal(r.Data, sum[:])
	case sha5of:
		sum := sha512.Sum512(raw)
		return bytes.Equal(r.Data, sum[:])
	}
	return false
}
