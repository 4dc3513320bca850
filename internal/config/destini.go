package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// The form in which destination controls are imported and exported: an INI
// file, a section a domain, with the parameter names of reference 8.1. A
// [DEFAULT] section must be there and have all parameters but bounce_profile and
// those that files of the field do not know;
// the others take from it what they do not say.

// maxDestinationText is the largest file that is read.
const maxDestinationText = 4 << 20

// iniField is one parameter.
type iniField struct {
	name     string
	optional bool // also in DEFAULT
	get      func(Destination) string
	set      func(*Destination, string) error
}

var iniFields = []iniField{
	{"ip_sort_pref", false, func(d Destination) string { return orText(d.IP, ipPreferences[0]) }, word(func(d *Destination) *string { return &d.IP }, ipPreferences, nil)},
	{"max_host_concurrency", false, func(d Destination) string { return strconv.Itoa(d.Concurrency) }, number(func(d *Destination) *int { return &d.Concurrency })},
	{"max_messages_per_connection", false, func(d Destination) string { return strconv.Itoa(d.Messages) }, number(func(d *Destination) *int { return &d.Messages })},
	{"recipient_limit", false, func(d Destination) string { return strconv.Itoa(d.RateLimit) }, number(func(d *Destination) *int { return &d.RateLimit })},
	{"recipient_minutes", false, func(d Destination) string { return strconv.Itoa(d.RateMinutes) }, number(func(d *Destination) *int { return &d.RateMinutes })},
	{"limit_type", true, func(Destination) string { return "host" }, only("host", "limits count for a domain")},
	{"limit_apply", true, func(Destination) string { return "VG" }, only("VG", "limits count for each interface that mail leaves from")},
	{"table_tls", false, func(d Destination) string { return d.TLS }, word(func(d *Destination) *string { return &d.TLS }, tlsModes,
		map[string]string{"off": "none", "on": "preferred", "require": "required", "on_verify": "preferred-verify", "require_verify": "required-verify"})},
	{"dane", true, func(d Destination) string { return orText(d.DANE, On) }, word(func(d *Destination) *string { return &d.DANE }, []string{On, Off}, nil)},
	{"mta_sts", true, func(d Destination) string { return orText(d.MTASTS, On) }, word(func(d *Destination) *string { return &d.MTASTS }, []string{On, Off}, nil)},
	{"bounce_profile", true, func(d Destination) string { return d.BounceProfile }, func(d *Destination, v string) error { d.BounceProfile = v; return nil }},
}

func orText(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func number(field func(*Destination) *int) func(*Destination, string) error {
	return func(d *Destination, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil {
			return errs.New(errs.Invalid, "%q is not a whole number", clip(v))
		}
		*field(d) = n
		return nil
	}
}

// word takes one of a list, or what stands for one of it in files of the field.
func word(field func(*Destination) *string, list []string, also map[string]string) func(*Destination, string) error {
	return func(d *Destination, v string) error {
		v = strings.ToLower(v)
		if known, ok := also[v]; ok {
			v = known
		}
		if !slices.Contains(list, v) {
			return errs.New(errs.Invalid, "%q is not one of %s", clip(v), strings.Join(list, ", "))
		}
		*field(d) = v
		return nil
	}
}

func only(value, why string) func(*Destination, string) error {
	return func(_ *Destination, v string) error {
		if !strings.EqualFold(v, value) {
			return errs.New(errs.Invalid, "%q is not supported: %s (%s)", clip(v), why, value)
		}
		return nil
	}
}

// Parameter is one parameter of a destination control with its value.
type Parameter struct{ Name, Value string }

// Parameters gives those of a row that can be changed, in a fixed order.
func (d Destination) Parameters() []Parameter {
	var all []Parameter
	for _, f := range iniFields {
		if f.name != "limit_type" && f.name != "limit_apply" { // they have one value
			all = append(all, Parameter{f.name, f.get(d)})
		}
	}
	return all
}

// Set changes one parameter by its name.
func (d *Destination) Set(name, value string) error {
	for _, f := range iniFields {
		if f.name == strings.ToLower(name) {
			if err := f.set(d, value); err != nil {
				return errs.New(errs.Invalid, "%s: %s", f.name, errs.Public(err))
			}
			return nil
		}
	}
	return errs.New(errs.Invalid, "%q is not a parameter; known are %s", clip(name), iniNames())
}

// FormatDestinations writes destination controls as ParseDestinations reads them.
func FormatDestinations(rows []Destination) string {
	var b strings.Builder
	for i, d := range rows {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "[%s]\n", d.Domain)
		for _, f := range iniFields {
			if v := f.get(d); v != "" {
				fmt.Fprintf(&b, "%s = %s\n", f.name, v)
			}
		}
	}
	return b.String()
}

