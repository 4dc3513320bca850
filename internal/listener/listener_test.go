package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lazaret/internal/access"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps what it takes; hooks spoil that.
type sink struct {
	mu       sync.Mutex
	mid      atomic.Uint64
	got      []taken
	ready    func(int64) error
	receive  func(*Message) error // in place of reading
	peer     func(tls.ConnectionState) (string, error)
	accepted func() error
	repeat   mail.MID
}

type taken struct {
	Message
	body    string
	subject string
}

func (s *sink) NextMID() mail.MID { return mail.MID(s.mid.Add(1)) }

func (s *sink) Ready(n int64) error {
	if s.ready != nil {
		return s.ready(n)
	}
	return nil
}

func (s *sink) Receive(_ context.Context, m *Message) error {
	if s.receive != nil {
		return s.receive(m)
	}
	b, err := io.ReadAll(m.Content)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, taken{*m, string(b), m.Header.Subject()})
	return nil
}

func (s *sink) messages() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

// rig is a group on loopback with all that it needs.
type rig struct {
	*Group
	t     *testing.T
	sink  *sink
	log   *logBuffer
	stats *stats.Set
}

func newRig(t *testing.T, list ...Settings) *rig {
	t.Helper()
	return newRigWith(t, func(*Options) {}, list...)
}

func newRigWith(t *testing.T, change func(*Options), list ...Settings) *rig {
	t.Helper()
	r := &rig{t: t, sink: &sink{}, log: newLogBuffer(t), stats: &stats.Set{}}
	var icid atomic.Uint64
	o := Options{
		Hostname: "gw1.example.com", Log: r.log.mail, Stats: r.stats, Resolver: &dns.Fake{},
		NextICID: func() mail.ICID { return mail.ICID(icid.Add(1)) },
		Sink:     r.sink, CPQSink: (*cpqSink)(r.sink),
	}
	change(&o)
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Group = g
	for _, s := range list {
		if err := g.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.Group.Close(ctx)
}

// settings is a listener on a free port of loopback.
func settings(name string, hat string) Settings {
	h, err := access.ParseHAT(hat)
	if err != nil {
		panic(err)
	}
	rat, err := access.ParseRAT("blocked@example.org REJECT 550 5.2.1 Nobody reads this\nexample.com ACCEPT\nexample.org ACCEPT\nALL REJECT")
	if err != nil {
		panic(err)
	}
	return Settings{Name: name, Protocol: SMTP, Interface: "Management", Addr: netip.MustParseAddrPort("127.0.0.1:0"), Kind: access.Public, HAT: h, RAT: rat}
}

const acceptAll = "ALL\n $ACCEPTED\n"

// talk is a raw dialogue.
type talk struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (r *rig) dial(name string) *talk {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addr(name).String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return newTalk(r.t, c)
}

func newTalk(t *testing.T, c net.Conn) *talk { return &talk{t, c, bufio.NewReader(c)} }

// reply reads one reply and gives it with its lines joined; the end of the
// connection is "END".
func (d *talk) reply() string {
	d.t.Helper()
	var all []string
	for {
		line, err := d.in.ReadString('\n')
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			d.t.Fatal("no reply")
		}
		if err != nil {
			return strings.Join(append(all, "END"), "|")
		}
		all = append(all, strings.TrimRight(line, "\r\n"))
		if len(line) < 4 || line[3] == ' ' {
			return strings.Join(all, "|")
		}
	}
}

// say sends a line and wants a reply that starts so.
func (d *talk) say(line, want string) string {
	d.t.Helper()
	if line != "" {
		io.WriteString(d.conn, line+"\r\n")
	}
	got := d.reply()
	if !strings.HasPrefix(got, want) {
		d.t.Errorf("%q: got %q, want %q", line, got, want)
	}
	return got
}

// all plays pairs of line and reply.
func (d *talk) all(pairs ...string) {
	d.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		d.say(pairs[i], pairs[i+1])
	}
}

// upTo is the dialogue up to the given verb's reply.
func (d *talk) upTo(verb string) *talk {
	d.t.Helper()
	for _, p := range [][2]string{{"", "220"}, {"EHLO client.example", "250"}, {"MAIL FROM:<a@b.example>", "250"}, {"RCPT TO:<x@example.com>", "250"}, {"DATA", "354"}} {
		d.say(p[0], p[1])
		if strings.HasPrefix(p[0], verb) {
			break
		}
	}
	return d
}

// waitFor waits for what another goroutine is about to do.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it did not happen")
}

