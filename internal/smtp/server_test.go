package smtp

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// reach brings a fresh dialogue into a phase.
func (d *dialogue) reach(p phase) {
	d.t.Helper()
	d.expect("220 mx.example.com ESMTP")
	for _, step := range [][2]string{{"EHLO c.example.com", "250-mx.example.com|250"}, {"MAIL FROM:<a@example.com>", "250 2.1.0"}, {"RCPT TO:<b@example.org>", "250 2.1.5"}}[:p] {
		d.ask(step[0], step[1])
	}
}

// What each command is answered in each phase in which commands are read.
func TestCommandsInEveryPhase(t *testing.T) {
	const first, nested = "503 5.5.1 say EHLO first", "503 5.5.1 sender was given already"
	for _, c := range []struct {
		line string
		want [4]string // connected, greeted, inMail, inRcpt
	}{
		{"HELO c", [4]string{"250 mx.example.com", "250 mx.example.com", "250 mx.example.com", "250 mx.example.com"}},
		{"MAIL FROM:<>", [4]string{first, "250 2.1.0 sender <> ok", nested, nested}},
		{"RCPT TO:<c@d.e>", [4]string{first, "503 5.5.1 MAIL comes first", "250 2.1.5", "250 2.1.5"}},
		{"DATA", [4]string{first, "503 5.5.1 MAIL comes first", "554 5.5.1 no valid recipients", "354 go ahead"}},
		{"RSET", [4]string{"250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0"}},
		{"NOOP", [4]string{"250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0"}},
		{"VRFY x", [4]string{"252 2.5.0", "252 2.5.0", "252 2.5.0", "252 2.5.0"}},
		{"EXPN x", [4]string{"502 5.5.1", "502 5.5.1", "502 5.5.1", "502 5.5.1"}},
		{"HELP", [4]string{"214 2.0.0", "214 2.0.0", "214 2.0.0", "214 2.0.0"}},
		{"QUIT", [4]string{"221 2.0.0", "221 2.0.0", "221 2.0.0", "221 2.0.0"}},
		{"STARTTLS", [4]string{first, "220 2.0.0", "503 5.5.1 STARTTLS is not allowed inside", "503 5.5.1 STARTTLS is not allowed inside"}},
		{"WHAT", [4]string{"500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2"}},
		{"GET / HTTP/1.1", [4]string{"421 4.7.0", "421 4.7.0", "421 4.7.0", "421 4.7.0"}},
	} {
		for p, want := range c.want {
			d := serve(t, newServer(t, withTLS(t)), &box{})
			d.reach(phase(p))
			if got := d.ask(c.line, want[:3]); !strings.HasPrefix(got, want) {
				t.Errorf("%s in %v: %q, want %q", c.line, phase(p), got, want)
			}
		}
	}
}

