package dns

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lazaret/internal/errs"
)

// Limits and times of the stub.
const (
	maxChain    = 8    // CNAMEs in a row
	maxAnswers  = 400  // records read of one answer
	maxMX       = 50   // exchangers kept
	maxAddrs    = 50   // addresses kept of one name
	maxTLSA     = 50   // TLSA records kept of one name
	maxInFlight = 1024 // questions on the wire at a time
	maxCached   = 8192 // answers kept
	rounds      = 2    // times each server is asked
	udpSize     = 1232 // EDNS: fits a packet anywhere

	maxCachedBytes = 16 << 20 // of the answers kept, about

	defaultTimeout = 3 * time.Second  // a server's time for one answer
	maxQuestion    = 20 * time.Second // for one question, with all its aliases and servers
	minTTL         = 5 * time.Second
	maxTTL         = 24 * time.Hour
	maxNegative    = 15 * time.Minute // RFC 2308 section 5 asks one to three hours at most
	failureTTL     = 5 * time.Second  // RFC 2308 section 7 allows five minutes
)

// Server is a recursive resolver.
type Server struct {
	Addr      netip.AddrPort
	Validates bool // its AD bit is believed; on loopback it is in any case
}

// trusted reports whether the AD bit of a server may be believed: nobody
// changes answers on their way inside this machine, RFC 4035 section 4.9.3.
func (s Server) trusted() bool { return s.Validates || s.Addr.Addr().Unmap().IsLoopback() }

// Options are what a Stub needs. The zero value uses the machine's files.
type Options struct {
	Servers    func() []Server  // asked in this order, three at most; nil or empty: those of ResolvConf
	ResolvConf string           // empty: /etc/resolv.conf
	HostsFile  string           // empty: /etc/hosts
	Timeout    time.Duration    // for one answer of one server; 0: 3 s
	Clock      func() time.Time // nil: time.Now
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)
}

// Stub is a Resolver that asks recursive resolvers and keeps their answers.
type Stub struct {
	opts  Options
	files *files
	cache *cache

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	slots  chan struct{}

	mu      sync.Mutex
	flights map[question]*flight
	closed  bool
	wg      sync.WaitGroup
}

var _ Resolver = (*Stub)(nil)

// question is what is asked; name is in lower case with its final dot.
type question struct {
	name string
	kind dnsmessage.Type
}

// answer is what came back. It is shared by the cache: never changed.
type answer struct {
	err   error // errs.NotFound or errs.Temporary
	mx    []MX
	null  bool
	addrs []netip.Addr
	names []string
	texts []string
	tlsa  []TLSA
	cname string // the chain left the answer here: ask on
	owner string // where the aliases ended
	ttl   time.Duration

	secure bool // validated, with all aliases on the way
}

// flight is one question on the wire with all who wait for it.
type flight struct {
	done chan struct{}
	ans  answer
}

