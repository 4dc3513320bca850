package delivery

import (
	"bufio"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// MaxRoutes is the largest number of entries in the table, reference 8.3.
const MaxRoutes = 40000

// maxHops limits the destinations of one route, maxRouteDepth how many
// routes may lead to each other.
const (
	maxHops       = 50
	maxRouteDepth = 5
	maxRouteText  = 16 << 20
)

// HopKind says what a route leads to.
type HopKind uint8

// The kinds of hop.
const (
	HopHost    HopKind = iota // a name: its MX hosts, else its addresses
	HopDirect                 // [name] or [ip]: addresses only, never MX
	HopDNS                    // USEDNS: the MX hosts of the recipient's domain
	HopDiscard                // /dev/null: taken and thrown away
)

// Hop is one destination of a route. Lower priorities are tried first; equal
// ones share the load.
type Hop struct {
	Kind     HopKind
	Host     string // lower-case name, or an address without brackets
	Port     uint16 // 25 when none was given
	Priority int
}

// String gives the hop as ParseRoutes reads it.
func (h Hop) String() string {
	var s string
	switch h.Kind {
	case HopDNS:
		return "USEDNS"
	case HopDiscard:
		return "/dev/null"
	case HopDirect:
		s = "[" + h.Host + "]"
	default:
		s = h.Host
	}
	if h.Port != defaultPort {
		s += ":" + strconv.Itoa(int(h.Port))
	}
	if h.Priority != 0 {
		s += "/pri=" + strconv.Itoa(h.Priority)
	}
	return s
}

const defaultPort = 25

// Route sends the mail for what it matches to its hops.
type Route struct {
	Match string // "example.com", ".example.com" or "ALL"
	Hops  []Hop  // by priority
}

// String gives the route as one line without its end.
func (r Route) String() string {
	hops := make([]string, len(r.Hops))
	for i, h := range r.Hops {
		hops[i] = h.String()
	}
	return r.Match + " " + strings.Join(hops, ", ")
}

// Routes is the table of SMTP routes. It does not change after ParseRoutes and
// may be used by many at once. The zero value sends everything by DNS.
type Routes struct {
	exact  map[string]Route
	suffix map[string]Route // by name without the leading dot
	all    *Route
	order  []string
}

// ParseRoutes reads a table, one route a line: what it matches, blanks, and
// destinations separated by commas. A line that starts with # is a comment.
//
//	example.com    mail.example.com:2525, [192.0.2.7]/pri=10
//	.example.com   USEDNS
//	old.example    /dev/null
//	ALL            [192.0.2.1], [192.0.2.2]
func ParseRoutes(text string) (*Routes, error) {
	if len(text) > maxRouteText {
		return nil, errs.New(errs.Invalid, "the SMTP routes are larger than %d bytes", maxRouteText)
	}
	r := &Routes{exact: map[string]Route{}, suffix: map[string]Route{}}
	sc := bufio.NewScanner(strings.NewReader(text))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		route, err := parseRoute(line)
		if err == nil {
			err = r.add(route)
		}
		if err != nil {
			return nil, errs.Context(err, "SMTP routes, line %d", n)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "SMTP routes: a line is too long")
	}
	return r, r.checkLoops()
}

func parseRoute(line string) (Route, error) {
	cut := strings.IndexAny(line, " \t")
	if cut < 0 {
		return Route{}, errs.New(errs.Invalid, "no destination after %q", clip(line))
	}
	match, err := parseMatch(line[:cut])
	if err != nil {
		return Route{}, err
	}
	route := Route{Match: match}
	for _, word := range strings.Split(line[cut:], ",") {
		hop, err := parseHop(strings.TrimSpace(word))
		if err != nil {
			return Route{}, err
		}
		route.Hops = append(route.Hops, hop)
	}
	if len(route.Hops) > maxHops {
		return Route{}, errs.New(errs.Invalid, "more than %d destinations for %s", maxHops, match)
	}
	for _, h := range route.Hops {
		if (h.Kind == HopDNS || h.Kind == HopDiscard) && len(route.Hops) > 1 {
			return Route{}, errs.New(errs.Invalid, "%s stands alone or not at all", h)
		}
	}
	slices.SortStableFunc(route.Hops, func(a, b Hop) int { return a.Priority - b.Priority })
	return route, nil
}

