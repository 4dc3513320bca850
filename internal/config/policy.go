package config

import (
	"net"
	"net/url"
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

// Antispam is where the anti-spam engine is.
type Antispam struct {
	Rspamd   string `xml:"rspamd"`
	Password string `xml:"rspamd_password" secret:"1"`
	MaxSize  string `xml:"max_message_size"`
	Timeout  string `xml:"timeout"`
}

// Limits reads the times and sizes of the element, and checks the rest of it.
func (a Antispam) Limits() (timeout time.Duration, size int64, err error) {
	timeout, size = time.Minute, 50<<20
	if a.Rspamd == "" {
		if a != (Antispam{}) {
			return 0, 0, errs.New(errs.Invalid, "rspamd is missing: the URL of its normal worker")
		}
		return timeout, size, nil
	}
	u, err := url.Parse(a.Rspamd)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return 0, 0, errs.New(errs.Invalid, "rspamd is a URL such as http://127.0.0.1:11333, not %q", clip(a.Rspamd))
	}
	if a.MaxSize != "" {
		if size, err = ParseSize(a.MaxSize); err != nil {
			return 0, 0, errs.Context(err, "max_message_size")
		}
	}
	if a.Timeout != "" {
		if timeout, err = ParseSpan(a.Timeout); err != nil || timeout < time.Second || timeout > time.Hour {
			return 0, 0, errs.New(errs.Invalid, "timeout is from 1s to 1h, not %q", clip(a.Timeout))
		}
	}
	return timeout, size, nil
}

// MailPolicy is one row of a table of mail policies, or DEFAULT.
type MailPolicy struct {
	Table      string         `xml:"table"`
	Name       string         `xml:"policy_name"`
	Senders    []string       `xml:"sender"`
	Recipients []string       `xml:"recipient"`
	Antispam   string         `xml:"antispam"`
	Spam       []VirusVerdict `xml:"antispam_verdict"`
	Antivirus  string         `xml:"antivirus"`
	Verdicts   []VirusVerdict `xml:"antivirus_verdict"`
	Outbreak   string         `xml:"outbreak"`

	Threats []OutbreakPolicy `xml:"outbreak_settings"` // one, when Outbreak is custom

	DLPMode string   `xml:"dlp"`        // outbound: default, custom or off
	DLP     []string `xml:"dlp_policy"` // with custom: those that count

	FileAnalysis string         `xml:"file_analysis"`
	FileVerdicts []VirusVerdict `xml:"file_analysis_verdict"`

	ContentMode string   `xml:"content_filters"` // default, custom or off
	Content     []string `xml:"content_filter"`  // with custom: those that run

	// What two readers would understand differently: default, quarantine,
	// deliver, drop; and what is added to such mail.
	Ambiguous       string `xml:"ambiguous"`
	AmbiguousTag    string `xml:"ambiguous_subject_tag"`
	AmbiguousHeader string `xml:"ambiguous_add_header"`
}

