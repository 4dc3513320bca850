package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"lazaret/internal/alert"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Alerts is who hears of trouble by mail.
type Alerts struct {
	From       string           `xml:"from_address"`     // empty: alerts at the host name
	Initial    int              `xml:"initial_interval"` // seconds before a repeated alert is mailed again; 0: 300
	Longest    int              `xml:"max_interval"`     // it doubles up to here; 0: 3600
	Recipients []AlertRecipient `xml:"alert_recipient"`
}

// AlertRecipient is one of them.
type AlertRecipient struct {
	Address  string `xml:"address"`
	Classes  string `xml:"classes"`  // with commas between; empty: all
	Severity string `xml:"severity"` // info, warning or critical, and above; empty: warning
}

// AlertClasses are the classes that an appliance knows.
var AlertClasses = []string{"certificates", "cpq", "delivery", "hardware", "quarantine", "system"}

// Intervals gives how long a repeated alert is held back: at first, and at most.
func (a Alerts) Intervals() (first, most time.Duration) {
	first, most = 5*time.Minute, time.Hour
	if a.Initial > 0 {
		first = time.Duration(a.Initial) * time.Second
	}
	if a.Longest > 0 {
		most = time.Duration(a.Longest) * time.Second
	}
	return first, max(first, most)
}

// AlertSender gives the address that alerts are from.
func (c *Config) AlertSender() mail.Address {
	if a, err := mail.ParseAddress(c.Alerts.From); err == nil && a.Domain != "" {
		return a
	}
	return mail.Address{Local: "alerts", Domain: c.Hostname}
}

// Recipient gives the recipient as the domain reads it. The error begins with
// the element and a colon.
func (r AlertRecipient) Recipient() (alert.Recipient, error) {
	out := alert.Recipient{From: alert.Warning}
	a, err := mail.ParseAddress(r.Address)
	if err != nil || a.Domain == "" {
		return out, errs.New(errs.Invalid, "address: %q is not an address", clip(r.Address))
	}
	out.Address = a
	if r.Severity != "" {
		if out.From, err = alert.ParseLevel(r.Severity); err != nil {
			return out, errs.New(errs.Invalid, "severity: %s", errs.Public(err))
		}
	}
	for _, c := range strings.Split(r.Classes, ",") {
		if c = strings.ToLower(strings.TrimSpace(c)); c == "" {
			continue
		}
		if !slices.Contains(AlertClasses, c) {
			return out, errs.New(errs.Invalid, "classes: %q is not one of %s", clip(c), strings.Join(AlertClasses, ", "))
		}
		out.Classes = append(out.Classes, c)
	}
	return out, nil
}

func (k checker) alerts() error {
	a := k.c.Alerts
	if f, err := mail.ParseAddress(a.From); a.From != "" && (err != nil || f.Domain == "") {
		return k.at("alerts", 0, "from_address", "%q is not an address", clip(a.From))
	}
	if a.Initial < 0 || a.Initial > 86400 {
		return k.at("alerts", 0, "initial_interval", "%d is not a number of seconds from 0 (default) to a day", a.Initial)
	}
	if a.Longest < 0 || a.Longest > 7*86400 {
		return k.at("alerts", 0, "max_interval", "%d is not a number of seconds from 0 (default) to 7 days", a.Longest)
	}
	if len(a.Recipients) > 50 {
		return k.at("alerts", 0, "", "there are more than 50 recipients")
	}
	for i, r := range a.Recipients {
		if _, err := r.Recipient(); err != nil {
			field, text, _ := strings.Cut(errs.Public(err), ": ")
			return k.at("alerts/alert_recipient", i, field, "%s", text)
		}
	}
	return nil
}

// SetField sets the field with that element name in a struct of this package
// from its text, as a file would; what the value may be is checked later.
func SetField(to any, name, text string) error {
	v := reflect.ValueOf(to).Elem()
	f, ok := fieldOf(v, name)
	if !ok || f.value.Kind() == reflect.Slice || f.value.Kind() == reflect.Struct {
		return errs.New(errs.Invalid, "%q is not one of: %s", clip(name), known(v))
	}
	n := &node{name: name, path: name, text: text}
	if err := decodeValue(n, f.value); err != nil {
		return errs.New(errs.Invalid, "%s: %s", name, strings.TrimPrefix(errs.Public(err), n.place()+": "))
	}
	return nil
}

// FieldTexts gives the names of the simple fields of a struct of this package
// with their values as text, in order.
func FieldTexts(from any) [][2]string {
	var out [][2]string
	v := reflect.ValueOf(from)
	for _, f := range fields(v) {
		switch f.value.Kind() {
		case reflect.String:
			out = append(out, [2]string{f.tag, f.value.String()})
		case reflect.Int, reflect.Int64:
			e := encoder{told: map[string]bool{}}
			e.element(field{}, "x", f.value, 0)
			out = append(out, [2]string{f.tag, strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(e.b.String()), "<x>"), "</x>")})
		}
	}
	return out
}
