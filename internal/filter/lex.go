package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString
	tokenNumber
	tokenMark // ( ) { } , ; : ! and the comparisons
)

// token is one word of the script. Text of a string is without quotes and escapes.
type token struct {
	kind      tokenKind
	text      string
	line, col int
}

// String is how an error names the token.
func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the script"
	case tokenString:
		return "a string"
	}
	return fmt.Sprintf("%q", clip(t.text))
}

func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}

// lexer cuts a script into tokens.
type lexer struct {
	src       string
	pos       int
	line, col int
}

// fail makes an error at a place.
func fail(line, col int, format string, args ...any) error {
	return &SyntaxError{Line: line, Column: col, Msg: fmt.Sprintf(format, args...)}
}

// advance goes over n bytes and counts lines and columns.
func (l *lexer) advance(n int) {
	for _, c := range l.src[l.pos : l.pos+n] {
		if c == '\n' {
			l.line, l.col = l.line+1, 1
		} else {
			l.col++
		}
	}
	l.pos += n
}

// skip goes over blanks and comments: # to the end of the line.
func (l *lexer) skip() {
	for l.pos < len(l.src) {
		switch l.src[l.pos] {
		case ' ', '\t', '\r', '\n':
			l.advance(1)
		case '#':
			n := strings.IndexByte(l.src[l.pos:], '\n')
			if n < 0 {
				n = len(l.src) - l.pos
			}
			l.advance(n)
		default:
			return
		}
	}
}

// next gives the next token.
func (l *lexer) next() (token, error) {
	l.skip()
	t := token{line: l.line, col: l.col}
	if l.pos == len(l.src) {
		return t, nil
	}
	rest := l.src[l.pos:]
	switch c := rest[0]; {
	case isLetter(c):
		return l.take(t, tokenWord, span(rest, isWordByte)), nil
	case isDigit(c), c == '-' && len(rest) > 1 && isDigit(rest[1]):
		return l.take(t, tokenNumber, numberSpan(rest)), nil
	case c == '"' || c == '\'':
		return l.quoted(t, c)
	}
	for _, mark := range [...]string{"==", "!=", "<=", ">=", "<", ">", "(", ")", "{", "}", ",", ";", ":", "!"} {
		if strings.HasPrefix(rest, mark) {
			return l.take(t, tokenMark, len(mark)), nil
		}
	}
	return t, l.stray(t, rest)
}

func (l *lexer) take(t token, kind tokenKind, n int) token {
	t.kind, t.text = kind, l.src[l.pos:l.pos+n]
	l.advance(n)
	return t
}

// stray explains a character that begins nothing.
func (l *lexer) stray(t token, rest string) error {
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case strings.HasPrefix(rest, "//"):
		return fail(t.line, t.col, "a comment begins with #")
	case strings.ContainsRune("“”„‘’«»", r):
		return fail(t.line, t.col, "a string stands in straight quotes, \"...\" or '...', not in %c", r)
	case r == '=':
		return fail(t.line, t.col, "a comparison is == or !=, not =")
	case r == '.':
		return fail(t.line, t.col, "unexpected %q (the line with a dot that ends a pasted script is no part of it)", r)
	}
	return fail(t.line, t.col, "unexpected character %q", r)
}

// quoted reads a string in either kind of quotes. A backslash before a
// backslash or a quote stands for that character; before anything else it stays,
// so that both "\." and "\\." reach the regular expression as \. (scripts for
// the original are written both ways).
func (l *lexer) quoted(t token, quote byte) (token, error) {
	var b strings.Builder
	rest := l.src[l.pos:]
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == quote:
			l.advance(i + 1)
			t.kind, t.text = tokenString, b.String()
			return t, nil
		case c == '\n':
			return t, fail(t.line, t.col, "the string is not closed on its line")
		case c < ' ' && c != '\t', c == 0x7f:
			l.advance(i)
			return t, fail(l.line, l.col, "the string holds the control character 0x%02x", c)
		case c == '\\' && i+1 < len(rest) && (rest[i+1] == '\\' || rest[i+1] == '"' || rest[i+1] == '\''):
			i++
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return t, fail(t.line, t.col, "the string is not closed")
}

// quote is the reverse of quoted.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func isLetter(c byte) bool   { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool    { return c >= '0' && c <= '9' }
func isWordByte(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' }

// numberSpan is how long a number is: perhaps with a sign, a fraction and a unit.
func numberSpan(s string) int {
	n := 1 + span(s[1:], isWordByte)
	if n+1 < len(s) && s[n] == '.' && isDigit(s[n+1]) {
		n += 1 + span(s[n+1:], isWordByte)
	}
	return n
}

func span(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}
