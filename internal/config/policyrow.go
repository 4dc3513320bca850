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

var spamVerdicts = [...]mail.SpamVerdict{mail.SpamPositive, mail.SpamSuspect, mail.SpamUnknown}

// Parameters gives what of a policy can be changed, in a fixed order.
func (p MailPolicy) Parameters() []Parameter {
	all := []Parameter{
		{"sender", strings.Join(p.Senders, ",")}, {"recipient", strings.Join(p.Recipients, ",")},
		{"antispam", cmpOr(p.Antispam, "default")}, {"antivirus", cmpOr(p.Antivirus, "default")}, {"outbreak", cmpOr(p.Outbreak, "default")},
		{"content_filters", cmpOr(p.ContentMode, "default")}, {"content_filter", strings.Join(p.Content, ",")},
	}
	for _, v := range spamVerdicts {
		r := p.spamResponse(v)
		name := "spam_" + v.String()
		all = append(all, Parameter{name, r.Action}, Parameter{name + "_tag", r.Tag}, Parameter{name + "_header", r.Header})
	}
	for _, v := range verdicts {
		r := p.response(v)
		name := v.String()
		all = append(all, Parameter{name, r.Action}, Parameter{name + "_tag", r.Tag}, Parameter{name + "_header", r.Header})
	}
	r := p.unopened()
	all = append(all, Parameter{policy.Unopened, r.Action}, Parameter{policy.Unopened + "_tag", r.Tag}, Parameter{policy.Unopened + "_header", r.Header})
	all = append(all, Parameter{"ambiguous", cmpOr(p.Ambiguous, "default")}, Parameter{"ambiguous_tag", p.AmbiguousTag}, Parameter{"ambiguous_header", p.AmbiguousHeader})
	all = append(append(all, p.outbreakParameters()...), p.analysisParameters()...)
	return append(all, Parameter{"dlp", cmpOr(p.DLPMode, "default")}, Parameter{"dlp_policy", strings.Join(p.DLP, ",")})
}

