package filter

import (
	"fmt"
	"slices"
	"strings"

	"lazaret/internal/mail"
)

// actionForm is how an action is written.
type actionForm struct {
	word  string
	need  int // arguments that it must have
	args  []parameter
	usage string
}

// parameter is one argument of an action.
type parameter struct {
	number bool // digits, with K and M when it is of bytes; otherwise a text in quotes
	bytes  bool
	check  func(text string) (argument, error)
}

// actions is the table of actions.
var actions = [...]actionForm{
	{"quarantine", 1, of(quarantineName), `quarantine("Policy")`},
	{"duplicate-quarantine", 1, of(quarantineName), `duplicate-quarantine("Policy")`},
	{"insert-header", 2, of(newField, withVariables), `insert-header("X-Name", "value")`},
	{"log-entry", 1, of(withVariables), `log-entry("text")`},
	{"skip-filters", 0, nil, `skip-filters()`},
	{"strip-header", 1, of(field), `strip-header("X-Name")`},
	{"edit-header-text", 3, of(field, expression, plainText), `edit-header-text("Subject", "regular expression", "text")`},
	{"edit-body-text", 2, of(expression, plainText), `edit-body-text("regular expression", "text")`},
	{"add-heading", 1, of(resource), `add-heading("disclaimer")`},
	{"add-footer", 1, of(resource), `add-footer("disclaimer")`},
	{"html-convert", 0, nil, `html-convert()`},
	{"drop-attachments", 0, nil, `drop-attachments()`},
	{"drop-attachments-by-name", 1, of(expression, notice), `drop-attachments-by-name("regular expression", "notice")`},
	{"drop-attachments-by-type", 1, of(folded, notice), `drop-attachments-by-type("regular expression", "notice")`},
	{"drop-attachments-by-mimetype", 1, of(folded, notice), `drop-attachments-by-mimetype("regular expression", "notice")`},
	{"drop-attachments-by-filetype", 1, of(folded, notice), `drop-attachments-by-filetype("regular expression", "notice")`},
	{"drop-attachments-by-size", 1, []parameter{{number: true, bytes: true}, {check: notice}}, `drop-attachments-by-size(5M, "notice")`},
	{"drop-attachments-where-contains", 1, []parameter{{check: term}, {check: notice}, {number: true}}, `drop-attachments-where-contains("regular expression", "notice", 1)`},
	{"drop-attachments-where-dictionary-match", 1, []parameter{{check: dictionaryName}, {check: notice}, {number: true}}, `drop-attachments-where-dictionary-match("dictionary", "notice", 1)`},
	{"bcc", 1, of(address, withVariables, address, host), `bcc("archive@example.com")`},
	{"bcc-scan", 1, of(address, withVariables, address, host), `bcc-scan("archive@example.com")`},
	{"notify", 1, of(people, withVariables, sender, resource), `notify("admin@example.com", "subject", "from@example.com", "disclaimer")`},
	{"notify-copy", 1, of(people, withVariables, sender, resource), `notify-copy("admin@example.com", "subject", "from@example.com", "disclaimer")`},
	{"archive", 1, of(archiveName), `archive("name")`},
	{"log", 1, of(archiveName), `log("name")`},
	{"alt-rcpt-to", 1, of(address), `alt-rcpt-to("somebody@example.com")`},
	{"alt-mailhost", 1, of(host), `alt-mailhost("mail.example.com")`},
	{"alt-src-host", 1, of(interfaceName), `alt-src-host("Data 1")`},
	{"bounce-profile", 1, of(profileName), `bounce-profile("name")`},
	{"tag-message", 1, of(tag), `tag-message("tag")`},
	{"skip-spamcheck", 0, nil, `skip-spamcheck()`},
	{"skip-viruscheck", 0, nil, `skip-viruscheck()`},
	{"skip-vofcheck", 0, nil, `skip-vofcheck()`},
	{"bounce", 0, nil, `bounce()`},
	{"deliver", 0, nil, `deliver()`},
	{"drop", 0, nil, `drop()`},
}

