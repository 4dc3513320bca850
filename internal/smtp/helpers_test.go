package smtp

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lazaret/internal/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is a Session that takes all mail and remembers it.
type box struct {
	hello    []HelloCommand
	from     []MailCommand
	to       []mail.Address
	rcpt     []RcptCommand
	messages []string
	broken   []error
	resets   int
	blocks   []string
	tls      int
	tlsErr   error
	unknown  []string
	syntax   []string

	start Reply                              // of DataStart
	take  func(r io.Reader) Reply            // in place of reading all
	onTo  func(mail.Address) (r Reply)       // in place of 250
	onCtx func(context.Context) (stop Reply) // called in Mail
}

func (b *box) Hello(_ context.Context, c HelloCommand) Reply {
	b.hello = append(b.hello, c)
	return NewReply(250, "", "mx.example.com")
}

func (b *box) Mail(ctx context.Context, c MailCommand) Reply {
	b.from = append(b.from, c)
	if b.onCtx != nil {
		return b.onCtx(ctx)
	}
	return NewReply(250, "2.1.0", "sender "+c.From.Path()+" ok")
}

func (b *box) Rcpt(_ context.Context, c RcptCommand) Reply {
	to := c.To
	b.rcpt = append(b.rcpt, c)
	if b.onTo != nil {
		if r := b.onTo(to); !r.IsZero() {
			return r
		}
	}
	b.to = append(b.to, to)
	return NewReply(250, "2.1.5", "recipient "+to.Path()+" ok")
}

func (b *box) DataStart(context.Context) Reply { return b.start }

func (b *box) Data(_ context.Context, r io.Reader) Reply {
	if b.take != nil {
		return b.take(r)
	}
	var s strings.Builder
	if _, err := io.Copy(&s, r); err != nil {
		b.broken = append(b.broken, err)
		return NewReply(451, "4.3.0", "not used")
	}
	b.messages = append(b.messages, s.String())
	return NewReply(250, "2.0.0", "ok:  Message 1 accepted")
}

func (b *box) Reset(context.Context)       { b.resets++ }
func (b *box) TLSDone(tls.ConnectionState) { b.tls++ }
func (b *box) TLSFailed(err error)         { b.tlsErr = err }
func (b *box) UnknownCommand(line string)  { b.unknown = append(b.unknown, line) }
func (b *box) BadSyntax(line string)       { b.syntax = append(b.syntax, line) }

func newServer(t testing.TB, change ...func(*ServerConfig)) *Server {
	t.Helper()
	cfg := ServerConfig{Hostname: "mx.example.com", ErrorLimits: ErrorLimits{Delay: time.Nanosecond}}
	for _, f := range change {
		f(&cfg)
	}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dialogue is the far end of a connection being served.
type dialogue struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	done chan struct{}
	end  End
	err  error
}

func serve(t testing.TB, s *Server, sess Session) *dialogue {
	t.Helper()
	return serveContext(t, context.Background(), s, sess)
}

func serveContext(t testing.TB, ctx context.Context, s *Server, sess Session) *dialogue {
	a, b := net.Pipe()
	d := &dialogue{t: t, conn: a, r: bufio.NewReader(a), done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.end, d.err = s.Serve(ctx, b, sess)
	}()
	t.Cleanup(func() { a.Close(); <-d.done })
	return d
}

// say writes without waiting for the server to read.
func (d *dialogue) say(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.conn, text); err != nil {
		d.t.Fatalf("writing %q: %v", text, err)
	}
}

// expect reads one reply and compares the start of its one-line form.
func (d *dialogue) expect(want string) string {
	d.t.Helper()
	var all []string
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			d.t.Fatalf("waiting for %q: %v", want, err)
		}
		if !strings.HasSuffix(line, "\r\n") || len(line) < 6 {
			d.t.Fatalf("reply line %q is not one", line)
		}
		all = append(all, strings.TrimSuffix(line, "\r\n"))
		if line[3] == ' ' {
			break
		}
	}
	got := strings.Join(all, "|")
	if !strings.HasPrefix(got, want) {
		d.t.Fatalf("reply %q, want %q", got, want)
	}
	return got
}

// ask is say and expect.
func (d *dialogue) ask(line, want string) string {
	d.t.Helper()
	d.say(line + "\r\n")
	return d.expect(want)
}

// closed waits for the end of the connection.
func (d *dialogue) closed(want End) {
	d.t.Helper()
	if rest, _ := io.ReadAll(d.r); len(rest) > 0 {
		d.t.Fatalf("unexpected output before the end: %q", rest)
	}
	<-d.done
	if d.end != want {
		d.t.Fatalf("end is %v (%v), want %v", d.end, d.err, want)
	}
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(50, 0, 0), DNSNames: []string{"mx.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func withTLS(t testing.TB) func(*ServerConfig) {
	cert := certificate(t)
	return func(c *ServerConfig) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	}
}

// startTLS turns the dialogue to TLS.
func (d *dialogue) startTLS() {
	d.t.Helper()
	d.ask("STARTTLS", "220 2.0.0")
	c := tls.Client(d.conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		d.t.Fatal(err)
	}
	d.conn, d.r = c, bufio.NewReader(c)
}

func (b *box) block(_ context.Context, _ Session, args string, r io.Reader) Reply {
	data, err := io.ReadAll(r)
	if err != nil {
		return NewReply(451, "4.3.0", "not used")
	}
	b.blocks = append(b.blocks, string(data)+args)
	return NewReply(250, "2.0.0", "block taken")
}