// ParseDestinations reads an INI file. Errors name the line.
func ParseDestinations(text string) ([]Destination, error) {
	if len(text) > maxDestinationText {
		return nil, errs.New(errs.Invalid, "the file is larger than %d bytes", maxDestinationText)
	}
	p := iniParser{at: map[string]int{}}
	for line := range strings.Lines(text) {
		p.line++
		if err := p.take(strings.TrimSpace(line)); err != nil {
			return nil, errs.Context(err, "line %d", p.line)
		}
	}
	def, ok := p.at[DefaultDestination]
	if !ok {
		return nil, errs.New(errs.Invalid, "there is no section [DEFAULT]")
	}
	for _, f := range iniFields {
		if _, ok := p.sections[def].values[f.name]; !ok && !f.optional {
			return nil, errs.New(errs.Invalid, "section [DEFAULT] has no %s", f.name)
		}
	}
	return p.rows(p.sections[def])
}

type iniSection struct {
	name   string
	line   int
	values map[string]iniValue
}

type iniValue struct {
	text string
	line int
}

type iniParser struct {
	line     int
	sections []iniSection
	at       map[string]int
}

func (p *iniParser) take(line string) error {
	switch {
	case line == "" || line[0] == '#' || line[0] == ';':
		return nil
	case line[0] == '[':
		name, ok := strings.CutSuffix(line[1:], "]")
		if !ok {
			return errs.New(errs.Invalid, "a bracket is not closed")
		}
		return p.section(strings.TrimSpace(name))
	case len(p.sections) == 0:
		return errs.New(errs.Invalid, "%q stands before the first section", clip(line))
	}
	key, value, ok := strings.Cut(line, "=")
	key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
	known := slices.ContainsFunc(iniFields, func(f iniField) bool { return f.name == key })
	if !ok || !known {
		return errs.New(errs.Invalid, "%q is not a parameter; known are %s", clip(key), iniNames())
	}
	values := p.sections[len(p.sections)-1].values
	if _, twice := values[key]; twice {
		return errs.New(errs.Invalid, "%s stands in this section twice", key)
	}
	values[key] = iniValue{value, p.line}
	return nil
}

func iniNames() string {
	var names []string
	for _, f := range iniFields {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}

func (p *iniParser) section(name string) error {
	if strings.EqualFold(name, DefaultDestination) {
		name = DefaultDestination
	} else {
		domain, err := mail.ParseDomain(name)
		if err != nil {
			return errs.New(errs.Invalid, "[%s] is neither a domain nor DEFAULT", clip(name))
		}
		name = domain
	}
	if _, twice := p.at[name]; twice {
		return errs.New(errs.Invalid, "[%s] stands here twice", name)
	}
	p.at[name] = len(p.sections)
	p.sections = append(p.sections, iniSection{name: name, line: p.line, values: map[string]iniValue{}})
	return nil
}

// rows makes the rows, each with what DEFAULT says where it says nothing.
func (p *iniParser) rows(def iniSection) ([]Destination, error) {
	var out []Destination
	for _, s := range p.sections {
		d := Destination{Domain: s.name}
		for _, f := range iniFields {
			v, ok := s.values[f.name]
			if !ok {
				if v, ok = def.values[f.name]; !ok {
					continue
				}
			}
			if err := f.set(&d, v.text); err != nil {
				return nil, errs.Context(err, "line %d: %s", v.line, f.name)
			}
		}
		out = append(out, d)
	}
	return out, nil
}
