package match

import (
	"fmt"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

// Limits of dictionaries.
const (
	MaxTerms      = 5000 // of one dictionary
	MaxAllTerms   = 20_000
	MaxTermText   = 500 // bytes
	MaxWeight     = 10
	MaxThreshold  = 10_000
	maxDictionary = 64 // bytes of its name
)

// Dictionary is terms that count by their weights (reference 7.4, 7.5): words,
// regular expressions, smart identifiers.
type Dictionary struct {
	Name  string
	terms []Term
}

// DictionaryOptions say how the terms of a dictionary are meant.
type DictionaryOptions struct {
	Case  bool // case counts
	Parts bool // a part of a longer word is a match
}

// Line is one term as it is written: the text, and behind the last comma its
// weight, 0 to 10. Without one it is 1.
type Line struct {
	Text   string
	Weight int
}

// ParseLine reads a term. Only a whole number behind a comma is a weight: so a
// term may hold commas.
func ParseLine(s string) (Line, error) {
	l := Line{Text: strings.TrimSpace(s), Weight: 1}
	if i := strings.LastIndexByte(l.Text, ','); i >= 0 {
		if n, err := strconv.ParseUint(strings.TrimSpace(l.Text[i+1:]), 10, 32); err == nil {
			if n > MaxWeight {
				return l, errs.New(errs.Invalid, "the weight of %q is not 0 to %d", clip(l.Text), MaxWeight)
			}
			l.Text, l.Weight = strings.TrimSpace(l.Text[:i]), int(n)
		}
	}
	if l.Text == "" || len(l.Text) > MaxTermText {
		return l, errs.New(errs.Invalid, "a term has 1 to %d bytes", MaxTermText)
	}
	return l, nil
}

// String gives the form that ParseLine reads.
func (l Line) String() string {
	return l.Text + ", " + strconv.Itoa(l.Weight)
}

// NewDictionary reads the lines of a dictionary. An error names the line.
func NewDictionary(name string, lines []string, o DictionaryOptions) (*Dictionary, error) {
	d := &Dictionary{Name: name}
	seen := make(map[string]bool)
	for n, s := range lines {
		t, err := newLine(s, o)
		if err == nil && len(d.terms) >= MaxTerms {
			err = errs.New(errs.Invalid, "there are more than %d terms", MaxTerms)
		}
		if err == nil && seen[t.Text] {
			err = errs.New(errs.Invalid, "the term %q stands twice", clip(t.Text))
		}
		if err != nil {
			return nil, errs.New(errs.Invalid, "term %d: %s", n+1, errs.Public(err))
		}
		seen[t.Text] = true
		d.terms = append(d.terms, t)
	}
	return d, nil
}

func newLine(s string, o DictionaryOptions) (Term, error) {
	l, err := ParseLine(s)
	if err != nil {
		return Term{}, err
	}
	if strings.HasPrefix(l.Text, "*") {
		t, err := newIdentifier(l.Text)
		t.Weight, t.Text = l.Weight, l.Text
		if err != nil {
			err = errs.New(errs.Invalid, "%s", err)
		}
		return t, err
	}
	re, lit, err := compileLiteral(l.Text, !o.Case)
	switch {
	case err != nil:
		return Term{}, errs.New(errs.Invalid, "%s", err)
	case re.MatchString(""):
		return Term{}, errs.New(errs.Invalid, "%q matches in every text", clip(l.Text))
	}
	return Term{Weight: l.Weight, Text: l.Text, re: re, literal: []byte(lit), whole: !o.Parts}, nil
}

// Terms gives the terms that count: those of weight 0 do not.
func (d *Dictionary) Terms() (out []Term) {
	for _, t := range d.terms {
		if t.Weight > 0 {
			out = append(out, t)
		}
	}
	return out
}

// Len gives how many terms there are.
func (d *Dictionary) Len() int { return len(d.terms) }

// CheckDictionaryName accepts what may stand in a script and on a command line.
func CheckDictionaryName(s string) error {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\<>&,=`, r) }
	if s == "" || len(s) > maxDictionary || strings.ContainsFunc(s, bad) {
		return fmt.Errorf("%q is no name of a dictionary: 1 to %d printable characters without blanks and quotes", clip(s), maxDictionary)
	}
	return nil
}
