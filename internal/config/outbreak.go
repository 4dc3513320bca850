package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/outbreak"
	"lazaret/internal/policy"
)

// Outbreak is where outbreak rules come from, and who may sign them.
type Outbreak struct {
	Source  string   `xml:"source"`
	Feed    string   `xml:"feed"`
	Keys    []string `xml:"key"`
	Poll    string   `xml:"poll"`
	CAFile  string   `xml:"ca_file"`
	MaxSize string   `xml:"max_message_size"`
}

// OutbreakPolicy is what a policy does about outbreak rules.
type OutbreakPolicy struct {
	Threshold int      `xml:"threshold"`
	Viral     string   `xml:"viral_retention"`
	Other     string   `xml:"other_retention"`
	Through   bool     `xml:"deliver_nonviral"`
	Bypass    []string `xml:"bypass_extension"`
	Modify    int      `xml:"modify_level"`
	Subject   string   `xml:"modify_subject"`
	Headers   bool     `xml:"modify_headers"`
}

func (o Outbreak) empty() bool {
	return len(o.Keys) == 0 && o.Source+o.Feed+o.Poll+o.CAFile+o.MaxSize == ""
}

// Limits of the element.
const (
	maxOutbreakKeys = 4
	minPoll         = 10 * time.Second
)

// Settings reads the element; size is that beyond which messages are not held
// against rules, 0 is none.
func (o Outbreak) Settings() (s outbreak.Settings, size int64, err error) {
	s = outbreak.Settings{Source: o.Source, Feed: o.Feed, CAFile: o.CAFile, Poll: outbreak.DefaultPoll}
	if o.Source == "" {
		if !o.empty() {
			return s, 0, errs.New(errs.Invalid, "source is missing: a file or an HTTPS URL")
		}
		return s, 0, nil
	}
	if err := outbreak.CheckSource(o.Source); err != nil {
		return s, 0, err
	}
	if o.Feed == "" || len(o.Feed) > outbreak.MaxName || strings.ContainsAny(o.Feed, " \"'") {
		return s, 0, errs.New(errs.Invalid, "feed is the name of the feed, 1 to %d characters without blanks and quotes", outbreak.MaxName)
	}
	if len(o.Keys) == 0 || len(o.Keys) > maxOutbreakKeys {
		return s, 0, errs.New(errs.Invalid, "key: 1 to %d public keys that may sign the feed are needed", maxOutbreakKeys)
	}
	for _, k := range o.Keys {
		key, err := outbreak.ParseKey(k)
		if err != nil {
			return s, 0, err
		}
		s.Keys = append(s.Keys, key)
	}
	if o.Poll != "" {
		if s.Poll, err = ParseSpan(o.Poll); err != nil || s.Poll < minPoll || s.Poll > 24*time.Hour {
			return s, 0, errs.New(errs.Invalid, "poll is from 10s to 1d, not %q", clip(o.Poll))
		}
	}
	if o.MaxSize != "" {
		if size, err = ParseSize(o.MaxSize); err != nil {
			return s, 0, errs.New(errs.Invalid, "max_message_size: %s", errs.Public(err))
		}
	}
	if len(o.CAFile) > 4096 || strings.ContainsAny(o.CAFile, "\r\n\t") {
		return s, 0, errs.New(errs.Invalid, "ca_file: %q is not the path of a file", clip(o.CAFile))
	}
	return s, size, nil
}

func (k checker) outbreak() error {
	if _, _, err := k.c.Outbreak.Settings(); err != nil {
		return k.at("outbreak_filters", 0, "", "%s", errs.Public(err))
	}
	return nil
}

// Parameters gives the settings, in a fixed order.
func (o Outbreak) Parameters() []Parameter {
	return []Parameter{{"source", o.Source}, {"feed", o.Feed}, {"key", strings.Join(o.Keys, ",")}, {"poll", o.Poll}, {"ca_file", o.CAFile}, {"max_message_size", o.MaxSize}}
}

// Set changes one setting by its name. Without a source there is nothing to
// set, and all of it goes.
func (o *Outbreak) Set(name, value string) error {
	switch name = strings.ToLower(name); name {
	case "key":
		o.Keys = list(value)
		return nil
	case "source":
		if o.Source = value; value == "" {
			*o = Outbreak{}
		}
		return nil
	}
	to := map[string]*string{"feed": &o.Feed, "poll": &o.Poll, "ca_file": &o.CAFile, "max_message_size": &o.MaxSize}[name]
	if to == nil {
		return errs.New(errs.Invalid, "%q is not a parameter; known are source, feed, key, poll, ca_file, max_message_size", clip(name))
	}
	*to = value
	return nil
}

