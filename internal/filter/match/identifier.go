package match

import (
	"fmt"
	"strings"
)

// identifier finds numbers that carry a proof of themselves. at tells where in
// the text such a number ends that begins at i, or gives 0. It is asked only
// where a group begins, and looks at no more than maxNumber characters from
// there: so the time for a text is linear in it, whatever it holds.
type identifier struct {
	name    string
	letters bool // letters are part of a group, not only digits
	at      func(text []byte, i int) (end int)
}

// identifiers are what can stand in the place of an expression. An expression
// cannot begin with a star, so there is no doubt.
var identifiers = [...]identifier{
	{"*aba", false, abaAt},
	{"*credit", false, cardAt},
	{"*cusip", true, cusipAt},
	{"*iban", true, ibanAt},
	{"*ssn", false, ssnAt},
}

// Identifiers gives the names of the smart identifiers, with their stars.
func Identifiers() (names []string) {
	for _, id := range identifiers {
		names = append(names, id.name)
	}
	return names
}

// newIdentifier gives the term of a smart identifier.
func newIdentifier(name string) (Term, error) {
	for i := range identifiers {
		if strings.EqualFold(identifiers[i].name, name) {
			return Term{Weight: 1, id: &identifiers[i]}, nil
		}
	}
	return Term{}, fmt.Errorf("unknown smart identifier %q; they are %s", clip(name), strings.Join(Identifiers(), ", "))
}

// The classes of characters.
const (
	other = iota
	digit
	letter
)

// classes is a table because each byte of all text is looked up in it.
var classes = func() (t [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		t[c] = digit
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = letter, letter
	}
	return t
}()

// each calls fn with each number in the text that begins before limit, until it
// says that this is enough. A number begins and ends with a group: other
// figures beside it do not hide it, and a part of a longer figure is none.
func (id *identifier) each(text []byte, limit int, fn func(number []byte) bool) {
	inside := false // of a group
	for i := 0; i < limit; i++ {
		class := classes[text[i]]
		if class == other || class == letter && !id.letters {
			inside = false
			continue
		}
		if inside {
			continue
		}
		inside = true
		if end := id.at(text, i); end > 0 {
			if !fn(text[i:end]) {
				return
			}
			i, inside = end-1, true
		}
	}
}

// maxNumber is the most characters of a number: those of an IBAN, ISO 13616.
const maxNumber = 34

// figures are the characters of a number, in capitals, without what separates
// them. ends[n] reports whether the first n end with a group, and after[n] is
// the place in the text behind them.
type figures struct {
	c     [maxNumber]byte
	ends  [maxNumber + 1]bool
	after [maxNumber + 1]int
	n     int
}

// read takes at most most characters; the first stands at i. One blank, dot or
// hyphen may stand between two.
func (f *figures) read(text []byte, i, most int, letters bool) {
	is := func(i int) bool {
		return i < len(text) && (classes[text[i]] == digit || letters && classes[text[i]] == letter)
	}
	for f.n < most {
		c := text[i]
		if classes[c] == letter {
			c &^= 0x20
		}
		f.c[f.n] = c
		f.n++
		i++
		f.after[f.n] = i
		if is(i) {
			continue
		}
		f.ends[f.n] = true
		if !is(i+1) || text[i] != ' ' && text[i] != '.' && text[i] != '-' {
			return
		}
		i++
	}
}

// cardAt knows the numbers of payment cards: 13 to 19 digits that begin with 2
// to 6, with the check digit of ISO/IEC 7812-1 annex B (Luhn).
func cardAt(text []byte, i int) int {
	if text[i] < '2' || text[i] > '6' {
		return 0
	}
	var f figures
	f.read(text, i, 19, false)
	// Two sums: the one doubles the figures with an even index, the other those
	// with an odd one. Which counts depends on where the number ends.
	var sums [2]int
	end := 0
	for n := range f.n {
		d := int(f.c[n] - '0')
		twice := d * 2
		if twice > 9 {
			twice -= 9
		}
		sums[n&1] += twice
		sums[1-n&1] += d
		if n >= 12 && f.ends[n+1] && sums[1-n&1]%10 == 0 {
			end = f.after[n+1] // the longest
		}
	}
	return end
}

