package dns

import (
	"context"
	"net/netip"
	"strings"
)

// Fake answers from tables, for tests and for the demo. What is in no table
// does not exist. Names are in lower case.
type Fake struct {
	MX     map[string]MXSet
	Addr   map[string][]netip.Addr
	PTR    map[netip.Addr][]string
	TXT    map[string][]string
	TLSA   map[string][]TLSA // validated
	Alias  map[string]string // where LookupHost says that the aliases of a host end
	Secure map[string]bool   // hosts whose addresses are validated, and domains that are known to have no MX
	Fail   map[string]error  // by name or address: what every question about it gives
}

var _ Resolver = (*Fake)(nil)

// LookupMX implements Resolver.
func (f *Fake) LookupMX(ctx context.Context, domain string) (MXSet, error) {
	domain, err := f.check(ctx, domain)
	if err != nil {
		return MXSet{}, err
	}
	set, ok := f.MX[domain]
	if !ok {
		return MXSet{Secure: f.Secure[domain]}, notFound("%s has no MX record", domain)
	}
	return set, nil
}

// LookupAddr implements Resolver.
func (f *Fake) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	host, err := f.check(ctx, host)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if len(f.Addr[host]) == 0 {
		return nil, notFound("%s has no address", host)
	}
	return f.Addr[host], nil
}

// LookupHost implements Resolver.
func (f *Fake) LookupHost(ctx context.Context, host string) (AddrSet, error) {
	addrs, err := f.LookupAddr(ctx, host)
	if err != nil {
		return AddrSet{}, err
	}
	set := AddrSet{Addrs: addrs, Name: host, Secure: f.Secure[host]}
	if to := f.Alias[host]; to != "" {
		set.Name = to
	}
	return set, nil
}

// LookupTXT implements Resolver.
func (f *Fake) LookupTXT(ctx context.Context, name string) ([]string, error) {
	name, err := f.check(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(f.TXT[name]) == 0 {
		return nil, notFound("%s has no TXT record", name)
	}
	return f.TXT[name], nil
}

// LookupTLSA implements Resolver.
func (f *Fake) LookupTLSA(ctx context.Context, name string) (TLSASet, error) {
	name, err := f.check(ctx, name)
	if err != nil {
		return TLSASet{}, err
	}
	if len(f.TLSA[name]) == 0 {
		return TLSASet{Secure: true}, notFound("%s has no TLSA record", name)
	}
	return TLSASet{Records: f.TLSA[name], Secure: true}, nil
}

// LookupPTR implements Resolver.
func (f *Fake) LookupPTR(ctx context.Context, ip netip.Addr) ([]string, error) {
	if _, err := f.check(ctx, ip.String()); err != nil {
		return nil, err
	}
	if len(f.PTR[ip]) == 0 {
		return nil, notFound("%s has no reverse name", ip)
	}
	return f.PTR[ip], nil
}

func (f *Fake) check(ctx context.Context, name string) (string, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if err := f.Fail[name]; err != nil {
		return name, err
	}
	if err := ctx.Err(); err != nil {
		return name, temporary("%s: look-up given up", name)
	}
	return name, nil
}
