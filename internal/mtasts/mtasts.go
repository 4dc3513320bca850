// Package mtasts finds and keeps the policies of RFC 8461 (MTA-STS), by which
// a domain without DNSSEC says that its mail travels over verified TLS only.
//
// It makes no SMTP connection: it says what a domain demands, and the courier
// obeys. It promises that a policy is believed only from a server that proved
// by its certificate to be mta-sts.DOMAIN; that one once seen holds until its
// time is over, whatever DNS or the web server say or do not say then, and over
// a restart; that a domain is fetched from once at a time; and that no server
// costs more than its minute and its 64 KiB.
package mtasts

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Limits of the cache.
const (
	maxDomains   = 5000            // policies kept
	maxFailures  = 5000            // failed fetches remembered
	maxFetches   = 128             // at a time
	fetchTimeout = time.Minute     // RFC 8461 section 3.3
	failureRest  = 5 * time.Minute // between two fetches that fail, section 3.3
	refreshAfter = 24 * time.Hour  // a policy in use is fetched again, section 3.3
	saveGap      = 5 * time.Second // between two writes of the file
)

// Resolver is what the cache asks of DNS. dns.Resolver is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupAddr(ctx context.Context, host string) ([]netip.Addr, error)
}

// Store keeps the cache over a restart.
type Store interface {
	Load() ([]byte, error) // nothing and no error when there is none
	Save(b []byte) error   // durable when it returns nil
}

// Options of a Cache. Resolver is required.
type Options struct {
	Resolver Resolver
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the system's
	Roots    *x509.CertPool                                                    // who may vouch for the web server; nil: the system's
	Store    Store                                                             // nil: memory only
	Clock    func() time.Time                                                  // nil: time.Now
	Warn     func(text string)                                                 // for what an operator should know; nil: nobody
}

// Cache knows the policies of domains.
type Cache struct {
	opt    Options
	now    func() time.Time
	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	slots  chan struct{}
	wg     sync.WaitGroup
	dirty  chan struct{} // capacity 1: there is something to save

	mu      sync.Mutex
	kept    map[string]entry
	failed  map[string]failure
	flights map[string]*flight
	closed  bool
}

// entry is a policy as it was fetched.
type entry struct {
	policy  Policy
	id      string
	fetched time.Time
	expires time.Time
}

// failure is a fetch that came to nothing.
type failure struct {
	id    string
	until time.Time
	cause string
}

// flight is one fetch with all who wait for it.
type flight struct {
	done chan struct{}
	got  entry
	err  error
}

// New makes a cache and reads what the store has. A store that cannot be read
// is reported and counts as empty: policies are found again as mail goes out.
func New(opt Options) *Cache {
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Warn == nil {
		opt.Warn = func(string) {}
	}
	if opt.Dial == nil {
		opt.Dial = new(net.Dialer).DialContext
	}
	c := &Cache{
		opt: opt, now: opt.Clock, slots: make(chan struct{}, maxFetches), dirty: make(chan struct{}, 1),
		kept: map[string]entry{}, failed: map[string]failure{}, flights: map[string]*flight{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if opt.Store != nil {
		c.load()
		c.wg.Go(c.saveLoop)
	}
	return c
}

// Close ends all fetches and saves what is not saved.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	select {
	case <-c.dirty:
		return c.save()
	default:
		return nil
	}
}

// Policy gives the policy of a domain; false when it has none, or one whose
// mode is none. An error says that it could not even be tried to find out: mail
// waits. What a domain's own servers do wrong is no error: without a policy
// that holds, RFC 8461 section 3.3 has mail go as though there were none.
func (c *Cache) Policy(ctx context.Context, domain string) (Policy, bool, error) {
	domain, err := mail.ParseDomain(domain)
	if err != nil || strings.HasPrefix(domain, "[") {
		return Policy{}, false, nil
	}
	old, fresh := c.fresh(domain)
	texts, err := c.opt.Resolver.LookupTXT(ctx, "_mta-sts."+domain)
	if ctx.Err() != nil && !fresh {
		return Policy{}, false, errs.Wrap(errs.Temporary, ctx.Err(), "MTA-STS of %s", domain)
	}
	var id string
	if err == nil {
		id, err = ParseRecord(texts)
	}
	if err != nil || fresh && id == old.id {
		if err == nil && c.now().Sub(old.fetched) > min(refreshAfter, old.policy.MaxAge/2) {
			c.start(domain, id)
		}
		return old.policy, fresh && old.policy.Mode != None, nil
	}
	got, err := c.await(ctx, c.start(domain, id))
	switch {
	case err == nil:
		return got.policy, got.policy.Mode != None, nil
	case fresh:
		return old.policy, old.policy.Mode != None, nil
	case errs.Is(err, errs.Temporary):
		return Policy{}, false, errs.Context(err, "MTA-STS of %s", domain)
	}
	return Policy{}, false, nil
}