// Single lines and what they are answered, after EHLO (and MAIL for RCPT).
func TestCommandSyntax(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, c := range []struct{ line, want string }{
		{"mail from:<A.B@Example.COM.> size=10 body=8bitmime", "250 2.1.0 sender <A.B@example.com> ok"},
		{`MAIL FROM:<"a>b c"@d.e>`, `250 2.1.0 sender <"a>b c"@d.e> ok`},
		{"MAIL FROM:<a@[192.0.2.1]>", "250 2.1.0"},
		{"MAIL FROM:a@b.c", "501 5.5.4"},
		{"MAIL FROM: <a@b.c>", "501 5.5.4"},
		{"MAIL FROM:<a@b.c", "501 5.5.4"},
		{"MAIL FROM:<a@b.c>SIZE=1", "501 5.5.4"},
		{"MAIL FROM:<@r.example:a@b.c>", "501 5.1.7"},
		{"MAIL FROM:<a>", "501 5.1.7"},
		{"MAIL FROM:<a@b.c> SIZE=1001", "552 5.3.4"},
		{"MAIL FROM:<a@b.c> SIZE=1000", "250 2.1.0"},
		{"MAIL FROM:<a@b.c> SIZE=-1", "501 5.5.4"},
		{"MAIL FROM:<a@b.c> SIZE=99999999999999999999", "501 5.5.4"},
		{"MAIL FROM:<a@b.c> SIZE=1 SIZE=1", "555 5.5.4"},
		{"MAIL FROM:<a@b.c> BODY=7BIT BODY=8BITMIME", "555 5.5.4"},
		{"MAIL FROM:<a@b.c> BODY=BINARYMIME", "250 2.1.0"},
		{"MAIL FROM:<a@b.c> BODY=BINARY", "501 5.5.4"},
		{"MAIL FROM:<a@b.c> SMTPUTF8", "250 2.1.0"},
		{"MAIL FROM:<a@b.c> SMTPUTF8=", "555 5.5.4"},
		{"MAIL FROM:<ü@b.c>", "553 5.6.7"},
		{"MAIL FROM:<a@bü.c>", "553 5.6.7"},
		{"MAIL FROM:<ü@b.c> SMTPUTF8", "250 2.1.0"},
		{"MAIL FROM:<\xfc@b.c> SMTPUTF8", "500 5.5.2"},
		{"MAIL FROM:<\u0085@b.c> SMTPUTF8", "500 5.5.2"},
		{"MAIL FROM:<a@b.c> REQUIRETLS", "555 5.5.4"}, // outside TLS
		{"MAIL FROM:<a@b.c> RET=FULL ENVID=a+2Bb", "250 2.1.0"},
		{"MAIL FROM:<a@b.c> RET=hdrs", "250 2.1.0"},
		{"MAIL FROM:<a@b.c> RET=SOME", "501 5.5.4"},
		{"MAIL FROM:<a@b.c> RET=FULL RET=FULL", "555 5.5.4"},
		{"MAIL FROM:<a@b.c> ENVID=", "501 5.5.4"},
		{"MAIL FROM:<a@b.c> ENVID=a+0Ab", "501 5.5.4"},
		{"MAIL FROM:<a@b.c> ENVID=" + strings.Repeat("x", 101), "501 5.5.4"},
		{"MAIL FROM:<a@b.c> envid=" + strings.Repeat("x", 100), "250 2.1.0"},
		{"MAIL FROM:<a@b.c> AUTH=<>", "555 5.5.4"},
		{"MAIL", "501 5.5.4"},
		{"MAIL TO:<a@b.c>", "501 5.5.4"},
		{"MAIL FROM:<a@b.c> " + long + long, "500 5.5.2 line is too long"},
		{"NOOP " + strings.Repeat("y", 3000), "500 5.5.2 line is too long"},
		{"NOOP " + strings.Repeat("y", 9000), "500 5.5.2 line is too long"},
		{"NOOP caf\xc3\xa9", "500 5.5.2 command has a character"},
		{"NOOP a\x00b", "500 5.5.2 command has a character"},
		{"NOOP a\rb", "500 5.5.2 command has a character"},
		{"NOOP\r", "500 5.5.2 command has a character"},
		{"", "500 5.5.2 command is not"},
		{" NOOP", "500 5.5.2 command is not"},
		{"NOOPNOOPNOOPNOOPNOOP", "500 5.5.2 command is not"},
		{"EHLO", "501 5.5.4"},
		{"EHLO a b", "501 5.5.4"},
		{"DATA x", "503 5.5.1"},
		{"RSET x", "501 5.5.4"},
		{"STARTTLS", "500 5.5.2"}, // not offered
		{"RCPT TO:<a@b.c>", "250 2.1.5 recipient <a@b.c> ok"},
		{"RCPT TO:<Postmaster>", "250 2.1.5 recipient <Postmaster> ok"},
		{"RCPT TO:<>", "501 5.1.3"},
		{"RCPT TO:<a>", "501 5.1.3"},
		{"RCPT TO:<@x.y,@z.w:a@b.c>", "501 5.1.3"},
		{"RCPT TO:<a@b.c> NOTIFY=NEVER", "250 2.1.5"},
		{"RCPT TO:<a@b.c> NOTIFY=SUCCESS,delay ORCPT=rfc822;x+40y", "250 2.1.5"},
		{"RCPT TO:<a@b.c> ORCPT=rfc822;" + strings.Repeat("x", 493), "250 2.1.5"},
		{"RCPT TO:<a@b.c> ORCPT=rfc822;" + strings.Repeat("x", 494), "501 5.5.4 ORCPT is longer"},
		{"RCPT TO:<a@b.c> NOTIFY=NEVER,FAILURE", "501 5.5.4 NOTIFY=NEVER stands alone"},
		{"RCPT TO:<a@b.c> NOTIFY=", "501 5.5.4"},
		{"RCPT TO:<a@b.c> NOTIFY=FAILURE NOTIFY=FAILURE", "555 5.5.4"},
		{"RCPT TO:<a@b.c> ORCPT=x", "501 5.5.4"},
		{"RCPT TO:<a@b.c> ORCPT=rfc822;a+0D+0AX:", "501 5.5.4"},
		{"RCPT TO:<a@b.c> RET=FULL", "555 5.5.4"},
		{"RCPT TO:<\u00fc@b.c>", "553 5.6.7"},
		{"RCPT TO:a@b.c", "501 5.5.4"},
	} {
		d := serve(t, newServer(t, func(c *ServerConfig) { c.MaxSize = 1000 }), &box{})
		p := greeted
		if strings.HasPrefix(c.line, "RCPT") {
			p = inMail
		}
		d.reach(p)
		go io.WriteString(d.conn, c.line+"\r\n") // a very long line is answered before it was sent
		if got := d.expect(""); !strings.HasPrefix(got, c.want) {
			t.Errorf("%.60q: %q, want %q", c.line, got, c.want)
		}
	}
}

