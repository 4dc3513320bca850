package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
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
	seeds := []string{"NOOP\r\n", "MAIL FROM:<a@b.c> SIZE=3\r\nRCPT TO:<d@e.f>\r\n", "DATA\r\n", "a\r\n.\r\nQUIT\r\n", "\n.\r\n", "XTEST 5\r\nabcdeNOOP\r\n", "EHLO x\r\n", "STARTTLS\r\n\x16\x03"}
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
			if len(m) > 500 {
				t.Fatalf("message of %d octets", len(m))
			}
			resend(t, m)
		}
	})
}

// FuzzSessionTLS does the same after STARTTLS.
func FuzzSessionTLS(f *testing.F) {
	for state := range 5 {
		f.Add(byte(state), "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\na\r\n.\r\nQUIT\r\n")
	}
	s := newServer(f, withTLS(f))
	before := []string{"", "EHLO c\r\n", "MAIL FROM:<a@b.c>\r\n", "RCPT TO:<d@e.f>\r\n", "DATA\r\n"}
	f.Fuzz(func(t *testing.T, state byte, data string) {
		a, z := net.Pipe()
		b := &box{}
		done := make(chan struct{})
		go func() { defer close(done); s.Serve(context.Background(), z, b) }()
		d := &dialogue{t: t, conn: a, r: bufio.NewReader(a)}
		d.expect("220")
		d.ask("EHLO c", "250")
		d.startTLS()
		var out bytes.Buffer
		read := make(chan struct{})
		go func() { defer close(read); io.Copy(&out, d.r) }()
		d.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
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
			resend(t, m)
		}
	})
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
