package filter

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/mail"
)

// Question is asked of what lies outside of a message.
type Question struct {
	Kind QuestionKind
	Zone string // of Listed, in lower case
	Way  Way    // of the Repeats
}

// QuestionKind says what is asked.
type QuestionKind uint8

// The questions.
const (
	Listed         QuestionKind = iota // has a DNS list the client's address: 1 or 0
	Score                              // the client's reputation, in tenths
	RepeatSubjects                     // how often the subject was seen in the last hour, with this message
	RepeatSenders                      // and the envelope sender
)

// Way is the direction of messages that are counted together.
type Way uint8

// The directions.
const (
	BothWays Way = iota
	Incoming
	Outgoing
)

// Counted is what header-repeats rules of active filters count.
type Counted struct{ Subjects, Senders bool }

// Counts gives what has to be counted of every message.
func (s *Set) Counts() (c Counted) {
	if s == nil {
		return c
	}
	for _, f := range s.filters {
		if !f.active || f.invalid != "" {
			continue
		}
		f.root.eachRule(func(r *rule) {
			c.Subjects = c.Subjects || r.kind == repeatsRule && r.ask.Kind == RepeatSubjects
			c.Senders = c.Senders || r.kind == repeatsRule && r.ask.Kind == RepeatSenders
		})
	}
	return c
}

// outside decides the rules about what lies outside of the message. What nobody
// knows holds in no-reputation only.
func (r *run) outside(ctx context.Context, u *rule) (bool, error) {
	n, known, err := r.m.Outside(ctx, u.ask)
	switch {
	case err != nil:
		return false, err
	case u.word == "no-reputation":
		return !known, nil
	case !known:
		return u.op == "!=", nil // which test turns round: nothing is said of it either way
	case u.word == "reputation":
		return compare(n, u.op, u.number), nil
	case u.kind == repeatsRule:
		return n >= u.number, nil
	}
	return n > 0, nil
}

// score reads: > -2.5. The number is kept in tenths.
func (p *parser) score(r *rule) error {
	if err := p.comparison(r, comparisons[:]...); err != nil {
		return err
	}
	f, err := strconv.ParseFloat(p.tok.text, 64)
	if tenths := f * 10; p.tok.kind != tokenNumber || err != nil || f < -10 || f > 10 || math.Abs(tenths-math.Round(tenths)) > 1e-9 {
		return p.here("expected a score from -10.0 to 10.0, found %v", p.tok)
	}
	r.number, r.amount = int64(math.Round(f*10)), p.tok.text
	return p.step()
}

// dnsList reads: ("zone.example").
func (p *parser) dnsList(r *rule) error {
	if err := p.expect("(", "after "+r.word); err != nil {
		return err
	}
	t, err := p.stringArgument("the zone of a DNS list")
	if err != nil {
		return err
	}
	r.text = t.text
	zone, err := mail.ParseDomain(t.text)
	if err != nil || strings.HasPrefix(zone, "[") || len(zone) > 190 {
		return fail(t.line, t.col, "%q is no zone of a DNS list, such as list.example", clip(t.text))
	}
	r.ask.Zone = zone
	return p.expect(")", "after the zone")
}

// repeatTargets are what header-repeats counts.
var repeatTargets = map[string]QuestionKind{"subject": RepeatSubjects, "mail-from": RepeatSenders}

// repeatWays are its directions.
var repeatWays = [...]string{"both", "incoming", "outgoing"}

// repeats reads: ("subject", 10[, "incoming"]).
func (p *parser) repeats(r *rule) error {
	if err := p.expect("(", "after "+r.word); err != nil {
		return err
	}
	t, err := p.stringArgument(`"subject" or "mail-from"`)
	if err != nil {
		return err
	}
	kind, known := repeatTargets[strings.ToLower(t.text)]
	if !known {
		return fail(t.line, t.col, "what is counted is \"subject\" or \"mail-from\", not %q", clip(t.text))
	}
	r.args, r.ask.Kind = []string{strings.ToLower(t.text)}, kind
	if err := p.expect(",", "before the number of messages"); err != nil {
		return err
	}
	n, err := p.threshold("how many messages of the last hour, with this one, it takes")
	if err != nil {
		return err
	}
	if r.number = int64(n); p.is(",") {
		if err := p.step(); err != nil {
			return err
		}
		t, err := p.stringArgument("a direction")
		if err != nil {
			return err
		}
		i := slices.Index(repeatWays[:], strings.ToLower(t.text))
		if i < 0 {
			return fail(t.line, t.col, "the direction is \"incoming\", \"outgoing\" or \"both\", not %q", clip(t.text))
		}
		r.args, r.ask.Way = append(r.args, repeatWays[i]), Way(i)
	}
	return p.expect(")", "after the number of messages")
}

// printOutside is print for these rules.
func (r *rule) printOutside(b *strings.Builder) {
	switch r.kind {
	case scoreRule:
		fmt.Fprintf(b, " %s %s", r.op, r.amount)
	case zoneRule:
		b.WriteString("(" + quote(r.text) + ")")
	case repeatsRule:
		b.WriteString("(" + quote(r.args[0]) + ", " + strconv.FormatInt(r.number, 10))
		if len(r.args) > 1 {
			b.WriteString(", " + quote(r.args[1]))
		}
		b.WriteByte(')')
	}
}

// refusedRules are rules of the original that there are none of here, and why.
var refusedRules = map[string]string{
	"mail-from-group":        "there is no LDAP directory; keep the addresses in a dictionary and use mail-from-dictionary-match",
	"rcpt-to-group":          "there is no LDAP directory; keep the addresses in a dictionary and use rcpt-to-dictionary-match",
	"image-verdict":          "nothing here judges pictures; attachment-filetype and attachment-size tell of them",
	"url-reputation":         "nobody rates URLs here; keep hosts in a dictionary and use body-dictionary-match, or a feed of outbreak rules",
	"url-no-reputation":      "nobody rates URLs here; keep hosts in a dictionary and use body-dictionary-match, or a feed of outbreak rules",
	"url-category":           "nobody sorts URLs into categories here; keep hosts in a dictionary and use body-dictionary-match",
	"signed-certificate":     "certificates in mail are not read; signed tells that there is a signature",
	"smime-gateway":          "no S/MIME keys are kept here; signed and encrypted tell of what a message says of itself",
	"smime-gateway-verified": "S/MIME signatures are not verified; signed tells that there is one",
	"message-language":       "the language of a text is not recognised",
	"geolocation-rule":       "there is no list of countries; remote-ip and sendergroup tell where a message came from",
	"domain-reputation":      "nobody rates domains here; reputation is of the client's address",
	"macro-detection-rule":   "use attachment-finding == \"macro\"",
	"attachment-unscannable": "use unscannable",
}