// A probe program speaks as clients.md section 2.4 says: bare LF, no brackets.
func TestLooseProbe(t *testing.T) {
	s := newServer(t, func(c *ServerConfig) { c.BareLFCommands, c.LoosePaths = true, true })
	d := serve(t, s, &box{})
	d.expect("220 ")
	for _, c := range [][2]string{{"HELO probe\n", "250 mx"}, {"MAIL FROM:a@b.c\n", "250 2.1.0 sender <a@b.c>"}, {"RCPT TO: <c@d.e>\n", "250 2.1.5"}, {"QUIT\n", "221"}} {
		d.say(c[0])
		d.expect(c[1])
	}
	d.closed(EndQuit)
}

func TestBareLFEndsTheConnection(t *testing.T) {
	d := serve(t, newServer(t), &box{})
	d.reach(greeted)
	d.say("NOOP\nNOOP\r\n")
	d.expect("500 5.5.2 line does not end in CR LF")
	d.closed(EndRefused)
}

// Replies come in order, and none before the group is read.
func TestPipelining(t *testing.T) {
	b := &box{}
	d := serve(t, newServer(t), b)
	d.reach(greeted)
	d.say("MAIL FROM:<a@b.c>\r\nRCPT TO:<x>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n")
	for _, want := range []string{"250 2.1.0", "501 5.1.3", "250 2.1.5", "354"} {
		d.expect(want)
	}
	d.say("one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<d@e.f>\r\nRSET\r\nNOOP\r\nQUIT\r\n")
	for _, want := range []string{"250 2.0.0 ok:  Message 1", "250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0", "221"} {
		d.expect(want)
	}
	d.closed(EndQuit)
	if !slices.Equal(b.messages, []string{"one\r\n"}) {
		t.Fatalf("%q", b.messages)
	}
}

// What may not be pipelined behind ends the connection: RFC 2920 section 3.1.
func TestUnauthorisedPipelining(t *testing.T) {
	for _, line := range []string{"EHLO x\r\nMAIL FROM:<a@b.c>\r\n", "HELO x\r\nNOOP\r\n", "DATA\r\nSubject: x\r\n\r\n.\r\n", "STARTTLS\r\nNOOP\r\n"} {
		b := &box{}
		d := serve(t, newServer(t, withTLS(t)), b)
		p := greeted
		if line[0] == 'D' {
			p = inRcpt
		}
		d.reach(p)
		d.say(line)
		d.expect("554 5.5.0")
		d.closed(EndRefused)
		if len(b.messages) > 0 || len(b.hello) > 1 {
			t.Errorf("%q had an effect", line)
		}
	}
}

