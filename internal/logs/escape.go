package logs

import (
	"unicode/utf8"
)

// maxField is how much of one text from outside a line takes (register E7).
const maxField = 1024

// Escape makes text from outside harmless in a line of a log or on a terminal:
// control characters, line and paragraph separators, characters that change
// the direction of writing, and bytes that are no UTF-8 become \xNN or \uNNNN;
// what is longer than 1 KiB is cut.
func Escape(s string) string {
	if harmless(s, 0) && len(s) <= maxField {
		return s
	}
	return string(appendText(nil, s, 0))
}

// appendText is Escape; with a quote, that character and the backslash get a
// backslash in front.
func appendText(b []byte, s string, quote byte) []byte {
	cut := false
	if len(s) > maxField {
		n := maxField
		for n > maxField-utf8.UTFMax && !utf8.RuneStart(s[n]) {
			n--
		}
		s, cut = s[:n], true
	}
	if harmless(s, quote) {
		b = append(b, s...)
	} else {
		b = appendEscaped(b, s, quote)
	}
	if cut {
		b = append(b, "..."...)
	}
	return b
}

// harmless reports whether every byte is printable ASCII and no quote: nearly
// every text is.
func harmless(s string, quote byte) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c >= 0x7f || quote != 0 && (c == quote || c == '\\') {
			return false
		}
	}
	return true
}

func appendEscaped(b []byte, s string, quote byte) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c < ' ' || c == 0x7f:
				b = appendHex(append(b, '\\', 'x'), uint32(c), 2)
			case quote != 0 && (c == quote || c == '\\'):
				b = append(b, '\\', c)
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = appendHex(append(b, '\\', 'x'), uint32(c), 2)
		case hostile(r):
			b = appendHex(append(b, '\\', 'u'), uint32(r), 4)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}

// hostile characters end a line or change what a reader sees: C1 controls,
// U+2028 and U+2029, direction marks, overrides and isolates, the byte order mark.
func hostile(r rune) bool {
	switch {
	case r < 0xa0, r == 0x061c, r == 0x200e, r == 0x200f, r == 0xfeff:
		return true
	case r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

func appendHex(b []byte, v uint32, digits int) []byte {
	const hex = "0123456789abcdef"
	for i := digits - 1; i >= 0; i-- {
		b = append(b, hex[v>>(4*i)&15])
	}
	return b
}
