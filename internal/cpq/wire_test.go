package cpq

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manager is a Session that holds what it is given, as docs/cpq.md says.
type manager struct {
	meta  *Metadata
	taken []string
}

func (s *manager) Hello(context.Context, smtp.HelloCommand) smtp.Reply {
	return smtp.NewReply(250, "", "sma1.example.net")
}

func (s *manager) Mail(context.Context, smtp.MailCommand) smtp.Reply {
	if s.meta == nil {
		return ReplyNoMetadata()
	}
	return smtp.NewReply(250, "2.1.0", "ok")
}

func (s *manager) Rcpt(context.Context, smtp.RcptCommand) smtp.Reply {
	return smtp.NewReply(250, "2.1.5", "ok")
}

func (s *manager) Data(_ context.Context, r io.Reader) smtp.Reply {
	m := s.meta
	s.meta = nil
	content, err := io.ReadAll(r)
	if err != nil {
		return smtp.NewReply(451, "4.3.0", "not used")
	}
	if m.Deposit.Size >= 0 && m.Deposit.GatewayName != "any" {
		if err := m.CheckContent(int64(len(content)), sha256.Sum256(content)); err != nil {
			return smtp.ErrorReply(err)
		}
	}
	s.taken = append(s.taken, string(content))
	return ReplyAccepted(mail.MID(len(s.taken)))
}

func (s *manager) Reset(context.Context) { s.meta = nil }

func take(_ context.Context, sess smtp.Session, m Metadata) smtp.Reply {
	if m.Deposit == nil {
		return ReplyNoReleases()
	}
	sess.(*manager).meta = &m
	return ReplyTaken()
}

func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cpq"}, NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
}

