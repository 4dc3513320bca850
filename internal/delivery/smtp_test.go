package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

const body = "Subject: test\r\n\r\n.dot\r\n..two\r\nend\r\n"

// wantLines checks that the log has exactly these lines, DCID addresses and
// ports as given by %A (the peer's) .
func (w *world) wantLines(addr netip.AddrPort, want ...string) {
	w.t.Helper()
	got := w.log.String()
	for i, l := range want {
		want[i] = strings.NewReplacer("%A", fmt.Sprintf("interface 127.0.0.1 address %s port %d", addr.Addr(), addr.Port())).Replace(l)
	}
	if got != strings.Join(want, "\n") {
		w.t.Errorf("the log is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// The plain case: header lines of ours on top, then the bytes, one connection
// for two messages, the lines of reference 5.8.
func TestDeliver(t *testing.T) {
	sink := testlib.NewSink(t, testlib.Behaviour{})
	w := newWorld(t)
	w.routes("ALL [%s]:%d", sink.Addr.Addr(), sink.Addr.Port())
	w.set = func(queue.Dest) queue.Settings { return queue.Settings{Concurrency: 1, Idle: patience} }
	w.start()
	one := w.add(body, func(it *queue.Item) { it.Prepend = []byte("X-Ours: yes\r\n") }, "b@example.com", "c@example.com")
	w.settled(one)
	two := w.add("second\r\n", nil, "b@example.com")
	w.settled(two)
	w.q.Close()
	got := sink.Messages()
	if len(got) != 2 || string(got[0].Content) != "X-Ours: yes\r\n"+body || string(got[1].Content) != "second\r\n" {
		t.Fatalf("sink has %+v", got)
	}
	if got[0].Conn != got[1].Conn || len(got[0].To) != 2 {
		t.Errorf("connections %d and %d, recipients %v", got[0].Conn, got[1].Conn, got[0].To)
	}
	w.logged("DCID 1 close")
	w.wantLines(sink.Addr,
		"New SMTP DCID 1 %A",
		"Delivery start DCID 1 MID 1 to RID [0, 1]",
		"Message done DCID 1 MID 1 to RID [0, 1]",
		"MID 1 RID [0, 1] Response '2.0.0 ok: queued'",
		"Message finished MID 1 done",
		"Delivery start DCID 1 MID 2 to RID [0]",
		"Message done DCID 1 MID 2 to RID [0]",
		"MID 2 RID [0] Response '2.0.0 ok: queued'",
		"Message finished MID 2 done",
		"DCID 1 close",
	)
}

// A kept connection that the peer has closed in the meantime costs a message
// neither an attempt nor a wait.
func TestKeptConnectionClosed(t *testing.T) {
	sink := testlib.NewSink(t, testlib.Behaviour{Keep: 1})
	w := newWorld(t)
	w.routes("ALL [%s]:%d", sink.Addr.Addr(), sink.Addr.Port())
	w.set = func(queue.Dest) queue.Settings { return queue.Settings{Concurrency: 1, Idle: patience} }
	w.start()
	for range 3 {
		if s := states(w.settled(w.add(body, nil, "b@example.com"))); s != "delivered" {
			t.Fatalf("%s; the log:\n%s", s, w.log)
		}
	}
	if all := w.log.String(); strings.Contains(all, "Delayed") || strings.Contains(all, "Connection Error") {
		t.Errorf("the log:\n%s", all)
	}
	if n := sink.Connections(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// Each recipient has its own result; what was refused for now and what for
// good does not stop the others.
func TestRecipientResults(t *testing.T) {
	sink := testlib.NewSink(t, testlib.Behaviour{Rcpt: func(_ int, path string) string {
		switch {
		case strings.Contains(path, "<no@"):
			return "550 5.1.1 <no@example.com>... Relaying denied\r\n"
		case strings.Contains(path, "<later@"):
			return "466 Mailbox temporarily full.\r\n"
		}
		return ""
	}})
	w := newWorld(t)
	w.routes("ALL [%s]:%d", sink.Addr.Addr(), sink.Addr.Port())
	w.start()
	it := w.settled(w.add(body, nil, "a@example.com", "no@example.com", "later@example.com", "b@example.com"))
	if s := states(it); s != "delivered bounced deferred delivered" {
		t.Errorf("states %s", s)
	}
	for _, line := range []string{
		"Message done DCID 1 MID 1 to RID [0, 3]",
		"Bounced: DCID 1 MID 1 to RID 1 - 5.1.0 - Unknown address error ('550', ['5.1.1 <no@example.com>... Relaying denied'])",
		"Delayed: DCID 1 MID 1 to RID 2 - 4.1.0 - Unknown address error ('466', ['Mailbox temporarily full.'])",
	} {
		w.logged(line)
	}
}

// More recipients than RFC 5321 section 4.5.3.1.8 lets one transaction have.
func TestManyRecipients(t *testing.T) {
	sink := testlib.NewSink(t, testlib.Behaviour{})
	w := newWorld(t)
	w.routes("ALL [%s]:%d", sink.Addr.Addr(), sink.Addr.Port())
	w.start()
	to := make([]string, 250)
	for i := range to {
		to[i] = fmt.Sprintf("r%d@example.com", i)
	}
	if s := states(w.settled(w.add(body, nil, to...))); strings.Trim(s, "deliv r") != "" {
		t.Errorf("states %s", s)
	}
	var sizes []int
	for _, m := range sink.Messages() {
		sizes = append(sizes, len(m.To))
	}
	if fmt.Sprint(sizes) != "[100 100 50]" {
		t.Errorf("transactions of %v recipients", sizes)
	}
}

// Whatever a host does, the courier ends, the mail is kept or its fate is the
// one that was said, and nothing is said that did not happen.
func TestHostileHosts(t *testing.T) {
	cert := testlib.Certificate(t, testlib.CertOptions{})
	delivered := map[string]bool{"250 then close": true, "binary reply after the dot": true,
		"more replies than commands": true, // a liar may say 250 whenever it likes
		// preferred TLS falls back to a new connection in clear
		"refuses STARTTLS": true, "aborts TLS": true, "no TLS but text": true, "injects behind STARTTLS": true}
	unknown := map[string]bool{"drop after the dot": true, "reset after the dot": true,
		"endless reply after the dot": true, "endless line after the dot": true}
	for _, b := range testlib.Hostile(cert) {
		t.Run(strings.ReplaceAll(b.Name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			sink := testlib.NewSink(t, b)
			w := newWorld(t)
			w.routes("ALL [%s]:%d", sink.Addr.Addr(), sink.Addr.Port())
			w.opt.Control = func(string) Control { return Control{TLS: TLSPreferred} }
			w.start()
			mid := w.add(body, nil, "b@example.com")
			if delivered[b.Name] {
				if s := states(w.settled(mid)); s != "delivered" {
					t.Errorf("%s; the log:\n%s", s, w.log)
				}
				return
			}
			w.logged("DCID 1")
			if !strings.Contains(w.log.String(), "Connection Error: DCID 1") {
				w.logged("close")
			}
			if it, _ := w.store.look(mid); states(it) == "delivered" || states(it) == "bounced" {
				t.Errorf("%s; the log:\n%s", states(it), w.log)
			}
			if got := strings.Contains(w.log.String(), "Possible Delivery: DCID 1 MID 1 to RID [0]"); got != unknown[b.Name] {
				t.Errorf("possible delivery: %v; the log:\n%s", got, w.log)
			}
		})
	}
}

// Of the hosts of a domain the best that answers is taken.
func TestNextHost(t *testing.T) {
	sink := testlib.NewSink(t, testlib.Behaviour{})
	busy := testlib.NewSink(t, testlib.Behaviour{Acts: map[string]testlib.Act{"connect": {Say: "421 4.3.2 busy\r\n", End: testlib.Close}}})
	gone := testlib.NewSink(t, testlib.Behaviour{})
	gone.Close()
	w := newWorld(t)
	w.routes("ALL [%s]:%d/pri=2, [%s]:%d, [%s]:%d/pri=1", sink.Addr.Addr(), sink.Addr.Port(),
		gone.Addr.Addr(), gone.Addr.Port(), busy.Addr.Addr(), busy.Addr.Port())
	w.start()
	if s := states(w.settled(w.add(body, nil, "b@example.com"))); s != "delivered" {
		t.Fatal(s)
	}
	w.logged(fmt.Sprintf("Connection Error: DCID 1 domain: example.com IP: 127.0.0.1 port: %d details: ", gone.Addr.Port()))
	w.logged("Connection Error: DCID 2 domain: example.com")
	w.logged("details: 421 4.3.2 busy interface: 127.0.0.1 reason: unexpected SMTP response")
	w.logged("New SMTP DCID 3")
}

// What will never work bounces with DCID 0; what may work waits.
func TestUnreachable(t *testing.T) {
	w := newWorld(t)
	w.opt.Hostname = "gw.example.com"
	w.opt.Resolver = &dns.Fake{
		MX: map[string]dns.MXSet{
			"null.example": {Null: true},
			"loop.example": {Records: []dns.MX{{Host: "gw.example.com", Preference: 1}, {Host: "far.example", Preference: 2}}},
		},
		Addr: map[string][]netip.Addr{"gw.example.com": {netip.MustParseAddr("192.0.2.1")}, "far.example": {netip.MustParseAddr("192.0.2.2")}},
		Fail: map[string]error{"slow.example": errs.New(errs.Temporary, "no resolver answers")},
	}
	w.routes("off.example /dev/null")
	w.start()
	for _, c := range []struct{ to, state, line string }{
		{"a@null.example", "bounced", "Bounced: DCID 0 MID %d to RID 0 - 5.1.10 - Domain does not accept mail ('000', ['The domain null.example has a null MX (RFC 7505)'])"},
		{"a@missing.example", "bounced", "Bounced: DCID 0 MID %d to RID 0 - 5.1.2 - Bad destination host ('000', ['DNS Hard Error looking up missing.example (MX):  NXDomain'])"},
		{"a@loop.example", "bounced", "Bounced: DCID 0 MID %d to RID 0 - 5.4.6 - Routing loop detected"},
		{"a@off.example", "delivered", "Message done DCID 0 MID %d to RID [0]"},
	} {
		mid := w.add(body, nil, c.to)
		if s := states(w.settled(mid)); s != c.state {
			t.Errorf("%s: %s, want %s", c.to, s, c.state)
		}
		w.logged(fmt.Sprintf(c.line, mid))
	}
}

// TLS by mode. A host without TLS gets nothing when TLS is required; a name
// that is not proven gets nothing when proof is required.
func TestTLSModes(t *testing.T) {
	right := testlib.Certificate(t, testlib.CertOptions{Names: []string{"mx.example"}})
	wrong := testlib.Certificate(t, testlib.CertOptions{Names: []string{"other.example"}})
	roots := x509.NewCertPool()
	roots.AddCert(right.Leaf)
	roots.AddCert(wrong.Leaf)
	with := func(c tls.Certificate) testlib.Behaviour {
		return testlib.Behaviour{TLS: &tls.Config{Certificates: []tls.Certificate{c}}}
	}
	for _, c := range []struct {
		name    string
		peer    testlib.Behaviour
		mode    TLSMode
		deliver bool
		tls     bool
		line    string
	}{
		{"none", with(right), TLSNone, true, false, ""},
		{"preferred", with(wrong), TLSPreferred, true, true, "TLS success protocol TLS"},
		{"preferred-without", testlib.Behaviour{}, TLSPreferred, true, false, "Delivery start"},
		{"required", with(wrong), TLSRequired, true, true, "TLS success"},
		{"required-without", testlib.Behaviour{}, TLSRequired, false, false, "TLS was required but could not be successfully negotiated"},
		{"preferred-verify-wrong", with(wrong), TLSPreferredVerify, true, true, "TLS success"},
		{"required-verify", with(right), TLSRequiredVerify, true, true, "TLS success"},
		{"required-verify-wrong", with(wrong), TLSRequiredVerify, false, false, "TLS failed: verify error: x509: certificate is valid for other.example, not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sink := testlib.NewSink(t, c.peer)
			w := newWorld(t)
			w.opt.Resolver = &dns.Fake{Addr: map[string][]netip.Addr{"mx.example": {sink.Addr.Addr()}}}
			w.routes("ALL [mx.example]:%d", sink.Addr.Port())
			w.opt.Control = func(string) Control { return Control{TLS: c.mode} }
			w.opt.TLS = &tls.Config{RootCAs: roots}
			w.start()
			mid := w.add(body, nil, "b@example.com")
			w.logged("close")
			w.logged(c.line)
			if !c.deliver {
				if n := len(sink.Messages()); n > 0 {
					t.Errorf("%d messages left", n)
				}
				for _, cmd := range sink.Commands() {
					if strings.Contains(cmd, "MAIL") {
						t.Errorf("envelope left: %s", cmd)
					}
				}
				return
			}
			w.settled(mid)
			if got := sink.Messages(); len(got) != 1 || got[0].TLS != c.tls {
				t.Errorf("sink has %+v, want TLS %v; the log:\n%s", got, c.tls, w.log)
			}
		})
	}
}

// A fault of our own storage is not taken for one of the peer, and the half
// message does not arrive.
func TestContentCannotBeRead(t *testing.T) {
	sink := testlib.NewSink(t, testlib.Behaviour{})
	w := newWorld(t)
	w.store.broken = errors.New("disk on fire")
	w.routes("ALL [%s]:%d", sink.Addr.Addr(), sink.Addr.Port())
	w.start()
	it := w.settled(w.add(body, nil, "b@example.com"))
	if states(it) != "deferred" || !strings.Contains(it.Recipients[0].Reply, "disk on fire") {
		t.Errorf("%+v", it.Recipients)
	}
	if n := len(sink.Messages()); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
}

// Register B1: no bare CR or LF leaves us, whatever is in the store.
func TestNoBareNewlinesLeave(t *testing.T) {
	for _, content := range []string{"a\nb\r\n", "a\rb\r\n", "a\r\n.\nMAIL FROM:<x>\r\n", "a\r\n.\rb\r\n", "no end"} {
		sink := testlib.NewSink(t, testlib.Behaviour{})
		w := newWorld(t)
		w.routes("ALL [%s]:%d", sink.Addr.Addr(), sink.Addr.Port())
		w.start()
		w.settled(w.add(content, nil, "b@example.com"))
		bare := regexp.MustCompile(`[^\r]\n|\r[^\n]|\r$|^\n`)
		for _, m := range sink.Messages() {
			if bare.Match(m.Content) {
				t.Errorf("%q left as %q", content, m.Content)
			}
		}
		for _, cmd := range sink.Commands() {
			if strings.Contains(cmd, "FROM:<x>") {
				t.Errorf("smuggled: %s", cmd)
			}
		}
	}
}
