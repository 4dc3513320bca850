package delivery

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"testing"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/mtasts"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// policies is MTA-STS from a table.
type policies map[string]mtasts.Policy

func (p policies) Policy(_ context.Context, domain string) (mtasts.Policy, bool, error) {
	if domain == "stuck.example" {
		return mtasts.Policy{}, false, errs.New(errs.Temporary, "too many policies are fetched at a time")
	}
	got, ok := p[domain]
	return got, ok, nil
}

// mxWorld has example.com with the MX mx.example, where a sink listens as
// though on port 25.
type mxWorld struct {
	*world
	sink *testlib.Sink
	dns  *dns.Fake
	cert tls.Certificate
}

func newMXWorld(t *testing.T, b testlib.Behaviour, certFor ...string) *mxWorld {
	t.Helper()
	m := &mxWorld{world: newWorld(t)}
	if len(certFor) > 0 {
		m.cert = testlib.Certificate(t, testlib.CertOptions{Names: certFor})
		b.TLS = &tls.Config{Certificates: []tls.Certificate{m.cert}}
		roots := x509.NewCertPool()
		roots.AddCert(m.cert.Leaf)
		m.opt.TLS = &tls.Config{RootCAs: roots}
	}
	m.sink = testlib.NewSink(t, b)
	m.dns = &dns.Fake{
		MX:     map[string]dns.MXSet{"example.com": {Records: []dns.MX{{Host: "mx.example", Preference: 10}}, Secure: true}},
		Addr:   map[string][]netip.Addr{"mx.example": {netip.MustParseAddr("127.0.0.1")}},
		Secure: map[string]bool{"mx.example": true},
		TLSA:   map[string][]dns.TLSA{}, Fail: map[string]error{}, Alias: map[string]string{},
	}
	m.opt.Resolver = m.dns
	m.opt.Control = func(string) Control { return Control{TLS: TLSPreferred, DANE: true, MTASTS: true} }
	m.opt.Dial = func(ctx context.Context, network, addr string, _ netip.Addr) (net.Conn, error) {
		var d net.Dialer
		if strings.HasSuffix(addr, ":25") {
			addr = m.sink.Addr.String()
		}
		return d.DialContext(ctx, network, addr)
	}
	m.set = func(d queue.Dest) queue.Settings {
		return queue.Settings{FirstRetry: 1e12, LongestWait: 1e12, Concurrency: 1}
	}
	return m
}

// key gives the record 3 1 1 of a certificate.
func key(c *x509.Certificate) dns.TLSA {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return dns.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: sum[:]}
}

// send puts a message in and says how it went: "clear", "tls" or "waits".
func (m *mxWorld) send(change func(*queue.Item)) string {
	m.t.Helper()
	m.start()
	mid := m.add(body, change, "b@example.com")
	return m.ending(mid)
}

// ending waits for a delivery, a bounce, or the host being down.
func (m *mxWorld) ending(mid mail.MID) string {
	m.t.Helper()
	for {
		_, changed := m.store.look(mid)
		for _, d := range m.q.Lanes("example.com") {
			if d.LastError != "" {
				m.noLeak()
				return "waits"
			}
		}
		if it, _ := m.store.look(mid); it != nil && it.Final() {
			if it.Recipients[0].State == queue.Bounced {
				m.noLeak()
				return "bounces"
			}
			if m.sink.Messages()[0].TLS {
				return "tls"
			}
			return "clear"
		}
		select {
		case <-changed:
		case <-m.t.Context().Done():
			m.t.Fatal("no end")
		case <-tick():
		}
	}
}

// noLeak checks that not even the envelope of a message that waits has left.
func (m *mxWorld) noLeak() {
	m.t.Helper()
	for _, cmd := range m.sink.Commands() {
		if strings.Contains(cmd, "MAIL") {
			m.t.Errorf("envelope left: %s", cmd)
		}
	}
}

