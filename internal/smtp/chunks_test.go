package smtp

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"lazaret/internal/mail"
)

// envelope is the way to the first chunk.
const envelope = "EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n"

// A dialogue in one piece: BDAT is pipelined like everything else. What is
// answered is compared by the codes, what was taken by its octets.
func TestChunks(t *testing.T) {
	mail := func(params string) string {
		return "EHLO c\r\nMAIL FROM:<a@b.c>" + params + "\r\nRCPT TO:<d@e.f>\r\n"
	}
	for _, c := range []struct {
		name, say, want string
		taken           []string
	}{
		{"one chunk", envelope + "BDAT 3 LAST\r\na\r\nQUIT\r\n", "250 250 250 250 221", []string{"a\r\n"}},
		{"small letters", envelope + "bdat 3 last\r\na\r\nQUIT\r\n", "250 250 250 250 221", []string{"a\r\n"}},
		{"three, the last empty", envelope + "BDAT 2\r\na\rBDAT 4\r\n\nb\r\nBDAT 0 LAST\r\nNOOP\r\n", "250 250 250 250 250 250 250", []string{"a\r\nb\r\n"}},
		{"nothing at all", envelope + "BDAT 0 LAST\r\nNOOP\r\n", "250 250 250 250 250", []string{""}},
		{"dots are content", envelope + "BDAT 9 LAST\r\n.\r\n..\r\n\r\n", "250 250 250 250", []string{".\r\n..\r\n\r\n"}},
		{"commands are content", envelope + "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "250 250 250 250 250", []string{"QUIT\r\n"}},
		{"a last line without an end gets one", envelope + "BDAT 1 LAST\r\naNOOP\r\n", "250 250 250 250 250", []string{"a\r\n"}},
		{"two messages", envelope + "BDAT 2 LAST\r\n\r\nMAIL FROM:<>\r\nRCPT TO:<x@y.z>\r\nDATA\r\n", "250 250 250 250 250 250 354", []string{"\r\n"}},
		{"RSET between", envelope + "BDAT 3\r\na\r\nRSET\r\nDATA\r\nNOOP\r\n", "250 250 250 250 250 503 250", nil},
		{"EHLO between", envelope + "BDAT 3\r\na\r\nEHLO d\r\n", "250 250 250 250 250", nil},
		{"QUIT between", envelope + "BDAT 3\r\na\r\nQUIT\r\n", "250 250 250 250 221", nil},
		{"NOOP and others between", envelope + "BDAT 3\r\na\r\nNOOP\r\nVRFY x\r\nWHAT\r\nBDAT 3 LAST\r\nb\r\n", "250 250 250 250 250 252 500 250", []string{"a\r\nb\r\n"}},
		{"DATA, MAIL, RCPT, STARTTLS between", envelope + "BDAT 3\r\na\r\nDATA\r\nMAIL FROM:<>\r\nRCPT TO:<x@y.z>\r\nSTARTTLS\r\nBDAT 3 LAST\r\nb\r\n",
			"250 250 250 250 503 503 503 500 250", []string{"a\r\nb\r\n"}},
		{"before MAIL", "EHLO c\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "250 503 250", nil},
		{"before EHLO", "BDAT 6\r\nQUIT\r\nNOOP\r\n", "503 250", nil},
		{"no good recipient", "EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<>\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n", "250 250 501 554 250", nil},
		{"behind the last", envelope + "BDAT 2 LAST\r\n\r\nBDAT 6 LAST\r\nQUIT\r\n", "250 250 250 250 503", []string{"\r\n"}},
		{"too big", envelope + "BDAT 60\r\n" + strings.Repeat("QUIT\r\n", 10) + "BDAT 42 LAST\r\n" + strings.Repeat("QUIT\r\n", 7) + "NOOP\r\n", "250 250 250 250 552 250", nil},
		{"too big at once, and what is behind it", envelope + "BDAT 102\r\n" + strings.Repeat("QUIT\r\n", 17) + "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "250 250 250 552 552 552 250", nil},
		{"too big, and RSET", envelope + "BDAT 102\r\n" + strings.Repeat("QUIT\r\n", 17) + "DATA\r\nRSET\r\nMAIL FROM:<>\r\n", "250 250 250 552 503 250 250", nil},
		{"just not too big", envelope + "BDAT 60\r\n" + strings.Repeat("QUIT\r\n", 10) + "BDAT 40 LAST\r\n" + strings.Repeat("QUIT\r\n", 6) + "12\r\nNOOP\r\n", "250 250 250 250 250 250", []string{strings.Repeat("QUIT\r\n", 16) + "12\r\n"}},
		{"bare LF", envelope + "BDAT 3\r\na\n\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "250 250 250 550 550 250", nil},
		{"CR at the end", envelope + "BDAT 2 LAST\r\na\rNOOP\r\n", "250 250 250 550 250", nil},
		{"CR and LF in two chunks", envelope + "BDAT 2\r\na\rBDAT 1 LAST\r\n\nNOOP\r\n", "250 250 250 250 250 250", []string{"a\r\n"}},
		{"CR in one chunk, not LF in the next", envelope + "BDAT 2\r\na\rBDAT 1 LAST\r\nbNOOP\r\n", "250 250 250 250 550 250", nil},
		{"NUL", envelope + "BDAT 1 LAST\r\n\x00NOOP\r\n", "250 250 250 550 250", nil},
		{"long line", envelope + "BDAT 61 LAST\r\n" + strings.Repeat("x", 61) + "NOOP\r\n", "250 250 250 554 250", nil},
		{"binary", mail(" BODY=BINARYMIME") + "BDAT 4\r\n\r\x00\n.BDAT 61 LAST\r\n" + strings.Repeat("x", 61) + "NOOP\r\n",
			"250 250 250 250 250 250", []string{"\r\x00\n." + strings.Repeat("x", 61)}},
		{"binary by DATA", mail(" BODY=BINARYMIME") + "DATA\r\n", "250 250 250 503", nil},

		// Where the number cannot be read, or has no end, the connection ends.
		{"no size", envelope + "BDAT\r\nQUIT\r\n", "250 250 250 501", nil},
		{"no number", envelope + "BDAT x\r\nQUIT\r\n", "250 250 250 501", nil},
		{"negative", envelope + "BDAT -1\r\nQUIT\r\n", "250 250 250 501", nil},
		{"with a plus", envelope + "BDAT +1\r\nQUIT\r\n", "250 250 250 501", nil},
		{"two blanks", envelope + "BDAT  1\r\nQUIT\r\n", "250 250 250 501", nil},
		{"another word", envelope + "BDAT 6 FIRST\r\nQUIT\r\n", "250 250 250 501", nil},
		{"two words", envelope + "BDAT 6 LAST LAST\r\nQUIT\r\n", "250 250 250 501", nil},
		{"2^63", envelope + "BDAT 9223372036854775808\r\nQUIT\r\n", "250 250 250 501", nil},
		{"2^64", envelope + "BDAT 18446744073709551616 LAST\r\nQUIT\r\n", "250 250 250 501", nil},
		{"2^63-1", envelope + "BDAT 9223372036854775807 LAST\r\nQUIT\r\n", "250 250 250 552", nil},
		{"2^31", envelope + "BDAT 2147483648\r\nQUIT\r\n", "250 250 250 552", nil},
		{"not printable", envelope + "BDAT 1\x00\r\nQUIT\r\n", "250 250 250 500", nil},
		{"line too long", envelope + "BDAT 1 " + strings.Repeat("x", 600) + "\r\nQUIT\r\n", "250 250 250 500", nil},
		{"second is no number", envelope + "BDAT 3\r\na\r\nBDAT x LAST\r\nQUIT\r\n", "250 250 250 250 501", nil},
		{"second is endless", envelope + "BDAT 3\r\na\r\nBDAT 9223372036854775807\r\nQUIT\r\n", "250 250 250 250 552", nil},
		{"the connection ends in a chunk", envelope + "BDAT 6\r\nQUI", "250 250 250", nil},
		{"the connection ends between chunks", envelope + "BDAT 6\r\nQUIT\r\n", "250 250 250 250", nil},
	} {
		s := newServer(t, func(c *ServerConfig) { c.MaxSize, c.MaxLine = 100, 60 })
		for _, size := range []int{1 << 20, 1} {
			b := &box{}
			conn := &script{pieces: []string{"EHLO c\r\n"}[:strings.Count(c.say[:6], "EHLO c")]} // nothing may be behind that
			for w := strings.TrimPrefix(c.say, "EHLO c\r\n"); w != ""; {
				n := min(size, len(w))
				conn.pieces, w = append(conn.pieces, w[:n]), w[n:]
			}
			s.Serve(context.Background(), conn, b)
			if got := codes(conn.out.String()); got != "220 "+c.want || fmt.Sprintf("%q", b.messages) != fmt.Sprintf("%q", c.taken) {
				t.Errorf("%s in pieces of %d: %s, taken %q\nwant 220 %s, %q\n%s", c.name, size, got, b.messages, c.want, c.taken, conn.out.String())
			}
		}
	}
}

// codes gives the code of each reply.
func codes(out string) string {
	var all []string
	for _, line := range strings.Split(out, "\r\n") {
		if len(line) > 3 && line[3] == ' ' {
			all = append(all, line[:3])
		}
	}
	return strings.Join(all, " ")
}

// A Session that says no before the content, in the middle of it, or without
// having read it all: the chunks that come are read over, and answered so.
func TestChunksRefusedBySession(t *testing.T) {
	full := NewReply(452, "4.3.1", "no space")
	for name, b := range map[string]*box{
		"at the start": {start: full},
		"unread":       {take: func(io.Reader) Reply { return full }},
		"half":         {take: func(r io.Reader) Reply { r.Read(make([]byte, 2)); return full }},
	} {
		d := serve(t, newServer(t), b)
		d.reach(inRcpt)
		d.say("BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<a@b.c>\r\n")
		for _, want := range []string{"452 4.3.1", "452 4.3.1", "250 2.1.0"} {
			if got := d.expect("")[:9]; got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	b := &box{take: func(io.Reader) Reply { return NewReply(250, "", "ok") }}
	d := serve(t, newServer(t), b)
	d.reach(inRcpt)
	d.say("BDAT 6 LAST\r\nQUIT\r\n")
	d.expect("451 4.3.0 message was not taken to its end")
}

// Chunks of nothing are no way to stay for ever.
func TestEmptyChunksAreJunk(t *testing.T) {
	s := newServer(t, func(c *ServerConfig) { c.ErrorLimits.Junk = 5 })
	conn := &script{pieces: []string{"EHLO c\r\n", envelope[8:] + strings.Repeat("BDAT 0\r\n", 20)}}
	end, _ := s.Serve(context.Background(), conn, &box{})
	if got := codes(conn.out.String()); end != EndErrors || got != "220"+strings.Repeat(" 250", 3+6)+" 421" {
		t.Errorf("%v %s", end, got)
	}
}

// The client sends BINARYMIME by BDAT, octet for octet, in several chunks; and
// not at all to a peer that does not take it.
func TestClientSendsBinary(t *testing.T) {
	b := &box{}
	c, _ := connect(t, newServer(t), b)
	ctx := context.Background()
	content := strings.Repeat("\r\n.\r\n\x00\xff\n", sendChunk/8*2) // a whole number of chunks
	for _, body := range []string{content, content + "x", "", "\n"} {
		tx := &Transaction{Params: mail.Params{Binary: true}, From: addr(t, "a@b.c"), To: []mail.Address{addr(t, "d@e.f")},
			Size: int64(len(body)) + 6, Prepend: []byte("X: y\r\n"), Content: strings.NewReader(body)}
		res, err := c.Send(ctx, tx)
		if err != nil || !res.Data.Positive() || !res.DotSent {
			t.Fatal(res, err)
		}
		if got := b.messages[len(b.messages)-1]; got != "X: y\r\n"+body {
			t.Fatalf("%d octets came of %d", len(got), len(body)+6)
		}
	}
	if !b.from[0].Binary || b.from[0].EightBit {
		t.Errorf("%+v", b.from[0])
	}
	c.ext.Chunking = false
	res, err := c.Send(ctx, &Transaction{Params: mail.Params{Binary: true}, To: []mail.Address{addr(t, "d@e.f")}})
	if err != nil || res.Mail.String() != "554 5.6.3 message is BINARYMIME and the peer does not offer that" {
		t.Error(res, err)
	}
}

// A chunk that is refused ends the message but not the connection.
func TestClientChunkRefused(t *testing.T) {
	b := &box{}
	c, _ := connect(t, newServer(t, func(c *ServerConfig) { c.MaxSize = sendChunk + 5 }), b)
	big := strings.NewReader(strings.Repeat("x", 3*sendChunk))
	to := []mail.Address{addr(t, "d@e.f")}
	res, err := c.Send(context.Background(), &Transaction{Params: mail.Params{Binary: true}, To: to, Content: big})
	if err != nil || res.Data.Code != 552 || res.DotSent {
		t.Fatal(res, err)
	}
	res, err = c.Send(context.Background(), &Transaction{Params: mail.Params{Binary: true}, To: to, Content: strings.NewReader("\n")})
	if err != nil || !res.Data.Positive() || len(b.messages) != 1 || b.messages[0] != "\n" {
		t.Fatal(res, err, b.messages)
	}
}
