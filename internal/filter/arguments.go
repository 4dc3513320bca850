package filter

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
)

// comparisons are the operators between numbers.
var comparisons = [...]string{"==", "!=", "<", "<=", ">", ">="}

// places are where the body rules look.
var places = map[string]match.Where{
	"body-contains":              match.Everywhere,
	"only-body-contains":         match.Body,
	"attachment-contains":        match.Attachments,
	"attachment-binary-contains": match.Bytes,
	"every-attachment-contains":  match.EveryAttachment,

	"dictionary-match":            match.Everywhere,
	"body-dictionary-match":       match.Body,
	"attachment-dictionary-match": match.Attachments,
}

// bodyContains reads: ("regular expression"[, at least]).
func (p *parser) bodyContains(r *rule) error {
	if err := p.expect("(", "after "+r.word); err != nil {
		return err
	}
	t, err := p.stringArgument("a regular expression")
	if err != nil {
		return err
	}
	r.text = t.text
	r.body = &match.Rule{Where: places[r.word], Least: 1}
	one, err := match.NewTerm(t.text)
	if err != nil {
		return at(t, err)
	}
	r.body.Terms = []match.Term{one}
	if p.is(",") {
		if err := p.step(); err != nil {
			return err
		}
		if r.body.Least, err = p.threshold("how often it must match"); err != nil {
			return err
		}
	}
	return p.expect(")", "after the regular expression")
}

// threshold reads a number from 1 on.
func (p *parser) threshold(what string) (int, error) {
	n, err := strconv.Atoi(p.tok.text)
	if p.tok.kind != tokenNumber || err != nil || n < 1 || n > match.MaxThreshold {
		return 0, p.here("expected %s, 1 to %d, found %v", what, match.MaxThreshold, p.tok)
	}
	return n, p.step()
}

// dictionary reads: ("name"[, "Header"][, at least]). Whether there is such a
// dictionary is found out by For.
func (p *parser) dictionary(r *rule) error {
	if err := p.expect("(", "after "+r.word); err != nil {
		return err
	}
	t, err := p.stringArgument("the name of a dictionary")
	if err != nil {
		return err
	}
	if err := match.CheckDictionaryName(t.text); err != nil {
		return at(t, err)
	}
	r.text = t.text
	terms := &match.Rule{Least: 1}
	if where, ok := places[r.word]; ok {
		terms.Where, r.body = where, terms
	} else {
		r.dict = terms
	}
	switch r.word {
	case "subject-dictionary-match":
		r.name = "Subject"
	case "header-dictionary-match":
		if err := p.expect(",", "before the name of the header field"); err != nil {
			return err
		}
		if r.name, err = p.fieldName(); err != nil {
			return err
		}
	}
	if p.is(",") {
		if err := p.step(); err != nil {
			return err
		}
		if terms.Least, err = p.threshold("what the weights must add up to"); err != nil {
			return err
		}
	}
	return p.expect(")", "after the name of the dictionary")
}

// number reads: > 5M.
func (p *parser) number(r *rule) error {
	if err := p.comparison(r, comparisons[:]...); err != nil {
		return err
	}
	n, ok := parseNumber(p.tok.text, inBytes(r.word))
	if p.tok.kind != tokenNumber || !ok {
		if inBytes(r.word) {
			return p.here("expected a number of bytes such as 500, 20K or 5M, found %v", p.tok)
		}
		return p.here("expected a number, found %v", p.tok)
	}
	r.number, r.amount = n, p.tok.text
	return p.step()
}