// RFC 7672: what TLSA records do to a delivery, each row against a host with a
// certificate that no authority signed, as between mail servers.
func TestDANE(t *testing.T) {
	const own = "_25._tcp.mx.example"
	for _, c := range []struct {
		name   string
		noTLS  bool
		change func(m *mxWorld)
		want   string
		line   string
	}{
		{"matches", false, func(m *mxWorld) { m.dns.TLSA[own] = []dns.TLSA{key(m.cert.Leaf)} }, "tls", "DCID 1 TLS verified: DANE, TLSA 3 1 1 of mx.example"},
		{"no records", false, func(m *mxWorld) {}, "tls", "TLS success"},
		{"does not match", false, func(m *mxWorld) {
			m.dns.TLSA[own] = []dns.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
		}, "waits", "Warning: TLS to example.com is required and failed"},
		{"records, and no TLS", true, func(m *mxWorld) {
			m.dns.TLSA[own] = []dns.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
		}, "waits", "TLS was required but could not be successfully negotiated"},
		{"unusable records", false, func(m *mxWorld) { m.dns.TLSA[own] = []dns.TLSA{{Usage: 0, Data: []byte("x")}} }, "tls", "TLS success"},
		{"unusable records, and no TLS", true, func(m *mxWorld) { m.dns.TLSA[own] = []dns.TLSA{{Usage: 1, Data: []byte("x")}} }, "waits", "TLS was required"},
		{"bogus or no answer", false, func(m *mxWorld) { m.dns.Fail[own] = errs.New(errs.Temporary, "server answered ServerFailure") }, "waits", "DANE: look up TLSA of mx.example"},
		{"MX not validated", false, func(m *mxWorld) {
			m.dns.TLSA[own] = []dns.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
			m.dns.MX["example.com"] = dns.MXSet{Records: m.dns.MX["example.com"].Records}
		}, "tls", "TLS success"},
		{"address not validated: nobody asks for TLSA", false, func(m *mxWorld) {
			m.dns.Fail[own] = errs.New(errs.Temporary, "server answered ServerFailure")
			m.dns.Secure["mx.example"] = false
		}, "tls", "TLS success"},
		{"switched off for the domain", false, func(m *mxWorld) {
			m.dns.Fail[own] = errs.New(errs.Temporary, "server answered ServerFailure")
			m.opt.Control = func(string) Control { return Control{TLS: TLSPreferred} }
		}, "tls", "TLS success"},
		{"mode none asks for nothing", false, func(m *mxWorld) {
			m.dns.Fail[own] = errs.New(errs.Temporary, "server answered ServerFailure")
			m.opt.Control = func(string) Control { return Control{TLS: TLSNone, DANE: true} }
		}, "clear", "Delivery start"},
		{"the end of the aliases", false, func(m *mxWorld) {
			m.dns.Alias["mx.example"] = "real.example"
			m.dns.TLSA["_25._tcp.real.example"] = []dns.TLSA{key(m.cert.Leaf)}
			m.dns.TLSA[own] = []dns.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
		}, "tls", "DANE, TLSA 3 1 1 of real.example"},
		{"an alias without records", false, func(m *mxWorld) {
			m.dns.Alias["mx.example"] = "real.example"
			m.dns.TLSA[own] = []dns.TLSA{key(m.cert.Leaf)}
		}, "tls", "DANE, TLSA 3 1 1 of mx.example"},
		{"proof for required-verify", false, func(m *mxWorld) {
			m.opt.TLS = nil // no authority knows the certificate
			m.opt.Control = func(string) Control { return Control{TLS: TLSRequiredVerify, DANE: true} }
			m.dns.TLSA[own] = []dns.TLSA{key(m.cert.Leaf)}
		}, "tls", "DANE, TLSA 3 1 1 of mx.example"},
		{"a known authority does not help", false, func(m *mxWorld) {
			m.opt.Control = func(string) Control { return Control{TLS: TLSRequiredVerify, DANE: true} }
			m.dns.TLSA[own] = []dns.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
		}, "waits", "TLS failed: DANE: verify error"},
		{"no MX at all, for certain", false, func(m *mxWorld) {
			delete(m.dns.MX, "example.com")
			m.dns.Secure["example.com"] = true
			m.dns.Addr["example.com"] = m.dns.Addr["mx.example"]
			m.dns.TLSA["_25._tcp.example.com"] = []dns.TLSA{key(m.cert.Leaf)}
		}, "tls", "DANE, TLSA 3 1 1 of example.com"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			names := []string{"mx.example"}
			if c.noTLS {
				names = nil
			}
			m := newMXWorld(t, testlib.Behaviour{}, names...)
			c.change(m)
			if got := m.send(nil); got != c.want {
				t.Errorf("%s, want %s; the log:\n%s", got, c.want, m.log)
			}
			m.logged(c.line)
		})
	}
}

