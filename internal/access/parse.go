package access

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"lazaret/internal/errs"
)

// Limits of a table's text (promise P6).
const (
	maxText    = 4 << 20
	maxLine    = 1000
	maxEntries = 100_000
	maxName    = 32
	maxComment = 200
)

// ParseHAT reads a table in the text form of the seed. Lines are trimmed,
// empty lines and lines that start with # are skipped. An error names its line.
//
// Policies stand first: "$NAME", then "ACTION {name = value, ...}", the pairs
// parted by commas or line ends. Groups follow: "NAME:", entries one a line,
// "$POLICY (comment)". The last group is "ALL" without a colon. A group may
// use a predefined policy that the text does not define.
func ParseHAT(text string) (*HAT, error) {
	lines, err := splitLines(text)
	if err != nil {
		return nil, errs.Context(err, "HAT")
	}
	p := hatParser{lines: lines, hat: &HAT{}, names: map[string]bool{}}
	if err := p.run(); err != nil {
		return nil, errs.New(errs.Invalid, "HAT line %d: %s", p.line, errs.Public(err))
	}
	return p.hat, nil
}

// textLine is one line that says something, with its number from 1.
type textLine struct {
	number int
	text   string
}

func splitLines(text string) ([]textLine, error) {
	if len(text) > maxText {
		return nil, errs.New(errs.Invalid, "the text is longer than %d bytes", maxText)
	}
	var out []textLine
	n := 0
	for raw := range strings.Lines(text) {
		n++
		line := strings.TrimRight(raw, "\r\n")
		if len(line) > maxLine {
			return nil, errs.New(errs.Invalid, "line %d is longer than %d bytes", n, maxLine)
		}
		if !utf8.ValidString(line) {
			return nil, errs.New(errs.Invalid, "line %d is not UTF-8", n)
		}
		line = strings.TrimSpace(line)
		if strings.IndexFunc(line, unprintable) >= 0 {
			return nil, errs.New(errs.Invalid, "line %d has a control character", n)
		}
		if line != "" && line[0] != '#' {
			out = append(out, textLine{n, line})
		}
	}
	return out, nil
}

// unprintable tells what may not stand in a table: comments and names reach
// terminals and pages. A tab parts words and is allowed.
func unprintable(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }

// hatParser walks the lines; line is the number of the one it stands on.
type hatParser struct {
	lines   []textLine
	line    int
	hat     *HAT
	names   map[string]bool
	entries int
	zones   map[string]bool
}

func (p *hatParser) next() (string, bool) {
	if len(p.lines) == 0 {
		return "", false
	}
	l := p.lines[0]
	p.lines, p.line = p.lines[1:], l.number
	return l.text, true
}

func (p *hatParser) run() error {
	for {
		line, ok := p.next()
		if !ok {
			return errs.New(errs.Invalid, "the table does not end in ALL with its policy")
		}
		var err error
		switch {
		case line == All:
			if err = p.group(All); err != nil {
				return err
			}
			if _, more := p.next(); more {
				return errs.New(errs.Invalid, "nothing may follow the policy of ALL")
			}
			return nil
		case line[0] == '$':
			err = p.policy(line)
		case strings.HasSuffix(line, ":"):
			err = p.namedGroup(strings.TrimSpace(line[:len(line)-1]))
		default:
			err = errs.New(errs.Invalid, "%q is neither $POLICY, nor GROUP:, nor ALL", clip(line))
		}
		if err != nil {
			return err
		}
	}
}

// policy reads the definition that starts with line.
func (p *hatParser) policy(line string) error {
	name := line[1:]
	if !validName(name) {
		return errs.New(errs.Invalid, "policy name %q: 1 to %d letters, digits, - and _", clip(name), maxName)
	}
	if len(p.hat.groups) > 0 {
		return errs.New(errs.Invalid, "$%s: policies are defined before the first sender group, and a group has one policy", name)
	}
	if p.find(name) != nil {
		return errs.New(errs.Invalid, "policy $%s is defined twice", name)
	}
	body, err := p.body(name)
	if err != nil {
		return err
	}
	pol := &Policy{Name: name, Action: body.action}
	seen := map[string]bool{}
	for _, pair := range body.pairs {
		p.line = pair.line
		if err := setParam(&pol.Params, seen, pair.name, pair.value); err != nil {
			return err
		}
	}
	if pol.Params.BannerCode != 0 && pol.Action != Reject {
		return errs.New(errs.Invalid, "policy $%s: banner_code is the code of a refusal, and the action is %s", name, pol.Action)
	}
	p.hat.policies = append(p.hat.policies, pol)
	return nil
}

func (p *hatParser) find(name string) *Policy {
	for _, pol := range p.hat.policies {
		if pol.Name == name {
			return pol
		}
	}
	return nil
}

func (p *hatParser) namedGroup(name string) error {
	if name == All {
		return errs.New(errs.Invalid, "ALL, the last group, is written without a colon")
	}
	if !validName(name) {
		return errs.New(errs.Invalid, "sender group name %q: 1 to %d letters, digits, - and _", clip(name), maxName)
	}
	return p.group(name)
}