// parseMatch reads a domain, a domain with a leading dot, an address literal or ALL.
func parseMatch(s string) (string, error) {
	if strings.EqualFold(s, "ALL") {
		return "ALL", nil
	}
	name, dot := strings.CutPrefix(s, ".")
	domain, err := mail.ParseDomain(name)
	if err != nil {
		return "", err
	}
	if dot {
		domain = "." + domain
	}
	return domain, nil
}

func parseHop(s string) (Hop, error) {
	switch {
	case s == "":
		return Hop{}, errs.New(errs.Invalid, "a destination is empty")
	case strings.EqualFold(s, "USEDNS"):
		return Hop{Kind: HopDNS, Port: defaultPort}, nil
	case s == "/dev/null":
		return Hop{Kind: HopDiscard, Port: defaultPort}, nil
	}
	hop := Hop{Port: defaultPort}
	host, pri, given := strings.Cut(s, "/pri=")
	if given {
		n, err := strconv.ParseUint(pri, 10, 16)
		if err != nil {
			return Hop{}, errs.New(errs.Invalid, "%q: the priority is a number from 0 to 65535", clip(s))
		}
		hop.Priority = int(n)
	}
	host, err := hop.takePort(host)
	if err != nil {
		return Hop{}, err
	}
	return hop, hop.takeHost(host)
}

// takePort cuts a port from the end of s, which may be a name, [name], [ip]
// or, without a port, a bare IPv6 address.
func (h *Hop) takePort(s string) (string, error) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || strings.HasSuffix(s, "]") || strings.Count(s, ":") > 1 && s[0] != '[' {
		return s, nil
	}
	n, err := strconv.ParseUint(s[colon+1:], 10, 16)
	if err != nil || n == 0 {
		return "", errs.New(errs.Invalid, "%q: the port is a number from 1 to 65535", clip(s))
	}
	h.Port = uint16(n)
	return s[:colon], nil
}

func (h *Hop) takeHost(s string) error {
	in, bracket := strings.CutPrefix(s, "[")
	if bracket {
		var closed bool
		if in, closed = strings.CutSuffix(in, "]"); !closed {
			return errs.New(errs.Invalid, "%q: a bracket is not closed", clip(s))
		}
		h.Kind = HopDirect
	}
	if ip, err := netip.ParseAddr(in); err == nil {
		h.Kind, h.Host = HopDirect, ip.String()
		return nil
	}
	name, err := mail.ParseDomain(in)
	if err != nil || strings.HasPrefix(name, "[") {
		return errs.New(errs.Invalid, "%q is neither a host name nor an address", clip(s))
	}
	h.Host = name
	return nil
}

func (r *Routes) add(route Route) error {
	if len(r.order) == MaxRoutes {
		return errs.New(errs.Full, "more than %d SMTP routes", MaxRoutes)
	}
	if _, twice := r.get(route.Match); twice {
		return errs.New(errs.Conflict, "%s has two routes", route.Match)
	}
	switch {
	case route.Match == "ALL":
		r.all = &route
	case route.Match[0] == '.':
		r.suffix[route.Match[1:]] = route
	default:
		r.exact[route.Match] = route
	}
	r.order = append(r.order, route.Match)
	return nil
}

func (r *Routes) get(match string) (Route, bool) {
	switch {
	case match == "ALL":
		if r.all == nil {
			return Route{}, false
		}
		return *r.all, true
	case match[0] == '.':
		route, ok := r.suffix[match[1:]]
		return route, ok
	}
	route, ok := r.exact[match]
	return route, ok
}