func newServer(t testing.TB) *smtp.Server {
	t.Helper()
	s, err := smtp.NewServer(smtp.ServerConfig{Hostname: "sma1.example.net", Greeting: "CPQ", TLSOnly: true, TLS: serverTLS(t),
		ErrorLimits: smtp.ErrorLimits{Soft: 1 << 30, Hard: 1 << 30},
		Extensions:  []smtp.Extension{NewExtension(take)}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve gives the near end of a connection that s serves. It is a real one: a
// pipe has no buffer, and pipelining (RFC 2920 section 3.1) counts on some.
func serve(t testing.TB, s *smtp.Server, sess smtp.Session) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(context.Background(), far, sess) }()
	t.Cleanup(func() { near.Close(); <-done })
	return near
}

// secure gives a client that has said EHLO inside TLS.
func secure(t testing.TB, conn net.Conn) *smtp.Client {
	t.Helper()
	ctx := context.Background()
	c := smtp.NewClient(conn, smtp.ClientConfig{})
	if _, err := c.Greet(ctx); err != nil {
		t.Fatal(err)
	}
	if x, _, err := c.Hello(ctx, "gw1.example.net"); err != nil || !x.StartTLS || len(x.Keywords) != 2 {
		t.Fatal(x, err)
	}
	if _, err := c.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if x, _, err := c.Hello(ctx, "gw1.example.net"); err != nil || x.Keywords[Verb] != VersionWord+" "+ExtrasWord+" "+MatchedWord+" "+KeepWord+" "+RescanWord {
		t.Fatal(x, err)
	}
	return c
}

func depositOf(content string) Metadata {
	m := deposit()
	m.Deposit.Hash = sha256.Sum256([]byte(content))
	m.Deposit.Size = int64(len(content))
	m.Deposit.Key = mail.NewKey(serial, 23456, m.Deposit.Hash)
	return m
}

func send(t testing.TB, c *smtp.Client, content string, blocks ...smtp.Block) smtp.Reply {
	t.Helper()
	res, err := c.Send(context.Background(), &smtp.Transaction{Before: blocks,
		To: []mail.Address{{Local: "b", Domain: "example.org"}}, Content: strings.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
	return res.Recipient(0)
}

// One connection: a good deposit, refused metadata, metadata that is missing or
// of another message. What is refused leaves nothing behind for the next.
func TestDepositsOverOneConnection(t *testing.T) {
	s := &manager{}
	c := secure(t, serve(t, newServer(t), s))
	const one, two = "one\r\n.\r\n", "two\r\n"
	block := func(m Metadata) smtp.Block {
		b, err := Block(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	bad := smtp.Block{Verb: Verb, Data: []byte(strings.Replace(depositBlock, `"version":1`, `"version":6`, 1))}
	for _, step := range []struct {
		content string
		blocks  []smtp.Block
		want    string
	}{
		{one, []smtp.Block{block(depositOf(one))}, "250 2.0.0 ok:  Message 1 accepted"},
		{one, nil, "503 5.5.1 XCPQ comes before MAIL"},
		{one, []smtp.Block{bad}, "554 5.5.4 metadata: version 6 is not understood, only 1 to 5"},
		{one, []smtp.Block{{Verb: Verb, Data: []byte("QUIT\r\n")}}, "554 5.6.0 metadata: octet 0: "},
		{one, []smtp.Block{{Verb: Verb, Data: make([]byte, MaxBlock+1)}}, "552 5.3.4"},
		{one, []smtp.Block{block(release())}, "550 5.7.1 a manager takes deposits, not releases"},
		{one, []smtp.Block{block(depositOf(two))}, "554 5.6.0 content is not the one of the metadata"},
		{two, []smtp.Block{block(depositOf(one)), block(depositOf(two))}, "250 2.0.0 ok:  Message 2 accepted"},
		{one, nil, "503 5.5.1 XCPQ comes before MAIL"},
	} {
		if got := send(t, c, step.content, step.blocks...).String(); !strings.HasPrefix(got, step.want) {
			t.Errorf("%q, want %q", got, step.want)
		}
	}
	if len(s.taken) != 2 || s.taken[0] != one || s.taken[1] != two {
		t.Errorf("%q", s.taken)
	}
	c.Quit(context.Background())
}

// A good block with a bad one behind it leaves none: the message must not go
// under the metadata of the first.
func TestRefusedBlockLeavesNone(t *testing.T) {
	s := &manager{}
	w := newWire(t, newServer(t), s)
	w.say("XCPQ %d\r\n%s", len(depositBlock), depositBlock)
	w.expect("250 2.0.0 metadata taken")
	w.say("XCPQ 2\r\n{}MAIL FROM:<>\r\n")
	w.expect("554 5.6.0")
	w.expect("503 5.5.1 XCPQ comes before MAIL")
}

// Before TLS, XCPQ ends the connection, and its block is not read as commands.
func TestNoMetadataBeforeTLS(t *testing.T) {
	s := &manager{}
	conn := serve(t, newServer(t), s)
	r := bufio.NewReader(conn)
	r.ReadString('\n')
	io.WriteString(conn, "XCPQ 12\r\nNOOP\r\nNOOP\r\n")
	if got, _ := io.ReadAll(r); string(got) != "530 5.7.0 must issue STARTTLS first\r\n" || s.meta != nil {
		t.Errorf("%q", got)
	}
}

func TestBareLFNeverEndsACommand(t *testing.T) {
	w := newWire(t, newServer(t), &manager{})
	w.say("NOOP\nNOOP\r\n")
	w.expect("500 5.5.2 line does not end in CR LF")
	if rest, _ := io.ReadAll(w.r); len(rest) > 0 {
		t.Errorf("%q", rest)
	}
}

// wire is a raw connection inside TLS, greeted.
type wire struct {
	t    testing.TB
	conn *tls.Conn
	r    *bufio.Reader
}

func newWire(t testing.TB, s *smtp.Server, sess smtp.Session) *wire {
	t.Helper()
	conn := serve(t, s, sess)
	plain := bufio.NewReader(conn)
	plain.ReadString('\n')
	io.WriteString(conn, "STARTTLS\r\n") // needs EHLO first
	if got, _ := plain.ReadString('\n'); !strings.HasPrefix(got, "503") {
		t.Fatalf("%q", got)
	}
	io.WriteString(conn, "EHLO c\r\n")
	for line := ""; !strings.HasPrefix(line, "250 "); {
		line, _ = plain.ReadString('\n')
	}
	io.WriteString(conn, "STARTTLS\r\n")
	plain.ReadString('\n')
	w := &wire{t: t, conn: tls.Client(conn, &tls.Config{InsecureSkipVerify: true})}
	w.r = bufio.NewReader(w.conn)
	w.say("EHLO c\r\n")
	w.expect("250 XCPQ 1")
	return w
}

func (w *wire) say(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w.conn, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

// expect reads lines up to a last one of a reply, which must start with want.
func (w *wire) expect(want string) string {
	w.t.Helper()
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			w.t.Fatalf("waiting for %q: %v", want, err)
		}
		if line[3] == ' ' {
			if !strings.HasPrefix(line, want) {
				w.t.Fatalf("%q, want %q", line, want)
			}
			return line
		}
	}
}

// The table of register B1 on CPQ: each string over {CR, LF, '.', NUL, 'x'} as
// content behind metadata, inside TLS. It is held as sent or refused, the
// connection goes on behind it, and nothing of it is a command. Up to 5 octets
// always, 8 with LAZARET_EXHAUSTIVE=1.
func TestSEC_B1_CPQ(t *testing.T) {
	n := 5
	if os.Getenv("LAZARET_EXHAUSTIVE") != "" {
		n = 8
	}
	m := deposit()
	m.Deposit.GatewayName = "any"
	block, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	s := &manager{}
	w := newWire(t, newServer(t), s)
	head := fmt.Sprintf("XCPQ %d\r\n%sMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n", len(block), block)
	try := func(str string) {
		if strings.Contains("\r\n"+str+"\r\n", "\r\n.\r\n") {
			return // ends early: what follows are commands, and the table of smtp has those
		}
		s.taken = s.taken[:0]
		w.say("%s", head)
		w.expect("250")
		w.expect("250")
		w.expect("250")
		w.expect("354")
		w.say("%s\r\n.\r\nNOOP\r\n", str)
		var want []string
		if !strings.ContainsAny(strings.ReplaceAll(str, "\r\n", ""), "\r\n\x00") {
			lines := strings.SplitAfter(str+"\r\n", "\r\n")
			for i := range lines {
				lines[i] = strings.TrimPrefix(lines[i], ".")
			}
			want = []string{strings.Join(lines, "")}
			w.expect("250 2.0.0 ok:  Message 1 accepted")
		} else {
			w.expect("550 5.6.11")
		}
		w.expect("250 2.0.0 ok\r\n")
		if len(s.taken) != len(want) || len(want) == 1 && s.taken[0] != want[0] {
			t.Fatalf("%q is held as %q, want %q", str, s.taken, want)
		}
	}
	buf := make([]byte, n)
	var rec func(i int)
	rec = func(i int) {
		if i > 0 {
			try(string(buf[:i]))
		}
		for j := 0; i < n && j < 5; j++ {
			buf[i] = "\r\n.\x00x"[j]
			rec(i + 1)
		}
	}
	rec(0)
}

// Under TLS 1.3 a client's handshake is complete before the server has seen its
// certificate. The refusal comes with the reply to EHLO, before any metadata.
func TestRefusedCertificateIsSeenBeforeMetadata(t *testing.T) {
	s := &manager{}
	cfg := smtp.ServerConfig{Hostname: "sma1.example.net", TLSOnly: true, Extensions: []smtp.Extension{NewExtension(take)}}
	cfg.TLS = serverTLS(t)
	cfg.TLS.ClientAuth = tls.RequireAnyClientCert
	strict, err := smtp.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	c := smtp.NewClient(serve(t, strict, s), smtp.ClientConfig{})
	c.Greet(ctx)
	c.Hello(ctx, "gw1.example.net")
	if _, err := c.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true}); err != nil {
		return // seen at once
	}
	_, r, err := c.Hello(ctx, "gw1.example.net")
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("EHLO after a refused certificate: %v %v", r, err)
	}
	if _, err := c.Send(ctx, &smtp.Transaction{To: []mail.Address{{Local: "b", Domain: "example.org"}}}); err == nil {
		t.Fatal("the client goes on")
	}
}