// group reads entries up to and with the policy line.
func (p *hatParser) group(name string) error {
	if p.names[name] {
		return errs.New(errs.Invalid, "sender group %s is there twice", name)
	}
	p.names[name] = true
	g := &Group{Name: name}
	for {
		line, ok := p.next()
		if !ok {
			return errs.New(errs.Invalid, "sender group %s has no policy", name)
		}
		text, note, err := cutComment(line)
		if err != nil {
			return err
		}
		if strings.HasPrefix(text, "$") {
			return p.close(g, text[1:], note)
		}
		if err := p.entry(g, text, note); err != nil {
			return err
		}
	}
}

func (p *hatParser) entry(g *Group, text, note string) error {
	if g.Name == All || text == All || strings.HasSuffix(text, ":") && validName(text[:len(text)-1]) {
		return errs.New(errs.Invalid, "sender group %s: a policy is expected, not %q", g.Name, clip(text))
	}
	c, err := parseCondition(text)
	if err != nil {
		return err
	}
	if p.entries++; p.entries > maxEntries {
		return errs.New(errs.Invalid, "the table has more than %d entries", maxEntries)
	}
	if c.zone != "" {
		if p.zones == nil {
			p.zones = map[string]bool{}
		}
		if p.zones[c.zone] = true; len(p.zones) > maxZones {
			return errs.New(errs.Invalid, "the table asks more than %d DNS lists", maxZones)
		}
	}
	g.index.add(len(g.Entries), c)
	g.Entries = append(g.Entries, Entry{Text: text, Comment: note})
	return nil
}

func (p *hatParser) close(g *Group, policy, note string) error {
	g.Policy, g.Comment = policy, note
	g.policy = p.find(policy)
	if g.policy == nil {
		predefined, ok := predefinedPolicy(policy)
		if !ok {
			return errs.New(errs.Invalid, "policy $%s is not defined", clip(policy))
		}
		p.hat.policies = append(p.hat.policies, &predefined)
		g.policy = &predefined
	}
	if g.Name == All && g.policy.Action == Continue {
		return errs.New(errs.Invalid, "ALL is the last group: its policy cannot be CONTINUE")
	}
	p.hat.groups = append(p.hat.groups, g)
	return nil
}

// cutComment splits "text (comment)".
func cutComment(line string) (text, note string, err error) {
	open := strings.IndexByte(line, '(')
	if open < 0 {
		return line, "", nil
	}
	text = strings.TrimSpace(line[:open])
	if text == "" || !strings.HasSuffix(line, ")") {
		return "", "", errs.New(errs.Invalid, "a comment stands in parentheses behind an entry or policy, to the end of the line")
	}
	note = strings.TrimSpace(line[open+1 : len(line)-1])
	if utf8.RuneCountInString(note) > maxComment {
		return "", "", errs.New(errs.Invalid, "a comment has at most %d characters", maxComment)
	}
	return text, note, nil
}

func validName(s string) bool {
	if s == "" || len(s) > maxName || s == All {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// policyBody is ACTION {pairs}.
type policyBody struct {
	action Action
	pairs  []pair
}

type pair struct {
	line        int
	name, value string
}

// body reads ACTION { ... }, which may go over several lines.
func (p *hatParser) body(name string) (policyBody, error) {
	line, ok := p.next()
	if !ok {
		return policyBody{}, errs.New(errs.Invalid, "policy $%s has no action", name)
	}
	word, rest, ok := strings.Cut(line, "{")
	action, known := parseAction(strings.TrimSpace(word))
	if !ok || !known {
		return policyBody{}, errs.New(errs.Invalid, "policy $%s: expected ACTION {...} with ACCEPT, REJECT, RELAY, TCPREFUSE or CONTINUE, not %q", name, clip(line))
	}
	b := policyBody{action: action}
	for {
		done, err := b.line(p.line, rest)
		if err != nil || done {
			return b, err
		}
		if rest, ok = p.next(); !ok {
			return b, errs.New(errs.Invalid, "policy $%s is not closed by }", name)
		}
	}
}

// line reads the pairs of one line, up to its end or the closing brace.
func (b *policyBody) line(number int, s string) (done bool, err error) {
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return false, nil
		}
		if s[0] == '}' {
			if strings.TrimSpace(s[1:]) != "" {
				return false, errs.New(errs.Invalid, "nothing may follow the closing brace")
			}
			return true, nil
		}
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			return false, errs.New(errs.Invalid, "expected name = value, not %q", clip(s))
		}
		value, rest, err := cutValue(strings.TrimLeft(rest, " \t"))
		if err != nil {
			return false, err
		}
		b.pairs = append(b.pairs, pair{number, strings.TrimSpace(name), value})
		if len(b.pairs) > 100 {
			return false, errs.New(errs.Invalid, "a policy has at most 100 parameters")
		}
		s = rest
	}
}

// cutValue reads a word or a quoted string.
func cutValue(s string) (value, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		value, rest, ok := strings.Cut(s[1:], `"`)
		if !ok {
			return "", "", errs.New(errs.Invalid, "a quoted value is not closed")
		}
		return value, rest, nil
	}
	i := strings.IndexAny(s, " \t,}")
	if i < 0 {
		i = len(s)
	}
	return s[:i], s[i:], nil
}
