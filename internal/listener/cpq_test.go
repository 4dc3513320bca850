package listener

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

type cpqSink sink

func (s *cpqSink) NextMID() mail.MID   { return (*sink)(s).NextMID() }
func (s *cpqSink) Ready(n int64) error { return (*sink)(s).Ready(n) }

func (s *cpqSink) Peer(state tls.ConnectionState) (string, error) { return s.peer(state) }

func (s *cpqSink) Accept(context.Context, string, cpq.Metadata) error {
	if s.accepted != nil {
		return s.accepted()
	}
	return nil
}

func (s *cpqSink) Take(ctx context.Context, m *Message) (mail.MID, error) {
	if err := (*sink)(s).Receive(ctx, m); err != nil {
		return 0, err
	}
	if s.repeat != 0 {
		return s.repeat, nil
	}
	return m.MID, nil
}

func certificate(t *testing.T, until time.Time) tls.Certificate {
	return testlib.Certificate(t, testlib.CertOptions{NotAfter: until})
}

// secure goes on with the dialogue in TLS.
func (d *talk) secure(cfg *tls.Config) *talk {
	d.t.Helper()
	c := tls.Client(d.conn, cfg)
	if err := c.Handshake(); err != nil {
		d.t.Fatal(err)
	}
	return &talk{d.t, c, bufio.NewReader(c)}
}

const serial = "A1B2C3D4E5"

// cpqRig is a manager's hidden listener, with one peer whose certificate it knows.
type cpqRig struct {
	*rig
	server, peer tls.Certificate
}

func newCPQRig(t *testing.T) *cpqRig {
	c := &cpqRig{server: certificate(t, time.Now().Add(time.Hour)), peer: certificate(t, time.Now().Add(time.Hour))}
	known := func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errs.New(errs.Denied, "no certificate from client")
		}
		if !cs.PeerCertificates[0].Equal(c.peer.Leaf) {
			return errs.New(errs.Denied, "certificate is not the pinned one")
		}
		return nil
	}
	s := settings(CPQName, access.CPQHAT().String())
	s.HAT, _ = access.CPQHAT().With("RELAYLIST", "127.0.0.1", "the gateway")
	s.Protocol, s.Kind = CPQ, access.Private
	s.RAT, _ = access.NewRAT([]access.RATEntry{{Address: "ALL", Access: "ACCEPT"}})
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c.server}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, VerifyConnection: known}
	c.rig = newRig(t, s)
	c.sink.peer = func(cs tls.ConnectionState) (string, error) { return serial, known(cs) }
	return c
}

// inTLS dials up to the EHLO inside TLS.
func (c *cpqRig) inTLS() *talk {
	c.t.Helper()
	d := c.dial(CPQName)
	d.all("", "220 ", "EHLO gw1", "250-gw1.example.com|250-ENHANCEDSTATUSCODES|250 STARTTLS", "STARTTLS", "220 ")
	d = d.secure(&tls.Config{Certificates: []tls.Certificate{c.peer}, InsecureSkipVerify: true})
	d.say("EHLO gw1", "250-gw1.example.com|250-PIPELINING|250-SIZE 0|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-CHUNKING|250-BINARYMIME|250-SMTPUTF8|250-DSN|250-REQUIRETLS|250 XCPQ 1 2 3 4 5")
	return d
}

// deposit is metadata for a content.
func deposit(content, of string) cpq.Metadata {
	h := mail.Hash(sha256.Sum256([]byte(content)))
	return cpq.Metadata{Deposit: &cpq.Deposit{
		Key: mail.NewKey(of, 501, h), GatewaySerial: of, GatewayName: "gw1", GatewayMID: 501, Accepted: time.UnixMilli(1).UTC(),
		Policy: "DEFAULT", Direction: cpq.Inbound, Size: int64(len(content)), Hash: h,
		Placements: []mail.Placement{{Quarantine: "Policy", Reason: "message filter:hold"}},
	}}
}

// block is the verb with its octets, without the last line end, which say adds.
func block(t *testing.T, m cpq.Metadata) string {
	t.Helper()
	b, err := cpq.Block(m)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %d\r\n%s", b.Verb, len(b.Data), b.Data)
}

// meta sends a block, which has no line end of its own.
func (d *talk) meta(m cpq.Metadata, want string) {
	d.t.Helper()
	if _, err := d.conn.Write([]byte(block(d.t, m))); err != nil {
		d.t.Fatal(err)
	}
	d.say("", want)
}

const held = "Subject: held\r\n\r\nx\r\n"

