package filter

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Parse reads a script. The error is a *SyntaxError.
//
//	script    = *filter
//	filter    = name (":" / "!") if
//	if        = "if" condition block [ "else" (if / block) ]
//	block     = "{" *(if / action ";") "}"       the last ";" may be missing
//	condition = term *("or" term)
//	term      = factor *("and" factor)
//	factor    = "not" factor / "(" condition ")" / rule
func Parse(src string) (*Set, error) {
	if len(src) > MaxScript {
		return nil, fail(1, 1, "the script is longer than %d bytes", MaxScript)
	}
	src = strings.TrimPrefix(src, "\ufeff")
	if bad := strings.ToValidUTF8(src, "\x00"); bad != src {
		line := 1 + strings.Count(src[:firstInvalid(src)], "\n")
		return nil, fail(line, 1, "the script is not UTF-8")
	}
	p := &parser{lex: lexer{src: src, line: 1, col: 1}, set: &Set{}, names: map[string]int{}}
	if err := p.script(); err != nil {
		return nil, err
	}
	p.set.prepare()
	return p.set, nil
}

func firstInvalid(s string) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(s)
}

// parser has one token in hand.
type parser struct {
	lex   lexer
	tok   token
	depth int
	set   *Set
	names map[string]int // line of each filter

	randoms uint64 // rules random so far
}

func (p *parser) step() error {
	t, err := p.lex.next()
	if err != nil {
		return err
	}
	p.tok = t
	return nil
}

// here makes an error at the token in hand.
func (p *parser) here(format string, args ...any) error {
	return fail(p.tok.line, p.tok.col, format, args...)
}

// is reports whether the token in hand is the mark or keyword. Keywords may be
// written in any case.
func (p *parser) is(text string) bool {
	switch p.tok.kind {
	case tokenMark:
		return p.tok.text == text
	case tokenWord:
		return strings.EqualFold(p.tok.text, text)
	}
	return false
}

// expect goes over a mark or keyword; after says what it must follow.
func (p *parser) expect(text, after string) error {
	if !p.is(text) {
		return p.here("expected %q %s, found %v", text, after, p.tok)
	}
	return p.step()
}

// enter counts one level deeper.
func (p *parser) enter() error {
	if p.depth++; p.depth > MaxDepth {
		return p.here("nested deeper than %d levels", MaxDepth)
	}
	return nil
}

func (p *parser) script() error {
	if err := p.step(); err != nil {
		return err
	}
	for p.tok.kind != tokenEnd {
		if err := p.filter(); err != nil {
			return err
		}
		if len(p.set.filters) > MaxFilters {
			return p.here("more than %d filters", MaxFilters)
		}
	}
	return nil
}

func (p *parser) filter() error {
	name := p.tok
	if name.kind != tokenWord {
		return p.here("expected the name of a filter, found %v", p.tok)
	}
	if len(name.text) > MaxName {
		return p.here("the name is longer than %d characters", MaxName)
	}
	if isReserved(name.text) {
		return p.here("a filter cannot be named %q; it begins with a name of its own, as in: my_filter: if (...) { ... }", name.text)
	}
	if line, ok := p.names[strings.ToLower(name.text)]; ok {
		return p.here("there is a filter named %s in line %d already", name.text, line)
	}
	p.names[strings.ToLower(name.text)] = name.line
	f := &program{name: name.text, line: name.line}
	if err := p.step(); err != nil {
		return err
	}
	if f.active = p.is(":"); !f.active && !p.is("!") {
		return p.here("expected \":\" (active) or \"!\" (inactive) after the name of the filter, found %v", p.tok)
	}
	if err := p.step(); err != nil {
		return err
	}
	if !p.is("if") {
		return p.here("expected \"if\" after the name of the filter, found %v", p.tok)
	}
	var err error
	if f.root, err = p.ifStatement(); err != nil {
		return err
	}
	p.set.filters = append(p.set.filters, f)
	for p.is(";") { // scripts for the original end filters so
		if err := p.step(); err != nil {
			return err
		}
	}
	return nil
}

func isReserved(word string) bool {
	switch strings.ToLower(word) {
	case "if", "else", "elif", "and", "or", "not", "true":
		return true
	}
	return false
}

// ifStatement reads from "if" to the end of its last block.
func (p *parser) ifStatement() (*ifStmt, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if err := p.step(); err != nil { // "if"
		return nil, err
	}
	st := &ifStmt{}
	var err error
	if st.cond, err = p.condition(); err != nil {
		return nil, err
	}
	if st.then, err = p.block("after the condition"); err != nil {
		return nil, err
	}
	if !p.is("else") {
		return st, nil
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	if p.is("if") {
		sub, err := p.ifStatement()
		st.els = []statement{sub}
		return st, err
	}
	st.els, err = p.block(`after "else"`)
	return st, err
}

// block reads statements in braces; never nil on success.
func (p *parser) block(after string) ([]statement, error) {
	open := p.tok
	if err := p.expect("{", after); err != nil {
		return nil, err
	}
	out := []statement{}
	for !p.is("}") {
		switch {
		case p.tok.kind == tokenEnd:
			return nil, p.here("the block that begins in line %d, column %d is not closed", open.line, open.col)
		case p.is(";"):
			if err := p.step(); err != nil {
				return nil, err
			}
		case p.is("if"):
			st, err := p.ifStatement()
			if err != nil {
				return nil, err
			}
			out = append(out, st)
		default:
			st, err := p.action()
			if err != nil {
				return nil, err
			}
			out = append(out, st)
			if !p.is(";") && !p.is("}") {
				return nil, p.here("expected \";\" after %s(...), found %v", st.word, p.tok)
			}
		}
	}
	return out, p.step()
}

// condition reads terms joined by OR.
func (p *parser) condition() (*node, error) {
	return p.chain("or", func() (*node, error) {
		return p.chain("and", p.factor)
	})
}

// chain reads one or more operands with the same operator between them.
func (p *parser) chain(op string, operand func() (*node, error)) (*node, error) {
	first, err := operand()
	if err != nil || !p.is(op) {
		return first, err
	}
	n := &node{op: op, kids: []*node{first}}
	for p.is(op) {
		if err := p.step(); err != nil {
			return nil, err
		}
		kid, err := operand()
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
	}
	return n, nil
}

func (p *parser) factor() (*node, error) {
	switch {
	case p.is("not"):
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		if err := p.step(); err != nil {
			return nil, err
		}
		kid, err := p.factor()
		return &node{op: "not", kids: []*node{kid}}, err
	case p.is("("):
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		if err := p.step(); err != nil {
			return nil, err
		}
		n, err := p.condition()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")", "to close the condition")
	case p.tok.kind == tokenWord:
		r, err := p.rule()
		return &node{op: "rule", rule: r}, err
	}
	return nil, p.here("expected a rule, found %v", p.tok)
}

// stringArgument reads one string.
func (p *parser) stringArgument(what string) (token, error) {
	t := p.tok
	if t.kind != tokenString {
		return t, p.here("expected %s in quotes, found %v", what, p.tok)
	}
	return t, p.step()
}

// at gives a plain error the place of a token.
func at(t token, err error) error {
	var syntax *SyntaxError
	if err == nil || errors.As(err, &syntax) {
		return err
	}
	return fail(t.line, t.col, "%s", err.Error())
}
