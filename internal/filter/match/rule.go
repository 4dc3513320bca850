package match

import (
	"regexp"
	"strings"
)

// Piece is some of the text of a part; Last ends one text. Texts of the same
// part behind one another are readings of the same thing (the source of HTML
// and what is seen of it, two charsets): the one with the most matches counts.
type Piece struct {
	Part     string
	In       string // the part that is the attachment, when Part is something inside of it
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
	case Attachments, EveryAttachment:
		return p.Attached && !p.Binary
	case Bytes:
		return p.Attached
	}
	return !p.Binary
}

// Term is an expression that counts Weight times.
type Term struct {
	Weight  int
	re      *regexp.Regexp
	literal []byte                   // in every match, when case is ignored
	ends    func([]byte, []bool) int // of a smart identifier, see identifier
	run     int                      // likewise
}

// NewTerm reads a regular expression, or the name of a smart identifier.
func NewTerm(pattern string) (Term, error) {
	if strings.HasPrefix(pattern, "*") {
		return newIdentifier(pattern)
	}
	re, lit, err := compileLiteral(pattern, false)
	return Term{re: re, literal: []byte(lit), Weight: 1}, err
}
