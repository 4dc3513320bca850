package config

import (
	"path/filepath"
	"slices"
	"strings"

	"lazaret/internal/certs"
	"lazaret/internal/errs"
)

// Certificate is one that lies in files, for listeners and deliveries.
type Certificate struct {
	Name string `xml:"certificate_name"`
	Cert string `xml:"certificate_file"`
	Key  string `xml:"key_file"`
}

// SSL are the limits of TLS by use. CPQ is not among them: it has one way to
// speak TLS, and nothing here or elsewhere weakens it (register D8).
type SSL struct {
	InboundMethod   string `xml:"inbound_smtp_method"`
	InboundCiphers  string `xml:"inbound_smtp_ciphers"`
	OutboundMethod  string `xml:"outbound_smtp_method"`
	OutboundCiphers string `xml:"outbound_smtp_ciphers"`
	OutboundCert    string `xml:"outbound_smtp_certificate"`
}

// GatewayQuota is what one gateway may bring to a manager; 0 is the default.
type GatewayQuota struct {
	Messages int   `xml:"messages_per_minute"`
	Bytes    int64 `xml:"bytes_per_minute"`
	Open     int   `xml:"open_transactions"`
}

// Defaults of GatewayQuota: far above what a gateway does on a bad day, and
// still a bound to what one in hostile hands does to the others.
const (
	DefaultQuotaMessages = 60_000
	DefaultQuotaBytes    = 8 << 30
	DefaultQuotaOpen     = 200
)

// Effective fills in the defaults.
func (q GatewayQuota) Effective() GatewayQuota {
	if q.Messages == 0 {
		q.Messages = DefaultQuotaMessages
	}
	if q.Bytes == 0 {
		q.Bytes = DefaultQuotaBytes
	}
	if q.Open == 0 {
		q.Open = DefaultQuotaOpen
	}
	return q
}

// ReleaseLimits is what a manager may give back to a gateway; 0 is the default.
type ReleaseLimits struct {
	PerMessage int `xml:"releases_per_message"`
	PerMinute  int `xml:"releases_per_minute"`
}

// Defaults of ReleaseLimits.
const (
	DefaultReleasesPerMessage = 10
	DefaultReleasesPerMinute  = 60_000
)

// Effective fills in the defaults.
func (l ReleaseLimits) Effective() ReleaseLimits {
	if l.PerMessage == 0 {
		l.PerMessage = DefaultReleasesPerMessage
	}
	if l.PerMinute == 0 {
		l.PerMinute = DefaultReleasesPerMinute
	}
	return l
}

// Inbound gives the limits of TLS on SMTP listeners.
func (s SSL) Inbound() certs.Limits {
	return certs.Limits{Method: s.InboundMethod, Ciphers: s.InboundCiphers}
}

// Outbound gives the limits of TLS of deliveries by SMTP.
func (s SSL) Outbound() certs.Limits {
	return certs.Limits{Method: s.OutboundMethod, Ciphers: s.OutboundCiphers}
}

// Sources gives the configured certificates; a relative name is one below dir.
func (c *Config) Sources(dir string) []certs.Source {
	at := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	all := make([]certs.Source, 0, len(c.Certificates))
	for _, k := range c.Certificates {
		all = append(all, certs.Source{Name: k.Name, Cert: at(k.Cert), Key: at(k.Key)})
	}
	return all
}

// CertificateUsers says who uses the certificate of that name.
func (c *Config) CertificateUsers(name string) (users []string) {
	for _, l := range c.Listeners {
		if l.Protocol == "SMTP" && (slices.Contains(l.Certificates, name) || len(l.Certificates) == 0 && name == certs.System) {
			users = append(users, l.Name)
		}
	}
	if c.SSL.OutboundCert == name {
		users = append(users, "outbound SMTP")
	}
	return users
}

// ValidCertificateName is the form of a certificate's name, which is also a
// file's.
func ValidCertificateName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return s != "" && len(s) <= 64 && strings.Trim(s, letters+"-_.") == "" && strings.Contains(letters, s[:1])
}

