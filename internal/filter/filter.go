// Package filter is the message filter language: it parses a script, checks it,
// prints it, and judges a message by it (reference 7.4, docs/filters.md).
//
// It decides only. It reads no mail itself (Message is the caller's), changes
// none, writes no log: what comes out is a mail.Disposition. A Set never changes
// after Parse and For, and is safe for concurrent use.
//
// It promises that judging ends: regular expressions are RE2 with a cap on their
// size, the script, its depth and the text looked at have limits; and that
// content which could not be read is an error or a mark, never "nothing found".
package filter

import (
	"fmt"
	"regexp"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
)

// Limits of a script.
const (
	MaxScript  = 1 << 20 // bytes
	MaxFilters = 1000
	MaxDepth   = 50 // of nested blocks, parentheses and NOTs together
	MaxName    = 64 // characters of a filter's name
)

// Set is a parsed script. The nil Set has no filters.
type Set struct {
	filters  []*program
	warnings []Warning
	bodies   []*match.Rule // of active filters, numbered by their Index
	texts    *match.Set    // of bodies
	want     Want          // what the active filters need of the content
	unseen   bool          // an active filter has the rule unscannable
	table    string        // of content filters: inbound or outbound; "" of message filters
}

// program is one filter.
type program struct {
	name   string
	active bool
	line   int
	root   *ifStmt

	invalid string // why it cannot be used, see For; "" when it can
}

// Info is what a list of filters shows.
type Info struct {
	Number int // from 1, in the order in which they run
	Name   string
	Active bool
	Line   int // of the script

	Invalid string // why it cannot be used, in words; "" when it can
}

// SyntaxError says where a script is wrong, and how.
type SyntaxError struct {
	Line, Column int // from 1; columns count characters
	Msg          string
}

// Error gives one sentence with the place.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
}

// Unwrap makes the error one of invalid input whose sentence may be shown.
func (e *SyntaxError) Unwrap() error { return errs.New(errs.Invalid, "%s", e.Error()) }

// Warning is about something that is allowed and probably not meant.
type Warning struct {
	Line, Column int
	Filter       string
	Msg          string
}

// String gives one sentence with the place.
func (w Warning) String() string {
	return fmt.Sprintf("line %d, column %d: filter %s: %s", w.Line, w.Column, w.Filter, w.Msg)
}

// Warnings gives what looks unintended, in the order of the script.
func (s *Set) Warnings() []Warning {
	if s == nil {
		return nil
	}
	return slices.Clone(s.warnings)
}

// List gives the filters in the order in which they run.
func (s *Set) List() []Info {
	if s == nil {
		return nil
	}
	out := make([]Info, len(s.filters))
	for i, f := range s.filters {
		out[i] = Info{Number: i + 1, Name: f.name, Active: f.active, Line: f.line, Invalid: f.invalid}
	}
	return out
}

// Quarantines gives the names of all quarantines that the filters name, active
// or not, sorted.
func (s *Set) Quarantines() []string {
	if s == nil {
		return nil
	}
	var out []string
	for _, u := range s.Uses() {
		out = append(out, u.Quarantine)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Use is one quarantine that a filter names.
type Use struct {
	Filter     string
	Active     bool // the filter is
	Quarantine string
}

// Uses gives which filter names which quarantine, each pair once, in the order
// of the script.
func (s *Set) Uses() (out []Use) {
	if s == nil {
		return nil
	}
	for _, f := range s.filters {
		f.root.eachAction(func(a *action) {
			if !a.quarantines() {
				return
			}
			if u := (Use{f.name, f.active, a.args[0].text}); !slices.Contains(out, u) {
				out = append(out, u)
			}
		})
	}
	return out
}

// Empty reports whether no filter can run: then no message need be looked at.
func (s *Set) Empty() bool {
	return s == nil || !slices.ContainsFunc(s.filters, func(f *program) bool { return f.active && f.invalid == "" })
}

// statement is an *ifStmt or an *action.
type statement interface{ isStatement() }

type ifStmt struct {
	cond *node
	then []statement
	els  []statement // nil without else
}

type action struct {
	word      string
	args      []argument
	line, col int

	texts *texts      // of the text resource that it names, see For
	body  *match.Rule // what attachments are looked through for
}

// argument is one of an action: its text, and what that says.
type argument struct {
	text   string
	number bool  // it is not written in quotes
	n      int64 // then
	tmpl   template
	re     *regexp.Regexp
	to     mail.Address
	people addressees
	host   string
	term   match.Term
}

func (*ifStmt) isStatement() {}
func (*action) isStatement() {}

// eachAction visits all actions in the order of the script.
func (i *ifStmt) eachAction(fn func(*action)) {
	for _, list := range [][]statement{i.then, i.els} {
		for _, st := range list {
			switch st := st.(type) {
			case *action:
				fn(st)
			case *ifStmt:
				st.eachAction(fn)
			}
		}
	}
}

// eachRule visits all rules in the order of the script.
func (i *ifStmt) eachRule(fn func(*rule)) {
	i.cond.eachRule(fn)
	for _, list := range [][]statement{i.then, i.els} {
		for _, st := range list {
			if sub, ok := st.(*ifStmt); ok {
				sub.eachRule(fn)
			}
		}
	}
}
