package access

import (
	"net/netip"
	"strconv"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Entry is one condition of a sender group with its comment.
type Entry struct {
	Text    string // as written: 10.1.2.3, 10.1.2.3-20, 10.1.0.0/16, 10.1.2., host.example, .example, sbrs[-1.0:10.0], dnslist[zone.example]
	Comment string
}

// condition is a compiled entry. Exactly one kind of it is set.
type condition struct {
	prefix   netip.Prefix // address and CIDR
	from, to netip.Addr   // range
	host     string       // exact name
	domain   string       // .domain, without the dot
	lookup   string       // result of the reverse lookup
	zone     string       // DNS list
	score    *scoreRange
	all      bool
}

// The entries that ask for the result of the reverse lookup, reference 7.1
// ("verification result").
const (
	entryMissing    = "nx.domain"
	entryFailed     = "serv.fail"
	entryUnverified = "not.double.verified"
)

// parseCondition reads one entry.
func parseCondition(s string) (condition, error) {
	switch {
	case len(s) > mail.MaxDomain:
		return condition{}, errs.New(errs.Invalid, "entry is longer than %d characters", mail.MaxDomain)
	case s == "ALL":
		return condition{all: true}, nil
	case s == entryMissing, s == entryFailed, s == entryUnverified:
		return condition{lookup: s}, nil
	case strings.ContainsRune(s, '['):
		return parseReputation(s)
	case strings.ContainsRune(s, '/'):
		return parseCIDR(s)
	}
	if from, to, ok := strings.Cut(s, "-"); ok {
		if a, err := netip.ParseAddr(from); err == nil { // else a host such as 192-0-2-1.example
			return parseRange(s, a, to)
		}
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		if ip.Zone() != "" || ip.Is4In6() {
			return condition{}, errs.New(errs.Invalid, "entry %q: write the address without zone, and IPv4 as a.b.c.d", clip(s))
		}
		return condition{prefix: netip.PrefixFrom(ip, ip.BitLen())}, nil
	}
	if looksNumeric(s) {
		return parsePartial(s)
	}
	return parseName(s)
}

// looksNumeric reports whether s can only be meant as an IPv4 address or as
// IPv6: no top-level domain is all digits, and no name has a colon.
func looksNumeric(s string) bool {
	if strings.ContainsRune(s, ':') {
		return true
	}
	for i := 0; i < len(s); i++ {
		if (s[i] < '0' || s[i] > '9') && s[i] != '.' {
			return false
		}
	}
	return s != "" && s[0] != '.'
}

func parseCIDR(s string) (condition, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return condition{}, errs.New(errs.Invalid, "entry %q is not a network in CIDR form", clip(s))
	}
	if p.Masked() != p {
		return condition{}, errs.New(errs.Invalid, "entry %q has bits behind its prefix: %s is meant?", clip(s), p.Masked())
	}
	return condition{prefix: p}, nil
}

// parseRange reads a.b.c.d-e and a full address on both sides.
func parseRange(s string, a netip.Addr, to string) (condition, error) {
	bad := errs.New(errs.Invalid, "entry %q is not a range of addresses", clip(s))
	if a.Zone() != "" || a.Is4In6() {
		return condition{}, bad
	}
	b, err := netip.ParseAddr(to)
	if err != nil && a.Is4() {
		last, err := strconv.ParseUint(to, 10, 8)
		if err != nil {
			return condition{}, bad
		}
		four := a.As4()
		four[3] = byte(last)
		b = netip.AddrFrom4(four)
	} else if err != nil {
		return condition{}, bad
	}
	if b.Zone() != "" || a.BitLen() != b.BitLen() || b.Is4In6() {
		return condition{}, bad
	}
	if b.Less(a) {
		return condition{}, errs.New(errs.Invalid, "entry %q: the range ends before it starts", clip(s))
	}
	return condition{from: a, to: b}, nil
}

// parsePartial reads the beginning of an address with its dot: 10. or 10.1.2.
func parsePartial(s string) (condition, error) {
	bad := errs.New(errs.Invalid, "entry %q is not an address; the start of one ends in a dot", clip(s))
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 4 || parts[len(parts)-1] != "" {
		return condition{}, bad
	}
	var four [4]byte
	for i, p := range parts[:len(parts)-1] {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil || strconv.FormatUint(n, 10) != p {
			return condition{}, bad
		}
		four[i] = byte(n)
	}
	return condition{prefix: netip.PrefixFrom(netip.AddrFrom4(four), 8*(len(parts)-1))}, nil
}

func parseName(s string) (condition, error) {
	name, isDomain := strings.CutPrefix(s, ".")
	name, err := mail.ParseDomain(name)
	last := name[strings.LastIndexByte(name, '.')+1:]
	if err != nil || strings.HasSuffix(s, ".") || strings.IndexFunc(last, isLetter) < 0 {
		return condition{}, errs.New(errs.Invalid, "entry %q is neither an address, a range, a network, a host nor a .domain", clip(s))
	}
	if isDomain {
		return condition{domain: name}, nil
	}
	return condition{host: name}, nil
}

// isLetter: a top-level domain has one, so 10.1.2-20 is no host but a mistake.
func isLetter(r rune) bool { return r >= 'a' && r <= 'z' }
