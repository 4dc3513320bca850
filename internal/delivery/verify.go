package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lazaret/internal/certs"
	"lazaret/internal/dane"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Verify connects to the hosts of a domain, or to one host and port, as a
// delivery would, and says what it found out about TLS, a line at a time. No
// mail is sent. It gives an error when no host would get mail now.
func (c *Couriers) Verify(ctx context.Context, name string, port uint16, say func(string)) error {
	name, err := mail.ParseDomain(name)
	if err != nil {
		return err
	}
	w := &smtpWay{opt: &c.opt}
	v := verifier{try: try{w: w, domain: name, control: c.opt.Control(name)}, say: say}
	candidates := []candidate{{name: name, port: port, secure: true}}
	if port == 0 {
		p := planner{resolver: c.opt.Resolver, shuffle: c.opt.Shuffle}
		plan, err := p.plan(ctx, c.opt.Routes(), name)
		if err != nil {
			return err
		}
		if plan.discard {
			say("The SMTP route of " + name + " is /dev/null: mail is thrown away.")
			return nil
		}
		candidates = plan.candidates
	} else if ip, ok := literal(name); ok {
		candidates[0] = candidate{name: ip.String(), port: port, found: at(ip)}
	}
	v.settings()
	good := false
	for _, cand := range candidates {
		if err := v.host(ctx, cand); err != nil {
			say("  No mail would be sent to it now: " + err.Error())
			continue
		}
		good = true
	}
	if !good {
		return errs.New(errs.Temporary, "No host of %s would get mail now", name)
	}
	return nil
}

type verifier struct {
	try
	say func(string)
}

func (v *verifier) settings() {
	words := []string{"TLS " + v.control.TLS.String()}
	for _, s := range []struct {
		on   bool
		name string
	}{{v.control.DANE, "DANE"}, {v.control.MTASTS, "MTA-STS"}} {
		if s.on {
			words = append(words, s.name+" on")
		} else {
			words = append(words, s.name+" off")
		}
	}
	v.say("Destination control for " + v.domain + ": " + strings.Join(words, ", ") + ".")
}

// host looks at one host.
func (v *verifier) host(ctx context.Context, c candidate) error {
	v.say(fmt.Sprintf("%s, port %d: %s", c.name, c.port, v.origin(c)))
	if c.found == nil {
		found, err := v.w.opt.Resolver.LookupHost(ctx, c.name)
		if err != nil {
			return errs.Context(err, "look up the address")
		}
		c.found = &found
	}
	addrs := v.control.IP.sort(c.found.Addrs)
	if len(addrs) == 0 {
		return errs.New(errs.Temporary, "no address of the family that is asked for (%s)", v.control.IP)
	}
	d, err := v.demand(ctx, c, *c.found)
	if err != nil {
		return err
	}
	v.demands(c, &d)
	var last error
	for _, a := range addrs {
		if last = v.connect(ctx, c, a, &d); last == nil || ctx.Err() != nil {
			return last
		}
	}
	return last
}

func (v *verifier) origin(c candidate) string {
	switch {
	case c.fromMX && c.secure:
		return "MX of " + c.next + ", validated by DNSSEC"
	case c.fromMX:
		return "MX of " + c.next + ", not validated by DNSSEC"
	case c.next != "":
		return "the only host of " + c.next + ", which has no MX"
	case c.named():
		return "named by an SMTP route or by you"
	}
	return "an address without a name: its certificate cannot be checked by name"
}

// demands says what the host has to meet.
func (v *verifier) demands(c candidate, d *demand) {
	switch {
	case len(d.tlsa) > 0:
		var all []string
		for _, r := range d.tlsa {
			all = append(all, dane.Text(r))
		}
		slices.Sort(all)
		v.say("  DANE: " + strings.Join(slices.Compact(all), ", ") + " of " + d.base + " decide who may answer.")
	case d.bare:
		v.say("  DANE: there are TLSA records of " + d.base + ", and none can be used: TLS is a must, whoever answers.")
	case v.control.DANE && c.secure && c.named() && c.found.Secure:
		v.say("  DANE: no TLSA records.")
	case v.control.DANE:
		v.say("  DANE: not used, since DNSSEC proves not both name and address of the host.")
	}
	if p, ok, err := v.policyOf(context.Background(), c.next); ok && err == nil && c.next != "" {
		v.say(fmt.Sprintf("  MTA-STS: the policy of %s is in mode %s and names %s.", c.next, p.Mode, strings.Join(p.MX, ", ")))
	} else if v.control.MTASTS && c.next != "" {
		v.say("  MTA-STS: " + c.next + " has no policy.")
	}
}

// connect makes one connection and says what TLS says.
func (v *verifier) connect(ctx context.Context, c candidate, a netip.Addr, d *demand) error {
	opt := v.w.opt
	from := opt.Source(v.lane.Interface, a.Unmap())
	h := hello{opt: opt, dcid: opt.DCIDs(), domain: v.domain, name: from.Hostname, remote: netip.AddrPortFrom(a.Unmap(), c.port), local: from.IP}
	client, err := h.dial(ctx)
	if err != nil {
		v.say("  " + h.remote.String() + ": " + errs.Network(err).Error())
		return err
	}
	defer h.giveUp(client)
	ext, err := h.greet(ctx, client)
	if err != nil {
		return err
	}
	if !ext.StartTLS {
		v.say("  " + h.remote.String() + ": TLS is not offered.")
		if d.required() {
			return errs.New(errs.Temporary, "TLS is required and STARTTLS is not offered")
		}
		v.say("  Mail would be sent without TLS.")
		return nil
	}
	return v.handshake(ctx, &h, client, c, d)
}

// tlsClient is the part of smtp.Client that is needed here.
type tlsClient interface {
	StartTLS(ctx context.Context, cfg *tls.Config) (tls.ConnectionState, error)
}

func (v *verifier) handshake(ctx context.Context, h *hello, client tlsClient, c candidate, d *demand) error {
	cfg, found := v.tlsConfig(c, d)
	check := cfg.VerifyConnection
	var failed error
	cfg.VerifyConnection = func(s tls.ConnectionState) error { // a failure is for the report, not for the connection
		failed = check(s)
		return nil
	}
	state, err := client.StartTLS(ctx, cfg)
	if err != nil {
		v.say("  " + h.remote.String() + ": TLS failed: " + certs.Cause(err))
		return errs.New(errs.Temporary, "TLS failed: %s", certs.Cause(err))
	}
	v.say(fmt.Sprintf("  %s: TLS connection established: protocol %s, cipher %s.", h.remote, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)))
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		v.say("  Certificate of " + strings.Join(append(slices.Clone(leaf.DNSNames), "subject "+leaf.Subject.String()), ", ") + "; issued by " + leaf.Issuer.String() +
			"; valid to " + leaf.NotAfter.UTC().Format(time.RFC3339) + ".")
		if err := verifyChain(state, cfg.RootCAs, []string{c.name}, v.w.opt.Clock()); err != nil {
			v.say("  By known authorities: " + err.Error())
		} else {
			v.say("  By known authorities: certificate verified for " + c.name + ".")
		}
	}
	var no *errs.Error
	switch {
	case failed != nil && errors.As(failed, &no):
		return failed
	case found.by != "":
		v.say("  Mail would be sent; who answers is proven by " + found.by + ".")
	case found.err != nil:
		v.say("  Mail would be sent, though who answers is not proven: " + found.err.Error())
	default:
		v.say("  Mail would be sent over TLS; nothing asks for proof of who answers.")
	}
	return nil
}
