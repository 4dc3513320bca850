package smtp

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
)

// chunkModel says by the words of RFC 3030 and of register B1 what content of
// text stands for: whether it is clean, and what is kept of it.
func chunkModel(text string) (content string, clean bool) {
	clean = !strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n\x00")
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
			b.WriteString("\r\n")
			i++
		case c == '\r' || c == '\n':
			b.WriteString("\r\n")
		case c == 0:
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	content = b.String()
	if content != "" && !strings.HasSuffix(content, "\r\n") {
		content += "\r\n"
	}
	return content, clean
}

// bdat runs the real server over text in chunks, cut at the octets given, with
// the wire itself in pieces of size octets, and compares with the model.
func bdat(t *testing.T, s *Server, mode, text string, size int, cuts ...int) {
	t.Helper()
	var wire bytes.Buffer
	fmt.Fprintf(&wire, "MAIL FROM:<a@b.c>%s\r\nRCPT TO:<d@e.f>\r\n", map[bool]string{true: " BODY=BINARYMIME"}[mode == "binary"])
	from := 0
	for _, to := range append(cuts, len(text)) {
		last := ""
		if to == len(text) {
			last = " LAST"
		}
		fmt.Fprintf(&wire, "BDAT %d%s\r\n%s", to-from, last, text[from:to])
		from = to
	}
	wire.WriteString("NOOP\r\n")
	b := &box{}
	conn := &script{pieces: []string{"EHLO c\r\n"}}
	for w := wire.Bytes(); len(w) > 0; {
		n := min(size, len(w))
		conn.pieces, w = append(conn.pieces, string(w[:n])), w[n:]
	}
	s.Serve(context.Background(), conn, b)
	got := codes(conn.out.String())
	want, clean := chunkModel(text)
	if mode == "binary" {
		want, clean = text, true
	}
	ok := len(b.messages) == 1 && b.messages[0] == want && got == "220 250 250 250"+strings.Repeat(" 250", len(cuts)+1)+" 250"
	if !clean && mode == "reject" {
		ok = len(b.messages) == 0 && strings.HasSuffix(got, " 550 250") && len(got) == len("220 250 250 250 250")+4*(len(cuts)+1)
	}
	if !ok {
		t.Fatalf("%s: %q cut at %v in pieces of %d: %s, taken %q, want %q", mode, text, cuts, size, got, b.messages, want)
	}
	if len(b.messages) == 1 && mode != "binary" {
		resend(t, b.messages[0])
	}
}

// The table of register B1 for BDAT: each string as the content of one chunk; the
// short ones also cut into two and three chunks everywhere, and octet by octet on
// the wire. One message in is one message out, what is not clean is refused or
// made good, BINARYMIME is kept as it is, and the next command is a command.
func TestSEC_B1_BDAT(t *testing.T) {
	n := 0
	for _, mode := range []string{"reject", "normalise", "binary"} {
		s := newServer(t, func(c *ServerConfig) {
			if mode == "normalise" {
				c.BareNewlines = Normalise
			}
		})
		everyString(maxString()-1+maxString()/8, func(str string) { // 5, and 8 with LAZARET_EXHAUSTIVE
			n++
			bdat(t, s, mode, str, 1<<20, []int(nil)...)
			if len(str) > 3 {
				return
			}
			bdat(t, s, mode, str, 1)
			for i := 1; i < len(str); i++ {
				bdat(t, s, mode, str, 1<<20, i)
				bdat(t, s, mode, str, 1, i)
				for j := i + 1; j < len(str); j++ {
					bdat(t, s, mode, str, 1<<20, i, j)
				}
			}
		})
	}
	t.Logf("proof: SEC_B1_BDAT trials=%d violations=0", n)
}
