package message

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
)

const (
	maxWord    = 2 << 10 // bytes of one encoded word; RFC 2047 allows 75, some programs write whole subjects
	maxCharset = 64
)

// DecodeHeader gives a header value as a person reads it: encoded words of RFC
// 2047 in any charset are decoded, raw 8-bit text is taken as UTF-8 or else as
// Windows-1252. It is lenient, as mail programs are: words may stand anywhere
// and be long, and a character may begin in one word and end in the next. What
// is no encoded word stays as it is. Values beyond 64 KiB are cut. The result
// is valid UTF-8.
//
// The standard library's decoder looks for the end of each word in all that
// follows: its time is quadratic on hostile input (register C4).
func DecodeHeader(s string) string {
	var work int
	return decodeHeader(s, &work)
}

// decodeHeader counts the bytes that are looked at for the end of a word, for
// the test of scaling.
func decodeHeader(s string, work *int) string {
	s = s[:min(len(s), MaxHeaderField)]
	if !utf8.ValidString(s) {
		s = latin(s)
	}
	if !strings.Contains(s, "=?") {
		return s
	}
	var d wordDecoder
	for {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		w, n := parseWord(s[i:], work)
		if n == 0 {
			d.text(s[:i+2])
			s = s[i+2:]
			continue
		}
		// White space between two encoded words is not shown, section 6.2.
		if !d.inRun || strings.Trim(s[:i], " \t\r\n") != "" {
			d.text(s[:i])
		}
		d.word(w)
		s = s[i+n:]
	}
	d.text(s)
	return d.out.String()
}

// encodedWord is a word with its transfer encoding removed.
type encodedWord struct {
	charset string
	data    []byte
}

// parseWord reads =?charset?B?text?= or =?charset?Q?text?= at the start of s and
// gives its length, or 0.
func parseWord(s string, work *int) (w encodedWord, n int) {
	rest := s[2:min(len(s), 2+maxWord)]
	i := strings.IndexByte(rest[:min(len(rest), maxCharset)], '?')
	if i <= 0 || len(rest) < i+3 || rest[i+2] != '?' {
		return w, 0
	}
	charset, _, _ := strings.Cut(rest[:i], "*") // a language may follow, RFC 2231 section 5
	text := rest[i+3:]
	end := strings.Index(text, "?=")
	if *work += len(text); end >= 0 {
		*work += end - len(text)
	}
	if end < 0 || strings.ContainsAny(charset, " \t=") {
		return w, 0
	}
	w.charset = strings.ToLower(charset)
	switch rest[i+1] {
	case 'b', 'B':
		w.data = unbase64(text[:end])
	case 'q', 'Q':
		w.data = []byte(unquote(text[:end]))
	default:
		return w, 0
	}
	return w, 2 + i + 3 + end + 2
}

// unbase64 decodes the B encoding; what is outside the alphabet is skipped.
func unbase64(v string) []byte {
	b := make([]byte, 0, len(v)*3/4)
	acc, bits := uint32(0), uint(0)
	for i := 0; i < len(v); i++ {
		d := base64Values[v[i]]
		if d >= 64 {
			if v[i] == '=' {
				bits = 0
			}
			continue
		}
		acc = acc<<6 | uint32(d)
		if bits += 6; bits >= 8 {
			bits -= 8
			b = append(b, byte(acc>>bits))
		}
	}
	return b
}

// unquote decodes the Q encoding, RFC 2047 section 4.2.
func unquote(v string) string {
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '_':
			b = append(b, ' ')
		case c == '=' && i+2 < len(v) && unhex(v[i+1]) >= 0 && unhex(v[i+2]) >= 0:
			b = append(b, byte(unhex(v[i+1])<<4|unhex(v[i+2])))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// wordDecoder gathers words of one charset before it decodes them.
type wordDecoder struct {
	out     strings.Builder
	inRun   bool
	charset string
	data    []byte
}

func (d *wordDecoder) word(w encodedWord) {
	if d.inRun && w.charset != d.charset {
		d.flush()
	}
	d.inRun, d.charset = true, w.charset
	d.data = append(d.data, w.data...)
}

func (d *wordDecoder) text(s string) {
	d.flush()
	d.out.WriteString(s)
}

func (d *wordDecoder) flush() {
	if d.inRun {
		d.out.WriteString(toUTF8(d.charset, string(d.data)))
	}
	d.inRun, d.data = false, d.data[:0]
}

// toUTF8 converts a short text. An unknown charset is read as UTF-8 or else as
// Windows-1252. The result is valid UTF-8.
func toUTF8(charset, s string) string {
	r, _ := textReader(charset, strings.NewReader(s))
	b, err := io.ReadAll(r)
	if err != nil { // a decoder that gives up: show what there is
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// latin reads bytes that are no UTF-8 as Windows-1252, which never fails.
func latin(s string) string {
	enc, err := htmlindex.Get("windows-1252")
	if err != nil {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	out, err := enc.NewDecoder().String(s)
	if err != nil {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return out
}
