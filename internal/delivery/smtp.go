package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

func (w *smtpWay) blocks(*queue.Item) ([]smtp.Block, error) { return nil, nil }
func (w *smtpWay) settle(*fate)                             {}

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
	t := try{w: w, domain: dest.Name, control: w.opt.Control(dest.Name)}
	return t.all(ctx, plan.candidates)
}

// try is the search for one connection.
type try struct {
	w       *smtpWay
	domain  string
	control Control
	dials   int
	err     error // of the last host that failed
}

// all goes through the candidates.
func (t *try) all(ctx context.Context, candidates []candidate) (*link, error) {
	for _, c := range candidates {
		addrs := c.addrs
		if addrs == nil {
			var err error
			if addrs, err = t.w.opt.Resolver.LookupAddr(ctx, c.name); err != nil {
				t.err = errs.Context(err, "look up the address of %s", c.name)
				continue
			}
		}
		if c.fromMX && t.own(addrs, c) {
			// RFC 5321 section 5.1: this host and all behind it are left
			// out, else mail would go in a circle.
			if t.err == nil {
				t.err = &hardError{status: "5.4.6", reason: "Routing loop detected",
					text: "the best MX of " + t.domain + " is this appliance"}
			}
			break
		}
		if l := t.host(ctx, c, addrs); l != nil {
			return l, nil
		}
		if ctx.Err() != nil || t.dials >= maxDials {
			break
		}
	}
	if t.err == nil {
		t.err = errs.New(errs.Temporary, "no address of %s could be tried", t.domain)
	}
	return nil, t.err
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
func (t *try) host(ctx context.Context, c candidate, addrs []netip.Addr) *link {
	for _, a := range addrs {
		if ctx.Err() != nil || t.dials >= maxDials {
			return nil
		}
		t.dials++
		l, err := t.connect(ctx, c, a, t.control.TLS)
		if errors.Is(err, errTLS) && !t.control.TLS.Required() {
			// The connection is spoilt by the attempt; preferred means that
			// the mail goes all the same, over a new one without TLS.
			l, err = t.connect(ctx, c, a, TLSNone)
		}
		if err == nil {
			return l
		}
		t.err = err
	}
	return nil
}

// errTLS marks a connection that broke over TLS.
var errTLS = errors.New("TLS failed")

// connect makes one connection to one address, ready for mail or not at all.
func (t *try) connect(ctx context.Context, c candidate, a netip.Addr, mode TLSMode) (*link, error) {
	opt := t.w.opt
	h := hello{opt: opt, dcid: opt.DCIDs(), domain: t.domain, remote: netip.AddrPortFrom(a.Unmap(), c.port), local: opt.Source()}
	client, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{client: client, dcid: h.dcid, messages: t.control.messages()}
	l.ext, err = h.greet(ctx, client)
	if err == nil && mode != TLSNone {
		err = t.secure(ctx, &h, l, c, mode)
	}
	if err != nil {
		h.giveUp(client)
		return nil, err
	}
	return l, nil
}

// secure does STARTTLS as the mode demands.
func (t *try) secure(ctx context.Context, h *hello, l *link, c candidate, mode TLSMode) error {
	opt := t.w.opt
	if !l.ext.StartTLS {
		if !mode.Required() {
			return nil // preferred, and not to be had: nothing failed
		}
		return t.withoutTLS(h, mode, "STARTTLS is not offered")
	}
	cfg, verified := t.tlsConfig(c, mode)
	state, err := l.client.StartTLS(ctx, cfg)
	var refused *smtp.ReplyError
	if errors.As(err, &refused) {
		return t.withoutTLS(h, mode, "STARTTLS unexpected response")
	}
	if err != nil {
		opt.Log.DCIDTLSFailed(h.dcid, certs.Cause(err))
		if mode.Required() {
			opt.Log.DCIDTLSRequired(h.dcid)
		}
		return errs.Wrap(errs.Temporary, errors.Join(errTLS, err), "TLS with %s", h.remote)
	}
	opt.Log.DCIDTLSSuccess(h.dcid, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), "")
	if verr := *verified; verr != nil {
		opt.Log.Warning("DCID " + h.dcid.String() + ": TLS certificate not verified: " + verr.Error())
	}
	l.ext, err = h.hello(ctx, l.client)
	return err
}

// withoutTLS goes on in clear, or not, when the peer will not speak TLS.
func (t *try) withoutTLS(h *hello, mode TLSMode, why string) error {
	t.w.opt.Log.DCIDTLSFailed(h.dcid, why)
	if !mode.Required() {
		return nil
	}
	t.w.opt.Log.DCIDTLSRequired(h.dcid)
	return errs.New(errs.Temporary, "TLS is required for %s: %s", t.domain, why)
}

// tlsConfig is the base with the name and the check of the mode. With
// required-verify a failed check ends the handshake; with preferred-verify
// encryption to somebody unproven is still better than none, and the failure
// is left in the second value.
func (t *try) tlsConfig(c candidate, mode TLSMode) (*tls.Config, *error) {
	cfg := t.w.opt.LiveTLS().Clone()
	cfg.ServerName = c.name
	cfg.InsecureSkipVerify = true // VerifyConnection checks, where the mode asks for it
	verified := new(error)
	if !mode.Verify() {
		return cfg, verified
	}
	roots := cfg.RootCAs
	names := []string{c.name, t.domain}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		*verified = verifyChain(s, roots, names)
		if mode == TLSRequiredVerify {
			return *verified
		}
		return nil
	}
	return cfg, verified
}

// verifyChain checks the chain, and that the certificate is for one of names:
// the host that was looked for, or the domain of the recipients.
func verifyChain(s tls.ConnectionState, roots *x509.CertPool, names []string) error {
	if len(s.PeerCertificates) == 0 {
		return errs.New(errs.Denied, "no certificate from server")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := s.PeerCertificates[0].Verify(opts); err != nil {
		return errs.Wrap(errs.Denied, err, "verify error")
	}
	var err error
	for _, name := range names {
		if err = s.PeerCertificates[0].VerifyHostname(name); err == nil {
			return nil
		}
	}
	return errs.Wrap(errs.Denied, err, "verify error")
}

// hello is the way from nothing to a greeted connection, the same for SMTP and CPQ.
type hello struct {
	opt    *Options
	dcid   mail.DCID
	domain string // of the log lines
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
	ext, reply, err := client.Hello(ctx, h.opt.Hostname)
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