// A route that names the host is a name that is proven; the records are those
// of its port (RFC 7672 section 2.2.2).
func TestDANEOfARoute(t *testing.T) {
	m := newMXWorld(t, testlib.Behaviour{}, "relay.example")
	m.routes("example.com [relay.example]:%d", m.sink.Addr.Port())
	m.dns.Addr["relay.example"] = []netip.Addr{m.sink.Addr.Addr()}
	m.dns.Secure["relay.example"] = true
	m.dns.TLSA[strings.Join([]string{"_", portOf(m.sink), "._tcp.relay.example"}, "")] = []dns.TLSA{key(m.cert.Leaf)}
	if got := m.send(nil); got != "tls" {
		t.Errorf("%s; the log:\n%s", got, m.log)
	}
	m.logged("TLS verified: DANE, TLSA 3 1 1 of relay.example")
}

// RFC 8461 section 4: a policy in force, one being tried out, and DANE first.
func TestMTASTS(t *testing.T) {
	enforce := mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.example"}}
	for _, c := range []struct {
		name    string
		cert    []string
		change  func(m *mxWorld)
		want    string
		line    string
		without string
	}{
		{"fits", []string{"mx.example"}, nil, "tls", "DCID 1 TLS verified: MTA-STS, certificate for mx.example", ""},
		{"no TLS", nil, nil, "waits", "Warning: TLS to example.com is required and failed", ""},
		{"another's certificate", []string{"other.example"}, nil, "waits", "TLS failed: verify error: x509: certificate is valid for other.example", ""},
		{"a certificate for the domain is not one for the host", []string{"example.com"}, nil, "waits", "TLS failed: verify error", ""},
		{"unknown authority", []string{"mx.example"}, func(m *mxWorld) { m.opt.TLS = &tls.Config{RootCAs: x509.NewCertPool()} }, "waits", "unknown authority", ""},
		{"host is not in the policy", []string{"mx.example"}, func(m *mxWorld) {
			m.opt.Policies = policies{"example.com": {Mode: mtasts.Enforce, MX: []string{"*.mx.example"}}}
		}, "waits", "MTA-STS: the policy of example.com does not name mx.example", "New SMTP"},
		{"testing, all fits", []string{"mx.example"}, func(m *mxWorld) {
			m.opt.Policies = policies{"example.com": {Mode: mtasts.Testing, MX: []string{"mx.example"}}}
		}, "tls", "certificate for mx.example", "testing"},
		{"testing, another's certificate", []string{"other.example"}, func(m *mxWorld) {
			m.opt.Policies = policies{"example.com": {Mode: mtasts.Testing, MX: []string{"mx.example"}}}
		}, "tls", "MTA-STS testing: DCID 1: verify error", ""},
		{"testing, no TLS", nil, func(m *mxWorld) {
			m.opt.Policies = policies{"example.com": {Mode: mtasts.Testing, MX: []string{"mx.example"}}}
		}, "clear", "MTA-STS testing: mx.example of example.com does not offer STARTTLS", ""},
		{"testing, host is not in the policy", []string{"mx.example"}, func(m *mxWorld) {
			m.opt.Policies = policies{"example.com": {Mode: mtasts.Testing, MX: []string{"else.example"}}}
		}, "tls", "MTA-STS testing: the policy of example.com does not name mx.example", ""},
		{"switched off for the domain", nil, func(m *mxWorld) {
			m.opt.Control = func(string) Control { return Control{TLS: TLSPreferred} }
		}, "clear", "Delivery start", ""},
		{"DANE is enough", []string{"other.example"}, func(m *mxWorld) {
			m.dns.TLSA["_25._tcp.mx.example"] = []dns.TLSA{key(m.cert.Leaf)}
		}, "tls", "TLS verified: DANE", "MTA-STS"},
		{"a policy does not make up for DANE", []string{"mx.example"}, func(m *mxWorld) {
			m.dns.TLSA["_25._tcp.mx.example"] = []dns.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
		}, "waits", "TLS failed: DANE: verify error", ""},
		{"unusable TLSA leaves it to the policy", []string{"other.example"}, func(m *mxWorld) {
			m.dns.TLSA["_25._tcp.mx.example"] = []dns.TLSA{{Usage: 0, Data: []byte("x")}}
		}, "waits", "TLS failed: verify error", ""},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			m := newMXWorld(t, testlib.Behaviour{}, c.cert...)
			m.opt.Policies = policies{"example.com": enforce}
			if c.change != nil {
				c.change(m)
			}
			if got := m.send(nil); got != c.want {
				t.Errorf("%s, want %s; the log:\n%s", got, c.want, m.log)
			}
			m.logged(c.line)
			if all := m.log.String(); c.without != "" && strings.Contains(all, c.without) {
				t.Errorf("the log has %q:\n%s", c.without, all)
			}
		})
	}
}