func TestCPQDeposit(t *testing.T) {
	c := newCPQRig(t)
	d := c.inTLS()
	d.say("MAIL FROM:<a@b.example>", "503 5.5.1 XCPQ comes before MAIL")
	d.meta(deposit(held, serial), "250 2.0.0 metadata taken")
	d.all("MAIL FROM:<a@b.example>", "250", "RCPT TO:<b@anywhere.example>", "250", "DATA", "354", held+".", "250 2.0.0 ok:  Message 1 accepted",
		"MAIL FROM:<a@b.example>", "503 5.5.1") // metadata is good for one message
	c.sink.repeat = 1
	d.meta(deposit(held, serial), "250")
	d.all("MAIL FROM:<a@b.example>", "250", "RCPT TO:<b@anywhere.example>", "250", "DATA", "354", held+".", "250 2.0.0 ok:  Message 1 accepted", "QUIT", "221")
	c.stop()
	m := c.sink.messages()[0]
	if m.body != held || m.Peer != serial || m.Metadata.Deposit.GatewayMID != 501 || m.Origin.Protocol != "CPQ" || m.Size != int64(len(held)) {
		t.Errorf("%+v", m)
	}
	lines := `New CPQ ICID 1 interface Management (127.0.0.1) address 127.0.0.1 reverse dns host unknown verified no
ICID 1 RELAY SG RELAYLIST match 127.0.0.1 SBRS None
ICID 1 TLS success protocol TLSv1.3 cipher TLS_AES_128_GCM_SHA256
Start MID 1 ICID 1
MID 1 ICID 1 From: <a@b.example>
MID 1 ICID 1 RID 0 To: <b@anywhere.example>
MID 1 Subject "held"
MID 1 ready 20 bytes from <a@b.example>
Start MID 2 ICID 1
MID 2 ICID 1 From: <a@b.example>
MID 2 ICID 1 RID 0 To: <b@anywhere.example>
MID 2 Subject "held"
MID 2 ready 20 bytes from <a@b.example>
Message aborted MID 2 already taken as MID 1
ICID 1 close
`
	if got := c.log.lines(); got != lines {
		t.Errorf("log:\n%s", got)
	}
}

// Before TLS nothing but EHLO, NOOP, QUIT and STARTTLS; the banner is clear.
func TestCPQBeforeTLS(t *testing.T) {
	c := newCPQRig(t)
	d := c.dial(CPQName)
	d.say("", "220 gw1.example.com ESMTP CPQ")
	for _, line := range []string{"HELO x", "MAIL FROM:<a@b.example>", "RCPT TO:<a@b.example>", "DATA", "RSET", "VRFY a", "HELP"} {
		d.say(line, "5")
	}
	d.all("NOOP", "250", "EHLO x", "250", "MAIL FROM:<a@b.example>", "530 5.7.0")
	d = c.dial(CPQName)
	d.all("", "220", "EHLO x", "250")
	d.meta(deposit(held, serial), "530")
	c.stop()
	if strings.Contains(c.log.lines(), "MID") {
		t.Error(c.log.lines())
	}
}

// Metadata and content that must not be taken, and what is said.
func TestCPQRefused(t *testing.T) {
	for _, x := range []struct {
		name  string
		spoil func(*sink)
		meta  cpq.Metadata
		say   string   // to the metadata
		then  []string // after it
		log   string
	}{
		{"another's key", nil, deposit(held, "Z9Z9Z9Z9"), "550 5.7.1 message key Z9Z9Z9Z9-501-", []string{"MAIL FROM:<a@b.example>", "503"}, "ICID 1 Receiving Failed: "},
		{"sink says no", func(s *sink) { s.accepted = func() error { return errs.New(errs.Denied, "unknown release") } }, deposit(held, serial), "550 5.7.1 unknown release", []string{"MAIL FROM:<a@b.example>", "503"}, "ICID 1 Receiving Failed: unknown release\n"},
		{"other size", nil, deposit(held, serial), "250", []string{"MAIL FROM:<a@b.example> SIZE=7", "501 5.5.4", "MAIL FROM:<a@b.example>", "503"}, ""},
		{"other content", nil, deposit(held, serial), "250", []string{"MAIL FROM:<a@b.example>", "250", "RCPT TO:<x@y.example>", "250", "DATA", "354", strings.ToUpper(held) + ".", "554 5.6.0 content is not the one of the metadata"}, "Message aborted MID 1 Receiving aborted\n"},
		{"shorter content", nil, deposit(held, serial), "250", []string{"MAIL FROM:<a@b.example>", "250", "RCPT TO:<x@y.example>", "250", "DATA", "354", ".", "554 5.6.0"}, ""},
		{"no space", func(s *sink) { s.ready = func(int64) error { return errs.New(errs.Full, "no space") } }, deposit(held, serial), "250", []string{"MAIL FROM:<a@b.example>", "452 4.3.1", "MAIL FROM:<a@b.example>", "503"}, "Resources Low\n"},
		{"reset", nil, deposit(held, serial), "250", []string{"RSET", "250", "MAIL FROM:<a@b.example>", "503"}, ""},
		{"bare newline", nil, deposit("a\nb\r\n", serial), "250", []string{"MAIL FROM:<a@b.example>", "250", "RCPT TO:<x@y.example>", "250", "DATA", "354", "a\nb\r\n.", "550 5.6.11"}, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCPQRig(t)
			if x.spoil != nil {
				x.spoil(c.sink)
			}
			d := c.inTLS()
			d.meta(x.meta, x.say)
			d.all(x.then...)
			d.say("QUIT", "221")
			c.stop()
			if len(c.sink.messages()) != 0 || !strings.Contains(c.log.lines(), x.log) {
				t.Errorf("%d messages\n%s", len(c.sink.messages()), c.log.lines())
			}
		})
	}
}

