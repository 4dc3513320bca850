// Package dns asks the domain name system what mail needs to know: mail
// exchangers, addresses, reverse names, texts and TLSA records.
//
// It is a stub: it believes the recursive resolvers of /etc/resolv.conf (run
// one on the machine itself) and never walks the tree. It validates no DNSSEC
// itself: an answer is Secure when a resolver said so (the AD bit) that may be
// believed in this, because it stands on this machine or was named as one that
// validates. The way to any other is open to whoever is on the wire.
//
// It promises that no answer, however hostile, makes it wait or grow beyond its
// limits; that names it gives out have the letters, digits, hyphens and
// underscores of host names only; and that "there is no such name"
// (errs.NotFound) is said only when a resolver said so. All else, a machine
// without any resolver included, is errs.Temporary, and mail waits.
package dns

import (
	"context"
	"net/netip"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// MX is one mail exchanger.
type MX struct {
	Host       string // lower case, no final dot
	Preference uint16
}

// MXSet is a domain's mail exchangers, best first; those of equal preference
// are in random order at each look-up, RFC 5321 section 5.1. Null says that the
// domain takes no mail at all, RFC 7505; then there are no records. Secure is
// also set beside errs.NotFound, when it is certain that there are none.
type MXSet struct {
	Null    bool
	Records []MX
	Secure  bool // validated, RFC 4035 section 3.2.3
}

// AddrSet is the addresses of a host, IPv4 before IPv6.
type AddrSet struct {
	Addrs  []netip.Addr
	Name   string // where the aliases end; the host itself without any
	Secure bool   // each address, and each alias on the way, is validated
}

// TLSA is a record of RFC 6698: which certificate a service has.
type TLSA struct {
	Usage    uint8 // 2: a trust anchor, 3: the certificate itself
	Selector uint8 // 0: the whole certificate, 1: its public key
	Matching uint8 // 0: as it is, 1: SHA-256, 2: SHA-512
	Data     []byte
}

// TLSASet is the records of one name. Secure is also set beside errs.NotFound.
type TLSASet struct {
	Records []TLSA
	Secure  bool
}

// Resolver answers the questions of the mail path. A name without the data
// asked for is errs.NotFound, everything that may pass is errs.Temporary.
type Resolver interface {
	LookupMX(ctx context.Context, domain string) (MXSet, error)
	LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) // A and AAAA
	LookupHost(ctx context.Context, host string) (AddrSet, error)      // the same, and whether it is validated
	LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error) // A only, as DNS lists want it; never the hosts file
	LookupPTR(ctx context.Context, ip netip.Addr) ([]string, error)
	LookupTXT(ctx context.Context, name string) ([]string, error) // a record's strings are joined, RFC 7208 section 3.3
	LookupTLSA(ctx context.Context, name string) (TLSASet, error)
}

// Reverse is what an address says of itself.
type Reverse struct {
	Host     string // empty without a name
	Verified bool   // Host resolves to the address
	Err      error  // errs.NotFound: no name; errs.Temporary: not known now
}

// Verify looks an address up and the name back again. A name that does not
// lead back is given, but not verified: whoever owns the address chose it.
func Verify(ctx context.Context, r Resolver, ip netip.Addr) Reverse {
	const most = 5 // names of one address that are tried
	names, err := r.LookupPTR(ctx, ip)
	if err != nil {
		return Reverse{Err: err}
	}
	if len(names) == 0 {
		return Reverse{Err: notFound("%s has no reverse name", ip)}
	}
	for _, name := range names[:min(len(names), most)] {
		addrs, err := r.LookupAddr(ctx, name)
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if a.Unmap() == ip.Unmap() {
				return Reverse{Host: name, Verified: true}
			}
		}
	}
	return Reverse{Host: names[0]}
}

// hostName gives the normal form of a name that may be a host.
func hostName(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return "", errs.New(errs.Invalid, "an address literal is not a name")
	}
	return mail.ParseDomain(s)
}

func notFound(format string, args ...any) error {
	return errs.New(errs.NotFound, format, args...)
}

func temporary(format string, args ...any) error {
	return errs.New(errs.Temporary, format, args...)
}
