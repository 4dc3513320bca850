package peer

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/errs"
)

// component is the name in the log of application faults.
const component = "command client"

// defaultTimeout is for a whole question, from dialling to the answer.
const defaultTimeout = 15 * time.Second

// Gateway is an appliance that was paired with.
type Gateway struct {
	Serial  string
	Name    string
	Addr    string // host:port of its SSH server
	User    string // as the pairing gave it
	HostKey string // pinned, as in authorized_keys
}

// ClientOptions of the command client.
type ClientOptions struct {
	Key     ssh.Signer                   // the manager's
	Dial    Dialer                       // nil: the network
	Timeout time.Duration                // 0: 15 s
	Where   time.Duration                // for Where; 0: WhereTimeout
	Fault   func(component, text string) // a panic, a hang
}

// Client asks gateways where they take released mail, and remembers the answer
// until it is told to forget it. Safe for concurrent use.
type Client struct {
	o ClientOptions

	mu    sync.Mutex
	known map[string]*answer // by serial
}

// answer is one question, being asked or answered.
type answer struct {
	of   Gateway
	done chan struct{} // closed when loc and err stand
	loc  Location
	err  error
}

// NewClient makes a command client.
func NewClient(o ClientOptions) *Client {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Client{o: o, known: map[string]*answer{}}
}

// Locate gives where g takes CPQ connections. Several callers share one
// question; a failure is not remembered.
func (c *Client) Locate(ctx context.Context, g Gateway) (Location, error) {
	c.mu.Lock()
	a := c.known[g.Serial]
	if a == nil || a.of != g {
		a = &answer{of: g, done: make(chan struct{})}
		c.known[g.Serial] = a
		// The question does not end with this caller: others wait for it too.
		go c.find(context.WithoutCancel(ctx), a)
	}
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.loc, a.err
	case <-ctx.Done():
		return Location{}, errs.Wrap(errs.Temporary, ctx.Err(), "waiting for %s", g.Name)
	}
}

// Forget makes the next Locate ask again: the address did not work.
func (c *Client) Forget(serial string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, serial)
}

// find asks, and drops its answer when it is a failure.
func (c *Client) find(ctx context.Context, a *answer) {
	a.loc, a.err = supervise(ctx, c.o.Timeout, func(text string) { c.o.Fault(component, a.of.Name+": "+text) },
		func(ctx context.Context) (Location, error) { return c.locate(ctx, a.of) })
	a.err = errs.Context(a.err, "asking %s for its CPQ address", a.of.Name)
	if a.err != nil {
		c.mu.Lock()
		if c.known[a.of.Serial] == a {
			delete(c.known, a.of.Serial)
		}
		c.mu.Unlock()
	}
	close(a.done)
}

func (c *Client) locate(ctx context.Context, g Gateway) (Location, error) {
	out, ip, err := c.ask(ctx, g, LocateCommand)
	if err != nil {
		return Location{}, err
	}
	var l Location
	if err := decode(out, &l); err != nil {
		return Location{}, err
	}
	if err := l.check(g.Serial); err != nil {
		return Location{}, err
	}
	return l.at(ip)
}

// at puts the SSH connection's address in place of "any".
func (l Location) at(ip netip.Addr) (Location, error) {
	if !l.Addr.Addr().IsUnspecified() {
		return l, nil
	}
	if !ip.IsValid() {
		return Location{}, errs.New(errs.Invalid, "the CPQ address %s names no host", l.Addr)
	}
	l.Addr = netip.AddrPortFrom(ip, l.Addr.Port())
	return l, nil
}

// algorithms are those a key of the type can sign with.
func algorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

func samePin(addr string, pinned, key ssh.PublicKey) error {
	if string(pinned.Marshal()) == string(key.Marshal()) {
		return nil
	}
	return errs.Wrap(errs.Denied, errors.New("it has "+ssh.FingerprintSHA256(key)+", pinned is "+ssh.FingerprintSHA256(pinned)),
		"%s has another host key than the one pinned when it was added", addr)
}
