package quarantine

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Fold is the form in which text is compared: what a person types finds what
// was written, whatever the case, and whether a letter with an accent is one
// character or two. It is stored; a change of it asks for the index to be made
// anew.
func Fold(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return strings.Map(foldRune, norm.NFC.String(s))
		}
	}
	return strings.ToLower(s)
}

// foldRune gives one letter for all that differ by case alone: s, S and the long
// s, the two small sigmas.
func foldRune(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return unicode.ToLower(least)
}