// That it cannot be found out whether there is a policy is no leave to do
// without.
func TestPolicyNotKnown(t *testing.T) {
	m := newMXWorld(t, testlib.Behaviour{})
	m.dns.MX["stuck.example"] = m.dns.MX["example.com"]
	m.opt.Policies = policies{}
	m.start()
	m.add(body, nil, "b@stuck.example")
	for len(m.q.Lanes("stuck.example")) == 0 || m.q.Lanes("stuck.example")[0].LastError == "" {
		<-tick()
	}
	m.noLeak()
}

// A host that does not meet the demands is passed over for one that does.
func TestNextHostForTLS(t *testing.T) {
	m := newMXWorld(t, testlib.Behaviour{}, "good.example")
	m.dns.MX["example.com"] = dns.MXSet{Secure: true, Records: []dns.MX{{Host: "bogus.example", Preference: 1}, {Host: "wrong.example", Preference: 2}, {Host: "good.example", Preference: 3}}}
	for _, h := range []string{"bogus", "wrong", "good"} {
		m.dns.Addr[h+".example"] = m.dns.Addr["mx.example"]
		m.dns.Secure[h+".example"] = true
	}
	m.dns.Fail["_25._tcp.bogus.example"] = errs.New(errs.Temporary, "server answered ServerFailure")
	m.dns.TLSA["_25._tcp.wrong.example"] = []dns.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
	m.dns.TLSA["_25._tcp.good.example"] = []dns.TLSA{key(m.cert.Leaf)}
	if got := m.send(nil); got != "tls" {
		t.Errorf("%s; the log:\n%s", got, m.log)
	}
	m.logged("TLS verified: DANE, TLSA 3 1 1 of good.example")
	if all := m.log.String(); strings.Contains(all, "Warning") {
		t.Errorf("a warning about mail that has left:\n%s", all)
	}
}

