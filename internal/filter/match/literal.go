package match

import (
	"bytes"
	"regexp/syntax"
)

// literal gives a text in lower case that every match of re holds when case is
// ignored, or "". Most text has no match, and looking for a plain text first is
// tens of times faster than running an expression that ignores case.
func literal(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return asciiRun(re.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return literal(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literal(re.Sub[0])
		}
	case syntax.OpConcat:
		longest := ""
		for _, sub := range re.Sub {
			if l := literal(sub); len(l) > len(longest) {
				longest = l
			}
		}
		return longest
	}
	return ""
}

// asciiRun gives the longest run of ASCII in lower case.
func asciiRun(runes []rune) string {
	var best, run []byte
	for _, r := range runes {
		if r >= 0x80 {
			run = nil
			continue
		}
		run = append(run, lower(byte(r)))
		if len(run) > len(best) {
			best = run
		}
	}
	return string(best)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// The two characters beyond ASCII that are a k and an s when case is ignored.
var (
	kelvin = []byte("\u212a")
	longS  = []byte("\u017f")
)

// lowered fills to with text in lower case (ASCII). It gives nil when the text
// has letters for which that is not enough.
func lowered(to, text []byte) []byte {
	if bytes.Contains(text, kelvin) || bytes.Contains(text, longS) {
		return nil
	}
	to = append(to[:0], text...)
	for i, c := range to {
		to[i] = lower(c)
	}
	return to
}
