package match

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Piece is some of the text of a part; Last ends one text. Texts of the same
// part behind one another are readings of the same thing (the source of HTML
// and what is seen of it, two charsets): the one with the most matches counts.
type Piece struct {
	Part     string
	In       string // the part that is the attachment, when Part is something inside of it
	Name     string // of the attachment, for people; "" when it has none
	Bytes    []byte
	Last     bool
	Attached bool // of an attachment
	Binary   bool // the bytes of an attachment that is no text
}

// Where says which texts of a message a rule looks into.
type Where uint8

// The texts of a message.
const (
	Everywhere      Where = iota
	Body                  // not in attachments
	Attachments           // in the text of attachments
	Bytes                 // in the bytes of attachments, text or not
	EveryAttachment       // in the text of each

	WhichAttachments // in the text of each; which of them reach Least is told by Window.Which
)

// Rule adds up the matches of its terms in the text of a message.
type Rule struct {
	Where Where
	Terms []Term
	Least int // no more than this is counted
	Index int // of the rule among those of a Window
}

// wants reports whether a piece of text is one to look into.
func (r *Rule) wants(p *Piece) bool {
	switch r.Where {
	case Body:
		return !p.Attached && !p.Binary
	case Attachments, EveryAttachment, WhichAttachments:
		return p.Attached && !p.Binary
	case Bytes:
		return p.Attached
	}
	return !p.Binary
}

// Term is an expression that counts Weight times.
type Term struct {
	Weight  int
	Text    string // as it was written; "" but for a term of a dictionary
	re      *regexp.Regexp
	literal []byte      // in every match, when case is ignored
	whole   bool        // no letter or figure stands beside a match
	id      *identifier // in place of re
}

// NewTerm reads a regular expression, or the name of a smart identifier.
func NewTerm(pattern string) (Term, error) {
	if strings.HasPrefix(pattern, "*") {
		return newIdentifier(pattern)
	}
	re, lit, err := compileLiteral(pattern, false)
	return Term{re: re, literal: []byte(lit), Weight: 1}, err
}

// each calls fn with what is shown of each match in the text that begins before
// limit, until it says that this is enough. About need matches are wanted.
func (t *Term) each(text []byte, limit, need int, fn func(shown []byte) bool) {
	if t.id != nil {
		t.id.each(text, limit, func(number []byte) bool { return fn(masked(number)) })
		return
	}
	if !t.re.Match(text) { // quicker than looking where
		return
	}
	if t.whole {
		need = -1 // how many of the matches stand alone is not known
	}
	for _, m := range t.re.FindAllIndex(text, need) {
		if m[0] >= limit && limit != len(text) {
			return
		}
		if t.whole && !alone(text, m[0], m[1]) {
			continue
		}
		if !fn(text[m[0]:m[1]]) {
			return
		}
	}
}

// alone reports whether what stands from i to j is not a part of a longer word.
func alone(text []byte, i, j int) bool {
	before, _ := utf8.DecodeLastRune(text[:i])
	after, _ := utf8.DecodeRune(text[j:])
	return (i == 0 || !inWord(before)) && (j == len(text) || !inWord(after))
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// In adds up the matches in a short text, such as the value of a header field,
// and gives what they matched, each text once. No more than Least are counted.
func (r *Rule) In(text string) (sum int, found []string) {
	b := []byte(text)
	for i := range r.Terms {
		t := &r.Terms[i]
		if sum >= r.Least {
			break
		}
		t.each(b, len(b), r.Least, func(shown []byte) bool {
			sum += t.Weight
			if s := string(shown[:min(len(shown), maxMatchText)]); len(found) < maxMatches && !slices.Contains(found, s) {
				found = append(found, s)
			}
			return sum < r.Least
		})
	}
	return sum, found
}
