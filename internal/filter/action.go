package filter

import (
	"fmt"
	"slices"
	"strings"

	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
)

// actions is the table of actions: how many arguments each takes, and an example.
var actions = [...]struct {
	word  string
	args  int
	usage string
}{
	{"quarantine", 1, `quarantine("Policy")`},
	{"duplicate-quarantine", 1, `duplicate-quarantine("Policy")`},
	{"insert-header", 2, `insert-header("X-Name", "value")`},
	{"log-entry", 1, `log-entry("text")`},
	{"skip-filters", 0, `skip-filters()`},
	{"strip-header", 1, `strip-header("X-Name")`},
	{"edit-header-text", 3, `edit-header-text("Subject", "regular expression", "text")`},
	{"drop-attachments", 0, `drop-attachments()`},
	{"bcc", 1, `bcc("archive@example.com")`},
	{"skip-spamcheck", 0, `skip-spamcheck()`},
	{"skip-viruscheck", 0, `skip-viruscheck()`},
	{"skip-vofcheck", 0, `skip-vofcheck()`},
	{"bounce", 0, `bounce()`},
	{"deliver", 0, `deliver()`},
	{"drop", 0, `drop()`},
}

// maxText is the longest quarantine name and the longest text of an argument.
const (
	maxQuarantineName = 64
	maxText           = 900
)

// action reads: word("text", ...).
func (p *parser) action() (*action, error) {
	if p.tok.kind != tokenWord {
		return nil, p.here("expected an action, \"if\" or \"}\", found %v", p.tok)
	}
	a := &action{word: strings.ToLower(p.tok.text), line: p.tok.line, col: p.tok.col}
	for _, d := range actions {
		if d.word != a.word {
			continue
		}
		if err := p.step(); err != nil {
			return nil, err
		}
		return a, p.arguments(a, d.args, d.usage)
	}
	known := make([]string, len(actions))
	for i, d := range actions {
		known[i] = d.word
	}
	slices.Sort(known)
	return nil, p.here("unknown action %q; the actions are %s", clip(p.tok.text), strings.Join(known, ", "))
}

func (p *parser) arguments(a *action, count int, usage string) error {
	as := "as in " + usage
	if err := p.expect("(", "after "+a.word+", "+as); err != nil {
		return err
	}
	for i := range count {
		if i > 0 {
			if err := p.expect(",", as); err != nil {
				return err
			}
		}
		t, err := p.stringArgument("a text, " + as + ",")
		if err != nil {
			return err
		}
		arg, err := checkArgument(a.word, i, t.text)
		if err != nil {
			return at(t, err)
		}
		a.args = append(a.args, arg)
	}
	return p.expect(")", as)
}

// checkArgument knows what an argument must be.
func checkArgument(word string, i int, text string) (argument, error) {
	arg := argument{text: text}
	var err error
	switch {
	case len(text) > maxText:
		return arg, fmt.Errorf("the text is longer than %d bytes", maxText)
	case word == "quarantine" || word == "duplicate-quarantine":
		return arg, checkQuarantine(text)
	case word == "insert-header" && i == 0:
		_, err = mail.NewHeader(text, "")
	case word == "strip-header", word == "edit-header-text" && i == 0:
		err = checkField(text)
	case word == "edit-header-text" && i == 1:
		arg.re, err = match.Compile(text, false)
	case word == "edit-header-text":
		// without variables: the groups of the expression are what it can name
	case word == "bcc":
		arg.to, err = mail.ParseAddress(text)
	default:
		arg.tmpl, err = parseTemplate(text)
	}
	return arg, err
}

// checkQuarantine knows what a quarantine can be called. Whether it exists is
// known by the manager only; mail for an unknown one ends up in Unclassified,
// which for that reason no filter may name (reference 1.1).
func checkQuarantine(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a quarantine has a name")
	case len(name) > maxQuarantineName:
		return fmt.Errorf("the name of a quarantine has at most %d bytes", maxQuarantineName)
	case name != strings.TrimSpace(name) || strings.ContainsAny(name, "\"'\\<>\t"):
		return fmt.Errorf("the name of a quarantine has no quotes, backslashes, angle brackets, tabs or blanks around it")
	case strings.EqualFold(name, "Unclassified"):
		return fmt.Errorf("no filter can name the quarantine Unclassified: it takes what has no other place")
	}
	return nil
}
