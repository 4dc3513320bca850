package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"

	"lazaret/internal/certs"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
	"lazaret/internal/stats"
)

// errDiscard says that the route of a destination is /dev/null.
var errDiscard = errors.New("discarded by the SMTP route")

// smtpWay goes to foreign hosts by SMTP routes and MX.
type smtpWay struct{ opt *Options }

func (w *smtpWay) blocks(*link, *queue.Item) ([]smtp.Block, error) { return nil, nil }
func (w *smtpWay) settle(*fate)                                    {}

// open tries the hosts in order until one is ready to take mail.
func (w *smtpWay) open(ctx context.Context, dest queue.Dest) (*link, error) {
	p := planner{resolver: w.opt.Resolver, shuffle: w.opt.Shuffle}
	plan, err := p.plan(ctx, w.opt.Routes(), dest.Name)
	if err != nil {
		return nil, err
	}
	if plan.discard {
		return nil, errDiscard
	}
	t := try{w: w, domain: dest.Name, lane: ParseLane(dest.Lane), control: w.opt.Control(dest.Name)}
	return t.all(ctx, plan.candidates)
}

// try is the search for one connection.
type try struct {
	w        *smtpWay
	domain   string
	lane     Lane
	control  Control
	policies map[string]policyAnswer

	dials     int
	err       error // of the last host that failed
	tlsFailed bool  // a host was left out for what is demanded of TLS
	passing   bool  // a failure may pass: REQUIRETLS is not yet refused for good
}

// all goes through the candidates.
func (t *try) all(ctx context.Context, candidates []candidate) (*link, error) {
	for _, c := range candidates {
		l, err := t.candidate(ctx, c)
		if l != nil {
			return l, nil
		}
		var no *unfit
		switch {
		case errors.Is(err, errOwn):
			// RFC 5321 section 5.1: this host and all behind it are left
			// out, else mail would go in a circle.
			if t.err == nil {
				return nil, &hardError{status: "5.4.6", reason: "Routing loop detected",
					text: "the best MX of " + t.domain + " is this appliance"}
			}
			return nil, t.failed()
		case err != nil:
			t.err = err
			t.passing = t.passing || !errors.As(err, &no)
		}
		if ctx.Err() != nil || t.dials >= maxDials {
			break
		}
	}
	return nil, t.failed()
}

// failed gives the error of a search without a connection. Mail that demands
// REQUIRETLS bounces when each host has shown that it will not have it
// (RFC 8689 section 4.2.1); everything else waits.
func (t *try) failed() error {
	if t.err == nil {
		t.err = errs.New(errs.Temporary, "no address of %s could be tried", t.domain)
		return t.err
	}
	if t.tlsFailed {
		t.w.opt.Log.TLSRequiredFailed(t.domain, t.err.Error())
	}
	var no *unfit
	if errors.As(t.err, &no) && !t.passing {
		return &hardError{status: "5.7.30", reason: "REQUIRETLS support required", text: no.text}
	}
	return t.err
}

var errOwn = errors.New("the host is this appliance")

// candidate tries one host.
func (t *try) candidate(ctx context.Context, c candidate) (*link, error) {
	if c.found == nil {
		found, err := t.w.opt.Resolver.LookupHost(ctx, c.name)
		if err != nil {
			return nil, errs.Context(err, "look up the address of %s", c.name)
		}
		c.found = &found
	}
	if c.fromMX && t.own(c.found.Addrs, c) {
		return nil, errOwn
	}
	addrs := t.control.IP.sort(c.found.Addrs)
	if len(addrs) == 0 {
		return nil, errs.New(errs.Temporary, "%s has no address of the family that is asked for (%s)", c.name, t.control.IP)
	}
	d, err := t.demand(ctx, c, *c.found)
	if err != nil {
		return nil, err
	}
	return t.host(ctx, c, addrs, &d)
}

func (t *try) own(addrs []netip.Addr, c candidate) bool {
	if c.name == t.w.opt.Hostname {
		return true
	}
	for _, a := range addrs {
		if t.w.opt.Own(netip.AddrPortFrom(a.Unmap(), c.port)) {
			return true
		}
	}
	return false
}

