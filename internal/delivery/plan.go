package delivery

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
)

// Limits of one attempt to reach a destination.
const (
	maxCandidates = 10 // hosts looked up
	maxDials      = 10 // addresses tried
)

// Resolver is what the SMTP courier asks of DNS. dns.Resolver is one.
type Resolver interface {
	LookupMX(ctx context.Context, domain string) (dns.MXSet, error)
	LookupHost(ctx context.Context, host string) (dns.AddrSet, error)
	LookupTLSA(ctx context.Context, name string) (dns.TLSASet, error)
}

// candidate is one host that may take the mail of a domain.
type candidate struct {
	name   string // as MX or route have it; a literal address as text
	port   uint16
	found  *dns.AddrSet // known already; nil: to be looked up
	fromMX bool
	next   string // the domain whose MX, or only host, this is; empty for a host that a route names
	secure bool   // the name is proven: the MX was validated by DNSSEC, or a route names the host
}

// named reports whether the host has a name that could be proven.
func (c candidate) named() bool {
	_, err := netip.ParseAddr(c.name)
	return err != nil
}

// at makes the address set of a literal address.
func at(ip netip.Addr) *dns.AddrSet {
	return &dns.AddrSet{Addrs: []netip.Addr{ip}, Name: ip.String()}
}

// plan is where the mail of one domain may go, in the order of trying.
type plan struct {
	discard    bool
	candidates []candidate
}

// planner finds the hosts for a domain from the routes and from MX.
type planner struct {
	resolver Resolver
	shuffle  func(n int, swap func(i, j int)) // shares the load among equals
}

// plan gives the candidates for a domain. A *hardError says that there can be
// none; any other error is temporary.
func (p *planner) plan(ctx context.Context, routes *Routes, domain string) (plan, error) {
	hops := slices.Clone(routes.Lookup(domain))
	if len(hops) == 1 && hops[0].Kind == HopDiscard {
		return plan{discard: true}, nil
	}
	shuffleEqual(hops, func(h Hop) int { return h.Priority }, p.shuffle)
	var out plan
	var first error
	for _, h := range hops {
		if len(out.candidates) >= maxCandidates {
			break
		}
		found, err := p.hop(ctx, h, domain)
		if err != nil {
			if _, hard := asHard(first); first == nil || hard {
				first = err // what may pass outweighs what will not
			}
			continue
		}
		out.candidates = append(out.candidates, found...)
	}
	if len(out.candidates) == 0 {
		if first == nil {
			first = errs.New(errs.Temporary, "no destination for %s", domain)
		}
		return plan{}, first
	}
	return out, nil
}

// hop gives the candidates of one hop.
func (p *planner) hop(ctx context.Context, h Hop, domain string) ([]candidate, error) {
	switch h.Kind {
	case HopDirect:
		c := candidate{name: h.Host, port: h.Port, secure: true}
		if ip, err := netip.ParseAddr(h.Host); err == nil {
			c.found = at(ip)
		}
		return []candidate{c}, nil
	case HopHost:
		return p.mx(ctx, h.Host, h.Port)
	case HopDNS:
		if ip, ok := literal(domain); ok {
			return []candidate{{name: ip.String(), port: h.Port, found: at(ip)}}, nil
		}
		return p.mx(ctx, domain, h.Port)
	}
	return nil, errs.New(errs.Invalid, "%s stands among other destinations of %s", h, domain)
}

// mx gives the MX hosts of a name in the order of RFC 5321 section 5.1, or the
// name itself when it has none.
func (p *planner) mx(ctx context.Context, name string, port uint16) ([]candidate, error) {
	set, err := p.resolver.LookupMX(ctx, name)
	if errs.Is(err, errs.NotFound) {
		return p.implicit(ctx, name, port, set.Secure)
	}
	if err != nil {
		return nil, errs.Context(err, "look up MX of %s", name)
	}
	if set.Null {
		// RFC 7505 section 3: no attempt, and 5.1.10.
		return nil, &hardError{status: "5.1.10", reason: "Domain does not accept mail",
			text: "The domain " + name + " has a null MX (RFC 7505)"}
	}
	out := make([]candidate, 0, min(len(set.Records), maxCandidates))
	for _, m := range set.Records { // best first, equals shuffled
		if len(out) == maxCandidates {
			break
		}
		out = append(out, candidate{name: m.Host, port: port, fromMX: true, next: name, secure: set.Secure})
	}
	return out, nil
}

// implicit takes the name itself as its only host, RFC 5321 section 5.1. A name
// without MX and without an address is a bad destination for good. secure says
// that it is certain that there is no MX.
func (p *planner) implicit(ctx context.Context, name string, port uint16, secure bool) ([]candidate, error) {
	found, err := p.resolver.LookupHost(ctx, name)
	if errs.Is(err, errs.NotFound) {
		return nil, &hardError{status: "5.1.2", reason: "Bad destination host",
			text: "DNS Hard Error looking up " + name + " (MX):  NXDomain"}
	}
	if err != nil {
		return nil, errs.Context(err, "look up the address of %s", name)
	}
	return []candidate{{name: name, port: port, found: &found, next: name, secure: secure}}, nil
}

// literal reads the domain of an address literal, [192.0.2.1] or [IPv6:::1].
func literal(domain string) (netip.Addr, bool) {
	in, ok := strings.CutPrefix(domain, "[")
	if !ok {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(strings.TrimPrefix(strings.TrimSuffix(in, "]"), "IPv6:"))
	return ip, err == nil
}

// shuffleEqual shuffles each run of elements with equal keys.
func shuffleEqual[T any](list []T, key func(T) int, shuffle func(int, func(i, j int))) {
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && key(list[to]) == key(list[from]) {
			to++
		}
		run := list[from:to]
		shuffle(len(run), func(i, j int) { run[i], run[j] = run[j], run[i] })
		from = to
	}
}
