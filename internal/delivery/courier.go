package delivery

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/mtasts"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
	"lazaret/internal/stats"
)

// Endpoint is where the peer behind a CPQ destination listens, and how it
// proves who it is.
type Endpoint struct {
	Addr    netip.AddrPort
	LocalIP netip.Addr  // to dial from; the zero value lets the system choose
	TLS     *tls.Config // of certs: TLS 1.3, our certificate, the peer's pins
	Name    string      // the peer's name, for messages
}

// Locator knows where a CPQ destination is now. On a manager it asks the
// gateway over SSH, so that a changed port is found (reference 4.1).
type Locator interface {
	Locate(ctx context.Context, dest queue.Dest) (Endpoint, error)
	Forget(dest queue.Dest, failed Endpoint) // what Locate gave did not work: ask again
}

// Dial opens a connection; local is the zero value or the address to dial from.
type Dial func(ctx context.Context, network, addr string, local netip.Addr) (net.Conn, error)

// Source is where a connection leaves from.
type Source struct {
	IP       netip.Addr // zero: the system chooses
	Hostname string     // said in EHLO; empty: the appliance's
	Only     bool       // hosts that cannot be reached from this address are not
}

// SourceFunc chooses the interface to a host: the one named by the lane, or by
// the settings.
type SourceFunc func(iface string, remote netip.Addr) Source

// Policies knows what domains demand by MTA-STS. *mtasts.Cache is one. False:
// no policy; an error: it could not be found out, and mail waits.
type Policies interface {
	Policy(ctx context.Context, domain string) (mtasts.Policy, bool, error)
}

// Options is what the couriers of one appliance need. Fields without a remark
// are required.
type Options struct {
	Hostname string // said in EHLO
	DCIDs    func() mail.DCID
	Log      *logs.Mail
	Stats    *stats.Set
	Dial     Dial // nil: the system's

	// For SMTP destinations.
	Resolver Resolver
	Routes   func() *Routes                   // nil: everything by DNS
	Control  func(domain string) Control      // nil: the zero Control
	Policies Policies                         // of MTA-STS; nil: no domain has one
	TLS      *tls.Config                      // base for STARTTLS: roots, ciphers; nil: the defaults
	LiveTLS  func() *tls.Config               // the base by the configuration in force; nil: TLS
	Source   SourceFunc                       // nil: the system chooses
	Possible func() bool                      // is mail that was perhaps delivered left alone for longer; nil: it is
	Clock    func() time.Time                 // for dates of certificates; nil: time.Now
	Own      func(netip.AddrPort) bool        // is this one of our listeners; nil: none is
	Shuffle  func(n int, swap func(i, j int)) // nil: at random
	Timeouts smtp.ClientTimeouts              // zero fields get the defaults
	Connect  time.Duration                    // for one connection to be made: 30 seconds

	// For the.cpq.host and the.cpq.release.host; nil: they cannot be reached.
	Locator Locator
}

// Couriers makes the couriers of one appliance. It keeps no state of a destination.
type Couriers struct {
	opt Options
}