// host tries the addresses of one host.
func (t *try) host(ctx context.Context, c candidate, addrs []netip.Addr, d *demand) (*link, error) {
	var last error
	for _, a := range addrs {
		if ctx.Err() != nil || t.dials >= maxDials {
			break
		}
		from := t.w.opt.Source(t.lane.Interface, a.Unmap())
		if from.Only && from.IP.Unmap().Is4() != a.Unmap().Is4() {
			if last == nil {
				last = errs.New(errs.Temporary, "%s (%s) cannot be reached from %s, which the interface %s has", c.name, a, from.IP, t.lane.Interface)
			}
			continue
		}
		t.dials++
		l, err := t.connect(ctx, c, a, from, d)
		if errors.Is(err, errTLS) && !d.required() {
			// The connection is spoilt by the attempt; preferred means that
			// the mail goes all the same, over a new one without TLS.
			l, err = t.connect(ctx, c, a, from, &demand{mode: TLSNone, base: c.name})
		}
		if err == nil {
			return l, nil
		}
		var no *unfit
		if last = err; !errors.As(err, &no) {
			t.passing = true
		}
	}
	return nil, last
}

// errTLS marks a connection that broke over TLS.
var errTLS = errors.New("TLS failed")

// connect makes one connection to one address, ready for mail or not at all.
func (t *try) connect(ctx context.Context, c candidate, a netip.Addr, from Source, d *demand) (*link, error) {
	opt := t.w.opt
	h := hello{opt: opt, dcid: opt.DCIDs(), domain: t.domain, name: from.Hostname, remote: netip.AddrPortFrom(a.Unmap(), c.port), local: from.IP}
	client, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{client: client, dcid: h.dcid, peer: c.name, messages: t.control.messages(), strict: d.strict}
	l.ext, err = h.greet(ctx, client)
	if err == nil && d.wanted() {
		err = t.secure(ctx, &h, l, c, d)
	}
	if err == nil && d.strict {
		err = t.requireTLS(&h, l, c)
	}
	if err != nil {
		h.giveUp(client)
		return nil, err
	}
	return l, nil
}

// requireTLS looks for the extension inside TLS, RFC 8689 section 4.2.1: said
// outside, anybody could have said it.
func (t *try) requireTLS(h *hello, l *link, c candidate) error {
	if l.ext.RequireTLS {
		return nil
	}
	h.failed("REQUIRETLS is not offered", "the message demands it")
	return &unfit{c.name + " does not offer REQUIRETLS (RFC 8689)"}
}

// secure does STARTTLS as is demanded.
func (t *try) secure(ctx context.Context, h *hello, l *link, c candidate, d *demand) error {
	opt := t.w.opt
	if !l.ext.StartTLS {
		if d.testing {
			opt.Log.Info("MTA-STS testing: " + c.name + " of " + c.next + " does not offer STARTTLS")
		}
		if !d.required() {
			return nil // preferred, and not to be had: nothing failed
		}
		return t.withoutTLS(h, d, "STARTTLS is not offered")
	}
	cfg, found := t.tlsConfig(c, d)
	state, err := l.client.StartTLS(ctx, cfg)
	var refused *smtp.ReplyError
	if errors.As(err, &refused) {
		return t.withoutTLS(h, d, "STARTTLS unexpected response")
	}
	if err != nil {
		opt.Log.DCIDTLSFailed(h.dcid, certs.Cause(err))
		if d.required() {
			t.tlsFailed = true
			opt.Log.DCIDTLSRequired(h.dcid)
		}
		return errs.Wrap(errs.Temporary, errors.Join(errTLS, err), "TLS with %s: %s", h.remote, certs.Cause(err))
	}
	opt.Log.DCIDTLSSuccess(h.dcid, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), "")
	switch {
	case found.by != "":
		opt.Log.DCIDTLSVerified(h.dcid, found.by)
	case found.err != nil && d.testing:
		opt.Log.Info("MTA-STS testing: DCID " + h.dcid.String() + ": " + found.err.Error())
	case found.err != nil:
		opt.Log.Warning("DCID " + h.dcid.String() + ": TLS certificate not verified: " + found.err.Error())
	}
	l.ext, err = h.hello(ctx, l.client)
	return err
}

