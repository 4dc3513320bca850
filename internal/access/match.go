package access

import (
	"net/netip"
	"strings"
)

// index finds the first entry of a group that matches, without walking all of
// them: a table may list many thousand networks.
type index struct {
	prefixes map[netip.Prefix]int
	bits4    []int // prefix lengths in use
	bits6    []int
	hosts    map[string]int
	domains  map[string]int
	lookups  map[string]int
	ranges   []rangeEntry
	zones    map[string]int
	scores   []scoreEntry
}

type rangeEntry struct {
	from, to netip.Addr
	at       int
}

func (x *index) add(at int, c condition) {
	switch {
	case c.prefix.IsValid():
		if c.prefix.Addr().Is4() {
			x.bits4 = addBits(x.bits4, c.prefix.Bits())
		} else {
			x.bits6 = addBits(x.bits6, c.prefix.Bits())
		}
		x.prefixes = put(x.prefixes, c.prefix, at)
	case c.from.IsValid():
		x.ranges = append(x.ranges, rangeEntry{c.from, c.to, at})
	case c.host != "":
		x.hosts = put(x.hosts, c.host, at)
	case c.domain != "":
		x.domains = put(x.domains, c.domain, at)
	case c.lookup != "":
		x.lookups = put(x.lookups, c.lookup, at)
	case c.zone != "":
		x.zones = put(x.zones, c.zone, at)
	case c.score != nil:
		x.scores = append(x.scores, scoreEntry{*c.score, at})
	}
}

// put keeps the first entry of equal ones.
func put[K comparable](m map[K]int, k K, at int) map[K]int {
	if m == nil {
		m = map[K]int{}
	}
	if _, there := m[k]; !there {
		m[k] = at
	}
	return m
}

func addBits(have []int, bits int) []int {
	for _, b := range have {
		if b == bits {
			return have
		}
	}
	return append(have, bits)
}

// find gives the number of the first entry that matches, or -1.
func (x *index) find(c Client) int {
	best := x.findAddr(c.IP, -1)
	if c.Lookup == LookupOK && c.Verified && c.Host != "" {
		best = x.findHost(strings.ToLower(strings.TrimSuffix(c.Host, ".")), best)
	}
	if len(x.lookups) > 0 {
		if at, ok := x.lookups[lookupEntry(c)]; ok {
			best = first(best, at)
		}
	}
	return x.findReputation(c, best)
}

func lookupEntry(c Client) string {
	switch {
	case c.Lookup == LookupMissing:
		return entryMissing
	case c.Lookup == LookupFailed:
		return entryFailed
	case !c.Verified:
		return entryUnverified
	}
	return ""
}

func (x *index) findAddr(ip netip.Addr, best int) int {
	if !ip.IsValid() {
		return best
	}
	bits := x.bits6
	if ip.Is4() {
		bits = x.bits4
	}
	for _, n := range bits {
		if p, err := ip.Prefix(n); err == nil {
			if at, ok := x.prefixes[p]; ok {
				best = first(best, at)
			}
		}
	}
	for _, r := range x.ranges {
		if r.from.BitLen() == ip.BitLen() && !ip.Less(r.from) && !r.to.Less(ip) {
			best = first(best, r.at)
		}
	}
	return best
}

func (x *index) findHost(host string, best int) int {
	if at, ok := x.hosts[host]; ok {
		best = first(best, at)
	}
	if len(x.domains) == 0 {
		return best
	}
	// .example.com matches hosts below example.com, not example.com itself.
	for {
		dot := strings.IndexByte(host, '.')
		if dot < 0 {
			return best
		}
		host = host[dot+1:]
		if at, ok := x.domains[host]; ok {
			best = first(best, at)
		}
	}
}

func first(best, at int) int {
	if best < 0 || at < best {
		return at
	}
	return best
}