// VirusVerdict is what a policy does about one verdict, of either engine.
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
	engine, spamEngine := c.Antivirus.Clamd != "", c.Antispam.Rspamd != ""
	t = &policy.Table{Name: name, Default: policy.Row{Name: policy.Default, Antispam: policy.Antispam{Scan: spamEngine}, Antivirus: policy.Antivirus{Scan: engine}}}
	if c.Outbreak.Source != "" {
		t.Default.Outbreak = policy.OutbreakDefaults()
	}
	analyser := c.FileAnalysis.Analyser != ""
	t.Default.Analysis.Scan = analyser
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
		if t.Default.Antispam, err = p.antispam(t.Default.Antispam, spamEngine); err != nil {
			return nil, i, err
		}
		if t.Default.Ambiguous, err = p.ambiguous(t.Default.Ambiguous); err != nil {
			return nil, i, err
		}
		if t.Default.Analysis, err = p.analysis(t.Default.Analysis, analyser); err != nil {
			return nil, i, err
		}
		if t.Default.Outbreak, err = p.outbreak(t.Default.Outbreak, c.Outbreak.Source != ""); err != nil {
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
		if row.Antispam, err = p.antispam(t.Default.Antispam, spamEngine); err != nil {
			return nil, i, err
		}
		if row.Ambiguous, err = p.ambiguous(t.Default.Ambiguous); err != nil {
			return nil, i, err
		}
		if row.Analysis, err = p.analysis(t.Default.Analysis, analyser); err != nil {
			return nil, i, err
		}
		if row.Outbreak, err = p.outbreak(t.Default.Outbreak, c.Outbreak.Source != ""); err != nil {
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

// mode reads default, custom or off of a row; verdicts is how many are given.
func mode(what, word string, verdicts int, engine bool) (custom, off bool, err error) {
	switch word {
	case "", "default":
		if verdicts > 0 {
			return false, false, errs.New(errs.Invalid, "%s_verdict needs %s custom", what, what)
		}
		return false, false, nil
	case "off":
		return false, true, nil
	case "custom":
		if !engine {
			return false, false, errs.New(errs.Invalid, "%s custom needs an engine: config/%s", what, what)
		}
		return true, false, nil
	}
	return false, false, errs.New(errs.Invalid, "%s is default, custom or off, not %q", what, clip(word))
}

// antivirus reads the settings of a row.
func (p MailPolicy) antivirus(def policy.Antivirus, engine bool) (policy.Antivirus, error) {
	custom, off, err := mode("antivirus", p.Antivirus, len(p.Verdicts), engine)
	switch {
	case off:
		return policy.Antivirus{}, nil
	case !custom || err != nil:
		return def, err
	}
	out := policy.Antivirus{Scan: true, Verdicts: policy.Defaults()}
	for _, v := range p.Verdicts {
		if v.Verdict == policy.Unopened {
			if out.Unopened = v.response(); v == (VirusVerdict{Verdict: v.Verdict, Action: "default"}) {
				out.Unopened = policy.Response{}
			}
			continue
		}
		verdict, err := mail.ParseVerdict(v.Verdict)
		if err != nil {
			return def, err
		}
		out.Verdicts[verdict] = v.response()
	}
	return out, out.Check()
}

// antispam reads the settings of a row.
func (p MailPolicy) antispam(def policy.Antispam, engine bool) (policy.Antispam, error) {
	custom, off, err := mode("antispam", p.Antispam, len(p.Spam), engine)
	switch {
	case off:
		return policy.Antispam{}, nil
	case !custom || err != nil:
		return def, err
	}
	out := policy.Antispam{Scan: true, Verdicts: policy.SpamDefaults()}
	for _, v := range p.Spam {
		verdict, err := mail.ParseSpamVerdict(v.Verdict)
		if err != nil {
			return def, err
		}
		out.Verdicts[verdict] = v.response()
	}
	return out, out.Check()
}

// ambiguous reads what a row says of ambiguous mail. The table checks the rest.
func (p MailPolicy) ambiguous(def policy.Response) (policy.Response, error) {
	if p.Ambiguous == "" || p.Ambiguous == "default" {
		if p.AmbiguousTag != "" || p.AmbiguousHeader != "" {
			return def, errs.New(errs.Invalid, "ambiguous_subject_tag and ambiguous_add_header need ambiguous quarantine or deliver")
		}
		return def, nil
	}
	return policy.Response{Action: policy.Action(p.Ambiguous), Tag: p.AmbiguousTag, Header: p.AmbiguousHeader}, nil
}

func (v VirusVerdict) response() policy.Response {
	return policy.Response{Action: policy.Action(v.Action), Tag: v.Tag, Header: v.Header}
}

func (k checker) antispam() error {
	if _, _, err := k.c.Antispam.Limits(); err != nil {
		return k.at("antispam", 0, "", "%s", errs.Public(err))
	}
	if k.c.Antispam.Password == mask {
		return k.at("antispam", 0, "rspamd_password", "the passphrase is masked; a file with masked passphrases cannot be loaded")
	}
	return nil
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
		case k.c.Antispam != Antispam{}:
			return k.at("antispam", 0, "", "antispam is a setting of a gateway")
		case k.c.Antivirus != Antivirus{}:
			return k.at("antivirus", 0, "", "antivirus is a setting of a gateway")
		case !k.c.Outbreak.empty():
			return k.at("outbreak_filters", 0, "", "outbreak_filters is a setting of a gateway")
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
