package match

import (
	"fmt"
	"regexp"
	"strings"
)

// identifier finds numbers that carry a proof of themselves. The expression
// finds candidates; ends tells, for the characters of a candidate from one
// group of them on, how many make such a number, or 0.
type identifier struct {
	name string
	re   string
	ends func(chars []byte, group []bool) int
	run  int // digits, each beside the next or one character away, in every such number
}

// identifiers are what can stand in the place of an expression. An expression
// cannot begin with a star, so there is no doubt.
var identifiers = [...]identifier{
	{"*credit", `\d(?:[ .-]?\d){12,}`, cardLength, 13},
	{"*iban", `(?i)\b[A-Z]{2}\d{2}(?:[ .-]?[A-Z0-9]){11,}`, ibanLength, 2},
	{"*ssn", `\d(?:[ .-]?\d){8,}`, ssnLength, 9},
}

// newIdentifier gives the term of a smart identifier.
func newIdentifier(name string) (Term, error) {
	var known []string
	for _, id := range identifiers {
		if strings.EqualFold(id.name, name) {
			return Term{Weight: 1, re: regexp.MustCompile(id.re), ends: id.ends, run: id.run}, nil
		}
		known = append(known, id.name)
	}
	return Term{}, fmt.Errorf("unknown smart identifier %q; they are %s", clip(name), strings.Join(known, ", "))
}

// inside gives the numbers in a candidate that prove themselves. A number
// begins and ends with a group: other figures beside it do not hide it, and a
// part of a longer figure is none.
func (t *Term) inside(candidate []byte) (found [][]byte) {
	chars, group := make([]byte, 0, len(candidate)), make([]bool, 0, len(candidate)+1)
	begins := true
	for _, c := range candidate {
		if c == ' ' || c == '.' || c == '-' {
			begins = true
			continue
		}
		chars, group, begins = append(chars, c&^(c>>1&0x20)), append(group, begins), false
	}
	group = append(group, true)
	for i := 0; i < len(chars); {
		if n := 0; group[i] {
			if n = t.ends(chars[i:], group[i:]); n > 0 {
				found = append(found, chars[i:i+n])
				i += n
				continue
			}
		}
		i++
	}
	return found
}

// digits reports whether text has n digits of which each is beside the next or
// one character away. It is tens of times faster than the expression.
func digits(text []byte, n int) bool {
	run, gap := 0, 0
	for _, c := range text {
		if c-'0' > 9 {
			if gap++; gap > 1 {
				run = 0
			}
			continue
		}
		if run, gap = run+1, 0; run >= n {
			return true
		}
	}
	return false
}

// masked is what is shown of such a number: logs and notices are no place for it.
func masked(number []byte) []byte {
	rest := max(len(number)-4, 0)
	return append([]byte(strings.Repeat("*", rest)), number[rest:]...)
}

// cardLength knows the numbers of payment cards: 13 to 19 digits that begin
// with 2 to 6, with the check digit of ISO/IEC 7812-1 annex B (Luhn).
func cardLength(d []byte, group []bool) int {
	if d[0] < '2' || d[0] > '6' {
		return 0
	}
	for n := min(19, len(d)); n >= 13; n-- {
		if group[n] && luhn(d[:n]) {
			return n
		}
	}
	return 0
}

func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		n := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

// ibanLength checks the two digits of ISO 13616, with the modulus 97 of ISO
// 7064. Countries differ in their lengths, so each that fits is tried.
func ibanLength(s []byte, group []bool) int {
	if len(s) < 15 || !upper(s[0]) || !upper(s[1]) || upper(s[2]) || upper(s[3]) {
		return 0
	}
	head := mod97(0, s[4:15])
	for n := 15; n <= min(34, len(s)); n++ {
		if n > 15 {
			head = mod97(head, s[n-1:n])
		}
		if group[n] && mod97(head, s[:4]) == 1 {
			return n
		}
	}
	return 0
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

// mod97 goes on with the remainder over more characters; a letter is 10 to 35.
func mod97(r int, s []byte) int {
	for _, c := range s {
		if upper(c) {
			r = (r*100 + int(c-'A') + 10) % 97
		} else {
			r = (r*10 + int(c-'0')) % 97
		}
	}
	return r
}

// ssnLength knows social security numbers of the United States, in three
// groups: 000, 666 and 9xx are no areas, 00 and 0000 no numbers.
func ssnLength(d []byte, group []bool) int {
	if len(d) < 9 || !group[3] || !group[5] || !group[9] || group[1] || group[2] || group[4] || group[6] || group[7] || group[8] {
		return 0
	}
	area := string(d[:3])
	if area == "000" || area == "666" || d[0] == '9' || string(d[3:5]) == "00" || string(d[5:9]) == "0000" {
		return 0
	}
	return 9
}
