package admin

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Plain makes one field of a line: every character that could end the line or
// act on a terminal is spelled out. Addresses, subjects, reasons and file names
// from outside go through it.
func Plain(s string) string {
	if ordinary(s) && !strings.ContainsAny(s, "\n\t") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		writeRune(&b, r, s[i:i+n], true)
		i += n
	}
	return b.String()
}

// Clip is Plain, cut to at most n characters.
func Clip(s string, n int) string {
	s = Plain(s)
	if len(s) <= n {
		return s
	}
	count := 0
	for i := range s {
		if count++; count > n-3 {
			cut := i
			if utf8.RuneCountInString(s) <= n {
				return s
			}
			return s[:cut] + "..."
		}
	}
	return s
}

// ordinary reports whether s is printable ASCII with line ends and tabs: true
// for nearly all output.
func ordinary(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x7f || c < ' ' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// dangerous is C0 and C1 controls, DEL, line and paragraph separators, and the
// marks that turn the direction of text (reliability E7).
func dangerous(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r <= 0x9f, r == 0x2028, r == 0x2029, r == 0x061c:
		return true
	case r >= 0x200e && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
		return true
	}
	return false
}

// writeRune writes r, or its name. \u and four digits is what JSON reads as the same
// character, so that output with --json stays what it was.
func writeRune(b *strings.Builder, r rune, raw string, field bool) {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		fmt.Fprintf(b, `\x%02x`, raw[0])
	case !field && (r == '\n' || r == '\t'):
		b.WriteRune(r)
	case dangerous(r):
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		b.WriteString(raw)
	}
}

// sanitise is the last stop before a console. rest is an unfinished character
// at the end, to be put before what comes next. CR before LF is dropped.
func sanitise(s string) (clean, rest string) {
	if ordinary(s) {
		return s, ""
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
			i++
			continue
		}
		if s[i] == '\r' && i+1 == len(s) || !utf8.FullRuneInString(s[i:]) {
			return b.String(), s[i:]
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		writeRune(&b, r, s[i:i+n], false)
		i += n
	}
	return b.String(), ""
}