// outbreak reads the settings of a row.
func (p MailPolicy) outbreak(def policy.Outbreak, rules bool) (policy.Outbreak, error) {
	word := p.Outbreak
	if len(p.Threats) > 1 {
		return def, errs.New(errs.Invalid, "outbreak_settings stands twice")
	}
	custom, off, err := mode("outbreak", word, len(p.Threats), rules)
	switch {
	case err != nil:
		return def, errs.New(errs.Invalid, "%s", strings.NewReplacer("outbreak_verdict", "outbreak_settings", "config/outbreak", "config/outbreak_filters", "an engine", "rules").Replace(errs.Public(err)))
	case off:
		return policy.Outbreak{}, nil
	case !custom || len(p.Threats) == 0:
		if custom {
			def = policy.OutbreakDefaults()
		}
		return def, nil
	}
	t := p.Threats[0]
	out := policy.Outbreak{Scan: true, Threshold: t.Threshold, Through: t.Through, Bypass: t.Bypass, Modify: t.Modify, Subject: t.Subject, Headers: t.Headers}
	if out.Viral, err = ParseSpan(t.Viral); err != nil {
		return def, errs.New(errs.Invalid, "viral_retention: %s", errs.Public(err))
	}
	if out.Other, err = ParseSpan(t.Other); err != nil {
		return def, errs.New(errs.Invalid, "other_retention: %s", errs.Public(err))
	}
	return out, out.Check()
}

// threats gives the row's outbreak settings, by default what all do.
func (p MailPolicy) threats() OutbreakPolicy {
	if len(p.Threats) > 0 {
		return p.Threats[0]
	}
	d := policy.OutbreakDefaults()
	return OutbreakPolicy{Threshold: d.Threshold, Viral: FormatSpan(d.Viral), Other: FormatSpan(d.Other), Subject: d.Subject, Headers: d.Headers}
}

// outbreakParameters gives those of a policy, in a fixed order.
func (p MailPolicy) outbreakParameters() []Parameter {
	t := p.threats()
	word := func(on bool) string {
		if on {
			return On
		}
		return Off
	}
	return []Parameter{
		{"outbreak_threshold", strconv.Itoa(t.Threshold)}, {"outbreak_viral_retention", t.Viral}, {"outbreak_other_retention", t.Other},
		{"outbreak_deliver_nonviral", word(t.Through)}, {"outbreak_bypass", strings.Join(t.Bypass, ",")}, {"outbreak_modify", strconv.Itoa(t.Modify)},
		{"outbreak_subject", t.Subject}, {"outbreak_headers", word(t.Headers)},
	}
}

// setOutbreak changes one of them, and makes the settings custom.
func (p *MailPolicy) setOutbreak(name, value string) error {
	t := p.threats()
	t.Bypass = slices.Clone(t.Bypass)
	level := func(to *int) error {
		n, err := strconv.Atoi(value)
		if err != nil {
			return errs.New(errs.Invalid, "%s is a number, not %q", name, clip(value))
		}
		*to = n
		return nil
	}
	flag := func(to *bool) error {
		if value != On && value != Off {
			return errs.New(errs.Invalid, "%s is on or off, not %q", name, clip(value))
		}
		*to = value == On
		return nil
	}
	var err error
	switch name {
	case "outbreak_threshold":
		err = level(&t.Threshold)
	case "outbreak_viral_retention":
		t.Viral = value
	case "outbreak_other_retention":
		t.Other = value
	case "outbreak_deliver_nonviral":
		err = flag(&t.Through)
	case "outbreak_bypass":
		t.Bypass = extensions(value)
	case "outbreak_modify":
		err = level(&t.Modify)
	case "outbreak_subject":
		t.Subject = value
	case "outbreak_headers":
		err = flag(&t.Headers)
	default:
		return unknownParameter(name)
	}
	if err == nil {
		p.Outbreak, p.Threats = "custom", []OutbreakPolicy{t}
	}
	return err
}

// extensions reads a list such as .pdf,docx.
func extensions(value string) []string {
	all := list(strings.ToLower(value))
	for i, e := range all {
		if !strings.HasPrefix(e, ".") {
			all[i] = "." + e
		}
	}
	return all
}
