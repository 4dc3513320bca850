package bounce

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"lazaret/internal/mail"
)

// clean makes text from outside harmless in a field or in a line of the text
// for people: controls, separators of lines and what is no UTF-8 become a
// question mark, without utf all that is not ASCII; at most max bytes.
func clean(s string, max int, utf bool) string {
	var b strings.Builder
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || r >= 0x80 && (!utf || hostile(r)) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > max {
			b.WriteString("...")
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// hostile characters end a line, or change what a reader sees.
func hostile(r rune) bool {
	switch {
	case r < 0xa0, r == 0x061c, r == 0x200e, r == 0x200f, r == 0xfeff:
		return true
	case r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

// ascii reports whether there is nothing else in it.
func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// writer writes header fields and lines. What could end a line cannot get in:
// mail.NewHeader refuses it, and the error stays.
type writer struct {
	b   bytes.Buffer
	err error
}

func (w *writer) field(name, value string) {
	h, err := mail.NewHeader(name, value)
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		return
	}
	w.b.WriteString(h.String())
}

// lines writes text of ours, which may have line ends, as lines with CRLF.
func (w *writer) lines(text string) {
	for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		w.b.WriteString(strings.TrimRight(l, "\r") + "\r\n")
	}
}

func (w *writer) blank() { w.b.WriteString("\r\n") }

// encodeWords writes a header value by RFC 2047 where it is not ASCII.
func encodeWords(s string) string {
	if ascii(s) {
		return s
	}
	const most = 45 // bytes in one word: 60 of base64, 75 in all
	var out []string
	for s != "" {
		n := min(most, len(s))
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n--
		}
		out = append(out, "=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(out, " ")
}
