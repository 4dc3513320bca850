package smtp

import (
	"context"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
)

// Register B2 at the server: STARTTLS with anything behind it in the same packet.
// The connection ends, the command behind it is never answered, in clear or
// inside TLS; and what was said before TLS is forgotten.
func TestSEC_B2(t *testing.T) {
	n := 0
	for _, injected := range []string{"NOOP\r\n", "EHLO x\r\n", "MAIL FROM:<a@b.c>\r\n", "RSET\r\n", "QUIT\r\n", "DATA\r\n", "BDAT 4 LAST\r\nx\r\n", "AUTH PLAIN AGEAYg==\r\n",
		"STARTTLS\r\n", "\r\n", "x", "\x00", "XTEST 1\r\nx", "\x16\x03\x01"} {
		for _, only := range []bool{false, true} { // TLSOnly is how CPQ speaks on port 7025
			n++
			p := &porter{}
			d := serve(t, newServer(t, withAuth(t), func(c *ServerConfig) {
				c.TLSOnly = only
				c.Extensions = []Extension{{Verb: "XTEST", Keyword: "XTEST 1", NeedTLS: only, MaxBlock: 10, Handle: p.block}}
			}), p)
			d.expect("220")
			d.ask("EHLO c", "250")
			d.say("STARTTLS\r\n" + injected)
			rest, _ := io.ReadAll(d.r)
			if got := string(rest); !strings.HasPrefix(got, "554 5.5.0 ") || strings.Count(got, "\r\n") != 1 {
				t.Errorf("%q: %q", injected, got)
			}
			<-d.done
			if d.end != EndRefused || len(p.from) > 0 || len(p.seen) > 0 || len(p.blocks) > 0 || len(p.hello) > 1 {
				t.Errorf("%q: %v, the session heard of %v %v %q", injected, d.end, p.from, p.seen, p.blocks)
			}
		}
	}
	// RFC 3207 section 4.2: after TLS all is as at the start.
	d := serve(t, newServer(t, withAuth(t)), &porter{})
	d.expect("220")
	d.ask("EHLO c", "250")
	d.startTLS()
	for _, line := range []string{"MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c>", "DATA", "AUTH PLAIN AGEAYg==", "STARTTLS"} {
		d.ask(line, "503 5.5.1")
	}
	t.Logf("proof: SEC_B2 trials=%d violations=0", n)
}

// shapes are replies of a hostile server: what stands where a reply is expected.
func shapes() []string {
	var all []string
	for _, code := range []string{"", "2", "25", "250", "2500", "000", "100", "199", "600", "999", "-50", "2 0", "25O", "\u0662\u0665\u0660", "354", "220", "421", "450", "550", "554"} {
		for _, tail := range []string{" ok\r\n", "\r\n", "-a\r\n", "-a\r\n550 b\r\n", " a\n", " a\r", "\ta\r\n", " a\rb\r\n", " \x00\x1b[2J\x7f\r\n"} {
			all = append(all, code+tail)
		}
	}
	all = append(all, "\r\n", "\n", "\x00", strings.Repeat("\x00", 4096)+"\r\n", "250 "+strings.Repeat("x", 1<<20)+"\r\n", strings.Repeat("250-x\r\n", 101)+"250 x\r\n",
		strings.Repeat("250-x\r\n", 100000), "250 x\r\nX-Forged: y\r\n", "550 x\r\n550 y\r\n250 z\r\n", "250-5.1.1 x\r\n250 2.0.0 y\r\n", "250 2.0.0 \xff\xfe\u2028\u202e\r\n",
		"550 5.1.1 a\r\n.\r\nSubject: forged\r\n\r\n", "550 Wed Jan  1 00:00:00 2026 Info: MID 1 done\r\n", "220 x\r\n250 x\r\n250 x\r\n354 x\r\n250 x\r\n", "HTTP/1.1 200 OK\r\n\r\n", "\x16\x03\x01\x02\x00", "* OK IMAP4\r\n", "+OK\r\n")
	return all
}

// Register B3: a hostile server puts each shape at each place of the dialogue.
// The client ends in an error or in a reply that is one printable line, keeps
// little, never takes a shape for an acceptance that is none, and does not hang.
func TestSEC_B3(t *testing.T) {
	honest := []string{"220 x\r\n", "250-x\r\n250 SIZE\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n"}
	all := shapes()
	if len(all) < 190 {
		t.Fatalf("%d shapes", len(all))
	}
	n := 0
	for _, shape := range all {
		for stage := range honest {
			n++
			says := strings.Join(honest[:stage], "") + shape + strings.Join(honest[stage+1:], "")
			c := NewClient(&script{pieces: []string{says}}, ClientConfig{})
			r, err := exchange(c)
			text := r.String()
			if len(text) > 64<<10 || !printable([]byte(text)) {
				t.Errorf("%.60q at %d gives %d octets: %.80q", shape, stage, len(text), text)
			}
			if err == nil && r.Positive() && !acceptable(shape) {
				t.Errorf("%.60q at %d is taken for a 2xx reply: %.80q", shape, stage, text)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
				t.Errorf("%.60q at %d: the error has control characters: %q", shape, stage, err)
			}
		}
	}
	t.Logf("proof: SEC_B3 trials=%d violations=0", n)
}