func TestCheck(t *testing.T) {
	for want, spoil := range map[string]func(*Settings){
		`listener "": a name has`:                            func(s *Settings) { s.Name = "" },
		`listener "a\nICID": a name has`:                     func(s *Settings) { s.Name = "a\nICID" },
		`listener "a": protocol "QMQP" is not known`:         func(s *Settings) { s.Protocol = "QMQP" },
		`listener "a": the interface has no address`:         func(s *Settings) { s.Addr = netip.AddrPort{} },
		`listener "a": listen_queue_size is from 1 to 65535`: func(s *Settings) { s.Backlog = -1 },
		`listener "a": type "" is not known`:                 func(s *Settings) { s.Kind = "" },
		`listener "a": there is no HAT`:                      func(s *Settings) { s.HAT = nil },
		`listener "a": a public listener has a RAT`:          func(s *Settings) { s.RAT = nil },
		`listener "a": CPQ needs TLS`:                        func(s *Settings) { s.Protocol = CPQ },
	} {
		s := settings("a", acceptAll)
		spoil(&s)
		if err := s.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// One message from connect to close, with every line of the log.
func TestSMTPMessage(t *testing.T) {
	r := newRig(t, settings("Incoming", acceptAll))
	r.dial("Incoming").all("", "220 gw1.example.com ESMTP",
		"EHLO client.example", "250-gw1.example.com|250-PIPELINING|250-SIZE 52428800|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-CHUNKING|250-BINARYMIME|250-SMTPUTF8|250 DSN",
		"MAIL FROM:<a@example.net> BODY=8BITMIME", "250 2.1.0",
		"RCPT TO:<b@Example.COM>", "250 2.1.5",
		"RCPT TO:<c@elsewhere.example>", "550 5.1.0 address <c@elsewhere.example> rejected",
		"RCPT TO:<blocked@example.org>", "550 5.2.1 Nobody reads this",
		"RCPT TO:<postmaster>", "250 2.1.5",
		"DATA", "354 ",
		"Subject: offer\r\nMessage-ID: <x@example.net>\r\n\r\n..dot\r\n.", "250 2.0.0 ok:  Message 1 accepted",
		"MAIL FROM:<>", "250 2.1.0",
		"RSET", "250 2.0.0",
		"NONSENSE", "500 5.5.2",
		"QUIT", "221 2.0.0")
	r.stop()
	got := r.sink.messages()
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	m := got[0]
	if m.body != "Subject: offer\r\nMessage-ID: <x@example.net>\r\n\r\n.dot\r\n" || m.subject != "offer" || !m.Envelope.EightBit {
		t.Errorf("%+v", m)
	}
	if to := fmt.Sprint(m.Envelope.To); to != "[b@example.com postmaster@example.com]" {
		t.Error(to)
	}
	want := mail.Origin{ICID: 1, Listener: "Incoming", Interface: "Management", RemoteIP: netip.MustParseAddr("127.0.0.1"), RemoteHost: "unknown", Helo: "client.example", Protocol: "ESMTP", SenderGroup: "ALL", Policy: "ACCEPTED"}
	if m.Origin != want {
		t.Errorf("%+v", m.Origin)
	}
	lines := `New SMTP ICID 1 interface Management (127.0.0.1) address 127.0.0.1 reverse dns host unknown verified no
ICID 1 ACCEPT SG ALL match ALL SBRS None
Start MID 1 ICID 1
MID 1 ICID 1 From: <a@example.net>
MID 1 ICID 1 RID 0 To: <b@example.com>
MID 1 ICID 1 To: <c@elsewhere.example> Rejected by RAT
MID 1 ICID 1 To: <blocked@example.org> Rejected by RAT
MID 1 ICID 1 RID 1 To: <postmaster@example.com>
MID 1 Message-ID '<x@example.net>'
MID 1 Subject "offer"
MID 1 ready 53 bytes from <a@example.net>
Start MID 2 ICID 1
MID 2 ICID 1 From: <>
Message aborted MID 2 Receiving aborted
ICID 1 Unknown command: NONSENSE
ICID 1 close
`
	if got := r.log.lines(); got != lines {
		t.Errorf("log:\n%s\nwant:\n%s", got, lines)
	}
	for c, n := range map[stats.Counter]uint64{stats.ConnectionsIn: 1, stats.MessagesReceived: 1, stats.RecipientsReceived: 2, stats.RejectedRecipients: 2, stats.BytesReceived: 53} {
		if got := r.stats.Uptime(c); got != n {
			t.Errorf("counter %d is %d, want %d", c, got, n)
		}
	}
}

// An SMTP probe that knows neither brackets nor carriage returns gets single lines (clients 2.4).
func TestProbe(t *testing.T) {
	r := newRig(t, settings("Incoming", acceptAll))
	d := r.dial("Incoming")
	d.say("", "220 ")
	for _, p := range [][2]string{{"HELO probe", "250 "}, {"MAIL FROM:a@b.example", "250 "}, {"RCPT TO:c@example.com", "250 "}, {"QUIT", "221 "}} {
		io.WriteString(d.conn, p[0]+"\n")
		if got := d.reply(); !strings.HasPrefix(got, p[1]) || strings.Contains(got, "|") {
			t.Errorf("%s: %q", p[0], got)
		}
	}
}

// No spelling of a foreign recipient opens the relay (register B6).
func TestNoOpenRelay(t *testing.T) {
	r := newRig(t, settings("Incoming", acceptAll))
	for _, to := range []string{
		"<b@elsewhere.example>", "<b@elsewhere.example.>", "<@example.com:b@elsewhere.example>", "<@example.com,@example.org:b@elsewhere.example>",
		`<"b@example.com"@elsewhere.example>`, "<b@example.com@elsewhere.example>", "<b@[127.0.0.1]>", "<b@[IPv6:::1]>", "<b@notexample.com>",
		"<b@sub.example.com>", "<b@example.com.elsewhere.example>", "<b>", "b@elsewhere.example", "<b@elsewhere.example> ORCPT=rfc822;b@example.com",
		"<>", "<b@example.com\x00.elsewhere.example>", "<b@ex\xc3\xa4mple.com>", "<b@elsewhere.example>@example.com",
	} {
		d := r.dial("Incoming").upTo("MAIL")
		d.say("RCPT TO:"+to, "5")
		d.all("DATA", "554 5.5.1", "QUIT", "221")
	}
	r.stop()
	if strings.Contains(r.log.lines(), "RID 0") {
		t.Error(r.log.lines())
	}
}

// Hostile text makes no log line of its own.
func TestHostileText(t *testing.T) {
	r := newRig(t, settings("Incoming", acceptAll))
	r.dial("Incoming").upTo("DATA").all(
		"Subject: a\"\r\n b\x1b[31m\xe2\x80\xa8MID 9 ready\r\nMessage-ID: <a'\x7f\xc2\x85MID 9 x>\r\n\r\n.", "250",
		"ICID 9\tlost", "500", "MAIL FROM:<a@b\x0bMID 9>", "500", "QUIT", "221")
	r.stop()
	for line := range strings.Lines(r.log.lines()) {
		if strings.HasPrefix(line, "MID 9") || strings.HasPrefix(line, "ICID 9") || strings.ContainsAny(line, "\x1b\x7f\x0b\u2028\u0085") {
			t.Errorf("forged line %q", line)
		}
	}
	if n := strings.Count(r.log.lines(), "\n"); n != 11 {
		t.Errorf("%d lines:\n%s", n, r.log.lines())
	}
}

// What each action and limit of the HAT looks like from outside and in the log.
func TestActions(t *testing.T) {
	const rcpt = "RCPT"
	for _, c := range []struct {
		name, hat string
		from      string // verb up to which the dialogue is the usual one
		say       []string
		log       string
	}{
		{"reject", "BLACKLIST:\n 127.0.0.0/8\n $BLOCKED\nALL\n $ACCEPTED\n", "-", []string{"", "554 gw1.example.com access denied", "EHLO x", "503 ", "QUIT", "221 "},
			"ICID 1 REJECT SG BLACKLIST match 127.0.0.0/8 SBRS None\nICID 1 close\n"},
		{"reject with words", "$NO\n REJECT {banner = \"go away\"}\nALL\n $NO\n", "-", []string{"", "554 gw1.example.com go away", "QUIT", "221 "},
			"ICID 1 REJECT SG ALL match ALL SBRS None\nICID 1 close\n"},
		{"relay", "RELAYLIST:\n 127.0.0.1\n $RELAYED\nALL\n $BLOCKED\n", "MAIL", []string{"RCPT TO:<x@anywhere.example>", "250 2.1.5", "QUIT", "221 "},
			"ICID 1 RELAY SG RELAYLIST match 127.0.0.1 SBRS None\n"},
		{"messages", "$P\n ACCEPT {max_msgs_per_session = 1}\nALL\n $P\n", "DATA", []string{".", "250", "MAIL FROM:<a@b.example>", "421 4.7.0 too many messages", "", "END"},
			"ICID 1 Receiving Failed: Too Many Messages\n"},
		{"recipients", "$P\n ACCEPT {max_rcpts_per_msg = 1}\nALL\n $P\n", rcpt, []string{"RCPT TO:<y@example.com>", "452 4.5.3", "QUIT", "221"}, ""},
		{"size", "$P\n ACCEPT {max_message_size = 1K}\nALL\n $P\n", "DATA", []string{strings.Repeat(strings.Repeat("x", 100)+"\r\n", 11) + ".", "552 5.3.4", "MAIL FROM:<a@b.example> SIZE=1025", "552 5.3.4", "QUIT", "221"},
			"ICID 1 Receiving Failed: Message size exceeds limit\nMessage aborted MID 1 Receiving aborted\n"},
		{"tls required", "$P\n ACCEPT {tls = required}\nALL\n $P\n", "EHLO", []string{"MAIL FROM:<a@b.example>", "530 5.7.0", "QUIT", "221"},
			"ICID 1 TLS was required but remote host did not initiate it\n"},
		{"bare newline", acceptAll, "DATA", []string{"a\nb\r\n.", "550 5.6.11", "QUIT", "221"}, "Message aborted MID 1 Receiving aborted\n"},
		{"normalise", "$P\n ACCEPT {bare_newlines = normalize}\nALL\n $P\n", "DATA", []string{"a\nb\r\n.", "250 2.0.0", "QUIT", "221"}, "MID 1 ready 6 bytes from <a@b.example>\n"},
		{"loop", acceptAll, "DATA", []string{strings.Repeat("Received: from a by b\r\n", 100) + "\r\nx\r\n.", "554 5.4.6 message loop", "QUIT", "221"},
			"ICID 1 Receiving Failed: Message loop\nMessage aborted MID 1 Receiving aborted\n"},
		{"no loop yet", acceptAll, "DATA", []string{strings.Repeat("Received: from a by b\r\n", 99) + "\r\nReceived: x\r\n.", "250 2.0.0", "QUIT", "221"}, ""},
		{"lost", acceptAll, rcpt, nil, "Message aborted MID 1 Receiving aborted\nICID 1 lost\nICID 1 close\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, settings("Incoming", c.hat))
			d := r.dial("Incoming")
			if c.from != "-" {
				d.upTo(c.from)
			}
			d.all(c.say...)
			d.conn.Close()
			waitFor(t, func() bool { return r.Clients() == 0 })
			r.stop()
			if !strings.Contains(r.log.lines(), c.log) {
				t.Errorf("log has no\n%sin\n%s", c.log, r.log.lines())
			}
		})
	}
}

// TCPREFUSE is a reset without a word.
func TestTCPRefuse(t *testing.T) {
	r := newRig(t, settings("Incoming", "$NO\n TCPREFUSE {}\nALL\n $NO\n"))
	if c, err := net.Dial("tcp", r.Addr("Incoming").String()); err == nil {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%d octets, %v", n, err)
		}
		c.Close()
	}
	r.stop()
	if got := r.log.lines(); got != "ICID 0 TCPREFUSE SG ALL match ALL SBRS None\n" {
		t.Error(got)
	}
}

