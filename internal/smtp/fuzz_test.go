package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
)

// checkReplies wants a stream of whole, well-formed replies.
func checkReplies(t *testing.T, out string) {
	for _, line := range strings.SplitAfter(out, "\r\n") {
		text, ok := strings.CutSuffix(line, "\r\n")
		if line == "" {
			return
		}
		if !ok || len(text) < 4 || len(text) > 510 || text[0] < '2' || text[0] > '5' || text[3] != ' ' && text[3] != '-' || !printable([]byte(text)) {
			t.Fatalf("reply line %q", line)
		}
	}
}

// FuzzSession gives anything to a session in each state, on a plain connection.
func FuzzSession(f *testing.F) {
	seeds := []string{"NOOP\r\n", "MAIL FROM:<a@b.c> SIZE=3\r\nRCPT TO:<d@e.f>\r\n", "DATA\r\n", "a\r\n.\r\nQUIT\r\n", "\n.\r\n", "XTEST 5\r\nabcdeNOOP\r\n", "EHLO x\r\n", "STARTTLS\r\n\x16\x03",
		"BDAT 3 LAST\r\na\r\nNOOP\r\n", "BDAT 2\r\na\rBDAT 1 LAST\r\n\nQUIT\r\n", "BDAT 501\r\nx", "BDAT 1\r\nxRSET\r\n", "BDAT -1\r\n", "MAIL FROM:<\u00fc@b.c> SMTPUTF8 BODY=BINARYMIME RET=HDRS ENVID=x+2B\r\n",
		"RCPT TO:<d@e.f> NOTIFY=NEVER ORCPT=utf-8;\\x{FC}@x\r\n"}
	for i, s := range seeds {
		for state := range 5 {
			f.Add(byte(state), byte(i), s)
		}
	}
	before := []string{"", "EHLO c\r\n", "MAIL FROM:<a@b.c>\r\n", "RCPT TO:<d@e.f>\r\n", "DATA\r\n"}
	f.Fuzz(func(t *testing.T, state, split byte, data string) {
		b := &box{}
		s := newServer(t, func(c *ServerConfig) {
			c.MaxSize, c.MaxLine, c.BareNewlines, c.BareLFCommands, c.LoosePaths = 500, 100, Newlines(split&1), split&2 > 0, split&4 > 0
			c.Extensions = []Extension{{Verb: "XTEST", Keyword: "XTEST 1", MaxArgs: 5, MaxBlock: 10, Handle: b.block}}
		})
		conn := &script{pieces: append([]string{}, before[:1+state%5]...)}
		cut := min(int(split), len(data))
		conn.pieces = append(conn.pieces, data[:cut], data[cut:])
		s.Serve(context.Background(), conn, b)
		checkReplies(t, conn.out.String())
		for _, m := range b.messages {
			if len(m) > 500+2 { // a last line may have got its end
				t.Fatalf("message of %d octets", len(m))
			}
			if !anyBinary(b.from) {
				resend(t, m)
			}
		}
	})
}

func anyBinary(all []MailCommand) bool {
	return slices.ContainsFunc(all, func(c MailCommand) bool { return c.Binary })
}

// FuzzSessionTLS does the same after STARTTLS.
func FuzzSessionTLS(f *testing.F) {
	for state := range 5 {
		f.Add(byte(state), "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\na\r\n.\r\nQUIT\r\n")
		f.Add(byte(state), "AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.c> AUTH=<> REQUIRETLS\r\n")
		f.Add(byte(state), "AUTH LOGIN\r\nYW5u\r\n*\r\nBDAT 1 LAST\r\nx")
	}
	s := newServer(f, withAuth(f), func(c *ServerConfig) { c.ErrorLimits.Junk = 10 })
	before := []string{"", "EHLO c\r\n", "MAIL FROM:<a@b.c>\r\n", "RCPT TO:<d@e.f>\r\n", "DATA\r\n"}
	f.Fuzz(func(t *testing.T, state byte, data string) {
		a, z := net.Pipe()
		b := &porter{}
		done := make(chan struct{})
		go func() { defer close(done); s.Serve(context.Background(), z, b) }()
		d := &dialogue{t: t, conn: a, r: bufio.NewReader(a)}
		d.expect("220")
		d.ask("EHLO c", "250")
		d.startTLS()
		var out bytes.Buffer
		read := make(chan struct{})
		go func() { defer close(read); io.Copy(&out, d.r) }()
		d.conn.SetWriteDeadline(time.Now().Add(time.Minute))
		for _, line := range before[:1+state%5] {
			io.WriteString(d.conn, line)
		}
		io.WriteString(d.conn, data)
		d.conn.(*tls.Conn).CloseWrite()
		<-done
		a.Close()
		<-read
		checkReplies(t, out.String())
		for _, m := range b.messages {
			if !anyBinary(b.from) {
				resend(t, m)
			}
		}
	})
}