// Peers without the right certificate get no word in, and the log has the cause.
func TestSEC_D1_Strangers(t *testing.T) {
	for cause, certs := range map[string][]tls.Certificate{
		"no certificate from client":        nil,
		"certificate is not the pinned one": {certificate(t, time.Now().Add(time.Hour))},
	} {
		c := newCPQRig(t)
		d := c.dial(CPQName)
		d.all("", "220 ", "EHLO gw1", "250", "STARTTLS", "220 ")
		conn := tls.Client(d.conn, &tls.Config{Certificates: certs, InsecureSkipVerify: true})
		fmt.Fprintf(conn, "EHLO gw1\r\n%s", block(t, deposit(held, serial)))
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: %d octets of an answer", cause, n)
		}
		d.conn.Close()
		c.stop()
		l := c.log.lines()
		if !strings.Contains(l, "ICID 1 TLS failed: ") || !strings.Contains(l, cause) || !strings.HasSuffix(l, "ICID 1 close\n") || strings.Contains(l, "MID") {
			t.Errorf("%s:\n%s", cause, l)
		}
	}
}

// A connection that TLS let through and the sink does not know is closed at EHLO.
func TestCPQUnknownToSink(t *testing.T) {
	c := newCPQRig(t)
	c.sink.peer = func(tls.ConnectionState) (string, error) { return "", errs.New(errs.Denied, "peer was removed") }
	d := c.dial(CPQName)
	d.all("", "220 ", "EHLO gw1", "250", "STARTTLS", "220 ")
	d = d.secure(&tls.Config{Certificates: []tls.Certificate{c.peer}, InsecureSkipVerify: true})
	d.all("EHLO gw1", "421 4.7.0", "", "END")
	c.stop()
	if !strings.Contains(c.log.lines(), "TLS failed: peer was removed\n") {
		t.Error(c.log.lines())
	}
}

// The HAT comes before everything.
func TestCPQRejectedByHAT(t *testing.T) {
	c := newCPQRig(t)
	s := settings(CPQName, access.CPQHAT().String())
	s.Protocol, s.TLS = CPQ, &tls.Config{}
	if err := c.Replace([]Settings{s}); err != nil {
		t.Fatal(err)
	}
	c.dial(CPQName).all("", "554 gw1.example.com", "STARTTLS", "503", "QUIT", "221")
}

// The stock client: OpenSSL gets banner, STARTTLS and EHLO with the right
// certificate, and the cause into our log without one.
func TestCPQWithOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		testlib.Absent(t, "no openssl here")
	}
	c := newCPQRig(t)
	cert, key := testlib.CertificateFiles(t, c.peer)
	// run says EHLO when it may, and QUIT when the answer is there: nothing may
	// be sent ahead of EHLO's reply.
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, openssl, append([]string{"s_client", "-connect", c.Addr(CPQName).String(), "-starttls", "smtp", "-crlf", "-quiet"}, args...)...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(in, "EHLO x\n")
		var got strings.Builder
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			got.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "250 XCPQ") {
				io.WriteString(in, "QUIT\n")
			}
		}
		in.Close()
		cmd.Wait() // without a certificate it fails, as it should
		return got.String()
	}
	if out := run("-cert", cert, "-key", key); !strings.Contains(out, "250 XCPQ 1") {
		t.Errorf("with our certificate:\n%s", out)
	}
	if out := run(); strings.Contains(out, "XCPQ") {
		t.Errorf("without a certificate:\n%s", out)
	}
	c.stop()
	if !strings.Contains(c.log.lines(), "ICID 2 TLS failed: no certificate from client\n") {
		t.Error(c.log.lines())
	}
}
