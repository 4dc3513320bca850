package smtp

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"lazaret/internal/testlib/proof"
)

// The table of register B1: every string over {CR, LF, '.', NUL, 'x'} as the
// content of a message. One message in is one message out, and no bare CR or
// LF leaves. Strings up to 6 octets run always, up to 5 with the race detector; LAZARET_EXHAUSTIVE=1 makes it
// 8 (488,280 strings for each setting).
const symbols = "\r\n.\x00x"

func maxString() int {
	if os.Getenv("LAZARET_EXHAUSTIVE") != "" {
		return 8
	}
	if proof.Race {
		return 5
	}
	return 6
}

// everyString calls f with each string of 1 to n symbols.
func everyString(n int, f func(s string)) {
	buf := make([]byte, n)
	var rec func(i int)
	rec = func(i int) {
		if i > 0 {
			f(string(buf[:i]))
		}
		if i == n {
			return
		}
		for j := 0; j < len(symbols); j++ {
			buf[i] = symbols[j]
			rec(i + 1)
		}
	}
	rec(0)
}

// model says by the words of RFC 5321, slowly, what wire stands for: the
// content up to the first CR LF . CR LF, whether it is clean, and what is left.
func model(wire string) (content string, clean bool, rest string) {
	end := strings.Index("\r\n"+wire, "\r\n.\r\n")
	body, rest := wire[:end], wire[end+3:]
	clean = true
	for _, line := range strings.SplitAfter(body, "\r\n") {
		text, ended := strings.CutSuffix(line, "\r\n")
		text = strings.TrimPrefix(text, ".")
		if strings.ContainsAny(text, "\r\n\x00") {
			clean = false
		}
		text = strings.NewReplacer("\r", "\r\n", "\n", "\r\n", "\x00", " ").Replace(text)
		content += text
		if ended {
			content += "\r\n"
		}
	}
	return content, clean, rest
}

// script is a net.Conn whose peer has prepared all it says: one piece a read.
type script struct {
	net.Conn
	pieces []string
	out    bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 && s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
	}
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// content runs the real server over the pieces of wire and compares messages
// and replies with the model.
func content(t *testing.T, s *Server, normalise bool, wire string, pieces ...string) {
	t.Helper()
	want, clean, rest := model(wire)
	b := &box{}
	conn := &script{pieces: append([]string{"EHLO c\r\n", "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"}, pieces...)}
	s.Serve(context.Background(), conn, b)
	_, after, _ := strings.Cut(conn.out.String(), "354 go ahead\r\n")
	reply, after, _ := strings.Cut(after, "\r\n")
	if clean || normalise {
		if len(b.messages) != 1 || b.messages[0] != want || !strings.HasPrefix(reply, "250 ") {
			t.Fatalf("%q as %q: messages %q, reply %q; want %q", wire, pieces, b.messages, reply, want)
		}
		resend(t, b.messages[0])
	} else if len(b.messages) != 0 || !strings.HasPrefix(reply, "550 5.6.11") {
		t.Fatalf("%q as %q: messages %q, reply %q; want a refusal", wire, pieces, b.messages, reply)
	}
	// Each line of the rest is one command, and none of them is a good one.
	lines := strings.Count(rest, "\n")
	if got := strings.Count(after, "\r\n"); got > lines || strings.Count(after, "50") < got {
		t.Fatalf("%q: %d lines behind the message, replies %q", wire, lines, after)
	}
}

// resend checks that a stored message leaves as exactly one message again.
func resend(t *testing.T, message string) {
	t.Helper()
	var out bytes.Buffer
	d := &dotWriter{w: &out}
	if _, err := io.WriteString(d, message); err != nil {
		t.Fatalf("%q is not sent: %v", message, err)
	}
	if err := d.finish(); err != nil {
		t.Fatalf("%q is not finished: %v", message, err)
	}
	content, clean, rest := model(out.String())
	if content != message || !clean || rest != "" {
		t.Fatalf("%q leaves as %q", message, out.String())
	}
}

