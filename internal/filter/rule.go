package filter

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"lazaret/internal/filter/match"
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
	body   *match.Rule
	dict   *match.Rule // of a rule about a dictionary that does not look into the content
	shown  string      // how the rule is written, for those who look at what it matched
	args   []string    // names of addr-count; target and sieve characters of smtp-auth-id-matches
	below  int64       // random numbers are below it
	salt   uint64      // tells one random rule from the others
	date   time.Time   // local time of the machine, written as UTC
	ask    Question    // of a rule about what lies outside of the message
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
		if word == "reputation" || word == "no-reputation" {
			r.ask.Kind = Score
		}
		if err := p.step(); err != nil {
			return nil, err
		}
		err := p.ruleRest(r, w.fold)
		if err == nil {
			var b strings.Builder
			r.print(&b)
			r.shown = b.String()
		}
		return r, err
	}
	if why, known := refusedRules[word]; known {
		return nil, p.here("the rule %s does not exist here: %s", word, why)
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
	case dictionaryRule:
		return p.dictionary(r)
	case randomRule:
		return p.random(r)
	case countRule:
		return p.addressCount(r)
	case dateRule:
		return p.date(r)
	case loginRule:
		return p.login(r)
	case numberRule:
		return p.number(r)
	case addressRule:
		return p.addresses(r)
	case scoreRule:
		return p.score(r)
	case zoneRule:
		return p.dnsList(r)
	case repeatsRule:
		return p.repeats(r)
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
	r.re, err = match.Compile(t.text, fold)
	return at(t, err)
}

// headerName reads: ("Name").
func (p *parser) headerName(r *rule) error {
	if err := p.expect("(", "after header"); err != nil {
		return err
	}
	var err error
	if r.name, err = p.fieldName(); err != nil {
		return err
	}
	return p.expect(")", "after the name of the header field")
}

// fieldName reads the name of a header field in quotes.
func (p *parser) fieldName() (string, error) {
	t, err := p.stringArgument("the name of a header field")
	if err == nil {
		_, err = mail.NewHeader(t.text, "")
	}
	return t.text, at(t, err)
}