// New makes a stub. Nothing is read before the first question.
func New(o Options) *Stub {
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	if o.HostsFile == "" {
		o.HostsFile = "/etc/hosts"
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	s := &Stub{opts: o, files: newFiles(o), cache: newCache(o.Clock), slots: make(chan struct{}, maxInFlight), flights: map[question]*flight{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close gives up all questions on the wire and waits for their end.
func (s *Stub) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	return nil
}

// LookupMX implements Resolver.
func (s *Stub) LookupMX(ctx context.Context, domain string) (MXSet, error) {
	name, err := hostName(domain)
	if err != nil {
		return MXSet{}, err
	}
	a := s.ask(ctx, question{name + ".", dnsmessage.TypeMX})
	if a.err != nil {
		return MXSet{Secure: a.secure}, a.err
	}
	set := MXSet{Null: a.null, Records: slices.Clone(a.mx), Secure: a.secure}
	rand.Shuffle(len(set.Records), func(i, j int) { set.Records[i], set.Records[j] = set.Records[j], set.Records[i] })
	slices.SortStableFunc(set.Records, func(a, b MX) int { return int(a.Preference) - int(b.Preference) })
	set.Records = set.Records[:min(len(set.Records), maxMX)]
	return set, nil
}

// LookupAddr implements Resolver. The hosts file comes first; localhost needs
// no resolver, RFC 6761 section 6.3. IPv4 addresses come before IPv6 ones.
func (s *Stub) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	set, err := s.LookupHost(ctx, host)
	return set.Addrs, err
}

// LookupHost implements Resolver. What comes from this machine's own files is
// not Secure: there is nothing that TLSA records could be found by.
func (s *Stub) LookupHost(ctx context.Context, host string) (AddrSet, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return AddrSet{Addrs: []netip.Addr{ip}, Name: host}, nil
	}
	name, err := hostName(host)
	if err != nil {
		return AddrSet{}, err
	}
	if addrs := s.files.addrs(name); len(addrs) > 0 {
		return AddrSet{Addrs: addrs, Name: name}, nil
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return AddrSet{Addrs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, Name: name}, nil
	}
	six := s.start(question{name + ".", dnsmessage.TypeAAAA})
	a4 := s.ask(ctx, question{name + ".", dnsmessage.TypeA})
	a6 := wait(ctx, six, name)
	return join(a4, a6)
}

// join makes one set of both families. One that could not be had is missing
// only: the other may do.
func join(a4, a6 answer) (AddrSet, error) {
	set := AddrSet{Addrs: slices.Concat(a4.addrs, a6.addrs), Secure: true}
	for _, a := range []answer{a6, a4} {
		if len(a.addrs) > 0 {
			set.Name, set.Secure = strings.TrimSuffix(a.owner, "."), set.Secure && a.secure
		}
	}
	switch {
	case len(set.Addrs) > 0:
		return set, nil
	case errs.Is(a4.err, errs.NotFound):
		return AddrSet{}, a6.err // not found as well, or the answer that is missing
	}
	return AddrSet{}, a4.err
}

// LookupTXT implements Resolver.
func (s *Stub) LookupTXT(ctx context.Context, name string) ([]string, error) {
	name, err := hostName(name)
	if err != nil {
		return nil, err
	}
	a := s.ask(ctx, question{name + ".", dnsmessage.TypeTXT})
	return slices.Clone(a.texts), a.err
}

// LookupTLSA implements Resolver.
func (s *Stub) LookupTLSA(ctx context.Context, name string) (TLSASet, error) {
	name, err := hostName(name)
	if err != nil {
		return TLSASet{}, err
	}
	a := s.ask(ctx, question{name + ".", typeTLSA})
	return TLSASet{Records: slices.Clone(a.tlsa), Secure: a.secure}, a.err
}

// LookupPTR implements Resolver.
func (s *Stub) LookupPTR(ctx context.Context, ip netip.Addr) ([]string, error) {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() {
		return nil, errs.New(errs.Invalid, "no address to look up")
	}
	if names := s.files.names(ip); len(names) > 0 {
		return names, nil
	}
	a := s.ask(ctx, question{arpa(ip), dnsmessage.TypePTR})
	return slices.Clone(a.names), a.err
}

// arpa gives the reverse name of an address, RFC 1035 section 3.5 and RFC 3596 section 2.5.
func arpa(ip netip.Addr) string {
	var b strings.Builder
	raw := ip.AsSlice()
	slices.Reverse(raw)
	const hex = "0123456789abcdef"
	for _, c := range raw {
		if ip.Is4() {
			b.WriteString(strconv.Itoa(int(c)) + ".")
		} else {
			b.Write([]byte{hex[c&15], '.', hex[c>>4], '.'})
		}
	}
	if ip.Is4() {
		return b.String() + "in-addr.arpa."
	}
	return b.String() + "ip6.arpa."
}

func (s *Stub) ask(ctx context.Context, q question) answer {
	return wait(ctx, s.start(q), q.name)
}

func wait(ctx context.Context, f *flight, name string) answer {
	select {
	case <-f.done:
		return f.ans
	default:
	}
	select {
	case <-f.done:
		return f.ans
	case <-ctx.Done():
		return answer{err: temporary("%s: look-up given up", name)}
	}
}

// start gives the flight that answers q: a finished one from the cache, the
// one already on the wire, or a new one. A flight does not end with the
// context of who asked first: others may wait for it.
func (s *Stub) start(q question) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[q]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if a, ok := s.cache.get(q); ok {
		f.ans = a
		close(f.done)
		return f
	}
	if s.closed {
		f.ans.err = temporary("%s: the resolver is closed", q.name)
		close(f.done)
		return f
	}
	s.flights[q] = f
	s.wg.Add(1)
	go s.fly(q, f)
	return f
}

func (s *Stub) fly(q question, f *flight) {
	defer s.wg.Done()
	f.ans = s.resolve(q)
	s.mu.Lock()
	if f.ans.ttl > 0 {
		s.cache.put(q, f.ans)
	}
	delete(s.flights, q)
	s.mu.Unlock()
	close(f.done)
}

// resolve follows a CNAME that leads out of an answer; within one answer read
// follows it.
func (s *Stub) resolve(q question) answer {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.ctx.Done():
		return answer{err: temporary("%s: the resolver is closed", q.name)}
	}
	servers := s.files.servers()
	if len(servers) == 0 {
		return answer{err: temporary("%s: no name server is known", q.name)}
	}
	ctx, cancel := context.WithTimeout(s.ctx, maxQuestion)
	defer cancel()
	ttl, at, secure := maxTTL, q, true
	for range maxChain {
		a := s.query(ctx, servers, at)
		a.ttl, a.secure = min(a.ttl, ttl), a.secure && secure
		if a.err != nil || a.cname == "" {
			return a
		}
		ttl, at.name, secure = a.ttl, a.cname, a.secure
	}
	return answer{err: temporary("%s: more than %d aliases in a row", q.name, maxChain), ttl: failureTTL}
}

// query asks the servers in turn until one has an answer.
func (s *Stub) query(ctx context.Context, servers []Server, q question) answer {
	var last error
	for range rounds {
		for _, server := range servers {
			a, err := s.exchange(ctx, server.Addr, q)
			if err == nil {
				a.secure = a.secure && server.trusted()
				return a
			}
			if s.ctx.Err() != nil {
				return answer{err: temporary("%s: the resolver is closed", q.name)}
			}
			if last = err; ctx.Err() != nil {
				return answer{err: errs.Wrap(errs.Temporary, last, "%s: no answer in %s", q.name, maxQuestion), ttl: failureTTL}
			}
		}
	}
	return answer{err: errs.Wrap(errs.Temporary, last, "%s: no name server answered", q.name), ttl: failureTTL}
}

// errTruncated asks for the same question over TCP.
var errTruncated = errors.New("answer is truncated")

func (s *Stub) exchange(ctx context.Context, server netip.AddrPort, q question) (answer, error) {
	a, err := s.exchangeOver(ctx, "udp", server, q)
	if errors.Is(err, errTruncated) {
		return s.exchangeOver(ctx, "tcp", server, q)
	}
	return a, err
}

// Flush forgets all answers, so that the next question is asked anew: after
// the servers were changed, or on an operator's wish.
func (s *Stub) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache = newCache(s.opts.Clock)
}

// Validating reports whether any of the servers in use is believed about
// DNSSEC. Without one nothing is ever Secure.
func (s *Stub) Validating() bool { return slices.ContainsFunc(s.files.servers(), Server.trusted) }
