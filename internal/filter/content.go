package filter

import (
	"fmt"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/filter/match"
)

// ContentFilter is a filter as it is put together of conditions and actions
// (reference 7.5). Both are written in the words of this language.
type ContentFilter struct {
	Name       string
	Inactive   bool
	Any        bool     // one of the conditions is enough; else all of them
	Conditions []string // none: always
	Actions    []string
}

// Limits of content filters.
const (
	MaxConditions  = 50
	MaxActions     = 20
	MaxContentName = 40
)

// NewContent makes a Set of content filters. They run in their order, by the
// same rules as message filters; table is the one that log lines name. An error
// names the filter, and the condition or action.
func NewContent(table string, filters []ContentFilter) (*Set, error) {
	set := &Set{table: table}
	for i := range filters {
		f, err := filters[i].compile(uint64(i) << 32)
		if err != nil {
			return nil, errs.New(errs.Invalid, "content filter %s: %s", filters[i].Name, err)
		}
		set.filters = append(set.filters, f)
	}
	set.prepare()
	return set, nil
}

// compile makes a program. randoms tells its rules random from those of others.
func (c *ContentFilter) compile(randoms uint64) (*program, error) {
	if err := match.CheckDictionaryName(c.Name); err != nil || len(c.Name) > MaxContentName {
		return nil, fmt.Errorf("%q is no name: 1 to %d printable characters without blanks and quotes", clip(c.Name), MaxContentName)
	}
	if len(c.Conditions) > MaxConditions || len(c.Actions) > MaxActions {
		return nil, fmt.Errorf("it has more than %d conditions or %d actions", MaxConditions, MaxActions)
	}
	if len(c.Actions) == 0 {
		return nil, fmt.Errorf("it has no action")
	}
	st := &ifStmt{cond: &node{op: "and"}}
	if c.Any {
		st.cond.op = "or"
	}
	for i, text := range c.Conditions {
		kid, n, err := fragment(text, randoms, (*parser).condition)
		if err != nil {
			return nil, fmt.Errorf("condition %d: %s", i+1, place(err))
		}
		randoms = n
		st.cond.kids = append(st.cond.kids, kid)
	}
	if len(st.cond.kids) == 0 {
		always := &rule{word: "true"}
		st.cond = &node{op: "rule", rule: always}
	}
	return &program{name: c.Name, active: !c.Inactive, line: 1, root: st}, c.actions(st)
}

// actions puts the final action last (reference 7.5): there is at most one.
func (c *ContentFilter) actions(st *ifStmt) error {
	var last *action
	for i, text := range c.Actions {
		a, _, err := fragment(text, 0, (*parser).action)
		switch {
		case err != nil:
			return fmt.Errorf("action %d: %s", i+1, place(err))
		case !finals[a.word]:
			st.then = append(st.then, a)
		case last != nil:
			return fmt.Errorf("action %d: %s() and %s() are both final; a content filter has one final action at most", i+1, last.word, a.word)
		default:
			last = a
		}
	}
	if last != nil {
		st.then = append(st.then, last)
	}
	return nil
}

// finals are the actions behind which a message is looked at no more
// (reference 7.4).
var finals = map[string]bool{"deliver": true, "drop": true, "bounce": true}

// fragment reads one piece of the language, all of the text.
func fragment[T any](text string, randoms uint64, read func(*parser) (T, error)) (out T, n uint64, err error) {
	if len(text) > MaxScript || strings.ToValidUTF8(text, "") != text {
		return out, 0, fmt.Errorf("it is no text of at most %d bytes", MaxScript)
	}
	p := &parser{lex: lexer{src: text, line: 1, col: 1}, set: &Set{}, names: map[string]int{}, randoms: randoms}
	if err := p.step(); err != nil {
		return out, 0, err
	}
	if out, err = read(p); err != nil {
		return out, 0, err
	}
	if p.is(";") {
		if err := p.step(); err != nil {
			return out, 0, err
		}
	}
	if p.tok.kind != tokenEnd {
		return out, 0, p.here("nothing is expected behind it, found %v", p.tok)
	}
	return out, p.randoms, nil
}

// place gives an error about a single line without the line.
func place(err error) string { return strings.TrimPrefix(err.Error(), "line 1, ") }

// ContentQuarantines gives the quarantines that content filters name.
func ContentQuarantines(filters []ContentFilter) []Use {
	set, err := NewContent("", filters)
	if err != nil {
		return nil
	}
	return set.Uses()
}