// parseNumber reads digits, with K or M for 1024 and 1024².
func parseNumber(s string, units bool) (int64, bool) {
	factor := int64(1)
	if units && s != "" {
		switch s[len(s)-1] {
		case 'k', 'K':
			factor, s = 1<<10, s[:len(s)-1]
		case 'm', 'M':
			factor, s = 1<<20, s[:len(s)-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n * factor, err == nil && n >= 0 && n <= math.MaxInt64/factor
}

// random reads: (10) < 3.
func (p *parser) random(r *rule) error {
	if err := p.expect("(", "after random"); err != nil {
		return err
	}
	n, ok := parseNumber(p.tok.text, false)
	if p.tok.kind != tokenNumber || !ok || n < 1 {
		return p.here("expected a number: random(10) is 0 to 9, found %v", p.tok)
	}
	r.below = n
	if err := p.step(); err != nil {
		return err
	}
	if err := p.expect(")", "after the number"); err != nil {
		return err
	}
	p.randoms++
	r.salt = p.randoms
	return p.number(r)
}

// maxNames is how many header fields addr-count adds up.
const maxNames = 10

// addressCount reads: ("To", "Cc") > 10.
func (p *parser) addressCount(r *rule) error {
	if err := p.expect("(", "after "+r.word); err != nil {
		return err
	}
	for {
		t, err := p.stringArgument("the name of a header field")
		if err != nil {
			return err
		}
		if _, err := mail.NewHeader(t.text, ""); err != nil {
			return at(t, err)
		}
		if slices.ContainsFunc(r.args, func(s string) bool { return strings.EqualFold(s, t.text) }) {
			return fail(t.line, t.col, "the field %s stands twice", clip(t.text))
		}
		if r.args = append(r.args, t.text); len(r.args) > maxNames {
			return fail(t.line, t.col, "more than %d fields", maxNames)
		}
		if !p.is(",") {
			break
		}
		if err := p.step(); err != nil {
			return err
		}
	}
	if err := p.expect(")", "after the name of the header field"); err != nil {
		return err
	}
	return p.number(r)
}

// dateForms are how a date may be written, that of the original first.
var dateForms = [...]string{"01/02/2006 15:04:05", "01/02/2006", "2006-01-02 15:04:05", "2006-01-02"}

// date reads: > "07/21/2026 13:00:00".
func (p *parser) date(r *rule) error {
	if err := p.comparison(r, comparisons[:]...); err != nil {
		return err
	}
	t, err := p.stringArgument("a date")
	if err != nil {
		return err
	}
	r.text = t.text
	for _, form := range dateForms {
		if r.date, err = time.Parse(form, t.text); err == nil {
			return nil
		}
	}
	return fail(t.line, t.col, "%q is no date; it is written MM/DD/YYYY hh:mm:ss or YYYY-MM-DD hh:mm:ss, perhaps without the time", clip(t.text))
}

// targets are what the name of a login can be compared with.
var targets = [...]string{"*EnvelopeFrom", "*FromAddress", "*Sender", "*Any", "*None"}

// login reads: ("*EnvelopeFrom"[, "+"]).
func (p *parser) login(r *rule) error {
	if err := p.expect("(", "after "+r.word); err != nil {
		return err
	}
	t, err := p.stringArgument("a target")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(targets[:], func(s string) bool { return strings.EqualFold(s, t.text) })
	if i < 0 {
		return fail(t.line, t.col, "unknown target %q; the targets are %s", clip(t.text), strings.Join(targets[:], ", "))
	}
	r.args = []string{targets[i]}
	if p.is(",") {
		if err := p.step(); err != nil {
			return err
		}
		t, err := p.stringArgument("sieve characters")
		if err != nil {
			return err
		}
		if t.text == "" || len(t.text) > 8 || strings.ContainsAny(t.text, "@ ") {
			return fail(t.line, t.col, "sieve characters are one to eight characters without @ and blanks, such as +")
		}
		r.args = append(r.args, t.text)
	}
	return p.expect(")", "after the target")
}

// addresses reads: == "10.1.0.0/16".
func (p *parser) addresses(r *rule) error {
	if err := p.comparison(r, "==", "!="); err != nil {
		return err
	}
	t, err := p.stringArgument("an IP address, a range or a network")
	if err != nil {
		return err
	}
	r.text = t.text
	r.net, err = parseNetwork(t.text)
	return at(t, err)
}
