package filter

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/mail"
)

// node is a condition: a rule, or "and", "or", "not" over others.
type node struct {
	op   string
	kids []*node // as written
	eval []*node // the cheap ones first, then from left to right (reference 7.4)
	rule *rule
	cost int
}

// ruleKind says what stands behind the word.
type ruleKind uint8

const (
	plainRule   ruleKind = iota // nothing
	textRule                    // == or != and a regular expression
	headerRule                  // ("Name"), then perhaps == or != and a regular expression
	bodyKind                    // ("regular expression"[, at least])
	numberRule                  // a comparison and a number
	addressRule                 // == or != and addresses
)

// The costs of looking, by what must be read.
const (
	costEnvelope = 1
	costHeader   = 10
	costSender   = 50 // asks DNS
	costContent  = 100
)

// words is the table of rules.
var words = [...]struct {
	word string
	kind ruleKind
	cost int
	fold bool // case is of no meaning: domains
}{
	{"true", plainRule, 0, false},
	{"rcpt-count", numberRule, costEnvelope, false},
	{"body-size", numberRule, costEnvelope, false},
	{"remote-ip", addressRule, costEnvelope, false},
	{"sendergroup", textRule, costEnvelope, false},
	{"mail-from", textRule, costEnvelope, true},
	{"rcpt-to", textRule, costEnvelope + 1, true},
	{"subject", textRule, costHeader, false},
	{"header", headerRule, costHeader, false},
	{"spf-status", textRule, costSender, true},
	{"spf-passed", plainRule, costSender, true},
	{"dkim-authentication", textRule, costSender, true},
	{"dmarc-status", textRule, costSender, true},
	{"arc-status", textRule, costSender, true},
	{"attachment-filename", textRule, costContent, false},
	{"malformed-header", plainRule, costContent, false},
	{"duplicate_boundaries", plainRule, costContent, false},
	{"mime-finding", textRule, costContent, false},
	{"unscannable", plainRule, costContent, false},
	{"body-contains", bodyKind, costContent + 1, false},
}

// rule is one test of a message.
type rule struct {
	word   string
	kind   ruleKind
	cost   int
	name   string // of the header
	op     string // "" for a header that has only to exist
	text   string // the pattern as written, or the addresses
	re     *regexp.Regexp
	number int64
	amount string // the number as written
	net    network
	body   *bodyRule
}

// bodyRule counts the matches of one expression in the text of a message.
type bodyRule struct {
	re      *regexp.Regexp
	literal string // in every match, when case is ignored
	least   int
	index   int
}

func (n *node) eachRule(fn func(*rule)) {
	if n.rule != nil {
		fn(n.rule)
	}
	for _, k := range n.kids {
		k.eachRule(fn)
	}
}

// order sorts the operands for evaluation and sums up the costs.
func (n *node) order() {
	if n.rule != nil {
		n.cost = n.rule.cost
		return
	}
	n.eval = slices.Clone(n.kids)
	for _, k := range n.kids {
		k.order()
		n.cost = max(n.cost, k.cost)
	}
	slices.SortStableFunc(n.eval, func(a, b *node) int { return a.cost - b.cost })
}

// rule reads one rule; the token in hand is its word.
func (p *parser) rule() (*rule, error) {
	word := strings.ToLower(p.tok.text)
	for _, w := range words {
		if w.word != word {
			continue
		}
		r := &rule{word: word, kind: w.kind, cost: w.cost}
		if err := p.step(); err != nil {
			return nil, err
		}
		return r, p.ruleRest(r, w.fold)
	}
	known := make([]string, len(words))
	for i, w := range words {
		known[i] = w.word
	}
	slices.Sort(known)
	return nil, p.here("unknown rule %q; the rules are %s", clip(p.tok.text), strings.Join(known, ", "))
}

func (p *parser) ruleRest(r *rule, fold bool) error {
	switch r.kind {
	case textRule:
		return p.pattern(r, fold)
	case headerRule:
		if err := p.headerName(r); err != nil {
			return err
		}
		if p.is("==") || p.is("!=") {
			return p.pattern(r, fold)
		}
	case bodyKind:
		return p.bodyContains(r)
	case numberRule:
		return p.number(r)
	case addressRule:
		return p.addresses(r)
	}
	return nil
}

// comparison goes over one of the operators.
func (p *parser) comparison(r *rule, ops ...string) error {
	if p.tok.kind != tokenMark || !slices.Contains(ops, p.tok.text) {
		return p.here("expected %s after %s, found %v", strings.Join(ops, " or "), r.word, p.tok)
	}
	r.op = p.tok.text
	return p.step()
}

// pattern reads: == "regular expression".
func (p *parser) pattern(r *rule, fold bool) error {
	if err := p.comparison(r, "==", "!="); err != nil {
		return err
	}
	t, err := p.stringArgument("a regular expression")
	if err != nil {
		return err
	}
	r.text = t.text
	r.re, err = compile(t.text, fold)
	return at(t, err)
}

// headerName reads: ("Name").
func (p *parser) headerName(r *rule) error {
	if err := p.expect("(", "after header"); err != nil {
		return err
	}
	t, err := p.stringArgument("the name of a header field")
	if err != nil {
		return err
	}
	if _, err := mail.NewHeader(t.text, ""); err != nil {
		return at(t, err)
	}
	r.name = t.text
	return p.expect(")", "after the name of the header field")
}

// bodyContains reads: ("regular expression"[, at least]).
func (p *parser) bodyContains(r *rule) error {
	if err := p.expect("(", "after body-contains"); err != nil {
		return err
	}
	t, err := p.stringArgument("a regular expression")
	if err != nil {
		return err
	}
	r.text = t.text
	r.body = &bodyRule{least: 1}
	if r.body.re, r.body.literal, err = compileLiteral(t.text, false); err != nil {
		return at(t, err)
	}
	if p.is(",") {
		if err := p.step(); err != nil {
			return err
		}
		n, err := strconv.Atoi(p.tok.text)
		if p.tok.kind != tokenNumber || err != nil || n < 1 || n > 10000 {
			return p.here("expected how often it must match, 1 to 10000, found %v", p.tok)
		}
		r.body.least = n
		if err := p.step(); err != nil {
			return err
		}
	}
	return p.expect(")", "after the regular expression")
}

// number reads: > 5M.
func (p *parser) number(r *rule) error {
	if err := p.comparison(r, "==", "!=", "<", "<=", ">", ">="); err != nil {
		return err
	}
	n, ok := parseNumber(p.tok.text, r.word == "body-size")
	if p.tok.kind != tokenNumber || !ok {
		if r.word == "body-size" {
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
	return n * factor, err == nil && n <= math.MaxInt64/factor
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
