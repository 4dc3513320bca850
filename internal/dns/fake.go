package dns

import (
	"context"
	"net/netip"
	"strings"
)

// Fake answers from tables, for tests and for the demo. What is in no table
// does not exist. Names are in lower case.
type Fake struct {
	MX   map[string]MXSet
	Addr map[string][]netip.Addr
	PTR  map[netip.Addr][]string
	Fail map[string]error // by name or address: what every question about it gives
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
		return MXSet{}, notFound("%s has no MX record", domain)
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
