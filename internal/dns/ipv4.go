package dns

import (
	"context"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
)

// LookupIPv4 implements Resolver. It is what DNS lists are asked with: a list
// answers with addresses of 127.0.0.0/8 that nobody connects to, so the hosts
// file has no say, and a question for IPv6 addresses would be wasted.
func (s *Stub) LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error) {
	name, err := hostName(name)
	if err != nil {
		return nil, err
	}
	a := s.ask(ctx, question{name + ".", dnsmessage.TypeA})
	return slices.Clone(a.addrs), a.err
}

// LookupIPv4 implements Resolver.
func (f *Fake) LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error) {
	name, err := f.check(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range f.Addr[name] {
		if a.Unmap().Is4() {
			out = append(out, a.Unmap())
		}
	}
	if len(out) == 0 {
		return nil, notFound("%s has no A record", name)
	}
	return out, nil
}

// ReverseName gives an address as DNS lists are asked for it, without a final
// dot: octets in reverse order, or the nibbles of IPv6 (RFC 5782 sections 2.1
// and 2.4).
func ReverseName(ip netip.Addr) string {
	name := arpa(ip.Unmap().WithZone(""))
	if ip.Unmap().Is4() {
		return name[:len(name)-len(".in-addr.arpa.")]
	}
	return name[:len(name)-len(".ip6.arpa.")]
}