func cmpOr(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// response gives what is done about a verdict, by default what all do.
func (p MailPolicy) response(v mail.Verdict) VirusVerdict {
	return given(p.Verdicts, v.String(), policy.Defaults()[v])
}

// unopened gives what is done about archives that we do not open; default is what
// is done about all that is unscannable.
func (p MailPolicy) unopened() VirusVerdict {
	return given(p.Verdicts, policy.Unopened, policy.Response{Action: "default"})
}

func (p MailPolicy) spamResponse(v mail.SpamVerdict) VirusVerdict {
	return given(p.Spam, v.String(), policy.SpamDefaults()[v])
}

// given finds the row of a verdict, or makes one of the default.
func given(rows []VirusVerdict, verdict string, d policy.Response) VirusVerdict {
	if i := findVerdict(rows, verdict); i >= 0 {
		return rows[i]
	}
	return VirusVerdict{Verdict: verdict, Action: string(d.Action), Tag: d.Tag, Header: d.Header}
}

func findVerdict(rows []VirusVerdict, verdict string) int {
	return slices.IndexFunc(rows, func(x VirusVerdict) bool { return x.Verdict == verdict })
}

// Set changes one parameter by its name. One about a verdict makes the
// settings of its engine custom.
func (p *MailPolicy) Set(name, value string) error {
	name = strings.ToLower(name)
	switch name {
	case "sender":
		p.Senders = list(value)
		return nil
	case "recipient":
		p.Recipients = list(value)
		return nil
	case "antispam":
		if p.Antispam = value; value != "custom" {
			p.Spam = nil
		}
		return nil
	case "content_filters":
		if p.ContentMode = value; value != "custom" {
			p.Content = nil
		}
		return nil
	case "dlp":
		if p.DLPMode = value; value != "custom" {
			p.DLP = nil
		}
		return nil
	case "dlp_policy":
		p.DLP, p.DLPMode = list(value), "custom"
		return nil
	case "content_filter":
		p.Content, p.ContentMode = list(value), "custom"
		return nil
	case "antivirus":
		if p.Antivirus = value; value != "custom" {
			p.Verdicts = nil
		}
		return nil
	}
	switch {
	case strings.HasPrefix(name, "ambiguous"):
		return p.setAmbiguous(name, value)
	case name == "outbreak":
		if p.Outbreak = value; value != "custom" {
			p.Threats = nil
		}
		return nil
	case strings.HasPrefix(name, "file_"):
		return p.setAnalysis(name, value)
	case strings.HasPrefix(name, "outbreak_"):
		return p.setOutbreak(name, value)
	}
	if rest, ok := strings.CutPrefix(name, "spam_"); ok {
		word, field, _ := strings.Cut(rest, "_")
		v, err := mail.ParseSpamVerdict(word)
		if err != nil || !slices.Contains(spamVerdicts[:], v) {
			return unknownParameter(name)
		}
		p.Antispam = "custom"
		return answer(&p.Spam, p.spamResponse(v), name, field, value)
	}
	word, field, _ := strings.Cut(name, "_")
	if word == policy.Unopened {
		p.Antivirus = "custom"
		return answer(&p.Verdicts, p.unopened(), name, field, value)
	}
	v, err := mail.ParseVerdict(word)
	if err != nil || !slices.Contains(verdicts[:], v) {
		return unknownParameter(name)
	}
	p.Antivirus = "custom"
	return answer(&p.Verdicts, p.response(v), name, field, value)
}

// setAmbiguous changes what is done with ambiguous mail; what is added to it
// means that it is held or delivered.
func (p *MailPolicy) setAmbiguous(name, value string) error {
	switch name {
	case "ambiguous":
		p.Ambiguous = value
		if value == "" || value == "default" || value == string(policy.Drop) {
			p.AmbiguousTag, p.AmbiguousHeader = "", ""
		}
		return nil
	case "ambiguous_tag":
		p.AmbiguousTag = value
	case "ambiguous_header":
		p.AmbiguousHeader = value
	default:
		return unknownParameter(name)
	}
	if value != "" && (p.Ambiguous == "" || p.Ambiguous == "default") {
		p.Ambiguous = string(policy.Quarantine)
	}
	return nil
}

// answer changes one field of the row of a verdict.
func answer(rows *[]VirusVerdict, r VirusVerdict, name, field, value string) error {
	switch field {
	case "":
		r.Action = value
		if value == string(policy.Drop) || value == string(policy.Wait) || value == string(policy.Engine) || value == "default" {
			r.Tag, r.Header = "", "" // nothing goes on that could have them
		}
	case "tag":
		r.Tag = value
	case "header":
		r.Header = value
	default:
		return unknownParameter(name)
	}
	*rows = slices.Clone(*rows)
	if i := findVerdict(*rows, r.Verdict); i >= 0 {
		(*rows)[i] = r
	} else {
		*rows = append(*rows, r)
	}
	return nil
}

func unknownParameter(name string) error {
	return errs.New(errs.Invalid, "%q is not a parameter; known are %s", clip(name), policyNames())
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

// Parameters gives the settings of the engine, in a fixed order. The password
// is not shown.
func (a Antispam) Parameters() []Parameter {
	password := ""
	if a.Password != "" {
		password = mask
	}
	return []Parameter{{"rspamd", a.Rspamd}, {"rspamd_password", password}, {"max_message_size", a.MaxSize}, {"timeout", a.Timeout}}
}

// Set changes one setting of the engine by its name.
func (a *Antispam) Set(name, value string) error {
	to := map[string]*string{"rspamd": &a.Rspamd, "rspamd_password": &a.Password, "max_message_size": &a.MaxSize, "timeout": &a.Timeout}[strings.ToLower(name)]
	if to == nil {
		return errs.New(errs.Invalid, "%q is not a parameter; known are rspamd, rspamd_password, max_message_size, timeout", clip(name))
	}
	*to = value
	return nil
}
