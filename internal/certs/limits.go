package certs

import (
	"crypto/tls"
	"strconv"

	"lazaret/internal/errs"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// DefaultCiphers is the cipher string of the seed with its cure against
// anonymous ciphers.
const DefaultCiphers = "HIGH:MEDIUM:-aNULL"

// Limits are what one use of TLS is held to: inbound or outbound SMTP. CPQ has
// none to set. The zero value is the default.
type Limits struct {
	Method  string // TLSv1.2, which is the default, or TLSv1.3: the least
	Ciphers string // in OpenSSL's language; "" is DefaultCiphers
}

// Methods are the words that Limits knows.
func Methods() []string { return []string{"TLSv1.2", "TLSv1.3"} }

// Apply puts the limits into a TLS configuration.
func (l Limits) Apply(c *tls.Config) error {
	switch l.Method {
	case "", "TLSv1.2":
		c.MinVersion = tls.VersionTLS12
	case "TLSv1.3":
		c.MinVersion = tls.VersionTLS13
	default:
		return errs.New(errs.Invalid, "%q is neither TLSv1.2 nor TLSv1.3; older versions are broken (RFC 8996)", clip(l.Method))
	}
	suites, _, err := Ciphers(l.String())
	c.CipherSuites = suites
	return err
}

// String gives the cipher string in force.
func (l Limits) String() string {
	if l.Ciphers == "" {
		return DefaultCiphers
	}
	return l.Ciphers
}
