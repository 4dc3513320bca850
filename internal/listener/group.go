package listener

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/errs"
)

// Group is the listeners of one appliance.
type Group struct {
	opts Options

	mu     sync.Mutex
	list   []*listener // in the order of Add
	closed bool

	rates   rates          // outlives every change of the listeners
	clients atomic.Int64   // connections at this moment, of all listeners
	wg      sync.WaitGroup // accept loops and sessions
}

// Status is what is shown of a listener.
type Status struct {
	Name     string
	Protocol Protocol
	State    State
	Addr     netip.AddrPort // as bound while listening, else as configured
	Clients  int            // connections at this moment
}

// New makes an empty group.
func New(o Options) (*Group, error) {
	if o.Log == nil || o.Stats == nil || o.Resolver == nil || o.NextICID == nil {
		return nil, errs.New(errs.Internal, "listeners: log, counters, resolver or connection numbers are missing")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Listen == nil {
		o.Listen = listenTCP
	}
	if o.LookupTimeout <= 0 {
		o.LookupTimeout = 5 * time.Second
	}
	return &Group{opts: o, rates: newRates()}, nil
}

// Add puts a listener into the group, offline.
func (g *Group) Add(s Settings) error {
	r, err := g.rulesOf(s)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errClosed()
	}
	if g.find(s.Name) != nil {
		return errs.New(errs.Conflict, "there is a listener %q already", s.Name)
	}
	g.add(r)
	return nil
}

// add is Add under the lock.
func (g *Group) add(r *rules) {
	l := &listener{group: g, name: r.Name, perIP: map[netip.Addr]int{}}
	l.rules.Store(r)
	g.list = append(g.list, l)
}

// Start opens all listeners that are offline. If one cannot be opened the
// others are, and the error names those that failed; Start may be called again.
func (g *Group) Start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errClosed()
	}
	return g.openAll()
}

// openAll is Start under the lock.
func (g *Group) openAll() error {
	var failed []error
	for _, l := range g.list {
		if l.state != Offline {
			continue
		}
		if err := l.open(); err != nil {
			failed = append(failed, err)
			continue
		}
		l.state, _ = transition(l.state, start)
	}
	return errors.Join(failed...)
}

// Suspend closes the sockets of the named listeners, or of all (the hidden
// CPQ listener too) when none is named. Sessions go on for that time and are
// then told 421; a transaction in hand may be finished. It gives the names of
// those that changed. A name that is not there is an error, and nothing is done.
func (g *Group) Suspend(after time.Duration, names ...string) ([]string, error) {
	return g.each(names, suspend, func(l *listener) error {
		l.closeSocket()
		l.cutAfter(after)
		return nil
	})
}

// Resume is the reverse of Suspend.
func (g *Group) Resume(names ...string) ([]string, error) {
	return g.each(names, resume, (*listener).open)
}

// each takes the listeners for which the event is legal through it.
func (g *Group) each(names []string, e event, do func(*listener) error) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errClosed()
	}
	for _, n := range names {
		if g.find(n) == nil {
			return nil, unknown(n)
		}
	}
	var changed []string
	for _, l := range g.list {
		if len(names) > 0 && !slices.Contains(names, l.name) {
			continue
		}
		next, ok := transition(l.state, e)
		if !ok {
			continue // it is so already
		}
		if err := do(l); err != nil {
			return changed, err
		}
		l.state = next
		changed = append(changed, l.name)
	}
	return changed, nil
}

// Status gives all listeners in the order they were added.
func (g *Group) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Status, len(g.list))
	for i, l := range g.list {
		out[i] = Status{Name: l.name, Protocol: l.rules.Load().Protocol, State: l.state, Addr: l.addr(), Clients: int(l.clients.Load())}
	}
	return out
}

// Suspended gives the names of the suspended listeners; after a restart they
// are suspended again before Start.
func (g *Group) Suspended() []string {
	var out []string
	for _, s := range g.Status() {
		if s.State == Suspended {
			out = append(out, s.Name)
		}
	}
	return out
}

// Addr gives the address a listener is bound to (for port 0), or the configured
// one; the zero value for an unknown name.
func (g *Group) Addr(name string) netip.AddrPort {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.find(name); l != nil {
		return l.addr()
	}
	return netip.AddrPort{}
}

// Clients is the number of connections at this moment.
func (g *Group) Clients() int { return int(g.clients.Load()) }

// Close closes all sockets, tells all sessions 421 (those in a transaction may
// finish it within the grace time) and waits for their end. When ctx ends
// before, the connections are cut.
func (g *Group) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	list := slices.Clone(g.list)
	for _, l := range list {
		l.closeSocket()
		l.cut()
		l.state, _ = transition(l.state, stop)
	}
	g.mu.Unlock()
	done := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		for _, l := range list {
			l.hangUpAll()
		}
		<-done
	}
	return nil
}

func (g *Group) find(name string) *listener {
	for _, l := range g.list {
		if l.name == name {
			return l
		}
	}
	return nil
}

func unknown(name string) error {
	return errs.New(errs.NotFound, "there is no listener %q", name)
}

func errClosed() error { return errs.New(errs.Closed, "the listeners are closed") }