// fresh gives a policy whose time is not over.
func (c *Cache) fresh(domain string) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.kept[domain]
	if !ok {
		return entry{}, false
	}
	// A clock that went back makes it last longer, which is the safe side; one
	// that was a year ahead when the policy came must not keep it for ever.
	if left := e.expires.Sub(c.now()); left <= 0 || left > 2*MaxAge {
		delete(c.kept, domain)
		return entry{}, false
	}
	return e, true
}

// start gives the flight to a domain: the one under way, one that just failed
// for the same id, or a new one.
func (c *Cache) start(domain, id string) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[domain]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if bad, ok := c.failed[domain]; ok && bad.id == id && c.now().Before(bad.until) {
		f.err = errs.New(errs.NotFound, "%s", bad.cause)
		close(f.done)
		return f
	}
	if c.closed {
		f.err = errs.New(errs.Temporary, "the appliance stops")
		close(f.done)
		return f
	}
	c.flights[domain] = f
	c.wg.Go(func() { c.fly(domain, id, f) })
	return f
}

func (c *Cache) await(ctx context.Context, f *flight) (entry, error) {
	select {
	case <-f.done:
		return f.got, f.err
	case <-ctx.Done():
		return entry{}, errs.Wrap(errs.Temporary, ctx.Err(), "fetching the policy")
	}
}

// fly fetches. The flight does not end with the context of who asked first.
func (c *Cache) fly(domain, id string, f *flight) {
	defer close(f.done)
	ctx, cancel := context.WithTimeout(c.ctx, fetchTimeout)
	defer cancel()
	p, tried, err := c.try(ctx, domain)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, domain)
	now := c.now()
	if err == nil {
		f.got = entry{policy: p, id: id, fetched: now, expires: now.Add(max(p.MaxAge, leastAge))}
		c.keep(domain, f.got)
		return
	}
	f.err = err
	if tried {
		c.fail(domain, failure{id: id, until: now.Add(failureRest), cause: err.Error()})
	}
}

// try fetches when its turn comes. An error is errs.NotFound when the domain's
// servers are to blame, errs.Temporary when they were not asked.
func (c *Cache) try(ctx context.Context, domain string) (p Policy, tried bool, err error) {
	select {
	case c.slots <- struct{}{}:
		p, err = c.fetch(ctx, domain)
		<-c.slots
	case <-ctx.Done():
		return p, false, errs.New(errs.Temporary, "too many policies are fetched at a time, or the appliance stops")
	}
	switch {
	case err == nil:
		return p, true, nil
	case c.ctx.Err() != nil:
		return p, false, errs.New(errs.Temporary, "the appliance stops")
	}
	c.opt.Warn("MTA-STS: " + domain + " announces a policy, and it cannot be had: " + err.Error())
	return p, true, errs.Wrap(errs.NotFound, err, "fetching the policy")
}

// fail remembers a failure of the domain's.
func (c *Cache) fail(domain string, bad failure) {
	if len(c.failed) >= maxFailures {
		clear(c.failed) // who makes thousands fail gains fetches of his own servers
	}
	c.failed[domain] = bad
}

// keep takes a policy in, in place of the one that ends first when there are
// too many.
func (c *Cache) keep(domain string, e entry) {
	delete(c.failed, domain)
	if _, there := c.kept[domain]; !there && len(c.kept) >= maxDomains {
		first := ""
		for d, o := range c.kept {
			if first == "" || o.expires.Before(c.kept[first].expires) {
				first = d
			}
		}
		delete(c.kept, first)
	}
	c.kept[domain] = e
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}
