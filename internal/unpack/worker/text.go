package worker

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"lazaret/internal/message"
	"lazaret/internal/unpack"
)

// html gives what a reader of the page sees.
func (s *session) html(f *file) {
	b := f.data.bytes()
	if len(b) > maxText {
		s.found(unpack.TextLimit, f, "")
		b = b[:maxText]
	}
	s.text(f, unpack.Text, message.HTMLText(toUTF8(b)))
}

// toUTF8 reads text without a known charset.
func toUTF8(b []byte) []byte {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return []byte(utf16Text(b[2:]))
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		u := make([]uint16, (len(b)-2)/2)
		for i := range u {
			u[i] = uint16(b[2+2*i])<<8 | uint16(b[3+2*i])
		}
		return []byte(string(utf16.Decode(u)))
	case utf8.Valid(b):
		return b
	}
	return []byte(latin(b))
}

// mail reads a message inside a file. Its findings are those of mail.
func (s *session) mail(f *file) {
	found, err := message.Walk(f.data.reader(0), message.Limits{}, func(p *message.Part) error {
		if p.Role == message.Container && len(p.Names) == 0 {
			return nil
		}
		name := ""
		if len(p.Names) > 0 {
			name = p.Names[0]
		}
		body := p.Body
		if p.IsText() && p.Role != message.Container {
			body = p.Text()
		}
		return s.member(f, name, p.Types, body)
	})
	s.fail(f, err)
	for _, x := range found {
		s.note(string(x.Kind), f, x.Part)
	}
}

// rtf gives the text of the document, and the objects in it.
func (s *session) rtf(f *file) {
	b := f.data.bytes()
	for rest := b; !s.stopped && s.broken == nil; {
		_, after, ok := bytes.Cut(rest, []byte(`\objdata`))
		if !ok {
			break
		}
		rest = after
		s.found(unpack.EmbeddedObject, f, "")
		if data := objData(after); len(data) > 0 {
			if i := bytes.Index(data, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")); i > 0 {
				data = data[i:]
			}
			if s.member(f, "object", nil, s.counted(f, bytes.NewReader(data))) != nil {
				return
			}
		}
	}
	if bytes.Contains(b, []byte(`{\*\template http`)) {
		s.found(unpack.ExternalTemplate, f, "")
	}
	if len(b) > maxText {
		s.found(unpack.TextLimit, f, "")
		b = b[:maxText]
	}
	s.text(f, unpack.Text, rtfText(b))
}

// objData reads the hexadecimal digits of an object; control words and groups
// between them are put there to hide it.
func objData(b []byte) []byte {
	var digits []byte
	depth := 0
	for i := 0; i < len(b) && len(digits) < 2*maxStream; i++ {
		switch c := b[i]; {
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth < 0 {
				i = len(b)
			}
		case c == '\\':
			for i+1 < len(b) && (b[i+1] >= 'a' && b[i+1] <= 'z' || b[i+1] == '*' || b[i+1] >= '0' && b[i+1] <= '9' || b[i+1] == '-') {
				i++
			}
		case c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f':
			digits = append(digits, c)
		}
	}
	out := make([]byte, len(digits)/2)
	n, _ := hex.Decode(out, digits[:len(digits)&^1]) // only digits are in it
	return out[:n]
}

// rtfText gives the text of RTF without its control words.
func rtfText(b []byte) []byte {
	var out []byte
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '{', '}', '\r', '\n':
		case '\\':
			n := 0
			out, n = rtfControl(out, b[i+1:])
			i += n
		default:
			out = append(out, latin(b[i:i+1])...)
		}
	}
	return out
}

// rtfControl reads the control word or symbol behind a backslash; n is its length.
func rtfControl(out, b []byte) (text []byte, n int) {
	if len(b) == 0 {
		return out, 0
	}
	if b[0] == '\'' && len(b) > 2 {
		var c [1]byte
		if _, err := hex.Decode(c[:], b[1:3]); err == nil {
			out = append(out, latin(c[:])...)
		}
		return out, 3
	}
	for n < len(b) && b[n] >= 'a' && b[n] <= 'z' {
		n++
	}
	if n == 0 {
		return append(out, b[0]), 1
	}
	word := string(b[:n])
	start := n
	for n < len(b) && (b[n] >= '0' && b[n] <= '9' || b[n] == '-' && n == start) {
		n++
	}
	switch word {
	case "par", "line", "row", "tab", "cell":
		out = append(out, '\n')
	case "u":
		if v, err := strconv.Atoi(string(b[start:n])); err == nil {
			out = append(out, string(rune(uint16(v)))...)
			if n < len(b) && b[n] == '?' {
				n++
			}
		}
	}
	if n < len(b) && b[n] == ' ' {
		n++
	}
	return out, n
}