// second gives an error from the second call on: MAIL asks first.
func second(err error) func(int64) error {
	asked := false
	return func(int64) error {
		if !asked {
			asked = true
			return nil
		}
		return err
	}
}

// What a failing sink looks like: never 250, never 5xx for what may pass, and no cause told.
func TestSinkFailures(t *testing.T) {
	for _, c := range []struct {
		name    string
		spoil   func(*sink)
		at, say string
		log     string
	}{
		{"full before", func(s *sink) { s.ready = second(errs.New(errs.Full, "no space for mail")) }, "DATA", "452 4.3.1 no space for mail", "ICID 1 Receiving Failed: Resources Low\n"},
		{"odd before", func(s *sink) { s.ready = second(errs.New(errs.Invalid, "what?")) }, "DATA", "452 4.3.1", "Resources Low\n"},
		{"disk", func(s *sink) {
			s.receive = func(m *Message) error {
				io.Copy(io.Discard, m.Content)
				return errors.New("write /secret/path: input/output error")
			}
		}, "x\r\n.", "451 4.3.0 internal error", "MID 1: write /secret/path"},
		{"full", func(s *sink) { s.receive = func(*Message) error { return errs.New(errs.Full, "no space for mail") } }, "x\r\n.", "452 4.3.1", "Resources Low\n"},
		{"unread", func(s *sink) { s.receive = func(*Message) error { return nil } }, "x\r\n.", "451 4.3.0", "not read to its end"},
		{"blind", func(s *sink) { s.receive = func(m *Message) error { io.Copy(io.Discard, m.Content); return nil } }, "a\nb\r\n.", "550 5.6.11", "Receiving aborted\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, settings("Incoming", acceptAll))
			c.spoil(r.sink)
			d := r.dial("Incoming").upTo("RCPT")
			if c.at != "DATA" {
				d.say("DATA", "354")
			}
			if got := d.say(c.at, c.say); strings.Contains(got, "secret") {
				t.Error(got)
			}
			d.say("QUIT", "221")
			r.stop()
			if l := r.log.lines(); !strings.Contains(l, c.log) || strings.Count(l, "Message aborted MID 1 Receiving aborted\n") != 1 {
				t.Errorf("log:\n%s", l)
			}
			if r.stats.Uptime(stats.MessagesReceived) != 0 {
				t.Error("counted as received")
			}
		})
	}
}