// New checks the options and fills in the defaults.
func New(opt Options) (*Couriers, error) {
	if _, err := mail.ParseDomain(opt.Hostname); err != nil {
		return nil, errs.Context(err, "delivery: host name %q", clip(opt.Hostname))
	}
	if opt.DCIDs == nil || opt.Log == nil || opt.Stats == nil || opt.Resolver == nil {
		return nil, errs.New(errs.Internal, "delivery: an option is missing")
	}
	if opt.Dial == nil {
		opt.Dial = dialSystem
	}
	if opt.Routes == nil {
		none := new(Routes)
		opt.Routes = func() *Routes { return none }
	}
	if opt.Control == nil {
		opt.Control = func(string) Control { return Control{} }
	}
	if opt.TLS == nil {
		opt.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if base := opt.TLS; opt.LiveTLS == nil {
		opt.LiveTLS = func() *tls.Config { return base }
	}
	if opt.Source == nil {
		opt.Source = func(string, netip.Addr) Source { return Source{} }
	}
	if opt.Possible == nil {
		opt.Possible = func() bool { return true }
	}
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Own == nil {
		opt.Own = func(netip.AddrPort) bool { return false }
	}
	if opt.Shuffle == nil {
		opt.Shuffle = rand.Shuffle
	}
	if opt.Connect <= 0 {
		opt.Connect = 30 * time.Second
	}
	return &Couriers{opt: opt}, nil
}

// Courier gives the courier for a destination, by its name.
func (c *Couriers) Courier(dest queue.Dest) queue.Courier {
	if dest.Quarantine() {
		return &courier{opt: &c.opt, way: &cpqWay{opt: &c.opt, release: dest.Name == queue.CPQReleaseHost}}
	}
	return &courier{opt: &c.opt, way: &smtpWay{opt: &c.opt}}
}

func dialSystem(ctx context.Context, network, addr string, local netip.Addr) (net.Conn, error) {
	var d net.Dialer
	// An address of the other family cannot be dialled from.
	if to, err := netip.ParseAddrPort(addr); local.IsValid() && err == nil && to.Addr().Unmap().Is4() == local.Unmap().Is4() {
		d.LocalAddr = &net.TCPAddr{IP: local.AsSlice()}
	}
	return d.DialContext(ctx, network, addr)
}

// way is what SMTP and CPQ do differently.
type way interface {
	// open gives a connection that is ready for a transaction. Everything it
	// met on the way is in the log already. A *hardError bounces the
	// destination's mail, errDiscard throws it away.
	open(ctx context.Context, dest queue.Dest) (*link, error)
	// blocks gives the commands that go before MAIL.
	blocks(l *link, item *queue.Item) ([]smtp.Block, error)
	// settle has the last word on a fate that the replies decided.
	settle(f *fate)
}

// link is an open connection, greeted, with TLS where it is to be.
type link struct {
	client   *smtp.Client
	dcid     mail.DCID
	peer     string // its name, as it was looked for
	ext      smtp.Extensions
	messages int  // how many it may carry
	cpq      bool // the log says so
	strict   bool // fit for mail that demands REQUIRETLS, RFC 8689
	carried  int  // messages that had their answer
	stale    bool // closed by the peer while it was kept
}

// courier carries the messages of one destination over one connection.
type courier struct {
	opt *Options
	way way
}

// Run takes a message, opens a connection for it, and goes on until the queue
// has no more, the connection has carried its share, or it is of no more use.
// The queue has noted the attempt before we dial (house rule 17).
func (c *courier) Run(ctx context.Context, dest queue.Dest, feed *queue.Feed) {
	task, ok := feed.Next(ctx)
	if !ok {
		return
	}
	l, err := c.way.open(ctx, dest)
	if err == errDiscard {
		c.finishAll(ctx, feed, task, func() fate {
			return fate{state: queue.Delivered, status: "2.0.0", texts: []string{"discarded by the SMTP route /dev/null"}}
		})
		return
	}
	if hard, is := asHard(err); is {
		c.finishAll(ctx, feed, task, hard.fate)
		return
	}
	if err != nil {
		feed.Down(err)
		return
	}
	for c.deliver(ctx, l, task) && l.carried < l.messages {
		if task, ok = feed.Next(ctx); !ok {
			break
		}
	}
	c.close(ctx, l)
}

// finishAll ends every due message of a destination without a connection.
func (c *courier) finishAll(ctx context.Context, feed *queue.Feed, task *queue.Task, end func() fate) {
	for ok := true; ok; task, ok = feed.Next(ctx) {
		fates := make([]fate, len(task.Recipients))
		for i := range fates {
			fates[i] = end()
		}
		c.report(&link{}, task, fates)
	}
}

// close says QUIT if the connection still listens.
func (c *courier) close(ctx context.Context, l *link) {
	// The peer owes us nothing any more: what QUIT meets is of no interest.
	_ = l.client.Quit(ctx)
	_ = l.client.Close()
	c.opt.Log.DCIDClose(l.dcid)
}
