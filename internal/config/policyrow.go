package config

import (
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// verdicts that a policy has an answer to, in the order in which they are shown.
var verdicts = [...]mail.Verdict{mail.Repaired, mail.Encrypted, mail.Unscannable, mail.Infected, mail.Unscanned}

// Parameters gives what of a policy can be changed, in a fixed order.
func (p MailPolicy) Parameters() []Parameter {
	all := []Parameter{
		{"sender", strings.Join(p.Senders, ",")}, {"recipient", strings.Join(p.Recipients, ",")}, {"antivirus", cmpOr(p.Antivirus, "default")},
	}
	for _, v := range verdicts {
		r := p.response(v)
		name := v.String()
		all = append(all, Parameter{name, r.Action}, Parameter{name + "_tag", r.Tag}, Parameter{name + "_header", r.Header})
	}
	return all
}

func cmpOr(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// response gives what is done about a verdict, by default what all do.
func (p MailPolicy) response(v mail.Verdict) VirusVerdict {
	if i := p.findVerdict(v); i >= 0 {
		return p.Verdicts[i]
	}
	d := policy.Defaults()[v]
	return VirusVerdict{Verdict: v.String(), Action: string(d.Action), Tag: d.Tag, Header: d.Header}
}

func (p MailPolicy) findVerdict(v mail.Verdict) int {
	return slices.IndexFunc(p.Verdicts, func(x VirusVerdict) bool { return x.Verdict == v.String() })
}

// Set changes one parameter by its name. One about a verdict makes the
// settings of antivirus custom.
func (p *MailPolicy) Set(name, value string) error {
	name = strings.ToLower(name)
	switch name {
	case "sender":
		p.Senders = list(value)
		return nil
	case "recipient":
		p.Recipients = list(value)
		return nil
	case "antivirus":
		if p.Antivirus = value; value != "custom" {
			p.Verdicts = nil
		}
		return nil
	}
	word, field, _ := strings.Cut(name, "_")
	v, err := mail.ParseVerdict(word)
	if err != nil || !slices.Contains(verdicts[:], v) {
		return errs.New(errs.Invalid, "%q is not a parameter; known are %s", clip(name), policyNames())
	}
	r := p.response(v)
	switch field {
	case "":
		r.Action = value
		if value == string(policy.Drop) || value == string(policy.Wait) {
			r.Tag, r.Header = "", "" // nothing goes on that could have them
		}
	case "tag":
		r.Tag = value
	case "header":
		r.Header = value
	default:
		return errs.New(errs.Invalid, "%q is not a parameter; known are %s", clip(name), policyNames())
	}
	p.Verdicts = slices.Clone(p.Verdicts)
	if i := p.findVerdict(v); i >= 0 {
		p.Verdicts[i] = r
	} else {
		p.Verdicts = append(p.Verdicts, r)
	}
	p.Antivirus = "custom"
	return nil
}

// list reads names with commas between them.
func list(s string) (out []string) {
	for _, w := range strings.Split(s, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

func policyNames() string {
	var names []string
	for _, p := range (MailPolicy{}).Parameters() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// Parameters gives the settings of the engine, in a fixed order.
func (a Antivirus) Parameters() []Parameter {
	return []Parameter{{"clamd", a.Clamd}, {"max_database_age", a.MaxAge}, {"max_message_size", a.MaxSize}, {"timeout", a.Timeout}}
}

// Set changes one setting of the engine by its name.
func (a *Antivirus) Set(name, value string) error {
	to := map[string]*string{"clamd": &a.Clamd, "max_database_age": &a.MaxAge, "max_message_size": &a.MaxSize, "timeout": &a.Timeout}[strings.ToLower(name)]
	if to == nil {
		return errs.New(errs.Invalid, "%q is not a parameter; known are clamd, max_database_age, max_message_size, timeout", clip(name))
	}
	*to = value
	return nil
}