// ibanAt checks the two digits of ISO 13616, with the modulus 97 of ISO 7064.
// Countries differ in their lengths, so each that fits is tried.
func ibanAt(text []byte, i int) int {
	if i+4 > len(text) || classes[text[i]] != letter || classes[text[i+1]] != letter || classes[text[i+2]] != digit || classes[text[i+3]] != digit {
		return 0
	}
	var f figures
	f.read(text, i, maxNumber, true)
	if f.n < 15 {
		return 0
	}
	rest := mod97(0, f.c[4:14])
	for n := 15; n <= f.n; n++ {
		rest = mod97(rest, f.c[n-1:n])
		if f.ends[n] && mod97(rest, f.c[:4]) == 1 {
			return f.after[n]
		}
	}
	return 0
}

// mod97 goes on with the remainder over more characters; a letter is 10 to 35.
func mod97(r int, s []byte) int {
	for _, c := range s {
		if c >= 'A' {
			r = (r*100 + int(c-'A') + 10) % 97
		} else {
			r = (r*10 + int(c-'0')) % 97
		}
	}
	return r
}

// ssnAt knows social security numbers of the United States, in three groups:
// 000, 666 and 9xx are no areas, 00 and 0000 no numbers.
func ssnAt(text []byte, i int) int {
	var f figures
	f.read(text, i, 9, false)
	if f.n < 9 || !f.ends[3] || !f.ends[5] || !f.ends[9] || f.after[5] != i+6 || f.after[9] != i+11 {
		return 0
	}
	area := string(f.c[:3])
	if area == "000" || area == "666" || f.c[0] == '9' || string(f.c[3:5]) == "00" || string(f.c[5:9]) == "0000" {
		return 0
	}
	return f.after[9]
}

// abaAt knows the routing numbers of banks of the United States: nine digits in
// one group, of a district that exists, with a check sum of the weights 3, 7, 1.
func abaAt(text []byte, i int) int {
	if i+9 > len(text) || i+9 < len(text) && classes[text[i+9]] == digit {
		return 0
	}
	sum := 0
	for n := range 9 {
		c := text[i+n]
		if classes[c] != digit {
			return 0
		}
		sum += int(c-'0') * [3]int{3, 7, 1}[n%3]
	}
	district := int(text[i]-'0')*10 + int(text[i+1]-'0')
	if sum%10 != 0 || district == 0 || district > 12 && district < 21 || district > 32 && district < 61 || district > 72 && district != 80 {
		return 0
	}
	return i + 9
}

// cusipAt knows the numbers of securities of North America: eight characters,
// not all of them letters, and a check digit (ANSI X9.6).
func cusipAt(text []byte, i int) int {
	if i+9 > len(text) || i+9 < len(text) && classes[text[i+9]] != other || classes[text[i+8]] != digit {
		return 0
	}
	sum, digits := 0, 0
	for n := range 8 {
		c := text[i+n]
		v := int(c - '0')
		switch classes[c] {
		case digit:
			digits++
		case letter:
			v = int(c&^0x20-'A') + 10
		default:
			return 0
		}
		if n%2 == 1 {
			v *= 2
		}
		sum += v/10 + v%10
	}
	if digits == 0 || (10-sum%10)%10 != int(text[i+8]-'0') {
		return 0
	}
	return i + 9
}

// masked is what is shown of such a number: logs and notices are no place for it.
func masked(number []byte) []byte {
	chars := make([]byte, 0, maxNumber)
	for _, c := range number {
		if classes[c] == letter {
			c &^= 0x20
		}
		if classes[c] != other {
			chars = append(chars, c)
		}
	}
	for i := range max(len(chars)-4, 0) {
		chars[i] = '*'
	}
	return chars
}
