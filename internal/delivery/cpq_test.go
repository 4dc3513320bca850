package delivery

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/certs"
	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
	"lazaret/internal/testlib"
)

// cpqPeer is the accepting side on our own wire, with answers of the test's choice.
type cpqPeer struct {
	addr netip.AddrPort

	mu       sync.Mutex
	metadata []cpq.Metadata
	content  []string
	to       [][]mail.Address
	rcpt     func(mail.Address) smtp.Reply
	final    func() smtp.Reply
}

func pair(t *testing.T, serial string) certs.Pair {
	t.Helper()
	c, k, err := certs.NewCPQ(serial, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p, err := certs.Parse(c, k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// check is what one side checks the other by.
func check(own tls.Certificate, peers ...certs.Pin) certs.Check {
	return certs.Check{
		Own:   func(func(certs.Pin) bool) (tls.Certificate, error) { return own, nil },
		Peers: func() []certs.Peer { return []certs.Peer{{ID: "PEER0000", Name: "peer", Pins: peers}} },
	}
}

func newCPQPeer(t *testing.T, conf *tls.Config) *cpqPeer {
	t.Helper()
	return newCPQPeerWith(t, conf, cpq.Keyword)
}

func newCPQPeerWith(t *testing.T, conf *tls.Config, keyword string) *cpqPeer {
	t.Helper()
	p := &cpqPeer{
		rcpt:  func(mail.Address) smtp.Reply { return smtp.NewReply(250, "2.1.5", "ok") },
		final: func() smtp.Reply { return cpq.ReplyAccepted(4711) },
	}
	ext := cpq.NewExtension(func(_ context.Context, s smtp.Session, m cpq.Metadata) smtp.Reply {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.metadata = append(p.metadata, m)
		return cpq.ReplyTaken()
	})
	ext.Keyword = keyword
	server, err := smtp.NewServer(smtp.ServerConfig{Hostname: "sma1.example.com", TLS: conf, TLSOnly: true, Extensions: []smtp.Extension{ext}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().(*net.TCPAddr).AddrPort()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _, _ = server.Serve(ctx, c, &cpqSession{p: p}) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		wg.Wait()
	})
	return p
}

type cpqSession struct {
	p  *cpqPeer
	to []mail.Address
}

func (s *cpqSession) Hello(context.Context, smtp.HelloCommand) smtp.Reply {
	return smtp.NewReply(250, "", "sma1.example.com")
}
func (s *cpqSession) Mail(context.Context, smtp.MailCommand) smtp.Reply {
	return smtp.NewReply(250, "2.1.0", "ok")
}
func (s *cpqSession) Rcpt(_ context.Context, c smtp.RcptCommand) smtp.Reply {
	to := c.To
	s.to = append(s.to, to)
	return s.p.rcpt(to)
}
func (s *cpqSession) Reset(context.Context) { s.to = nil }
func (s *cpqSession) Data(_ context.Context, r io.Reader) smtp.Reply {
	b, err := io.ReadAll(r)
	if err != nil {
		return smtp.ErrorReply(err)
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.content = append(s.p.content, string(b))
	s.p.to = append(s.p.to, s.to)
	s.to = nil
	return s.p.final()
}

// cpqWorld is a world whose mail all goes over CPQ to addr.
func cpqWorld(t *testing.T, dest string, conf *tls.Config, addr netip.AddrPort) (*world, *fixedPeer) {
	w := newWorld(t)
	peer := &fixedPeer{answers: []Endpoint{{Addr: addr, TLS: conf, Name: "sma1"}}}
	w.opt.Locator = peer
	w.to = func(queue.Recipient) queue.Dest { return queue.Dest{Name: dest} }
	return w, peer
}

func placed(it *queue.Item) {
	it.Placements = []mail.Placement{{Quarantine: "Policy", Reason: "message filter:hold_me"}}
	it.Subject = "HOLDME \xff"
	it.Prepend = []byte("Received: by gw\r\n")
}

// The seed's lines, character for character, and the metadata and the bytes as
// they were accepted.
func TestDepositLikeTheSeed(t *testing.T) {
	gw, sma := pair(t, "GATEWAY1"), pair(t, "MANAGER1")
	p := newCPQPeer(t, check(sma.TLS, gw.Pin()).Server())
	w, _ := cpqWorld(t, queue.CPQHost, check(gw.TLS, sma.Pin()).Client(), p.addr)
	w.start()
	mid := w.add(body, placed, "b@example.com", "c@example.org")
	if s := states(w.settled(mid)); s != "delivered delivered" {
		t.Fatal(s)
	}
	w.logged("DCID 1 close")
	got := w.log.String()
	suite := got[strings.Index(got, "cipher ")+7:]
	suite = suite[:strings.Index(suite, " ")]
	w.wantLines(p.addr,
		"New SMTP DCID 1 %A",
		"DCID 1 TLS success protocol TLSv1.3 cipher "+suite+" the.cpq.host",
		"Delivery start DCID 1 MID 1 to RID [0, 1] to Centralized Policy Quarantine",
		"Message done DCID 1 MID 1 to RID [0, 1] (centralized policy quarantine)",
		"MID 1 RID [0, 1] Response 'ok:  Message 4711 accepted'",
		"Message finished MID 1 done",
		"DCID 1 close",
	)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.content) != 1 || p.content[0] != body || len(p.to[0]) != 2 {
		t.Errorf("peer has %q for %v", p.content, p.to)
	}
	d := p.metadata[0].Deposit
	if d == nil || d.GatewaySerial != "ABCD1234" || d.GatewayMID != 1 || d.Prepend != "Received: by gw\r\n" || len(d.Placements) != 1 || d.GatewayName != "gw.example.com" {
		t.Errorf("metadata %+v", p.metadata[0])
	}
	if err := p.metadata[0].CheckContent(int64(len(body)), d.Hash); err != nil {
		t.Error(err)
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if r := w.store.receipts; len(r) != 1 || r[0].Remote != "4711" {
		t.Errorf("receipts %+v", r)
	}
}

func released(it *queue.Item) {
	it.Release = &queue.Release{Action: mail.NewActionKey(it.Key, 1), Gateway: "ABCD1234", ManagerMID: 44, GatewayMID: it.MID, Cause: "manual", By: "admin"}
}

// A release that the gateway refuses for good is at an end; a deposit waits,
// whatever the manager says.
func TestRefusals(t *testing.T) {
	gw, sma := pair(t, "GATEWAY1"), pair(t, "MANAGER1")
	for _, c := range []struct {
		name, dest string
		change     func(*queue.Item)
		final      smtp.Reply
		want, line string
	}{
		{"release-refused", queue.CPQReleaseHost, released, smtp.NewReply(550, "5.7.1", "never seen this message"), "bounced",
			"Bounced: DCID 1 MID 1 to RID 0 - 5.3.0 - Other mail system problem ('550', ['5.7.1 never seen this message'])"},
		{"release-later", queue.CPQReleaseHost, released, smtp.NewReply(452, "4.3.1", "no space"), "deferred", "Delayed: DCID 1 MID 1 to RID 0 - 4.3.4"},
		{"deposit-refused", queue.CPQHost, placed, smtp.NewReply(550, "5.7.1", "no"), "deferred", "Delayed: DCID 1 MID 1 to RID 0"},
		{"no-receipt", queue.CPQHost, placed, smtp.NewReply(250, "2.0.0", "ok"), "deferred", "4.5.0 - Protocol error"},
		{"wrong-receipt", queue.CPQHost, placed, smtp.NewReply(250, "2.0.0", "ok:  Message 0 accepted"), "deferred", "4.5.0 - Protocol error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newCPQPeer(t, check(sma.TLS, gw.Pin()).Server())
			p.final = func() smtp.Reply { return c.final }
			w, _ := cpqWorld(t, c.dest, check(gw.TLS, sma.Pin()).Client(), p.addr)
			w.start()
			if s := states(w.settled(w.add(body, c.change, "b@example.com"))); s != c.want {
				t.Errorf("%s, want %s; the log:\n%s", s, c.want, w.log)
			}
			w.logged(c.line)
		})
	}
}

// What rules found goes to a manager that knows of it; to another one the message
// goes without. So does what does not fit into a block.
func TestMatchedContentIsLeftOut(t *testing.T) {
	gw, sma := pair(t, "GATEWAY1"), pair(t, "MANAGER1")
	found := func(it *queue.Item) {
		placed(it)
		it.Placements[0].Matched = []mail.Matched{{Rule: "f: true", Part: "body", Text: "secret"}}
	}
	long := func(it *queue.Item) {
		found(it)
		it.Prepend = []byte(strings.Repeat("X:"+strings.Repeat("\x01", 100)+"\r\n", 100))
		for i := range 40 {
			it.Placements = append(it.Placements, mail.Placement{Quarantine: fmt.Sprint(i), Matched: []mail.Matched{{Text: strings.Repeat("\"", 160)}}})
		}
	}
	for _, c := range []struct {
		keyword string
		change  func(*queue.Item)
		want    int
	}{{cpq.Keyword, found, 1}, {"XCPQ 1 2", found, 0}, {cpq.Keyword, long, 0}} {
		p := newCPQPeerWith(t, check(sma.TLS, gw.Pin()).Server(), c.keyword)
		w, _ := cpqWorld(t, queue.CPQHost, check(gw.TLS, sma.Pin()).Client(), p.addr)
		w.start()
		if s := states(w.settled(w.add(body, c.change, "b@example.com"))); s != "delivered" {
			t.Errorf("%s: %s; the log:\n%s", c.keyword, s, w.log)
			continue
		}
		p.mu.Lock()
		if got := p.metadata[0].Deposit.Placements[0].Matched; len(got) != c.want {
			t.Errorf("%s: the manager heard %+v", c.keyword, got)
		}
		p.mu.Unlock()
	}
}

// What is to be tagged or stripped goes to a gateway that says that it can, and
// to no other: it waits, and says why. What is not goes all the same.
func TestExtrasNeedAGatewayThatKnowsThem(t *testing.T) {
	gw, sma := pair(t, "GATEWAY1"), pair(t, "MANAGER1")
	x := []mail.Extras{{Tag: "[early]", Strip: true}}
	early := func(it *queue.Item) {
		released(it)
		it.Release.Extras = x
	}
	for _, c := range []struct {
		keyword string
		change  func(*queue.Item)
		want    string
		blocks  int
	}{{cpq.Keyword, early, "delivered", 1}, {"XCPQ 1", early, "deferred", 0}, {"XCPQ 1", released, "delivered", 1}} {
		p := newCPQPeerWith(t, check(sma.TLS, gw.Pin()).Server(), c.keyword)
		w, _ := cpqWorld(t, queue.CPQReleaseHost, check(gw.TLS, sma.Pin()).Client(), p.addr)
		w.start()
		if s := states(w.settled(w.add(body, c.change, "b@example.com"))); s != c.want {
			t.Errorf("%s: %s; the log:\n%s", c.keyword, s, w.log)
		}
		p.mu.Lock()
		if len(p.metadata) != c.blocks || len(p.content) != c.blocks {
			t.Errorf("%s: the gateway heard %+v %q", c.keyword, p.metadata, p.content)
		} else if c.blocks == 1 && p.metadata[0].Version() == cpq.VersionExtras && p.metadata[0].Release.Extras[0] != x[0] {
			t.Errorf("%+v", p.metadata[0].Release)
		}
		p.mu.Unlock()
		if c.want == "deferred" {
			w.logged("MID 1 is to be tagged or stripped, and the gateway is too old for that: it waits until the gateway announces XCPQ 1 2 3 4 5")
		}
	}
}

// How long a mail policy holds a message is said to a manager that knows it; to
// another the message goes without.
func TestKeepIsSaidToWhoKnowsIt(t *testing.T) {
	gw, sma := pair(t, "GATEWAY1"), pair(t, "MANAGER1")
	outbreak := func(it *queue.Item) {
		placed(it)
		it.Placements = []mail.Placement{{Quarantine: "Outbreak", Reason: "VOF rule:R1", Keep: time.Hour, Matched: []mail.Matched{{Text: "x"}}}}
	}
	for keyword, want := range map[string]int{cpq.Keyword: cpq.VersionKeep, "XCPQ 1 2 3": cpq.VersionMatched, "XCPQ 1 2": cpq.Version} {
		p := newCPQPeerWith(t, check(sma.TLS, gw.Pin()).Server(), keyword)
		w, _ := cpqWorld(t, queue.CPQHost, check(gw.TLS, sma.Pin()).Client(), p.addr)
		w.start()
		if s := states(w.settled(w.add(body, outbreak, "b@example.com"))); s != "delivered" {
			t.Errorf("%s: %s; the log:\n%s", keyword, s, w.log)
		}
		p.mu.Lock()
		if len(p.metadata) != 1 || p.metadata[0].Version() != want {
			t.Errorf("%s: the manager heard %+v", keyword, p.metadata)
		}
		p.mu.Unlock()
	}
}

// One refused recipient, and nobody's message leaves: a part would be taken
// for the whole when its key comes again.
func TestAllRecipientsOrNone(t *testing.T) {
	gw, sma := pair(t, "GATEWAY1"), pair(t, "MANAGER1")
	p := newCPQPeer(t, check(sma.TLS, gw.Pin()).Server())
	p.rcpt = func(a mail.Address) smtp.Reply {
		if a.Local == "c" {
			return smtp.NewReply(451, "4.3.0", "later")
		}
		return smtp.NewReply(250, "2.1.5", "ok")
	}
	w, _ := cpqWorld(t, queue.CPQHost, check(gw.TLS, sma.Pin()).Client(), p.addr)
	w.start()
	if s := states(w.settled(w.add(body, placed, "b@example.com", "c@example.com"))); s != "deferred deferred" {
		t.Errorf("states %s", s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.content) != 0 {
		t.Errorf("content left for %v", p.to)
	}
}

// A gateway whose port was changed gets its mail: what failed is forgotten and
// asked again, at once.
func TestPortChanged(t *testing.T) {
	gw, sma := pair(t, "GATEWAY1"), pair(t, "MANAGER1")
	p := newCPQPeer(t, check(gw.TLS, sma.Pin()).Server())
	old := testlib.NewSink(t, testlib.Behaviour{})
	old.Close()
	conf := check(sma.TLS, gw.Pin()).Client()
	w, peer := cpqWorld(t, queue.CPQReleaseHost, conf, old.Addr)
	peer.answers = append(peer.answers, Endpoint{Addr: p.addr, TLS: conf, Name: "gw1"})
	w.start()
	if s := states(w.settled(w.add(body, released, "b@example.com"))); s != "delivered" {
		t.Fatalf("%s; the log:\n%s", s, w.log)
	}
	w.logged(fmt.Sprintf("Connection Error: DCID 1 domain: the.cpq.release.host IP: 127.0.0.1 port: %d", old.Addr.Port()))
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.metadata[0].Release; r == nil || r.ManagerMID != 44 || r.By != "admin" {
		t.Errorf("metadata %+v", p.metadata[0])
	}
}

func TestPeerNotFound(t *testing.T) {
	w, peer := cpqWorld(t, queue.CPQReleaseHost, nil, netip.AddrPort{})
	peer.err = errors.New("ssh: no route to host")
	w.start()
	w.add(body, released, "b@example.com")
	w.logged("no route to host")
}

// told is an error that was written by whoever met it.
type told struct{ error }

func (told) Logged() bool    { return true }
func (t told) Unwrap() error { return t.error }

// A peer that cannot be asked is a warning; a fault is what nobody classified,
// and nothing is written twice.
func TestNotLocated(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errs.New(errs.Temporary, "no manager is paired"), "Warning: the.cpq.host: no manager is paired"},
		{errs.New(errs.Denied, "login refused"), "Warning: the.cpq.host: login refused"},
		{errors.New("nil map"), "Critical: An application fault occurred: delivery: the.cpq.host: nil map"},
		{told{errs.New(errs.Temporary, "no answer within 15s")}, ""},
	} {
		w, _ := cpqWorld(t, queue.CPQHost, nil, netip.AddrPort{})
		w.opt.notLocated(errs.Context(c.err, "the.cpq.host"))
		if got := w.log.String(); !strings.HasSuffix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%v: %q", c.err, got)
		}
	}
}

// Promise P4: whoever does not prove to be the peer gets EHLO and STARTTLS in
// clear and nothing else; the seed's two lines say why.
func TestSEC_D1_UnprovenPeersGetNothing(t *testing.T) {
	gw, sma, other := pair(t, "GATEWAY1"), pair(t, "MANAGER1"), pair(t, "OTHER001")
	conf := check(gw.TLS, sma.Pin()).Client()
	expired := testlib.Certificate(t, testlib.CertOptions{NotAfter: time.Now().Add(-time.Hour)})
	rsaKey := func(bits int) *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	// All of these have the pinned key: what is wrong with them counts.
	early := testlib.Certificate(t, testlib.CertOptions{NotAfter: time.Now().Add(48 * time.Hour)})
	small := testlib.Certificate(t, testlib.CertOptions{Key: rsaKey(1024)})
	sha1 := testlib.Certificate(t, testlib.CertOptions{Key: rsaKey(2048), SHA1: true})
	use := testlib.Certificate(t, testlib.CertOptions{Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}})
	// Signed by the very certificate that is pinned, which would do for a web browser.
	child := testlib.Certificate(t, testlib.CertOptions{Names: []string{"other.example"}, Parent: &sma.TLS})
	pinned := func(c tls.Certificate) *tls.Config { return check(gw.TLS, certs.PinOf(c.Leaf)).Client() }
	files := func(c tls.Certificate) []string {
		cert, key := testlib.CertificateFiles(t, c)
		return []string{"-cert", cert, "-key", key, "-cipher", "DEFAULT:@SECLEVEL=0"}
	}
	for _, c := range []struct {
		name  string
		args  []string
		conf  *tls.Config
		cause string
	}{
		{"anonymous-ciphers-only", []string{"-nocert", "-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"}, conf, "no certificate from server"},
		{"no-certificate", []string{"-nocert"}, conf, "no certificate from server"},
		{"wrong-certificate", files(other.TLS), conf, "certificate of server is not the pinned one"},
		{"not-yet-valid", files(early), pinned(early), "is not valid before"},
		{"RSA-1024", files(small), pinned(small), "has an RSA key of 1024 bits"},
		{"SHA-1", files(sha1), pinned(sha1), "is signed with SHA1-RSA"},
		{"wrong-use", files(use), pinned(use), "is not one for TLS servers"},
		{"right-signer-wrong-name", files(child), conf, "certificate of server is not the pinned one"},
		{"ALPN", append(files(other.TLS), "-alpn", "h2"), conf, "certificate of server is not the pinned one"},
		{"anonymous-of-old", []string{"-nocert", "-cipher", "ADH:AECDH:@SECLEVEL=0", "-tls1_2"}, conf, "no certificate from server"},
		{"TLS-1.2-and-renegotiation", append(files(sma.TLS), "-tls1_2", "-legacy_renegotiation"), conf, "it does not speak TLS 1.3"},
		{"expired", files(expired), check(gw.TLS, certs.PinOf(expired.Leaf)).Client(), "expired on"},
		{"TLS-1.2", append(files(sma.TLS), "-tls1_2"), conf, "it does not speak TLS 1.3"},
		// OpenSSL demands a client certificate that it trusts: told to us only
		// after our handshake is complete.
		{"refuses-us", append(files(sma.TLS), "-Verify", "1", "-verify_return_error"), conf, "server refused our certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := testlib.NewOpenSSL(t, c.args...)
			w, _ := cpqWorld(t, queue.CPQHost, c.conf, o.Addr)
			w.start()
			mid := w.add(body, placed, "b@example.com")
			w.logged("DCID 1 close")
			w.wantLines(o.Addr,
				"New SMTP DCID 1 %A",
				"DCID 1 TLS failed: verify error: "+causeIn(w.log.String(), c.cause),
				"DCID 1 TLS was required but could not be successfully negotiated",
				"DCID 1 close")
			if it, _ := w.store.look(mid); states(it) == "delivered" {
				t.Error("delivered to nobody known")
			}
			if in := o.Inside(); strings.Contains(in, "XCPQ") || strings.Contains(in, "MAIL") || strings.Contains(in, "example.com>") {
				t.Errorf("inside TLS arrived:\n%s", in)
			}
			if said := strings.Join(o.Said(), "|"); said != "EHLO gw.example.com|STARTTLS" {
				t.Errorf("in clear went %q", said)
			}
		})
	}
}