func TestEarlyTalker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "EHLO x\r\n")
	s := newServer(t, func(c *ServerConfig) { c.Timeouts.Greeting = time.Minute }) // ends with the first octet
	go c.(*net.TCPConn).CloseWrite()
	if end, err := s.Serve(context.Background(), nc, &box{}); end != EndRefused {
		t.Fatal(end, err)
	}
	if got, _ := io.ReadAll(c); string(got) != "554 5.5.0 input was sent before it was asked for; closing the connection\r\n" {
		t.Fatalf("%q", got)
	}
}

func TestRefuse(t *testing.T) {
	d := serve(t, newServer(t, func(c *ServerConfig) { c.Refuse = NewReply(554, "5.7.1", "go away") }), &box{})
	d.expect("554 5.7.1 go away")
	d.ask("EHLO x", "503 5.5.1")
	d.ask("QUIT", "221")
	d.closed(EndQuit)
}

// Before TLS only four commands work; after it all starts anew.
func TestTLSOnly(t *testing.T) {
	b := &box{}
	d := serve(t, newServer(t, withTLS(t), func(c *ServerConfig) {
		c.TLSOnly = true
		c.Extensions = []Extension{{Verb: "XTEST", Keyword: "XTEST 1", NeedTLS: true, MaxBlock: 10, Handle: b.block}}
	}), b)
	d.expect("220 ")
	if got := d.ask("EHLO a", "250-mx"); got != "250-mx.example.com|250-ENHANCEDSTATUSCODES|250 STARTTLS" {
		t.Error(got)
	}
	for _, line := range []string{"HELO a", "MAIL FROM:<>", "RCPT TO:<a@b.c>", "DATA", "RSET", "VRFY a", "HELP"} {
		d.ask(line, "530 5.7.0")
	}
	d.ask("NOOP", "250")
	d.startTLS()
	d.ask("MAIL FROM:<>", "503 5.5.1 say EHLO first")
	if got := d.ask("EHLO b", "250-mx"); !strings.HasSuffix(got, "|250 XTEST 1") || strings.Contains(got, "STARTTLS") {
		t.Error(got)
	}
	if b.tls != 1 || b.hello[0].TLS != nil || b.hello[1].TLS == nil {
		t.Errorf("%d handshakes, %+v", b.tls, b.hello)
	}
	d.ask("STARTTLS", "503 5.5.1 TLS is active already")
	d.ask("QUIT", "221")
}

func TestTLSFailureIsTold(t *testing.T) {
	b := &box{}
	d := serve(t, newServer(t, withTLS(t)), b)
	d.reach(greeted)
	d.ask("STARTTLS", "220")
	d.say("MAIL FROM:<a@b.c>\r\n")
	io.Copy(io.Discard, d.conn)
	<-d.done
	if d.end != EndTLSFailed || b.tlsErr == nil || len(b.from) > 0 {
		t.Fatal(d.end, d.err, b.from)
	}
}

// A block is exactly its octets, whatever becomes of it.
func TestExtensionBlocks(t *testing.T) {
	for _, c := range []struct {
		say, want string
		end       bool
	}{
		{"XTEST 6\r\nQUIT\r\nNOOP\r\n", "250 2.0.0 block taken", false},
		{"XTEST 0\r\n", "250 2.0.0 block taken", false},
		{"xtest 6 ab\r\nQUIT\r\n", "250 2.0.0 block taken", false},
		{"XTEST 6 abc\r\nQUIT\r\n", "501 5.5.4 arguments", false},
		{"XTEST 12\r\nQUIT\r\nQUIT\r\n", "552 5.3.4 block is bigger than 10", false},
		{"XTEST 999999\r\nQUIT\r\n", "552 5.3.4 block is too big; closing", true},
		{"XTEST\r\nQUIT\r\n", "501 5.5.4 syntax", true},
		{"XTEST 06\r\nQUIT\r\n", "501 5.5.4 syntax", true},
		{"XTEST -6\r\nQUIT\r\n", "501 5.5.4 syntax", true},
		{"XTEST 4294967295\r\nQUIT\r\n", "501 5.5.4 syntax", true},
		{"XTEST 6\x00\r\nQUIT\r\n", "500 5.5.2", true},
		{"XTEST " + strings.Repeat("1", 600) + "\r\nQUIT\r\n", "500 5.5.2 line is too long", true},
	} {
		b := &box{}
		d := serve(t, newServer(t, func(s *ServerConfig) {
			s.Extensions = []Extension{{Verb: "XTEST", Keyword: "XTEST 1", MaxArgs: 2, MaxBlock: 10, Handle: b.block}}
		}), b)
		d.reach(greeted)
		d.say(c.say)
		if got := d.expect(""); !strings.HasPrefix(got, c.want) {
			t.Errorf("%.40q: %q, want %q", c.say, got, c.want)
		}
		if c.end {
			d.closed(EndRefused)
			continue
		}
		if strings.HasSuffix(c.say, "NOOP\r\n") {
			d.expect("250 2.0.0 ok")
		}
		d.ask("MAIL FROM:<>", "250")
		d.say("XTEST 6\r\nQUIT\r\n")
		d.expect("503 5.5.1 XTEST comes before MAIL")
		d.ask("QUIT", "221")
	}
}

