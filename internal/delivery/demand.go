package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"lazaret/internal/dane"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mtasts"
)

// demand is what one host has to meet before mail may go to it: the mode of
// the destination controls, and what the domain itself says by DNSSEC or
// MTA-STS. What the domain says can make it more than the mode, never less.
type demand struct {
	mode   TLSMode
	strict bool // REQUIRETLS, RFC 8689 section 4.2.1

	tlsa  []dns.TLSA // DANE decides who may answer
	bare  bool       // there are TLSA records, and none can be used: TLS, whoever answers
	base  string     // the name of the records
	names []string   // what a certificate under a trust anchor may be for

	enforce bool // so says the MTA-STS policy
	testing bool // a policy that is being tried out: what fails is logged
}

// required reports whether mail waits rather than leave without TLS.
func (d *demand) required() bool {
	return d.mode.Required() || d.strict || d.bare || d.enforce || len(d.tlsa) > 0
}

// wanted reports whether TLS is tried at all.
func (d *demand) wanted() bool { return d.mode != TLSNone || d.required() }

// demand finds out what holds for a host. An error says that the host must not
// be used now: what it is to meet is not known, or it does not meet it.
func (t *try) demand(ctx context.Context, c candidate, found dns.AddrSet) (demand, error) {
	d := demand{mode: t.control.TLS, strict: t.lane.RequireTLS, base: c.name}
	if d.mode == TLSNone && !d.strict {
		return d, nil
	}
	if t.control.DANE || d.strict {
		if err := t.dane(ctx, &d, c, found); err != nil {
			return d, err
		}
	}
	proven := c.secure && c.named()
	// RFC 8461 section 2: a policy must not override what DANE says.
	if len(d.tlsa) == 0 && c.next != "" && (t.control.MTASTS || d.strict) {
		listed, err := t.policy(ctx, &d, c)
		if err != nil {
			return d, err
		}
		proven = proven || listed
	}
	if d.strict && !proven {
		return d, &unfit{"the name of " + c.name + " is proven neither by DNSSEC nor by an MTA-STS policy nor by an SMTP route"}
	}
	return d, nil
}

// dane looks for TLSA records, RFC 7672 section 2.2: only where name and
// addresses are validated, for otherwise whoever faked those would have taken
// the mail elsewhere already. A failure to look them up is an attack until the
// opposite is known.
func (t *try) dane(ctx context.Context, d *demand, c candidate, found dns.AddrSet) error {
	if !c.secure || !c.named() || !found.Secure {
		return nil
	}
	for _, host := range []string{found.Name, c.name} { // RFC 7672 section 2.2.2: where the aliases end comes first
		set, err := t.w.opt.Resolver.LookupTLSA(ctx, dane.Name(host, c.port))
		if errs.Is(err, errs.NotFound) || err == nil && !set.Secure {
			if host == c.name {
				return nil
			}
			continue
		}
		if err != nil {
			t.tlsFailed = true
			return errs.Context(err, "DANE: look up TLSA of %s", host)
		}
		d.base, d.tlsa = host, dane.Usable(set.Records)
		d.bare = len(d.tlsa) == 0
		d.names = []string{host, c.name}
		if c.next != "" { // RFC 7672 section 3.2.2
			d.names = append(d.names, c.next)
		}
		return nil
	}
	return nil
}

// policy applies the MTA-STS policy of the domain that the mail goes to, or of
// the smart host that a route puts in its place (RFC 8461 section 3.4). listed
// says that there is one and that it names the host.
func (t *try) policy(ctx context.Context, d *demand, c candidate) (listed bool, err error) {
	p, ok, err := t.policyOf(ctx, c.next)
	if err != nil || !ok {
		return false, err
	}
	listed = p.Matches(c.name)
	switch {
	case p.Mode == mtasts.Enforce && !listed:
		t.tlsFailed = true
		return false, errs.New(errs.Denied, "MTA-STS: the policy of %s does not name %s", c.next, c.name)
	case p.Mode == mtasts.Enforce:
		d.enforce = true
	case !listed:
		t.w.opt.Log.Info("MTA-STS testing: the policy of " + c.next + " does not name " + c.name)
	default:
		d.testing = true
	}
	return listed, nil
}

// policyOf asks once for each domain in the search for a connection.
func (t *try) policyOf(ctx context.Context, domain string) (mtasts.Policy, bool, error) {
	if t.w.opt.Policies == nil {
		return mtasts.Policy{}, false, nil
	}
	if got, ok := t.policies[domain]; ok {
		return got.policy, got.ok, got.err
	}
	var got policyAnswer
	got.policy, got.ok, got.err = t.w.opt.Policies.Policy(ctx, domain)
	if t.policies == nil {
		t.policies = map[string]policyAnswer{}
	}
	t.policies[domain] = got
	return got.policy, got.ok, got.err
}

type policyAnswer struct {
	policy mtasts.Policy
	ok     bool
	err    error
}

// proof is what the check of a certificate found out.
type proof struct {
	by  string // what proved the name; empty when nothing did
	err error  // why it is not proven, where that does not end the connection
}

// tlsConfig is the base with the name and the check that a demand asks for. A
// failed check ends the handshake where proof is required; elsewhere encryption
// to somebody unproven is still better than none, and the failure is left in
// the proof.
func (t *try) tlsConfig(c candidate, d *demand) (*tls.Config, *proof) {
	cfg := t.w.opt.LiveTLS().Clone()
	cfg.ServerName = d.base // RFC 7672 section 8.1
	cfg.InsecureSkipVerify = true
	roots, found := cfg.RootCAs, new(proof)
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		var must bool
		*found, must = t.prove(s, roots, c, d)
		if must {
			return found.err
		}
		return nil
	}
	return cfg, found
}

// prove checks the certificate by the strongest means that there is; must says
// that a failure ends the connection.
func (t *try) prove(s tls.ConnectionState, roots *x509.CertPool, c candidate, d *demand) (p proof, must bool) {
	now := t.w.opt.Clock()
	switch {
	case len(d.tlsa) > 0:
		r, err := dane.Verify(d.tlsa, s.PeerCertificates, d.names, now)
		if err != nil {
			return proof{err: errs.Wrap(errs.Denied, err, "DANE: verify error")}, true
		}
		return proof{by: "DANE, " + dane.Text(r) + " of " + d.base}, true
	case d.enforce || d.strict:
		err := verifyChain(s, roots, []string{c.name}, now)
		p = proof{by: "certificate for " + c.name, err: err}
		if d.enforce {
			p.by = "MTA-STS, " + p.by
		}
		must = true
	case d.mode.Verify() || d.testing:
		names := []string{c.name}
		if d.mode.Verify() && t.domain != c.name {
			names = append(names, t.domain)
		}
		p = proof{by: "certificate for " + c.name, err: verifyChain(s, roots, names, now)}
		must = d.mode == TLSRequiredVerify
	default:
		return proof{}, false
	}
	if p.err != nil {
		p.by = ""
	}
	return p, must
}

// verifyChain checks the chain, and that the certificate is for one of names:
// the host that was looked for, or the domain of the recipients.
func verifyChain(s tls.ConnectionState, roots *x509.CertPool, names []string, now time.Time) error {
	if len(s.PeerCertificates) == 0 {
		return errs.New(errs.Denied, "no certificate from server")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
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

// unfit says that a host can never take mail that demands REQUIRETLS, as far
// as it has proven itself so far.
type unfit struct{ text string }

func (e *unfit) Error() string { return e.text }
