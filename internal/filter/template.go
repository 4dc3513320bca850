package filter

import (
	"fmt"
	"mime"
	"strings"
	"unicode"

	"lazaret/internal/mail"
)

// template is a text with variables: literal, variable, literal, ...
type template []piece

type piece struct {
	text     string // literal, or the variable's name
	variable bool
}

// parseTemplate splits at variables. Two dollar signs are one; one that no
// letter follows is itself. more names variables that only this text has.
func parseTemplate(s string, more ...string) (template, error) {
	var out template
	for s != "" {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			return append(out, piece{text: s}), nil
		}
		switch next := s[i+1]; {
		case next == '$':
			out, s = append(out, piece{text: s[:i+1]}), s[i+2:]
		case isLetter(next):
			n := span(s[i+1:], func(c byte) bool { return isLetter(c) || isDigit(c) })
			name, ok := variable(s[i+1:i+1+n], more...)
			if !ok {
				return nil, fmt.Errorf("unknown variable $%s; the variables are $%s; $$ is a dollar sign", clip(s[i+1:i+1+n]), strings.Join(append(variables[:len(variables):len(variables)], more...), ", $"))
			}
			out, s = append(out, piece{text: s[:i]}, piece{text: name, variable: true}), s[i+1+n:]
		default:
			out, s = append(out, piece{text: s[:i+1]}), s[i+1:]
		}
	}
	return out, nil
}

// expand fills in the variables. No value can end a line: every control
// character becomes a blank. At most maxText bytes come out.
func (t template) expand(value func(name string) string) string {
	var b strings.Builder
	for _, p := range t {
		if b.Len() >= maxText {
			break
		}
		if p.variable {
			b.WriteString(harmless(value(p.text)))
		} else {
			b.WriteString(p.text)
		}
	}
	s := b.String()
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// harmless makes one line of valid UTF-8 out of text from outside.
func harmless(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// header makes the line of insert-header. Text beyond ASCII, and text that
// could be taken for an encoded word, goes as encoded words (RFC 2047).
func header(name, text string) (mail.Header, error) {
	text = strings.TrimSpace(text)
	if !ascii(text) || strings.Contains(text, "=?") {
		if len(text) > maxText/4 { // each byte takes three, each word twelve more
			text = strings.ToValidUTF8(text[:maxText/4], "")
		}
		text = encoded(text)
	}
	return mail.NewHeader(name, text)
}

// encoded is text as encoded words. What the encoder leaves alone because it is
// ASCII stays only if it cannot be taken for an encoded word.
func encoded(text string) string {
	if ascii(text) {
		return strings.ReplaceAll(text, "=?", "= ?")
	}
	return mime.QEncoding.Encode("utf-8", text)
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