// FuzzContent gives anything as the content of a message, by DATA and by BDAT in
// two chunks, in pieces of any size: one message in is one message out or a
// refusal, as the models say, and no bare CR, bare LF or NUL gets through.
func FuzzContent(f *testing.F) {
	for _, s := range []string{"", "x", "\r", "\n", ".", "..\r\n", "\r\n.\r", "a\r\n.\r\nb", "a\n.\nb", "a\r.\rb", "\r\r\n.\r\n", "\x00", "a\r\n\x00.\r\n"} {
		f.Add(s, byte(1), byte(1))
	}
	servers := map[string]*Server{}
	for _, mode := range []string{"reject", "normalise", "binary"} {
		servers[mode] = newServer(f, func(c *ServerConfig) {
			if mode == "normalise" {
				c.BareNewlines = Normalise
			}
		})
	}
	f.Fuzz(func(t *testing.T, text string, size, cut byte) {
		if len(text) > 10000 {
			return
		}
		for mode, s := range servers {
			if i := int(cut); i > 0 && i < len(text) {
				bdat(t, s, mode, text, 1+int(size), i)
			}
			bdat(t, s, mode, text, 1+int(size))
			if wire := text + "\r\n.\r\n"; mode != "binary" {
				var pieces []string
				for w := wire; w != ""; {
					n := min(1+int(size), len(w))
					pieces, w = append(pieces, w[:n]), w[n:]
				}
				content(t, s, mode == "normalise", wire, pieces...)
			}
		}
	})
}

// FuzzMailArgs gives anything as the arguments of MAIL and RCPT (register B4).
// What is accepted can be written by the client and is read as the same again,
// and has nothing in it that could end a line, a path or a parameter.
func FuzzMailArgs(f *testing.F) {
	for _, s := range []string{"FROM:<a@b.c>", "FROM:<>", "FROM:<a@b> SIZE=1 BODY=8BITMIME", "FROM:<\u00fc@\u00fc.c> SMTPUTF8", "FROM:<a@b> RET=HDRS ENVID=a+2Bb REQUIRETLS", "TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb",
		`TO:<"a>\" b"@[IPv6:::1]> ORCPT=utf-8;\x{FC}@b`, "TO:<postmaster>", "FROM:<@a:b@c>", "FROM:<a@b>\r\nRCPT TO:<x@y>", "FROM:<a@b.c> BODY=BINARYMIME AUTH=<>", "TO: a@b"} {
		f.Add(s, byte(7))
	}
	f.Fuzz(func(t *testing.T, args string, flags byte) {
		p := peer{loose: flags&1 > 0, extended: true, tls: true, auth: flags&2 > 0, utf8: flags&4 > 0}
		if len(args) > maxCommand || !(&command{utf8: true}).sound([]byte(args)) {
			return // dispatch lets no such line through
		}
		m, r := parseMail(args, p)
		if r.IsZero() {
			tx := &Transaction{Params: m.Params, From: m.From, Size: m.Size}
			got, r := parseMail(wrote(t, tx, "MAIL ", (*Client).putMail), peer{extended: true, tls: true})
			if m.Binary {
				m.EightBit = false
			}
			m.UTF8 = m.UTF8 || !m.From.ASCII()
			if !r.IsZero() || got != m {
				t.Fatalf("%q is %+v, and then %v %+v", args, m, r, got)
			}
		}
		c, r := parseRcpt(args, p)
		if r.IsZero() {
			tx := &Transaction{Params: mail.Params{UTF8: p.utf8}, To: []mail.Address{c.To}, Rcpt: []mail.RcptParams{c.RcptParams}}
			got, r := parseRcpt(wrote(t, tx, "RCPT ", func(c *Client, tx *Transaction) { c.putRcpt(tx, 0) }), peer{extended: true, utf8: p.utf8})
			if long := len(mail.AppendORCPT(nil, c.ORCPT, p.utf8)) > mail.MaxORCPT; !long && (!r.IsZero() || got != c) {
				t.Fatalf("%q is %+v, and then %v %+v", args, c, r, got)
			}
		}
	})
}

// wrote gives the arguments of the one line that the client writes.
func wrote(t *testing.T, tx *Transaction, verb string, put func(*Client, *Transaction)) string {
	conn := &script{}
	c := NewClient(conn, ClientConfig{})
	c.secure, c.ext = true, Extensions{HasSize: true, EightBit: true, Binary: true, UTF8: true, DSN: true, RequireTLS: true}
	put(c, tx)
	c.out.Flush()
	line, ok := strings.CutSuffix(conn.out.String(), "\r\n")
	args, ok2 := strings.CutPrefix(line, verb)
	if !ok || !ok2 || strings.ContainsAny(line, "\r\n\x00") {
		t.Fatalf("%+v is written as %q", tx, line)
	}
	return args
}

// FuzzReply gives anything to the client as a reply.
func FuzzReply(f *testing.F) {
	f.Add("250-a\r\n250 2.0.0 b\r\n")
	f.Add("421 4.0.0 x\r\n")
	f.Fuzz(func(t *testing.T, says string) {
		c := NewClient(&script{pieces: []string{says}}, ClientConfig{})
		kept := 0
		for range 100 {
			r, err := c.Greet(context.Background())
			if err != nil || c.Closing() {
				break
			}
			if r.Code < 200 || r.Code > 599 || len(r.Text) > maxReplyLines || !printable([]byte(r.String())) {
				t.Fatalf("%q gives %+v", says, r)
			}
			kept += len(r.String())
		}
		if kept > len(says)+400 {
			t.Fatalf("%d octets kept of %d", kept, len(says))
		}
	})
}