// withoutTLS goes on in clear, or not, when the peer will not speak TLS.
func (t *try) withoutTLS(h *hello, d *demand, why string) error {
	t.w.opt.Log.DCIDTLSFailed(h.dcid, why)
	if !d.required() {
		return nil
	}
	t.tlsFailed = true
	t.w.opt.Log.DCIDTLSRequired(h.dcid)
	return errs.New(errs.Temporary, "TLS is required for %s: %s", t.domain, why)
}

// hello is the way from nothing to a greeted connection, the same for SMTP and CPQ.
type hello struct {
	opt    *Options
	dcid   mail.DCID
	domain string // of the log lines
	name   string // said in EHLO; empty: the appliance's
	remote netip.AddrPort
	local  netip.Addr // to dial from, or what the system chose
}

func (h *hello) dial(ctx context.Context) (*smtp.Client, error) {
	dctx, cancel := context.WithTimeout(ctx, h.opt.Connect)
	defer cancel()
	h.opt.Stats.Add(stats.ConnectionsOut, 1)
	conn, err := h.opt.Dial(dctx, "tcp", h.remote.String(), h.local)
	if err != nil {
		reason := dialReason(err)
		h.failed(reason.details, reason.reason)
		return nil, errs.Wrap(errs.Temporary, errs.Network(err), "connect to %s", h.remote)
	}
	if tcp, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		h.local = tcp.AddrPort().Addr().Unmap()
	}
	h.opt.Log.NewDCID(h.dcid, h.local, h.remote.Addr(), h.remote.Port())
	return smtp.NewClient(conn, smtp.ClientConfig{Timeouts: h.opt.Timeouts}), nil
}

// greet reads the greeting and says EHLO.
func (h *hello) greet(ctx context.Context, client *smtp.Client) (smtp.Extensions, error) {
	reply, err := client.Greet(ctx)
	if err = h.check(reply, err, "greeting"); err != nil {
		return smtp.Extensions{}, err
	}
	return h.hello(ctx, client)
}

func (h *hello) hello(ctx context.Context, client *smtp.Client) (smtp.Extensions, error) {
	name := h.name
	if name == "" {
		name = h.opt.Hostname
	}
	ext, reply, err := client.Hello(ctx, name)
	return ext, h.check(reply, err, "EHLO")
}

// check turns a refusal or a broken connection into an error, and writes its line.
func (h *hello) check(reply smtp.Reply, err error, what string) error {
	if err == nil {
		err = reply.Err()
	}
	if err == nil {
		return nil
	}
	if !reply.IsZero() && !reply.Positive() {
		h.failed(reply.String(), "unexpected SMTP response")
		return errs.New(errs.Temporary, "%s at the %s: %s", h.remote, what, reply)
	}
	h.failed(err.Error(), "connection lost")
	return errs.Wrap(errs.Temporary, err, "%s at the %s", h.remote, what)
}

func (h *hello) failed(details, reason string) {
	if !h.local.IsValid() { // the system had not chosen yet
		h.local = netip.IPv4Unspecified()
	}
	h.opt.Log.ConnectionError(h.dcid, h.domain, h.remote.Addr(), h.remote.Port(), details, h.local, reason)
}

// giveUp closes a connection that came to nothing.
func (h *hello) giveUp(client *smtp.Client) {
	_ = client.Close() // nothing was sent that could be lost
	h.opt.Log.DCIDClose(h.dcid)
}

type dialFailure struct{ details, reason string }

// dialReason says in the words of the log why a connection was not made.
func dialReason(err error) dialFailure {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return dialFailure{"timeout", "connection timed out"}
	}
	if errors.Is(err, context.Canceled) {
		return dialFailure{"cancelled", "the appliance stops or suspends deliveries"}
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return dialFailure{errs.Network(err).Error(), "network error"}
	}
	return dialFailure{err.Error(), "network error"}
}