func TestConnectionLimits(t *testing.T) {
	s := settings("Incoming", "$P\n ACCEPT {max_concurrency = 2}\nALL\n $P\n")
	r := newRig(t, s)
	one := r.dial("Incoming")
	one.say("", "220")
	r.dial("Incoming").say("", "220")
	r.dial("Incoming").all("", "421 4.7.0 too many connections from your address", "", "END")
	one.all("QUIT", "221", "", "END")
	waitFor(t, func() bool { return r.Clients() == 1 })
	r.dial("Incoming").say("", "220")
	if n := r.Status()[0].Clients; n != 2 {
		t.Errorf("%d clients", n)
	}
	s.MaxClients = 2
	if err := r.Replace([]Settings{s}); err != nil {
		t.Fatal(err)
	}
	r.dial("Incoming").all("", "421 4.3.2 too many connections", "", "END")
	r.dial("Incoming").all("", "421 4.3.2 too many connections", "", "END")
	r.stop()
	if n := strings.Count(r.log.lines(), "ICID 0 Receiving Failed: Connection limit exceeded\n"); n != 1 {
		t.Errorf("%d lines for a flood:\n%s", n, r.log.lines())
	}
}

// A slow resolver holds a client up for so long and no longer.
func TestSlowResolver(t *testing.T) {
	r := newRigWith(t, func(o *Options) { o.Resolver, o.LookupTimeout = &stuck{}, time.Millisecond },
		settings("Incoming", "SUSPECTLIST:\n serv.fail\n $THROTTLED\n"+acceptAll))
	r.dial("Incoming").all("", "220", "QUIT", "221")
	r.stop()
	if !strings.Contains(r.log.lines(), "reverse dns host unknown verified no\nICID 1 ACCEPT SG SUSPECTLIST match serv.fail") {
		t.Error(r.log.lines())
	}
}

