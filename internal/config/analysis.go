package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// FileAnalysis is where the analyser of attachments is.
type FileAnalysis struct {
	Analyser string   `xml:"analyser"`
	Key      string   `xml:"analyser_password" secret:"1"`
	CAFile   string   `xml:"ca_file"`
	Kinds    []string `xml:"kind"`
	MaxSize  string   `xml:"max_file_size"`
	Timeout  string   `xml:"timeout"`
}

// analysisKinds are what is analysed when nothing is set: what can act by itself
// or is opened by a program that acts for it.
var analysisKinds = []string{"executable", "document", "compressed", "pdf", "html"}

// Limits of file analysis.
const (
	maxAnalysisSize  = 100 << 20
	maxAnalysisKinds = 50
)

func (a FileAnalysis) empty() bool {
	return a.Analyser == "" && a.Key == "" && a.CAFile == "" && len(a.Kinds) == 0 && a.MaxSize == "" && a.Timeout == ""
}

// Effective gives what is analysed, and checks the element.
func (a FileAnalysis) Effective() (kinds []string, size int64, timeout time.Duration, err error) {
	kinds, size, timeout = a.Kinds, 20<<20, 30*time.Second
	if a.Analyser == "" {
		if !a.empty() {
			return nil, 0, 0, errs.New(errs.Invalid, "analyser is missing: the URL of its interface")
		}
		return nil, size, timeout, nil
	}
	u, err := url.Parse(a.Analyser)
	if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && local(u.Hostname())) || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, 0, 0, errs.New(errs.Invalid, "analyser is a URL such as https://analyser.example.com/ (http only on this machine), not %q", clip(a.Analyser))
	}
	if len(kinds) == 0 {
		kinds = analysisKinds
	}
	if len(kinds) > maxAnalysisKinds || slices.ContainsFunc(kinds, func(k string) bool { return !kindWord(k) }) {
		return nil, 0, 0, errs.New(errs.Invalid, "kind is what a file is, such as executable, document, pdf, or all; %d at most", maxAnalysisKinds)
	}
	if strings.ContainsFunc(a.Key, func(r rune) bool { return r <= ' ' || r > '~' }) || len(a.Key) > 500 {
		return nil, 0, 0, errs.New(errs.Invalid, "analyser_password is at most 500 printable characters without blanks")
	}
	if a.MaxSize != "" {
		if size, err = ParseSize(a.MaxSize); err != nil || size < 1 || size > maxAnalysisSize {
			return nil, 0, 0, errs.New(errs.Invalid, "max_file_size is 1 to 100M, not %q", clip(a.MaxSize))
		}
	}
	if a.Timeout != "" {
		if timeout, err = ParseSpan(a.Timeout); err != nil || timeout < time.Second || timeout > 10*time.Minute {
			return nil, 0, 0, errs.New(errs.Invalid, "timeout is from 1s to 10m, not %q", clip(a.Timeout))
		}
	}
	return kinds, size, timeout, nil
}

// local reports whether a host is this machine.
func local(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }

// kindWord reports whether a name is of lower-case letters, digits and dashes.
func kindWord(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Parameters gives the settings in a fixed order. The key is not shown.
func (a FileAnalysis) Parameters() []Parameter {
	key := ""
	if a.Key != "" {
		key = mask
	}
	return []Parameter{{"analyser", a.Analyser}, {"analyser_password", key}, {"ca_file", a.CAFile}, {"kind", strings.Join(a.Kinds, ",")}, {"max_file_size", a.MaxSize}, {"timeout", a.Timeout}}
}

// Set changes one setting by its name.
func (a *FileAnalysis) Set(name, value string) error {
	if name = strings.ToLower(name); name == "kind" {
		a.Kinds = list(strings.ToLower(value))
		return nil
	}
	to := map[string]*string{"analyser": &a.Analyser, "analyser_password": &a.Key, "ca_file": &a.CAFile, "max_file_size": &a.MaxSize, "timeout": &a.Timeout}[name]
	if to == nil {
		return errs.New(errs.Invalid, "%q is not a parameter; known are analyser, analyser_password, ca_file, kind, max_file_size, timeout", clip(name))
	}
	*to = value
	return nil
}

func (k checker) fileAnalysis() error {
	if _, _, _, err := k.c.FileAnalysis.Effective(); err != nil {
		return k.at("file_analysis", 0, "", "%s", errs.Public(err))
	}
	if k.c.FileAnalysis.Key == mask {
		return k.at("file_analysis", 0, "analyser_password", "the passphrase is masked; a file with masked passphrases cannot be loaded")
	}
	if k.c.Role != string(Gateway) && !k.c.FileAnalysis.empty() {
		return k.at("file_analysis", 0, "", "file_analysis is a setting of a gateway")
	}
	return nil
}

// analysis reads the settings of a row.
func (p MailPolicy) analysis(def policy.Analysis, engine bool) (policy.Analysis, error) {
	custom, off, err := mode("file_analysis", p.FileAnalysis, len(p.FileVerdicts), engine)
	switch {
	case off:
		return policy.Analysis{}, nil
	case !custom || err != nil:
		return def, err
	}
	out := policy.Analysis{Scan: true, Verdicts: policy.AnalysisDefaults()}
	for _, v := range p.FileVerdicts {
		verdict, ok := fileVerdict(v.Verdict)
		if !ok {
			return def, errs.New(errs.Invalid, "%q is not a verdict of file analysis", clip(v.Verdict))
		}
		out.Verdicts[verdict] = v.response()
	}
	return out, out.Check()
}

func fileVerdict(name string) (mail.FileVerdict, bool) {
	for _, v := range policy.AnalysisVerdicts {
		if v.String() == name {
			return v, true
		}
	}
	return 0, false
}

// analysisParameters gives those of a policy, in a fixed order.
func (p MailPolicy) analysisParameters() []Parameter {
	all := []Parameter{{"file_analysis", cmpOr(p.FileAnalysis, "default")}}
	for _, v := range policy.AnalysisVerdicts {
		r := given(p.FileVerdicts, v.String(), policy.AnalysisDefaults()[v])
		name := "file_" + v.String()
		all = append(all, Parameter{name, r.Action}, Parameter{name + "_tag", r.Tag}, Parameter{name + "_header", r.Header})
	}
	return all
}

// setAnalysis changes one of them.
func (p *MailPolicy) setAnalysis(name, value string) error {
	if name == "file_analysis" {
		if p.FileAnalysis = value; value != "custom" {
			p.FileVerdicts = nil
		}
		return nil
	}
	verdict, field, _ := strings.Cut(strings.TrimPrefix(name, "file_"), "_")
	v, ok := fileVerdict(verdict)
	if !ok {
		return unknownParameter(name)
	}
	p.FileAnalysis = "custom"
	return answer(&p.FileVerdicts, given(p.FileVerdicts, verdict, policy.AnalysisDefaults()[v]), name, field, value)
}