func (k checker) certificates() error {
	const path = "certificates/certificate"
	names := map[string]bool{certs.System: true}
	for i, c := range k.c.Certificates {
		switch {
		case !ValidCertificateName(c.Name):
			return k.at(path, i, "certificate_name", "%q is not a name of 1 to 64 letters, digits, -, _ and .", clip(c.Name))
		case names[c.Name]:
			return k.at(path, i, "certificate_name", "certificate %q exists already", c.Name)
		case c.Cert == "":
			return k.at(path, i, "certificate_file", "certificate %q has no file", c.Name)
		}
		names[c.Name] = true
	}
	for i, l := range k.c.Listeners {
		for _, name := range l.Certificates {
			if l.Protocol == "CPQ" {
				return k.at("listeners/listener", i, "certificate", "CPQ has a certificate of its own, which the peer has pinned")
			}
			if !names[name] {
				return k.at("listeners/listener", i, "certificate", "certificate %q does not exist", clip(name))
			}
		}
	}
	if name := k.c.SSL.OutboundCert; name != "" && !names[name] {
		return k.at("ssl", 0, "outbound_smtp_certificate", "certificate %q does not exist", clip(name))
	}
	return nil
}

func (k checker) ssl() error {
	for _, use := range []struct {
		name   string
		limits certs.Limits
	}{{"inbound_smtp", k.c.SSL.Inbound()}, {"outbound_smtp", k.c.SSL.Outbound()}} {
		if m := use.limits.Method; m != "" && !slices.Contains(certs.Methods(), m) {
			return k.at("ssl", 0, use.name+"_method", "%q is neither TLSv1.2 nor TLSv1.3; older versions are broken (RFC 8996)", clip(m))
		}
		if _, _, err := certs.Ciphers(use.limits.String()); err != nil {
			return k.at("ssl", 0, use.name+"_ciphers", "%s", err.Error())
		}
	}
	return nil
}

func (k checker) linkLimits() error {
	q, r := k.c.GatewayQuota, k.c.ReleaseLimits
	switch {
	case q.Messages < 0 || q.Messages > 10_000_000:
		return k.at("gateway_quota", 0, "messages_per_minute", "%d is not a number from 0 (default) to 10000000", q.Messages)
	case q.Bytes != 0 && q.Bytes < 1<<20 || q.Bytes > 1<<44:
		return k.at("gateway_quota", 0, "bytes_per_minute", "%d is neither 0 (default) nor a size from 1 MiB to 16 TiB", q.Bytes)
	case q.Open < 0 || q.Open > 10_000:
		return k.at("gateway_quota", 0, "open_transactions", "%d is not a number from 0 (default) to 10000", q.Open)
	case r.PerMessage < 0 || r.PerMessage > 10_000:
		return k.at("release_limits", 0, "releases_per_message", "%d is not a number from 0 (default) to 10000", r.PerMessage)
	case r.PerMinute < 0 || r.PerMinute > 10_000_000:
		return k.at("release_limits", 0, "releases_per_minute", "%d is not a number from 0 (default) to 10000000", r.PerMinute)
	}
	return nil
}

// ForgetManager ends the pairing of a gateway: the manager's pins, the user of
// its command client, and its place in the table of the hidden listener go.
func (c *Config) ForgetManager() error {
	for _, m := range c.CPQ.Managers {
		user := ClientUser(m.Serial)
		c.Users = slices.DeleteFunc(c.Users, func(u User) bool { return u.Name == user })
		if err := c.DismissPeer(m.Addr); err != nil {
			return err
		}
	}
	if len(c.CPQ.Managers) == 0 {
		return errs.New(errs.NotFound, "This gateway is not paired with a manager")
	}
	c.CPQ = CPQ{}
	return nil
}

// ClientUser is the name that a manager's command client logs in with.
func ClientUser(serial string) string {
	return "cpq" + strings.ToLower(serial[:min(len(serial), 16)])
}