// causeIn gives the whole cause of the log when it contains want.
func causeIn(log, want string) string {
	_, rest, _ := strings.Cut(log, "verify error: ")
	line, _, _ := strings.Cut(rest, "\n")
	if strings.Contains(line, want) {
		return line
	}
	return want
}

// Hosts that misbehave as CPQ peers get no metadata either.
func TestHostilePeers(t *testing.T) {
	gw, sma := pair(t, "GATEWAY1"), pair(t, "MANAGER1")
	for _, b := range testlib.Hostile(sma.TLS) {
		t.Run(strings.ReplaceAll(b.Name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			sink := testlib.NewSink(t, b)
			w, _ := cpqWorld(t, queue.CPQHost, check(gw.TLS, sma.Pin()).Client(), sink.Addr)
			w.start()
			mid := w.add(body, placed, "b@example.com")
			w.logged("DCID 1")
			if !strings.Contains(w.log.String(), "Connection Error: DCID 1") {
				w.logged("DCID 1 close")
			}
			if it, _ := w.store.look(mid); states(it) == "delivered" || states(it) == "bounced" {
				t.Errorf("%s; the log:\n%s", states(it), w.log)
			}
			for _, cmd := range sink.Commands() {
				if strings.Contains(cmd, "XCPQ") || strings.Contains(cmd, "MAIL") || strings.Contains(cmd, "RCPT") {
					t.Errorf("%s got %q", b.Name, cmd)
				}
			}
		})
	}
}