// of makes parameters that are texts.
func of(checks ...func(string) (argument, error)) (all []parameter) {
	for _, c := range checks {
		all = append(all, parameter{check: c})
	}
	return all
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
	for i := range actions {
		if d := &actions[i]; d.word == a.word {
			if err := p.step(); err != nil {
				return nil, err
			}
			if err := p.arguments(a, d); err != nil {
				return nil, err
			}
			return a, a.prepare()
		}
	}
	if why, known := refusedActions[a.word]; known {
		return nil, p.here("the action %s is not done here: %s", a.word, why)
	}
	known := make([]string, len(actions))
	for i, d := range actions {
		known[i] = d.word
	}
	slices.Sort(known)
	return nil, p.here("unknown action %q; the actions are %s", clip(p.tok.text), strings.Join(known, ", "))
}

func (p *parser) arguments(a *action, d *actionForm) error {
	as := "as in " + d.usage
	if err := p.expect("(", "after "+a.word+", "+as); err != nil {
		return err
	}
	for i, param := range d.args {
		if i >= d.need && (i == 0 && p.is(")") || i > 0 && !p.is(",")) {
			break
		}
		if i > 0 {
			if err := p.expect(",", as); err != nil {
				return err
			}
		}
		arg, err := p.argument(&param, as)
		if err != nil {
			return err
		}
		a.args = append(a.args, arg)
	}
	return p.expect(")", as)
}

// argument reads one argument.
func (p *parser) argument(param *parameter, as string) (argument, error) {
	if param.number {
		n, ok := parseNumber(p.tok.text, param.bytes)
		arg := argument{text: p.tok.text, n: n, number: true}
		if p.tok.kind != tokenNumber || !ok || n < 1 || !param.bytes && n > maxThreshold {
			return arg, p.here("expected a number from 1 on, %s, found %v", as, p.tok)
		}
		return arg, p.step()
	}
	t, err := p.stringArgument("a text, " + as + ",")
	if err != nil {
		return argument{}, err
	}
	if len(t.text) > maxText {
		return argument{}, fail(t.line, t.col, "the text is longer than %d bytes", maxText)
	}
	arg, err := param.check(t.text)
	arg.text = t.text
	return arg, at(t, err)
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

// refusedActions are actions of the original that are not done here, and why.
var refusedActions = map[string]string{
	"encrypt":                        "no encryption service belongs to this program; use destconfig to demand TLS, or send such mail to an encrypting host with alt-mailhost",
	"encrypt-deferred":               "no encryption service belongs to this program; use destconfig to demand TLS, or send such mail to an encrypting host with alt-mailhost",
	"smime-gateway":                  "no S/MIME keys are kept here; an encrypting host can be named with alt-mailhost",
	"smime-gateway-deferred":         "no S/MIME keys are kept here; an encrypting host can be named with alt-mailhost",
	"url-reputation-replace":         "nobody rates URLs here; edit-body-text changes text by an expression",
	"url-reputation-defang":          "nobody rates URLs here; edit-body-text changes text by an expression",
	"url-reputation-proxy-redirect":  "nobody rates URLs here; edit-body-text changes text by an expression",
	"url-no-reputation-replace":      "nobody rates URLs here; edit-body-text changes text by an expression",
	"url-no-reputation-defang":       "nobody rates URLs here; edit-body-text changes text by an expression",
	"url-category-replace":           "nobody sorts URLs into categories here; edit-body-text changes text by an expression",
	"url-category-defang":            "nobody sorts URLs into categories here; edit-body-text changes text by an expression",
	"url-category-proxy-redirect":    "nobody sorts URLs into categories here; edit-body-text changes text by an expression",
	"skip-ampcheck":                  "file analysis is switched by mail policy (file_analysis=off), not by message",
	"skip-marketingcheck":            "there is no graymail engine",
	"skip-socialcheck":               "there is no graymail engine",
	"skip-bulkcheck":                 "there is no graymail engine",
	"drop-attachments-by-fileinfo":   "use drop-attachments-by-name, -by-type, -by-filetype or -by-size",
	"drop-macro-enabled-attachments": "use the rule attachment-finding == \"macro\" with quarantine or drop-attachments",
}

// checkName knows what things of the gateway that a filter names are called.
func checkName(what, name string, most int) error {
	if name == "" || len(name) > most || name != strings.TrimSpace(name) || harmless(name) != name {
		return fmt.Errorf("%q is no name of %s: 1 to %d printable characters", clip(name), what, most)
	}
	return nil
}

// quarantines reports whether an action names one.
func (a *action) quarantines() bool {
	return a.word == "quarantine" || a.word == "duplicate-quarantine"
}

// addresses are who an argument names.
type addressees struct {
	to                 []mail.Address
	sender, recipients bool
}