// All gives the routes in the order of the table.
func (r *Routes) All() []Route {
	out := make([]Route, 0, len(r.order))
	for _, m := range r.order {
		route, _ := r.get(m)
		out = append(out, route)
	}
	return out
}

// String gives the table in the form that ParseRoutes reads.
func (r *Routes) String() string {
	var b strings.Builder
	for _, route := range r.All() {
		b.WriteString(route.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// useDNS is where mail goes that no route names.
var useDNS = []Hop{{Kind: HopDNS, Port: defaultPort}}

// Lookup gives the hops for a recipient's domain, lowest priority first: of
// its own route, else of the longest .domain it ends in, else of ALL, else
// USEDNS. A hop that is a name with a route of its own is replaced by that
// route's hops (reference 8.3: recursive entries).
func (r *Routes) Lookup(domain string) []Hop {
	return r.expand(r.match(domain), domain, 0)
}

func (r *Routes) match(domain string) []Hop {
	if route, ok := r.exact[domain]; ok {
		return route.Hops
	}
	for rest := domain; len(r.suffix) > 0; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			break
		}
		rest = rest[dot+1:]
		if route, ok := r.suffix[rest]; ok {
			return route.Hops
		}
	}
	if r.all != nil {
		return r.all.Hops
	}
	return useDNS
}

// expand follows hops that have an exact route. ALL and .domain routes are
// not followed: "ALL relay.example.com" would lead to itself.
func (r *Routes) expand(hops []Hop, domain string, depth int) []Hop {
	if !r.leadsOn(hops, domain) || depth == maxRouteDepth {
		return hops
	}
	var out []Hop
	for _, h := range hops {
		next, ok := r.exact[h.Host]
		if h.Kind != HopHost || h.Host == domain || !ok {
			out = append(out, h)
			continue
		}
		for _, n := range r.expand(next.Hops, h.Host, depth+1) {
			if n.Kind == HopDNS { // USEDNS of the name the route stands for
				n = Hop{Kind: HopHost, Host: h.Host, Port: h.Port}
			}
			n.Priority = h.Priority
			out = append(out, n)
		}
	}
	return out
}

func (r *Routes) leadsOn(hops []Hop, domain string) bool {
	for _, h := range hops {
		if _, ok := r.exact[h.Host]; ok && h.Kind == HopHost && h.Host != domain {
			return true
		}
	}
	return false
}

// checkLoops refuses routes that lead back to themselves, through too many
// others, or to too many hosts.
func (r *Routes) checkLoops() error {
	seen := make(map[string]reach, len(r.exact))
	for _, m := range r.order {
		route, ok := r.get(m)
		if !ok {
			continue
		}
		got := r.measure(route, seen)
		if got.depth >= maxRouteDepth {
			return errs.New(errs.Invalid, "SMTP routes: from %s the routes lead back, or through more than %d others", m, maxRouteDepth-1)
		}
		if got.hops > maxHops {
			return errs.New(errs.Invalid, "SMTP routes: %s leads to more than %d destinations", m, maxHops)
		}
	}
	return nil
}

// reach is how far and how wide a route leads.
type reach struct{ depth, hops int }

func (r *Routes) measure(route Route, seen map[string]reach) reach {
	if got, ok := seen[route.Match]; ok {
		return got
	}
	seen[route.Match] = reach{depth: maxRouteDepth} // meeting it again below is a loop
	var got reach
	for _, h := range route.Hops {
		next, ok := r.exact[h.Host]
		if h.Kind != HopHost || h.Host == route.Match || !ok {
			got.hops++
			continue
		}
		below := r.measure(next, seen)
		got.hops = min(got.hops+below.hops, maxHops+1)
		got.depth = min(max(got.depth, below.depth+1), maxRouteDepth)
	}
	seen[route.Match] = got
	return got
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