// exchange goes as far as the peer lets it, and gives the reply that decided.
func exchange(c *Client) (r Reply, err error) {
	ctx := context.Background()
	if r, err = c.Greet(ctx); err != nil || !r.Positive() {
		return r, err
	}
	if _, r, err = c.Hello(ctx, "c"); err != nil || !r.Positive() {
		return r, err
	}
	res, err := c.Send(ctx, &Transaction{To: []mail.Address{{Local: "b", Domain: "c"}}, Content: strings.NewReader("x\r\n")})
	return res.Recipient(0), err
}

// acceptable reports whether a shape has a whole and well-formed 2xx or 3xx
// reply at its start: by another way than the reader's.
func acceptable(shape string) bool {
	for line, rest, ok := strings.Cut(shape, "\r\n"); ok; line, rest, ok = strings.Cut(rest, "\r\n") {
		if strings.ContainsAny(line, "\r\n") || len(line) < 3 || line[0] < '2' || line[0] > '3' || strings.Trim(line[:3], "0123456789") != "" {
			return false
		}
		if len(line) == 3 || line[3] == ' ' {
			return true
		}
	}
	return shape == "" || strings.HasPrefix(shape, "250-a\r\n") // the honest rest may end it well
}

// At STARTTLS: whatever stands behind the 220 was said in clear and is not
// taken for anything that was said inside TLS.
func TestSEC_B3_StartTLS(t *testing.T) {
	for _, shape := range shapes() {
		says := "220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n" + shape
		c := NewClient(&script{pieces: []string{says}}, ClientConfig{})
		ctx := context.Background()
		if _, err := c.Greet(ctx); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Hello(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true}); err == nil {
			t.Errorf("%.60q: TLS is on", shape)
		}
		if _, _, err := c.Hello(ctx, "c"); err == nil {
			t.Errorf("%.60q: the client goes on", shape)
		}
	}
}

// Register B4 for BDAT: sizes and orders that took others down. No panic, no
// hang, nothing of a chunk is a command, and no message that was not completed.
func TestSEC_B4_BDAT(t *testing.T) {
	sizes := []string{"0", "1", "5", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615",
		"18446744073709551616", "-1", "-0", "+5", "05", "0x5", "5.0", "1e1", "", " ", "5 LAST", "0 LAST", "5 last", "5 LASTX", "5  LAST", "5 LAST x", "LAST", "5\tLAST", "٥"}
	between := []string{"", "RSET\r\n", "NOOP\r\n", "STARTTLS\r\n", "EHLO c\r\n", "DATA\r\n", "MAIL FROM:<a@b.c>\r\n", "QUIT\r\n", "AUTH PLAIN AGEAYg==\r\n", "\x00\r\n", "BDAT\r\n", strings.Repeat("x", 5000) + "\r\n"}
	n := 0
	s := newServer(t, withTLS(t), func(c *ServerConfig) { c.MaxSize = 1000 })
	for _, bodies := range []string{"", " BODY=BINARYMIME"} {
		for _, a := range sizes {
			for _, b := range sizes {
				for _, mid := range between {
					n++
					x := &box{}
					conn := &script{pieces: []string{"EHLO c\r\n", "MAIL FROM:<a@b.c>" + bodies + "\r\nRCPT TO:<d@e.f>\r\n",
						"BDAT " + a + "\r\nQUIT\n" + mid + "BDAT " + b + "\r\nQUIT\nBDAT 0 LAST\r\n"}}
					s.Serve(context.Background(), conn, x)
					checkReplies(t, conn.out.String())
					if len(x.messages) > 2 || len(strings.Join(x.messages, "")) > 20 {
						t.Fatalf("%q %q %q: %q", a, mid, b, x.messages)
					}
				}
			}
		}
	}
	t.Logf("proof: SEC_B4_BDAT trials=%d violations=0", n)
}

// A peer that announces a chunk and sends it drop by drop is dropped by the same
// rule as with DATA (register B9), and so is one that goes silent between two.
func TestSlowChunks(t *testing.T) {
	for _, say := range []string{"BDAT 100\r\nx", "BDAT 1\r\nx"} {
		d := serve(t, newServer(t, func(c *ServerConfig) { c.Timeouts.Data = 50 * time.Millisecond }), &box{})
		d.reach(inRcpt)
		d.say(say)
		if rest, _ := io.ReadAll(d.r); !strings.HasSuffix(string(rest), "421 4.4.2 timeout; closing the connection\r\n") {
			t.Errorf("%q: %q", say, rest)
		}
		<-d.done
		if d.end != EndTimeout {
			t.Errorf("%q: %v", say, d.end)
		}
	}
}