// A message that is refused, or not read by the Session, is read over to its
// real end, and the connection goes on.
func TestRefusedContent(t *testing.T) {
	half := func(r io.Reader) Reply { r.Read(make([]byte, 3)); return NewReply(250, "2.0.0", "taken?") }
	full := func(Reply) func(io.Reader) Reply {
		return func(io.Reader) Reply { return NewReply(452, "4.3.1", "no space") }
	}
	for _, c := range []struct {
		content, want string
		take          func(io.Reader) Reply
	}{
		{"a\nb\r\n.\r\n", "550 5.6.11", nil},
		{"a\n.\nMAIL FROM:<x@y.z>\r\n.\r\n", "550 5.6.11", nil},
		{"a\r\r\n.\r\n", "550 5.6.11", nil},
		{"a\x00\r\n.\r\n", "550 5.6.11", nil},
		{strings.Repeat("x", 99) + "\r\n.\r\n", "554 5.6.0 message has a line longer than 100", nil},
		{strings.Repeat("x", 98) + "\r\n.\r\n", "250 2.0.0", nil},
		{"." + strings.Repeat("x", 98) + "\r\n.\r\n", "250 2.0.0", nil},
		{strings.Repeat("x\r\n", 334) + ".\r\n", "552 5.3.4", nil},
		{strings.Repeat("x\r\n", 333) + ".\r\n", "250 2.0.0", nil},
		{strings.Repeat("x\r\n", 90000) + ".\r\n", "552 5.3.4", nil},
		{"abcdef\r\n.\r\n", "451 4.3.0", half},
		{"abcdef\r\n.\r\n", "452 4.3.1 no space", full(Reply{})},
		{"a\nb\r\n.\r\n", "452 4.3.1 no space", full(Reply{})},
	} {
		b := &box{take: c.take}
		d := serve(t, newServer(t, func(s *ServerConfig) { s.MaxSize, s.MaxLine = 1000, 100 }), b)
		d.reach(inRcpt)
		d.ask("DATA", "354")
		d.say(c.content)
		if got := d.expect(""); !strings.HasPrefix(got, c.want) {
			t.Errorf("%.40q: %q, want %q", c.content, got, c.want)
		}
		d.ask("NOOP", "250 2.0.0 ok")
		if c.want[0] == '5' && len(b.messages) > 0 {
			t.Errorf("%.40q was kept", c.content)
		}
	}
}

func TestDataStart(t *testing.T) {
	b := &box{start: NewReply(452, "4.3.1", "no space")}
	d := serve(t, newServer(t), b)
	d.reach(inRcpt)
	d.ask("DATA", "452 4.3.1 no space")
	d.ask("DATA", "503")
}

