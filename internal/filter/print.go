package filter

import (
	"strconv"
	"strings"
)

// String gives the script anew, in one form. It parses to the same filters;
// comments are not kept.
func (s *Set) String() string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	for _, f := range s.filters {
		b.WriteString(f.name)
		if f.active {
			b.WriteString(": ")
		} else {
			b.WriteString("! ")
		}
		f.root.print(&b, 0)
		b.WriteByte('\n')
	}
	return b.String()
}

func (i *ifStmt) print(b *strings.Builder, depth int) {
	b.WriteString("if (")
	i.cond.print(b, "")
	b.WriteString(") ")
	printBlock(b, i.then, depth)
	if i.els == nil {
		return
	}
	b.WriteString(" else ")
	if len(i.els) == 1 {
		if sub, ok := i.els[0].(*ifStmt); ok {
			sub.print(b, depth)
			return
		}
	}
	printBlock(b, i.els, depth)
}

func printBlock(b *strings.Builder, list []statement, depth int) {
	b.WriteString("{\n")
	for _, st := range list {
		b.WriteString(strings.Repeat("  ", depth+1))
		switch st := st.(type) {
		case *ifStmt:
			st.print(b, depth+1)
		case *action:
			st.print(b)
		}
		b.WriteByte('\n')
	}
	b.WriteString(strings.Repeat("  ", depth) + "}")
}

func (a *action) print(b *strings.Builder) {
	b.WriteString(a.word + "(")
	for i, arg := range a.args {
		if i > 0 {
			b.WriteString(", ")
		}
		if arg.number {
			b.WriteString(arg.text)
		} else {
			b.WriteString(quote(arg.text))
		}
	}
	b.WriteString(");")
}

// print writes the condition as part of one with the operator above, and sets
// parentheses where they are needed.
func (n *node) print(b *strings.Builder, above string) {
	switch n.op {
	case "rule":
		n.rule.print(b)
	case "not":
		b.WriteString("NOT ")
		n.kids[0].print(b, "not")
	default:
		wrap := above == "not" || above == "and" && n.op == "or"
		if wrap {
			b.WriteByte('(')
		}
		for i, k := range n.kids {
			if i > 0 {
				b.WriteString(" " + strings.ToUpper(n.op) + " ")
			}
			k.print(b, n.op)
		}
		if wrap {
			b.WriteByte(')')
		}
	}
}

func (r *rule) print(b *strings.Builder) {
	b.WriteString(r.word)
	switch r.kind {
	case headerRule:
		b.WriteString("(" + quote(r.name) + ")")
		if r.op == "" {
			return
		}
	case bodyKind:
		b.WriteString("(" + quote(r.text))
		if r.body.Least > 1 {
			b.WriteString(", " + strconv.Itoa(r.body.Least))
		}
		b.WriteByte(')')
		return
	case dictionaryRule:
		b.WriteString("(" + quote(r.text))
		if r.word == "header-dictionary-match" {
			b.WriteString(", " + quote(r.name))
		}
		if n := r.terms().Least; n > 1 {
			b.WriteString(", " + strconv.Itoa(n))
		}
		b.WriteByte(')')
		return
	case randomRule:
		b.WriteString("(" + strconv.FormatInt(r.below, 10) + ") " + r.op + " " + r.amount)
		return
	case countRule, loginRule:
		b.WriteByte('(')
		for i, a := range r.args {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quote(a))
		}
		b.WriteByte(')')
		if r.op != "" {
			b.WriteString(" " + r.op + " " + r.amount)
		}
		return
	case numberRule:
		b.WriteString(" " + r.op + " " + r.amount)
		return
	case plainRule:
		return
	case scoreRule, zoneRule, repeatsRule:
		r.printOutside(b)
		return
	}
	b.WriteString(" " + r.op + " " + quote(r.text))
}
