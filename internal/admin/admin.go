// Package admin is the command language: words, arguments, rights, questions
// and output.
//
// It knows no transport: whoever runs a command hands it a console and a
// principal. It decides nothing about mail either: each command is one row of a
// table and translates to a call of the domain. It promises that no command
// runs without its right, that a command somebody may not run looks as if it
// did not exist, that every change leaves an audit line, and that nothing a
// command prints can reach a terminal as a control sequence, whoever wrote it.
package admin

import (
	"context"
	"sort"
	"strings"
	"sync"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Command is one row of the table.
type Command struct {
	Name    string // one word, or two: "quarantine list"
	Summary string // one line for help
	Usage   string // the forms, a line each, for help NAME
	Right   auth.Right
	Hidden  bool // not in help: for machines
	MaxArgs int  // more is "Invalid arguments"; -1: the command counts itself
	Changes bool // each run leaves an audit line
	Input   bool // may read the input of an executed command
	Run     func(ctx context.Context, c *Call) error

	// Offers gives words that may follow those behind the name, for the tab
	// key; nil: none.
	Offers func(ctx context.Context, p mail.Principal, words []string) []string
}

// Auditor takes what somebody did.
type Auditor interface {
	Record(p mail.Principal, what, result string)
}

// Options of a Language.
type Options struct {
	Host    func() string // the prompt's name, at best of three labels (clients 2.2)
	Product string        // "Lazaret 0.1 for Gateway"
	Welcome string        // "Welcome to the ..."
	Version []string      // what version prints
	Audit   Auditor
	Fault   func(component, text string) // a handler that panicked, an error nobody classified
	Clock   func() time.Time             // nil: time.Now
}

// Language runs commands. Safe for concurrent use.
type Language struct {
	o     Options
	words map[string]Command

	mu   sync.Mutex
	last map[string]login
}

type login struct {
	at   time.Time
	from string
}

// New makes a language of the built-in commands help, version, exit and quit
// and of those given.
func New(o Options, commands ...Command) (*Language, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Host == nil || o.Audit == nil || o.Fault == nil {
		return nil, errs.New(errs.Internal, "command language: host, audit or fault is missing")
	}
	l := &Language{o: o, words: map[string]Command{}, last: map[string]login{}}
	for _, c := range append(l.builtin(), commands...) {
		if err := l.add(c); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Language) add(c Command) error {
	if c.Run == nil || c.Right == "" || len(strings.Fields(c.Name)) == 0 || len(strings.Fields(c.Name)) > 2 {
		return errs.New(errs.Internal, "command %q: name, right or handler is missing", c.Name)
	}
	if _, twice := l.words[c.Name]; twice {
		return errs.New(errs.Internal, "command %q is there twice", c.Name)
	}
	l.words[c.Name] = c
	return nil
}

// find looks up the longest name that words begin with.
func (l *Language) find(words []string) (Command, []string, bool) {
	first := strings.ToLower(words[0])
	if len(words) > 1 {
		if c, ok := l.words[first+" "+strings.ToLower(words[1])]; ok {
			return c, words[2:], true
		}
	}
	c, ok := l.words[first]
	return c, words[1:], ok
}

// visible gives the commands the principal may see, by name.
func (l *Language) visible(p mail.Principal) []Command {
	var list []Command
	for _, c := range l.words {
		if !c.Hidden && auth.Can(p.Role, c.Right) {
			list = append(list, c)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}
