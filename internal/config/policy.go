package config

import (
	"net"
	"path"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// Antivirus is where the antivirus engine is.
type Antivirus struct {
	Clamd   string `xml:"clamd"`
	MaxAge  string `xml:"max_database_age"`
	MaxSize string `xml:"max_message_size"`
	Timeout string `xml:"timeout"`
}

// MailPolicy is one row of a table of mail policies, or DEFAULT.
type MailPolicy struct {
	Table      string         `xml:"table"`
	Name       string         `xml:"policy_name"`
	Senders    []string       `xml:"sender"`
	Recipients []string       `xml:"recipient"`
	Antivirus  string         `xml:"antivirus"`
	Verdicts   []VirusVerdict `xml:"antivirus_verdict"`
}

// VirusVerdict is what a policy does about one verdict.
type VirusVerdict struct {
	Verdict string `xml:"verdict"`
	Action  string `xml:"action"`
	Tag     string `xml:"subject_tag"`
	Header  string `xml:"add_header"`
}

// Scanner is the antivirus engine as the gateway asks it. Address is empty
// without one.
type Scanner struct {
	Address string
	MaxAge  time.Duration
	MaxSize int64
	Timeout time.Duration
}

// defaultAge is how old signatures may be when nothing is set.
const defaultAge = 7 * 24 * time.Hour

// Scanner reads the element.
func (c *Config) Scanner() (s Scanner, err error) {
	a := c.Antivirus
	s = Scanner{Address: a.Clamd, MaxAge: defaultAge, Timeout: 2 * time.Minute}
	if a.Clamd == "" {
		if a != (Antivirus{}) {
			return s, errs.New(errs.Invalid, "clamd is missing: the path of its socket, or host:port")
		}
		return s, nil
	}
	if _, port, err := net.SplitHostPort(a.Clamd); !path.IsAbs(a.Clamd) && (err != nil || port == "") {
		return s, errs.New(errs.Invalid, "clamd is the path of a socket or host:port, not %q", clip(a.Clamd))
	}
	if a.MaxAge != "" {
		if s.MaxAge, err = ParseSpan(a.MaxAge); err != nil {
			return s, errs.Context(err, "max_database_age")
		}
	}
	if a.MaxSize != "" {
		if s.MaxSize, err = ParseSize(a.MaxSize); err != nil {
			return s, errs.Context(err, "max_message_size")
		}
	}
	if a.Timeout != "" {
		if s.Timeout, err = ParseSpan(a.Timeout); err != nil || s.Timeout < time.Second || s.Timeout > time.Hour {
			return s, errs.New(errs.Invalid, "timeout is from 1s to 1h, not %q", clip(a.Timeout))
		}
	}
	return s, nil
}

// The tables of mail policies.
const (
	Inbound  = "inbound"
	Outbound = "outbound"
)

// MailTable gives a table as the domain reads it.
func (c *Config) MailTable(name string) (*policy.Table, error) {
	t, _, err := c.mailTable(name)
	return t, err
}

func (c *Config) mailTable(name string) (t *policy.Table, at int, err error) {
	engine := c.Antivirus.Clamd != ""
	t = &policy.Table{Name: name, Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: engine}}}
	given := false
	for i, p := range c.MailPolicies {
		if p.Table != name || p.Name != policy.Default {
			continue
		}
		if given || len(p.Senders)+len(p.Recipients) > 0 {
			return nil, i, errs.New(errs.Invalid, "DEFAULT stands once in a table and is for everybody")
		}
		given = true
		if t.Default.Antivirus, err = p.antivirus(t.Default.Antivirus, engine); err != nil {
			return nil, i, err
		}
	}
	for i, p := range c.MailPolicies {
		if p.Table != name || p.Name == policy.Default {
			continue
		}
		row := policy.Row{Name: p.Name, From: normal(p.Senders), To: normal(p.Recipients)}
		if row.Antivirus, err = p.antivirus(t.Default.Antivirus, engine); err != nil {
			return nil, i, err
		}
		t.Rows = append(t.Rows, row)
		if err := t.Check(); err != nil { // row by row: the error is of this one
			return nil, i, err
		}
	}
	return t, 0, t.Check()
}

// normal gives patterns with their domains as envelopes have them.
func normal(list []string) []string {
	out := make([]string, len(list))
	for i, p := range list {
		at := strings.LastIndexByte(p, '@') + 1
		dot := strings.HasPrefix(p[at:], ".")
		d, err := mail.ParseDomain(strings.TrimPrefix(p[at:], "."))
		if err != nil || p == "ALL" {
			out[i] = p
			continue
		}
		if dot {
			d = "." + d
		}
		out[i] = p[:at] + d
	}
	return out
}

// antivirus reads the settings of a row.
func (p MailPolicy) antivirus(def policy.Antivirus, engine bool) (policy.Antivirus, error) {
	switch p.Antivirus {
	case "", "default":
		if len(p.Verdicts) > 0 {
			return def, errs.New(errs.Invalid, "antivirus_verdict needs antivirus custom")
		}
		return def, nil
	case "off":
		return policy.Antivirus{}, nil
	case "custom":
	default:
		return def, errs.New(errs.Invalid, "antivirus is default, custom or off, not %q", clip(p.Antivirus))
	}
	if !engine {
		return def, errs.New(errs.Invalid, "antivirus custom needs an engine: config/antivirus/clamd")
	}
	out := policy.Antivirus{Scan: true, Verdicts: policy.Defaults()}
	for _, v := range p.Verdicts {
		verdict, err := mail.ParseVerdict(v.Verdict)
		if err != nil {
			return def, err
		}
		out.Verdicts[verdict] = policy.Response{Action: policy.Action(v.Action), Tag: v.Tag, Header: v.Header}
	}
	return out, out.Check()
}

func (k checker) antivirus() error {
	if _, err := k.c.Scanner(); err != nil {
		return k.at("antivirus", 0, "", "%s", errs.Public(err))
	}
	return nil
}

func (k checker) mailPolicies() error {
	if k.c.Role != string(Gateway) {
		switch {
		case len(k.c.MailPolicies) > 0:
			return k.at("mail_policies", 0, "", "mail policies are settings of a gateway")
		case k.c.Antivirus != Antivirus{}:
			return k.at("antivirus", 0, "", "antivirus is a setting of a gateway")
		}
		return nil
	}
	for i, p := range k.c.MailPolicies {
		if p.Table != Inbound && p.Table != Outbound {
			return k.at("mail_policies/mail_policy", i, "table", "table is inbound or outbound, not %q", clip(p.Table))
		}
	}
	for _, name := range []string{Inbound, Outbound} {
		if _, i, err := k.c.mailTable(name); err != nil {
			return k.at("mail_policies/mail_policy", i, "", "%s", errs.Public(err))
		}
	}
	return nil
}