type stuck struct{ dns.Fake }

func (*stuck) LookupPTR(ctx context.Context, _ netip.Addr) ([]string, error) {
	<-ctx.Done()
	return nil, errs.New(errs.Temporary, "given up")
}

// A verified name is what the log and the groups see.
func TestReverseName(t *testing.T) {
	ip := netip.MustParseAddr("127.0.0.1")
	names := &dns.Fake{PTR: map[netip.Addr][]string{ip: {"mx.example.net"}}, Addr: map[string][]netip.Addr{"mx.example.net": {ip}}}
	r := newRigWith(t, func(o *Options) { o.Resolver = names }, settings("Incoming", "G:\n .example.net\n $TRUSTED\n"+acceptAll))
	r.dial("Incoming").all("", "220", "QUIT", "221")
	r.stop()
	if !strings.Contains(r.log.lines(), "reverse dns host mx.example.net verified yes\nICID 1 ACCEPT SG G match .example.net SBRS None\n") {
		t.Error(r.log.lines())
	}
}

// Nobody, not even who may relay, writes into the destinations of quarantines.
func TestReservedNames(t *testing.T) {
	r := newRig(t, settings("Incoming", "$R\n RELAY {}\nALL\n $R\n"))
	r.dial("Incoming").upTo("MAIL").all("RCPT TO:<x@the.cpq.host>", "550 5.1.2", "RCPT TO:<x@THE.cpq.Release.host.>", "550", "RCPT TO:<x@the.cpq.host.example>", "250", "QUIT", "221")
	r.stop()
	if !strings.Contains(r.log.lines(), "To: <x@the.cpq.host> Rejected by reserved name\n") {
		t.Error(r.log.lines())
	}
}
