package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
)

// retext is one text of a message on its way to another.
type retext struct {
	isHTML   bool
	charset  string // as declared
	raw      []byte // decoded by its transfer encoding, in its charset
	text     string // of it in UTF-8, once it was changed
	changed  bool   // text holds and not raw
	top, end string // put in front and behind, UTF-8
	params   string // of the new Content-Type, behind the charset
}

// utf8Text makes the text one in UTF-8.
func (t *retext) utf8Text() string {
	if !t.changed {
		r, _ := textReader(t.charset, bytes.NewReader(t.raw))
		b, err := io.ReadAll(r)
		if err != nil { // of a decoder: what it has read counts
			b = append(b, "\ufffd"...)
		}
		t.text, t.changed = strings.ToValidUTF8(string(b), "\ufffd"), true
	}
	return t.text
}

// plain makes text of HTML.
func (t *retext) plain() {
	if t.isHTML {
		t.text, t.isHTML, t.params = string(HTMLText([]byte(t.utf8Text()))), false, ""
	}
}

// sevenBit reports whether the bytes of ASCII mean ASCII wherever they stand.
func sevenBit(charset string) bool {
	switch {
	case strings.HasPrefix(charset, "utf-16"), strings.HasPrefix(charset, "utf-32"), strings.HasPrefix(charset, "utf-7"), strings.HasPrefix(charset, "utf7"),
		strings.HasPrefix(charset, "unicode-1-1-utf-7"), strings.HasPrefix(charset, "iso-2022"), strings.HasPrefix(charset, "hz-"), strings.HasPrefix(charset, "csiso2022"):
		return false
	}
	return true
}

// encoder gives the encoder of a charset; nil for UTF-8 and what is unknown.
func encoder(charset string) encoding.Encoding {
	label := strings.Trim(strings.ToLower(strings.TrimSpace(charset)), "\"'")
	if !sevenBit(label) {
		return nil
	}
	switch label {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968":
		return nil
	}
	e, err := htmlindex.Get(label)
	if err != nil {
		return nil
	}
	return e
}

// charsetWord is a charset that can stand in a field as it is.
func charsetWord(s string) bool {
	return s != "" && len(s) <= 40 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' || r == '-' || r == '_' || r == '.')
	})
}

// bytes gives the text with what is put around it, and its charset: that which
// it had, when that has all characters.
func (t *retext) bytes() (out []byte, charset string) {
	label := strings.Trim(strings.ToLower(strings.TrimSpace(t.charset)), "\"'")
	top, end := t.top, t.end
	if !t.changed && isASCII(top) && isASCII(end) && sevenBit(label) && charsetWord(label) {
		return t.around(t.raw, top, end), label
	}
	if e := encoder(label); e != nil && charsetWord(label) {
		a, errA := e.NewEncoder().String(top)
		b, errB := e.NewEncoder().String(end)
		if errA == nil && errB == nil && !t.changed {
			return t.around(t.raw, a, b), label
		}
		if c, err := e.NewEncoder().String(t.utf8Text()); err == nil && errA == nil && errB == nil {
			return t.around([]byte(c), a, b), label
		}
	}
	if !t.changed && utf8.Valid(t.raw) && (encoder(label) == nil && sevenBit(label)) {
		return t.around(t.raw, top, end), "utf-8"
	}
	return t.around([]byte(t.utf8Text()), top, end), "utf-8"
}

// around puts texts in front of and behind the content; in HTML inside of what
// is shown.
func (t *retext) around(content []byte, top, end string) []byte {
	at, to := 0, len(content)
	if t.isHTML {
		lower := bytes.ToLower(content)
		if len(lower) != len(content) { // letters whose lower case is of another length: no tag is found
			lower = content
		}
		if i := bytes.Index(lower, []byte("<body")); i >= 0 {
			if n, name, closing := tag(content[i:]); n > 0 && name == "body" && !closing {
				at = i + n
			}
		}
		if i := bytes.LastIndex(lower, []byte("</body")); i >= at && len(bytes.TrimSpace(HTMLText(content[i:]))) == 0 {
			to = i
		}
	}
	var b bytes.Buffer
	b.Write(content[:at])
	b.WriteString(top)
	b.Write(content[at:to])
	if end != "" && !t.isHTML && to > 0 && content[to-1] != '\n' {
		b.WriteString("\r\n")
	}
	b.WriteString(end)
	b.Write(content[to:])
	return b.Bytes()
}

// asHTML writes text as it looks, with character references for all that is not
// ASCII: it stands in every charset.
func asHTML(text string) string {
	var b strings.Builder
	for _, r := range html.EscapeString(text) {
		switch {
		case r == '\n':
			b.WriteString("<br>\r\n")
		case r == '\r':
		case r >= utf8.RuneSelf:
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// references writes HTML with character references for all that is not ASCII.
func references(source string) string {
	var b strings.Builder
	for _, r := range source {
		if r >= utf8.RuneSelf {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// encoded gives the fields and the content of the text as a part.
func (t *retext) encoded() (fields string, body []byte) {
	content, charset := t.bytes()
	kind := "text/plain"
	if t.isHTML {
		kind = "text/html"
	}
	enc, body := EncodeText(content)
	return "Content-Type: " + kind + "; charset=" + charset + t.params + "\r\nContent-Transfer-Encoding: " + enc + "\r\n", body
}

// EncodeText gives text as the body of a part, and its transfer encoding, so that it passes every way, and so that no line of it
// begins with what could end a part: quoted-printable, or base64 when most of it
// would be escapes.
func EncodeText(content []byte) (encoding string, out []byte) {
	high := 0
	for _, c := range content {
		if c >= utf8.RuneSelf {
			high++
		}
	}
	if high > len(content)/3 {
		var b bytes.Buffer
		text := base64.StdEncoding.EncodeToString(content)
		for len(text) > 76 {
			b.WriteString(text[:76] + "\r\n")
			text = text[76:]
		}
		b.WriteString(text + "\r\n")
		return "base64", b.Bytes()
	}
	return "quoted-printable", appendQuoted(nil, content)
}

// appendQuoted writes quoted-printable, RFC 2045 section 6.7, in lines of at most
// 76 characters. A line of the text ends with CRLF or LF. What would begin a line
// like a boundary, which is the sender's choice, is escaped.
func appendQuoted(to, text []byte) []byte {
	const hex = "0123456789ABCDEF"
	line := 0
	put := func(c byte, plain, first bool) { // first: it must not begin a line
		n := 3
		if plain {
			n = 1
		}
		if line+n > 75 {
			to = append(to, "=\r\n"...)
			line = 0
		}
		if plain = plain && (line > 0 || !first); plain {
			to = append(to, c)
		} else {
			to = append(to, '=', hex[c>>4], hex[c&15])
			n = 3
		}
		line += n
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\n', c == '\r' && i+1 < len(text) && text[i+1] == '\n':
			if c == '\r' {
				i++
			}
			to = append(to, "\r\n"...)
			line = 0
		case c == ' ' || c == '\t':
			last := i+1 == len(text) || text[i+1] == '\n' || text[i+1] == '\r'
			put(c, !last, false)
		default:
			put(c, c > ' ' && c <= '~' && c != '=', c == '.' || c == '-' && i+1 < len(text) && text[i+1] == '-' || c == 'F' && bytes.HasPrefix(text[i:], []byte("From ")))
		}
	}
	return to
}
