package store

import (
	"slices"
	"strconv"
	"strings"
)

// field is one text of a message that can be searched for pieces. The letter
// stands in the index: it never changes.
type field byte

const (
	senderField     field = 's'
	recipientField  field = 'r'
	subjectField    field = 't'
	attachmentField field = 'a' // names of attachments
	bodyField       field = 'b' // the text of the message
	typeField       field = 'y' // and their types
	sizeField       field = 'z' // powers of four up to the size of the largest
	messageIDField  field = 'm' // as a whole
	gatewayField    field = 'g' // serial, name, short name: as a whole
)

// Every text is indexed by all pieces of three characters in it, with a line
// feed in front and behind, so that its beginning and its end are pieces too.
// Two characters beside each other of a script that writes words with so many
// are a piece as well. What the index finds may be too much, never too little:
// the text itself is compared afterwards.
const (
	gramLen  = 3
	maxTerms = 10 // pieces that one condition asks for: more hardly exclude anything
	none     = -1 // in place of a character: the piece is shorter
)

// term is one piece in the index: its field and 20 bits of its hash. The hash
// stands in the index: it never changes.
type term uint32

func newTerm(f field, a, b, c rune) term {
	h := uint32(2166136261) // FNV-1a, by characters
	for _, r := range [...]rune{a, b, c} {
		h = (h ^ uint32(r)) * 16777619
	}
	h ^= h >> 15
	h *= 0x2c1b3c6d
	return term(f)<<20 | term(h>>12)
}

// wholeTerm is the term of a text that is only asked for as a whole.
func wholeTerm(f field, s string) term {
	h := term(0)
	for _, r := range s {
		h = newTerm(f, rune(h&0xfffff), r, none)
	}
	return term(f)<<20 | h&0xfffff
}

// append writes the term as a word of the index.
func (t term) append(to []byte) []byte {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	return append(to, byte(t>>20), digits[t>>15&31], digits[t>>10&31], digits[t>>5&31], digits[t&31])
}

// framed puts a folded text between line feeds. The empty text gets one more,
// to be a piece of its own.
func framed(s string) string {
	if s == "" {
		return "\n\n\n"
	}
	return "\n" + s + "\n"
}

// wide reports whether two such characters are worth a piece of their own: the
// scripts of East Asia.
func wide(r rune) bool { return r >= 0x2e80 }

// grams adds the terms of a text that is framed already.
func grams(to []term, f field, s string) []term {
	a, b := rune(none), rune(none)
	for _, c := range s {
		if a != none {
			to = append(to, newTerm(f, a, b, c))
		}
		if wide(b) && wide(c) {
			to = append(to, newTerm(f, none, b, c))
		}
		a, b = b, c
	}
	return to
}

// asked adds terms that a message must have in which this piece of text is;
// nothing when the piece is too short for the index.
func asked(to []term, f field, piece string) []term {
	rs := []rune(piece)
	last := len(rs) - gramLen
	if last < 0 {
		if len(rs) == 2 && wide(rs[0]) && wide(rs[1]) {
			to = append(to, newTerm(f, none, rs[0], rs[1]))
		}
		return to
	}
	step := max(1, (last+maxTerms-2)/(maxTerms-1))
	for i := 0; i < last; i += step {
		to = append(to, newTerm(f, rs[i], rs[i+1], rs[i+2]))
	}
	return append(to, newTerm(f, rs[last], rs[last+1], rs[last+2]))
}

// words writes terms for the index, each once.
func words(terms []term) string {
	slices.Sort(terms)
	terms = slices.Compact(terms)
	b := make([]byte, 0, 6*len(terms))
	for i, t := range terms {
		if i > 0 {
			b = append(b, ' ')
		}
		b = t.append(b)
	}
	return string(b)
}

// numbered writes terms as an array of numbers, each once.
func numbered(terms []term) string {
	slices.Sort(terms)
	terms = slices.Compact(terms)
	b := append(make([]byte, 0, 10*len(terms)+2), '{')
	for i, t := range terms {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(t), 10)
	}
	return string(append(b, '}'))
}

// match writes terms as a question to the index: all of them.
func match(terms []term) string { return strings.ReplaceAll(words(terms), " ", " AND ") }
