package filter

import (
	"fmt"
	"net/netip"
	"strings"
)

// network is the addresses from first to last, both of one family.
type network struct{ first, last netip.Addr }

// contains takes an IPv4 address written as IPv6 for what it is.
func (n network) contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsValid() && a.BitLen() == n.first.BitLen() && a.Compare(n.first) >= 0 && a.Compare(n.last) <= 0
}

// parseNetwork reads 10.1.2.3, 10.1.2.3-20, 10.1.2.3-10.1.3.9, 10.1.2.0/24 and
// 10.1.2., and the same of IPv6 where it makes sense.
func parseNetwork(s string) (network, error) {
	bad := fmt.Errorf("%q is no IP address, range (10.1.2.3-20), network (10.1.0.0/16) or beginning (10.1.2.)", clip(s))
	if p, err := netip.ParsePrefix(s); err == nil {
		return networkOf(p), nil
	}
	if from, to, ok := strings.Cut(s, "-"); ok {
		first, err := netip.ParseAddr(from)
		if err != nil || first.Zone() != "" {
			return network{}, bad
		}
		if first.Is4() && !strings.Contains(to, ".") {
			to = from[:strings.LastIndexByte(from, '.')+1] + to
		}
		last, err := netip.ParseAddr(to)
		if err != nil || last.Zone() != "" || last.BitLen() != first.BitLen() || last.Less(first) {
			return network{}, bad
		}
		return network{first.Unmap(), last.Unmap()}, nil
	}
	if dots := strings.Count(s, "."); strings.HasSuffix(s, ".") && dots <= 3 && !strings.Contains(s, ":") {
		a, err := netip.ParseAddr(s + "0" + strings.Repeat(".0", 3-dots))
		if err != nil {
			return network{}, bad
		}
		return networkOf(netip.PrefixFrom(a, 8*dots)), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return network{}, bad
	}
	return network{a.Unmap(), a.Unmap()}, nil
}

func networkOf(p netip.Prefix) network {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return network{p.Addr(), end}
}