func TestSEC_B1_DATA(t *testing.T) {
	for _, n := range []Newlines{Reject, Normalise} {
		s := newServer(t, func(c *ServerConfig) { c.BareNewlines = n })
		everyString(maxString(), func(str string) {
			for _, wire := range []string{str + "\r\n.\r\n", "x\r\n." + str + "\r\n.\r\n"}[:1+n%2] {
				content(t, s, n == Normalise, wire, wire)
			}
		})
	}
}

// Short strings cut in two at every octet, and octet by octet.
func TestSEC_B1_DATAInPieces(t *testing.T) {
	for _, n := range []Newlines{Reject, Normalise} {
		s := newServer(t, func(c *ServerConfig) { c.BareNewlines = n })
		everyString(4, func(str string) {
			wire := str + "\r\n.\r\n"
			for i := 1; i < len(wire); i++ {
				content(t, s, n == Normalise, wire, wire[:i], wire[i:])
			}
			content(t, s, n == Normalise, wire, strings.Split(wire, "")...)
		})
	}
}

// What the sender is given, whole and in two pieces: it leaves as one clean
// message that says the same, or not at all.
func TestSEC_B1_Sender(t *testing.T) {
	everyString(maxString(), func(str string) {
		text := strings.ReplaceAll(str, "\r\n", "")
		dirty := strings.ContainsAny(text, "\r\n\x00")
		cuts := []int{0}
		if len(str) <= 5 {
			for i := 1; i < len(str); i++ {
				cuts = append(cuts, i)
			}
		}
		for _, i := range cuts {
			var out bytes.Buffer
			d := &dotWriter{w: &out}
			_, err := io.WriteString(d, str[:i])
			if err == nil {
				_, err = io.WriteString(d, str[i:])
			}
			if err == nil {
				err = d.finish()
			}
			if (err != nil) != dirty {
				t.Fatalf("%q cut at %d: %v", str, i, err)
			}
			if err != nil {
				continue
			}
			want := str
			if !strings.HasSuffix(want, "\r\n") {
				want += "\r\n"
			}
			if got, clean, rest := model(out.String()); got != want || !clean || rest != "" {
				t.Fatalf("%q cut at %d leaves as %q", str, i, out.String())
			}
		}
	})
}

// Long content: over the borders of the buffers, read in every way.
func TestLongContent(t *testing.T) {
	for _, line := range []string{"x", strings.Repeat("y", 77), "." + strings.Repeat("z", 998), strings.Repeat("w", bigBuffer-3), strings.Repeat("v", bigBuffer-2)} {
		text := strings.Repeat(line+"\r\n", 200000/len(line)+1)
		var wire bytes.Buffer
		d := &dotWriter{w: &wire}
		io.WriteString(d, text)
		d.finish()
		for _, size := range []int{1 << 20, bigBuffer - 1, 1000, 7} {
			var pieces []string
			for w := wire.String(); w != ""; {
				n := min(size, len(w))
				pieces, w = append(pieces, w[:n]), w[n:]
			}
			b := &box{}
			conn := &script{pieces: append([]string{"EHLO c\r\n", "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"}, pieces...)}
			newServer(t).Serve(context.Background(), conn, b)
			if len(b.messages) != 1 || b.messages[0] != text {
				t.Fatalf("line of %d in pieces of %d: %s", len(line), size, conn.out.String())
			}
		}
	}
}

func BenchmarkDotReader(b *testing.B) {
	text := strings.Repeat(strings.Repeat("y", 70)+"\r\n", 900) + ".\r\n"
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		in := input{buf: []byte(text), w: len(text)}
		if _, err := newDotReader(&in, Reject, 0, 1000).WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDotWriter(b *testing.B) {
	text := []byte(strings.Repeat(strings.Repeat("y", 70)+"\r\n", 900))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		d := &dotWriter{w: io.Discard}
		if _, err := d.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}