// RFC 8689 section 4.2.1, row by row.
func TestRequireTLS(t *testing.T) {
	strict := func(it *queue.Item) { it.RequireTLS = true }
	offers := testlib.Behaviour{Plus: []string{"REQUIRETLS"}}
	for _, c := range []struct {
		name   string
		peer   testlib.Behaviour
		cert   []string
		change func(m *mxWorld)
		want   string
		line   string
	}{
		{"validated MX, good certificate", offers, []string{"mx.example"}, nil, "tls", "TLS verified: certificate for mx.example"},
		{"DANE", offers, []string{"other.example"}, func(m *mxWorld) { m.dns.TLSA["_25._tcp.mx.example"] = []dns.TLSA{key(m.cert.Leaf)} }, "tls", "TLS verified: DANE"},
		{"policy names the MX", offers, []string{"mx.example"}, func(m *mxWorld) {
			m.dns.MX["example.com"] = dns.MXSet{Records: m.dns.MX["example.com"].Records}
			m.opt.Policies = policies{"example.com": {Mode: mtasts.Enforce, MX: []string{"mx.example"}}}
		}, "tls", "TLS verified: MTA-STS"},
		{"nothing proves the MX", offers, []string{"mx.example"}, func(m *mxWorld) {
			m.dns.MX["example.com"] = dns.MXSet{Records: m.dns.MX["example.com"].Records}
		}, "bounces", "5.7.30 - REQUIRETLS support required ('000', ['the name of mx.example is proven neither by DNSSEC"},
		{"not offered", testlib.Behaviour{}, []string{"mx.example"}, nil, "bounces", "5.7.30 - REQUIRETLS support required ('000', ['mx.example does not offer REQUIRETLS (RFC 8689)'])"},
		{"no TLS may be an attack: it waits", offers, nil, nil, "waits", "TLS was required"},
		{"a bad certificate may be an attack: it waits", offers, []string{"other.example"}, nil, "waits", "TLS failed: verify error"},
		{"mode none does not count", offers, []string{"mx.example"}, func(m *mxWorld) {
			m.opt.Control = func(string) Control { return Control{TLS: TLSNone} }
		}, "tls", "TLS verified: certificate for mx.example"},
		{"one host waits, so all wait", testlib.Behaviour{}, []string{"mx.example"}, func(m *mxWorld) {
			m.dns.MX["example.com"] = dns.MXSet{Secure: true, Records: []dns.MX{{Host: "away.example", Preference: 1}, {Host: "mx.example", Preference: 2}}}
			m.dns.Fail["away.example"] = errs.New(errs.Temporary, "no answer")
		}, "waits", "does not offer REQUIRETLS"},
		{"a route names the host", offers, []string{"mx.example"}, func(m *mxWorld) {
			m.dns.Secure["mx.example"] = false
			m.routes("example.com [mx.example]")
		}, "tls", "TLS verified: certificate for mx.example"},
		{"a route names an address only", offers, []string{"mx.example"}, func(m *mxWorld) { m.routes("example.com [127.0.0.1]") }, "bounces", "5.7.30"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			m := newMXWorld(t, c.peer, c.cert...)
			m.to = func(r queue.Recipient) queue.Dest {
				return queue.Dest{Name: r.Address.Domain, Lane: Lane{RequireTLS: true}.String()}
			}
			if c.change != nil {
				c.change(m)
			}
			if got := m.send(strict); got != c.want {
				t.Errorf("%s, want %s; the log:\n%s", got, c.want, m.log)
			}
			if !strings.Contains(m.log.String(), c.line) && c.want != "waits" {
				t.Errorf("the log has no %q:\n%s", c.line, m.log)
			}
		})
	}
	// Nothing sends such mail over a link that was not made for it.
	m := newMXWorld(t, offers, "mx.example")
	m.start()
	it := m.settled(m.add(body, strict, "b@example.com"))
	if states(it) != "deferred" {
		t.Errorf("over an ordinary link: %s", states(it))
	}
	m.noLeak()
}
