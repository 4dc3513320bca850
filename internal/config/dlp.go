package config

import (
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/filter/dlp"
	"lazaret/internal/filter/match"
	"lazaret/internal/policy"
)

// DLPPolicy says what is not to leave, and what is done about it (docs/dlp.md).
type DLPPolicy struct {
	Name         string        `xml:"policy_name"`
	Dictionaries []string      `xml:"dictionary"`
	Identifiers  []string      `xml:"identifier"`
	Weight       int           `xml:"identifier_weight"` // 0: dlpWeight
	Severities   []DLPSeverity `xml:"severity"`          // of one that is missing the default
}

// DLPSeverity is what is done about one severity.
type DLPSeverity struct {
	Level      string `xml:"level"`
	From       int    `xml:"from_risk_factor"` // 0: this severity is never reached
	Action     string `xml:"action"`
	Quarantine string `xml:"quarantine"`
	Tag        string `xml:"subject_tag"`
	Header     string `xml:"add_header"`
}

const (
	dlpWeight      = 10
	maxDLPPolicies = 100
	maxDLPWeight   = 100
)

// dlpLevels are the severities by their names in settings, and what each does
// when nothing is set.
var dlpLevels = [...]struct {
	name string
	is   dlp.Severity
	def  DLPSeverity
}{
	{"low", dlp.Low, DLPSeverity{Level: "low", From: 10, Action: "deliver"}},
	{"medium", dlp.Medium, DLPSeverity{Level: "medium", From: 35, Action: "quarantine", Quarantine: "Policy"}},
	{"high", dlp.High, DLPSeverity{Level: "high", From: 60, Action: "quarantine", Quarantine: "Policy"}},
	{"critical", dlp.Critical, DLPSeverity{Level: "critical", From: 90, Action: "quarantine", Quarantine: "Policy"}},
}

// severity gives the row of a level, or its default.
func (p DLPPolicy) severity(level string) DLPSeverity {
	for _, s := range p.Severities {
		if s.Level == level {
			return s
		}
	}
	for _, l := range dlpLevels {
		if l.name == level {
			return l.def
		}
	}
	return DLPSeverity{}
}

// compile gives the policy as the engine takes it.
func (p DLPPolicy) compile(dictionary func(string) *match.Dictionary) (*dlp.Policy, error) {
	out := &dlp.Policy{Name: p.Name, Identifiers: p.Identifiers, Weight: p.Weight}
	if out.Weight == 0 {
		out.Weight = dlpWeight
	}
	switch {
	case !kindName(p.Name):
		return nil, errs.New(errs.Invalid, "%q is no name of a DLP policy: 1 to 40 letters, digits, _ - .", clip(p.Name))
	case out.Weight < 1 || out.Weight > maxDLPWeight:
		return nil, errs.New(errs.Invalid, "weight is 1 to %d", maxDLPWeight)
	}
	for _, id := range p.Identifiers {
		if !slices.Contains(match.Identifiers(), id) {
			return nil, errs.New(errs.Invalid, "%q is not a smart identifier; known are %s", clip(id), strings.Join(match.Identifiers(), ", "))
		}
	}
	for _, name := range p.Dictionaries {
		d := dictionary(name)
		if d == nil {
			return nil, errs.New(errs.Invalid, "there is no dictionary %q", clip(name))
		}
		out.Dictionaries = append(out.Dictionaries, d)
	}
	last := 0
	for _, l := range dlpLevels {
		s := p.severity(l.name)
		if s.From < 0 || s.From > dlp.MaxRisk || s.From > 0 && s.From <= last {
			return nil, errs.New(errs.Invalid, "%s_from is 0 to %d, and above that of the severity before", l.name, dlp.MaxRisk)
		}
		last = max(last, s.From)
		if err := s.check(); err != nil {
			return nil, errs.New(errs.Invalid, "%s: %s", l.name, errs.Public(err))
		}
		out.From[l.is], out.Responses[l.is] = s.From, dlp.Response{Action: s.Action, Quarantine: s.Quarantine, Tag: s.Tag, Header: s.Header}
	}
	return out, nil
}

func (s DLPSeverity) check() error {
	r := policy.Response{Action: policy.Action(s.Action), Tag: s.Tag, Header: s.Header}
	if err := r.Check(); err != nil {
		return err
	}
	if (s.Action == string(policy.Quarantine)) != (s.Quarantine != "") {
		return errs.New(errs.Invalid, "action quarantine names a quarantine, and no other does")
	}
	if s.Quarantine != "" && (len(s.Quarantine) > 255 || s.Quarantine == "Unclassified") {
		return errs.New(errs.Invalid, "%q cannot be named as a quarantine", clip(s.Quarantine))
	}
	return nil
}

func kindName(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
}

// FindDLP gives where the DLP policy of that name stands, or -1.
func (c *Config) FindDLP(name string) int {
	return slices.IndexFunc(c.DLPPolicies, func(p DLPPolicy) bool { return strings.EqualFold(p.Name, name) })
}

// DLPSets gives the DLP policies of each outbound mail policy that has any.
func (c *Config) DLPSets() (map[policy.Key]*dlp.Set, error) {
	all, err := c.compileDLP()
	if err != nil {
		return nil, err
	}
	sets := map[policy.Key]*dlp.Set{}
	made := map[string]*dlp.Set{}
	for _, name := range c.policyNames(Outbound) {
		var list []*dlp.Policy
		key := ""
		on := c.dlpOf(name)
		for i, p := range c.DLPPolicies {
			if slices.ContainsFunc(on, func(n string) bool { return strings.EqualFold(n, p.Name) }) {
				list = append(list, all[i])
				key += " " + p.Name
			}
		}
		if len(list) == 0 {
			continue
		}
		if made[key] == nil {
			if made[key], err = dlp.New(list); err != nil {
				return nil, err
			}
		}
		sets[policy.Key{Table: Outbound, Name: name}] = made[key]
	}
	return sets, nil
}