func TestErrorLimits(t *testing.T) {
	d := serve(t, newServer(t), &box{})
	d.reach(greeted)
	for range 19 {
		d.ask("WHAT", "500")
	}
	d.say("WHAT\r\n")
	d.expect("500")
	d.expect("421 4.7.0 too many errors")
	d.closed(EndErrors)

	d = serve(t, newServer(t), &box{})
	d.reach(greeted)
	for range 119 {
		d.ask("NOOP", "250")
	}
	d.say("NOOP\r\n")
	d.expect("250")
	d.expect("421 4.7.0 too many errors")
	d.closed(EndErrors)
}

func TestRecipientLimitIsNoError(t *testing.T) {
	b := &box{}
	d := serve(t, newServer(t, func(c *ServerConfig) { c.MaxRecipients = 2 }), b)
	d.reach(inRcpt)
	d.ask("RCPT TO:<c@d.e>", "250")
	for range 50 {
		d.ask("RCPT TO:<c@d.e>", "452 4.5.3")
	}
	d.ask("DATA", "354")
}

func TestTimeouts(t *testing.T) {
	// trickle sends a piece now and then until the connection is closed.
	trickle := func(d *dialogue, every time.Duration, piece string) chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				time.Sleep(every)
				if _, err := io.WriteString(d.conn, piece); err != nil {
					return
				}
			}
		}()
		return done
	}
	synctest.Test(t, func(t *testing.T) {
		// One octet a minute is not a command in five: the deadline is for the whole.
		d := serve(t, newServer(t), &box{})
		d.reach(greeted)
		began := time.Now()
		done := trickle(d, time.Minute+time.Second, "N")
		d.expect("421 4.4.2")
		d.closed(EndTimeout)
		if took := time.Since(began); took != 5*time.Minute {
			t.Error(took)
		}
		<-done
	})
	synctest.Test(t, func(t *testing.T) {
		// Content below the minimum rate, though never silent.
		b := &box{}
		d := serve(t, newServer(t), b)
		d.reach(inRcpt)
		d.ask("DATA", "354")
		began := time.Now()
		done := trickle(d, 10*time.Second, "abc\r\n")
		d.expect("421 4.4.2")
		d.closed(EndTimeout)
		if took := time.Since(began); took < 5*time.Minute || took > 6*time.Minute || len(b.broken) != 1 {
			t.Error(took, b.broken)
		}
		<-done
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		idle := serveContext(t, ctx, newServer(t), &box{})
		idle.reach(greeted)
		b := &box{}
		busy := serveContext(t, ctx, newServer(t), b)
		busy.reach(inRcpt)
		stuck := serveContext(t, ctx, newServer(t), &box{})
		stuck.reach(inRcpt)
		cancel()
		idle.expect("421 4.3.2")
		idle.closed(EndShutdown)
		// What is in hand is finished, then that connection ends as well.
		busy.ask("DATA", "354")
		busy.say("x\r\n.\r\n")
		busy.expect("250 2.0.0 ok:")
		busy.expect("421 4.3.2")
		busy.closed(EndShutdown)
		if len(b.messages) != 1 {
			t.Error(b.messages)
		}
		began := time.Now()
		stuck.expect("421 4.3.2")
		stuck.closed(EndShutdown)
		if took := time.Since(began); took != 5*time.Second {
			t.Error(took)
		}
	})
}

// The end of a connection with an open transaction resets the Session.
func TestLost(t *testing.T) {
	b := &box{}
	d := serve(t, newServer(t), b)
	d.reach(inRcpt)
	resets := b.resets
	d.conn.Close()
	<-d.done
	if d.end != EndLost || d.err == nil || b.resets != resets+1 {
		t.Error(d.end, d.err, b.resets)
	}
	b = &box{}
	d = serve(t, newServer(t), b)
	d.reach(inRcpt)
	d.ask("DATA", "354")
	d.say("half\r\n.")
	d.conn.Close()
	<-d.done
	if d.end != EndLost || len(b.messages) != 0 || len(b.broken) != 1 {
		t.Error(d.end, b.messages, b.broken)
	}
}

func TestReplyTextCannotForge(t *testing.T) {
	got := string(appendReply(nil, NewReply(550, "5.1.1", "a\r\n250 ok\x00\x1b\u202e")))
	if got != "550 5.1.1 a??250 ok?????\r\n" {
		t.Errorf("%q", got)
	}
}
