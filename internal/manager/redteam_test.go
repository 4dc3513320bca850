package manager

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/cpq"
	"lazaret/internal/dns"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

const redSerial = "GATEWAY666"

// target is a manager that runs, with a gateway in hostile hands among its own.
type target struct {
	*Manager
	addr string
	red  certs.Pair
}

func cpqPair(t *testing.T, serial string) certs.Pair {
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

func newTarget(t *testing.T, edit func(*config.Config)) *target {
	t.Helper()
	x := &target{red: cpqPair(t, redSerial)}
	dir := t.TempDir()
	port := freePort(t)
	_, err := appliance.Init(dir, config.Manager, appliance.InitOptions{CPQPort: port, SSHPort: freePort(t), Edit: func(c *config.Config) {
		c.Appliances = []config.Appliance{
			{Name: "red.example.net", Serial: redSerial, SSH: "127.0.0.1:9", User: "cpq", HostKey: "ssh-ed25519 x", Pins: []string{x.red.Pin().String()}},
			{Name: "gw1.example.net", Serial: "GATEWAY001", SSH: "127.0.0.1:9", User: "cpq", HostKey: "ssh-ed25519 x", Pins: []string{anyPin + "AA="}},
		}
		if err := c.AdmitPeer(netip.MustParseAddr("127.0.0.1"), "red"); err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if x.Manager, err = New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard}); err != nil {
		t.Fatal(err)
	}
	if err := x.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	x.addr = fmt.Sprintf("127.0.0.1:%d", port)
	return x
}

// dial connects with a certificate that the manager knows.
func (x *target) dial(t *testing.T) (*testlib.Dialogue, error) {
	t.Helper()
	check := certs.Check{
		Own:   func(func(certs.Pin) bool) (tls.Certificate, error) { return x.red.TLS, nil },
		Peers: func() []certs.Peer { return []certs.Peer{{ID: "M", Pins: x.CPQ.Pins()}} },
	}
	return testlib.DialTLS(t, x.addr, check.Client())
}

func (x *target) log(t *testing.T) string {
	t.Helper()
	x.MailLog.Sync()
	b, err := os.ReadFile(x.Path("log", "mail_logs", "mail.current"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// depositOf is right metadata of a content, as the gateway of that serial makes it.
func depositOf(serial, content string) *cpq.Deposit {
	h := mail.Hash(sha256.Sum256([]byte(content)))
	return &cpq.Deposit{
		Key: mail.NewKey(serial, 501, h), GatewaySerial: serial, GatewayName: "red.example.net", GatewayMID: 501, Accepted: time.UnixMilli(1).UTC(),
		Policy: "DEFAULT", Direction: cpq.Inbound, Size: int64(len(content)), Hash: h, Placements: []mail.Placement{{Quarantine: "Policy", Reason: "x"}},
	}
}

// xcpq is the verb with its block; raw changes the block's octets.
func xcpq(t *testing.T, m cpq.Metadata, raw func(string) string) string {
	t.Helper()
	b, err := cpq.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if raw != nil {
		text = raw(text)
	}
	return fmt.Sprintf("XCPQ %d\r\n%s", len(text), text)
}

// A gateway in hostile hands, with its own valid certificate, tries what it may
// not: it reads nothing, writes in nobody else's name, and every answer is a
// refusal (register D5). What it may do still works afterwards.
func TestSEC_D5_CompromisedGateway(t *testing.T) {
	x := newTarget(t, nil)
	const content = "Subject: x\r\n\r\nx\r\n"
	own := cpq.Metadata{Deposit: depositOf(redSerial, content)}
	release := cpq.Metadata{Release: &cpq.Release{Action: mail.NewActionKey(own.Key(), 1), Key: own.Key(), ManagerMID: 1, GatewayMID: 1, Size: 1, Hash: own.Deposit.Hash}}
	replace := func(old, next string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Errorf("%q is not in the block", old)
			}
			return strings.Replace(s, old, next, 1)
		}
	}
	refused := 0
	try := func(what, say string, want ...string) {
		t.Helper()
		d, err := x.dial(t)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer d.Close()
		got := d.Send(say)
		for _, w := range want {
			if strings.HasPrefix(got, w) {
				refused++
				return
			}
		}
		t.Errorf("%s: %q, want one of %q", what, got, want)
	}
	// Commands that read, list, log in, run or turn the connection round.
	for _, line := range strings.Split(`VRFY postmaster|VRFY <bob@example.com>|EXPN all|EXPN Policy|TURN|ATRN example.com|ETRN example.com|HELP|HELP XCPQ|SEND FROM:<a@b.c>|SOML FROM:<a@b.c>|SAML FROM:<a@b.c>|
AUTH PLAIN AGFkbWluAGFkbWlu|AUTH LOGIN|AUTH EXTERNAL =|XFORWARD NAME=gw1.example.net|XCLIENT ADDR=127.0.0.1|XEXCH50 1 2|BURL imap://localhost/INBOX LAST|STARTTLS|EHLO|HELO|
RETR 1|LIST|DELE 1|STAT|UIDL|CAPA|USER admin|PASS admin|SELECT INBOX|FETCH 1 BODY[]|GET / HTTP/1.1|POST /quarantine HTTP/1.1|CONNECT 127.0.0.1:22|
quarantine search|quarantine release 1|quarantine delete 1|quarantine show 1|showconfig|commit|status|cpqexchange x|cpqlocate|cpqpair x|applianceconfig|passwd admin|shutdown|
MAIL FROM:<a@b.c>|RCPT TO:<a@b.c>|DATA|BDAT 0 LAST|BDAT 99999999999999999999 LAST|BDAT -1|XCPQ|XCPQ -1|XCPQ x|XCPQ 00|XCPQ 9999999999999999999999|XCPQ 1x|XCPQ 0|`+"\x00|\x1b[2J|\xff\xfe|"+strings.Repeat("A", 600), "|") {
		line = strings.TrimLeft(line, "\n")
		if line == "" {
			continue
		}
		try(line, line+"\r\n", "5", "4", "21", "")
	}
	if refused < 50 {
		t.Fatalf("%d commands", refused)
	}
	// Blocks: other forms, other names, other people's mail, text that means something elsewhere.
	forms := map[string]string{
		"another gateway's key":     xcpq(t, cpq.Metadata{Deposit: depositOf("GATEWAY001", content)}, nil),
		"another's serial":          xcpq(t, own, replace(`"serial":"`+redSerial, `"serial":"GATEWAY001`)),
		"another's key, own serial": xcpq(t, own, replace(`"key":"`+redSerial, `"key":"GATEWAY001`)),
		"the manager's serial":      xcpq(t, cpq.Metadata{Deposit: depositOf(x.Config.Committed().Serial, content)}, nil),
		"a release":                 xcpq(t, release, nil),
		"a key twice":               xcpq(t, own, replace(`"mid":501,`, `"mid":501,"mid":502,`)),
		"an unknown field":          xcpq(t, own, replace(`"mid":501,`, `"mid":501,"admin":true,`)),
		"fields in another order": xcpq(t, own, func(s string) string {
			return strings.Replace(strings.Replace(s, `"mid":501,`, ``, 1), `"policy"`, `"mid":501,"policy"`, 1)
		}),
		"version 2":               xcpq(t, own, replace(`"version":1`, `"version":2`)),
		"both":                    xcpq(t, own, func(s string) string { return strings.TrimSuffix(s, "}") + `,"release":{}}` }),
		"a path for a quarantine": xcpq(t, own, replace(`"quarantine":"Policy"`, `"quarantine":"`+strings.Repeat("../", 100)+`"`)),
		"CR LF in a name":         xcpq(t, own, replace(`"name":"red`, "\"name\":\"red\r\nMAIL FROM:<x@y.z>\r\n")),
		"NUL in a name":           xcpq(t, own, replace(`"name":"red`, "\"name\":\"\x00red")),
		"header lines that end":   xcpq(t, own, replace(`"prepend":""`, `"prepend":"\u000d\u000a\u000d\u000abody"`)),
		"half a header line":      xcpq(t, own, replace(`"prepend":""`, `"prepend":"X-A: b"`)),
		"a negative size":         xcpq(t, own, replace(`"size":17`, `"size":-1`)),
		"a size without end":      xcpq(t, own, replace(`"size":17`, `"size":99999999999999999999`)),
		"no quarantine":           xcpq(t, own, replace(`[{"quarantine":"Policy","reason":"x"}]`, `[]`)),
		"blanks":                  xcpq(t, own, replace(`"mid":501`, `"mid": 501`)),
		"an SQL string":           xcpq(t, own, replace(`"key":"`, `"key":"' OR 1=1;--`)),
		"nothing":                 "XCPQ 0\r\n",
		"an array":                "XCPQ 2\r\n[]",
		"depth":                   fmt.Sprintf("XCPQ 60000\r\n%s", strings.Repeat("[", 60000)),
	}
	for what, say := range forms {
		try(what, say, "5")
	}
	// Right metadata, wrong message.
	d, err := x.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	steps := func(content string) (last string) {
		for _, say := range []string{xcpq(t, own, nil), "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<c@d.example>\r\n", "DATA\r\n", content + ".\r\n"} {
			last = d.Send(say)
		}
		return last
	}
	for what, c := range map[string]string{"other content": "Subject: y\r\n\r\nx\r\n", "shorter": "Subject: x\r\n", "bare LF": "Subject: x\n\n\r\nx\r\n"} {
		if got := steps(c); !strings.HasPrefix(got, "55") {
			t.Errorf("%s: %q", what, got)
		}
	}
	if h, err := x.pvo.Holding(t.Context()); err != nil || h.Messages != 0 {
		t.Fatalf("%d messages are held, %v", h.Messages, err)
	}
	if got := steps(content); !strings.HasPrefix(got, "250 2.0.0 ok:  Message ") {
		t.Errorf("what it may: %q", got)
	}
	if h, err := x.pvo.Holding(t.Context()); err != nil || h.Messages != 1 {
		t.Errorf("%d messages are held, %v", h.Messages, err)
	}
	if n := len(forms) + refused; n < 80 {
		t.Errorf("only %d forbidden operations", n)
	}
	if log := x.log(t); strings.ContainsAny(log, "\x00\x1b") {
		t.Error("the log has control characters of the peer's")
	}
}

// Metadata recorded on one session is nothing on another gateway's (register
// D4): the certificate says whose it is, not the words. And a repeat of one's
// own changes nothing.
func TestSEC_D4_Replay(t *testing.T) {
	x := newTarget(t, nil)
	const content = "Subject: x\r\n\r\nx\r\n"
	say := func(m cpq.Metadata, want string) (last string) {
		t.Helper()
		d, err := x.dial(t) // a session of its own
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for _, s := range []string{xcpq(t, m, nil), "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<c@d.example>\r\n", "DATA\r\n", content + ".\r\n"} {
			if last = d.Send(s); strings.HasPrefix(last, "5") {
				break
			}
		}
		if !strings.HasPrefix(last, want) {
			t.Errorf("%q, want %q", last, want)
		}
		return last
	}
	own := cpq.Metadata{Deposit: depositOf(redSerial, content)}
	first := say(own, "250 2.0.0 ok:  Message ")
	if again := say(own, "250 2.0.0 ok:  Message "); again != first {
		t.Errorf("the repeat is %q, not %q", again, first)
	}
	say(cpq.Metadata{Deposit: depositOf("GATEWAY001", content)}, "550 5.7.1 message key GATEWAY001-")
	if h, err := x.pvo.Holding(t.Context()); err != nil || h.Messages != 1 {
		t.Errorf("%d messages are held, %v", h.Messages, err)
	}
	if log := x.log(t); !strings.Contains(log, "does not belong to "+redSerial) {
		t.Errorf("no word in the log:\n%s", log)
	}
}

// The quota of one gateway holds at its edges over real connections, is told
// once, and what is refused is refused for now.
func TestSEC_D5_Quota(t *testing.T) {
	x := newTarget(t, func(c *config.Config) { c.GatewayQuota = config.GatewayQuota{Messages: 3, Open: 2} })
	var open []*testlib.Dialogue
	for range 2 {
		d, err := x.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, d)
	}
	if _, err := x.dial(t); err == nil {
		t.Error("a third connection is open")
	}
	open[1].Say("QUIT")
	open[1].Close()
	var third *testlib.Dialogue
	for end := time.Now().Add(time.Minute); third == nil && time.Now().Before(end); { // the other end has to see the close
		third, _ = x.dial(t)
	}
	if third == nil {
		t.Fatal("no connection after one was closed")
	}
	for i := range 5 {
		d := cpq.Metadata{Deposit: depositOf(redSerial, fmt.Sprint(i))}
		want := "250 "
		if i >= 3 {
			want = "451 4.3.0 GATEWAY666 has brought 3 messages in this minute"
		}
		if got := third.Send(xcpq(t, d, nil)); !strings.HasPrefix(got, want) {
			t.Errorf("%d: %q", i, got)
		}
	}
	if n := strings.Count(x.log(t), "Warning: gateway "+redSerial); n != 1 {
		t.Errorf("%d alarms", n)
	}
}