func (c *Config) compileDLP() ([]*dlp.Policy, error) {
	dictionary := c.dictionaryOnce()
	var all []*dlp.Policy
	for _, p := range c.DLPPolicies {
		d, err := p.compile(dictionary)
		if err == nil {
			_, err = dlp.New([]*dlp.Policy{d})
		}
		if err != nil {
			return nil, errs.New(errs.Invalid, "DLP policy %q: %s", clip(p.Name), errs.Public(err))
		}
		all = append(all, d)
	}
	return all, nil
}

// policyNames gives the mail policies of a table, DEFAULT too.
func (c *Config) policyNames(table string) []string {
	names := []string{policy.Default}
	for _, p := range c.MailPolicies {
		if p.Table == table && p.Name != policy.Default {
			names = append(names, p.Name)
		}
	}
	return names
}

// dlpOf names the DLP policies that a mail policy has.
func (c *Config) dlpOf(name string) []string {
	var row, def MailPolicy
	for _, p := range c.MailPolicies {
		if p.Table == Outbound && p.Name == name {
			row = p
		}
		if p.Table == Outbound && p.Name == policy.Default {
			def = p
		}
	}
	switch row.DLPMode {
	case "off":
		return nil
	case "", "default":
		return def.DLP
	}
	return row.DLP
}

func (k checker) dlp() error {
	if k.c.Role != string(Gateway) && len(k.c.DLPPolicies) > 0 {
		return k.at("dlp_policies", 0, "", "DLP policies are settings of a gateway")
	}
	if len(k.c.DLPPolicies) > maxDLPPolicies {
		return k.at("dlp_policies", 0, "", "there are more than %d DLP policies", maxDLPPolicies)
	}
	for i, p := range k.c.DLPPolicies {
		if k.c.FindDLP(p.Name) != i {
			return k.at("dlp_policies/dlp_policy", i, "policy_name", "DLP policy %q stands twice", clip(p.Name))
		}
	}
	if _, err := k.c.compileDLP(); err != nil {
		return k.at("dlp_policies", 0, "", "%s", errs.Public(err))
	}
	for i, p := range k.c.MailPolicies {
		if _, _, err := mode("dlp", p.DLPMode, len(p.DLP), true); err != nil {
			return k.at("mail_policies/mail_policy", i, "dlp", "%s", errs.Public(err))
		}
		if p.Table != Outbound && p.DLPMode != "" && p.DLPMode != "default" {
			return k.at("mail_policies/mail_policy", i, "dlp", "DLP is for outgoing mail: the outbound table")
		}
		for _, name := range p.DLP {
			if k.c.FindDLP(name) < 0 {
				return k.at("mail_policies/mail_policy", i, "dlp_policy", "there is no DLP policy %q", clip(name))
			}
		}
	}
	return nil
}

// Parameters gives what of a DLP policy can be changed, in a fixed order.
func (p DLPPolicy) Parameters() []Parameter {
	weight := p.Weight
	if weight == 0 {
		weight = dlpWeight
	}
	all := []Parameter{{"dictionary", strings.Join(p.Dictionaries, ",")}, {"identifier", strings.Join(p.Identifiers, ",")}, {"weight", strconv.Itoa(weight)}}
	for _, l := range dlpLevels {
		s := p.severity(l.name)
		all = append(all, Parameter{l.name + "_from", strconv.Itoa(s.From)}, Parameter{l.name, s.Action}, Parameter{l.name + "_quarantine", s.Quarantine},
			Parameter{l.name + "_tag", s.Tag}, Parameter{l.name + "_header", s.Header})
	}
	return all
}

// Set changes one parameter by its name.
func (p *DLPPolicy) Set(name, value string) error {
	number := func(to *int) error {
		n, err := strconv.Atoi(value)
		if err != nil {
			return errs.New(errs.Invalid, "%s is a number, not %q", name, clip(value))
		}
		*to = n
		return nil
	}
	switch name = strings.ToLower(name); name {
	case "dictionary":
		p.Dictionaries = list(value)
		return nil
	case "identifier":
		p.Identifiers = list(strings.ToLower(value))
		return nil
	case "weight":
		return number(&p.Weight)
	}
	level, field, _ := strings.Cut(name, "_")
	s := p.severity(level)
	var err error
	switch {
	case s.Level == "":
		field = "?"
	case field == "":
		if s.Action = value; value == string(policy.Quarantine) && s.Quarantine == "" {
			s.Quarantine = "Policy"
		} else if value != string(policy.Quarantine) {
			s.Quarantine = ""
		}
	}
	switch field {
	case "":
	case "from":
		err = number(&s.From)
	case "quarantine":
		if s.Quarantine = value; value != "" {
			s.Action = string(policy.Quarantine)
		}
	case "tag":
		s.Tag = value
	case "header":
		s.Header = value
	default:
		return errs.New(errs.Invalid, "%q is not a parameter of a DLP policy", clip(name))
	}
	p.Severities = append(slices.DeleteFunc(slices.Clone(p.Severities), func(o DLPSeverity) bool { return o.Level == level }), s)
	return err
}
