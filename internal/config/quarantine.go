package config

import (
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// settleQuarantines gives a gateway the quarantines that a new one has: one that
// an older program made names none.
func (c *Config) settleQuarantines() {
	if c.Role == string(Gateway) && len(c.Quarantines) == 0 {
		c.addQuarantines()
	}
}

// addQuarantines adds those of a new appliance.
func (c *Config) addQuarantines() {
	for _, q := range quarantine.Defaults() {
		c.Quarantines = append(c.Quarantines, Quarantine{Name: q.Name, Kind: string(q.Kind), Retention: FormatRetention(q.Retention), Action: string(q.DefaultAction)})
	}
}

func (k checker) quarantines() error {
	if _, err := k.c.Rules(); err != nil {
		return k.at("quarantine_rules", 0, "", "%s", errs.Public(err))
	}
	all, at, err := k.c.quarantineSettings()
	if err != nil {
		return k.at("quarantines/quarantine", at, "", "%s", errs.Public(err))
	}
	if err := quarantine.Check(all); err != nil {
		return k.at("quarantines", 0, "", "%s", errs.Public(err))
	}
	return nil
}

// QuarantineSettings gives the quarantines as the domain reads them.
func (c *Config) QuarantineSettings() ([]quarantine.Settings, error) {
	all, _, err := c.quarantineSettings()
	return all, err
}

func (c *Config) quarantineSettings() (all []quarantine.Settings, at int, err error) {
	for i, q := range c.Quarantines {
		d, err := ParseRetention(q.Retention)
		if err != nil {
			return nil, i, err
		}
		s := quarantine.Settings{Name: q.Name, Former: q.Former, Kind: quarantine.Kind(q.Kind), Retention: d, DefaultAction: quarantine.Action(q.Action), Exempt: q.Exempt, ReleaseClean: q.Clean, Users: q.Users}
		for _, r := range q.Roles {
			s.Roles = append(s.Roles, mail.Role(r))
		}
		if s.Early, err = q.early(); err != nil {
			return nil, i, err
		}
		if err := s.Check(); err != nil {
			return nil, i, err
		}
		all = append(all, s)
	}
	return all, 0, nil
}

// early gives what is done to what leaves a quarantine before its time.
func (q Quarantine) early() (mail.Extras, error) {
	x := mail.Extras{Tag: q.Tag, Strip: q.Strip}
	switch q.Place {
	case "", "start":
	case "end":
		x.AtEnd = true
	default:
		return x, errs.New(errs.Invalid, "early_subject_place of quarantine %q is start or end, not %q", clip(q.Name), clip(q.Place))
	}
	if q.Header == "" {
		return x, nil
	}
	name, value, ok := strings.Cut(q.Header, ":")
	if !ok {
		return x, errs.New(errs.Invalid, "early_header of quarantine %q is not of the form X-Name: value", clip(q.Name))
	}
	x.Header, x.Value = name, strings.TrimSpace(value)
	return x, nil
}

// ParseRetention reads 10d or 12h.
func ParseRetention(s string) (time.Duration, error) {
	unit := time.Hour
	digits, ok := strings.CutSuffix(s, "h")
	if !ok {
		digits, ok = strings.CutSuffix(s, "d")
		unit = 24 * time.Hour
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || n == 0 {
		return 0, errs.New(errs.Invalid, "%q is not a retention period such as 10d or 12h", clip(s))
	}
	return time.Duration(n) * unit, nil
}

// FormatRetention writes what ParseRetention reads.
func FormatRetention(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
}

// Rules gives what holds for all quarantines together; an empty element is the
// default.
func (c *Config) Rules() (r quarantine.Rules, err error) {
	r = quarantine.DefaultRules()
	for _, f := range []struct {
		name, text string
		to         *time.Duration
	}{
		{"undo_release", c.QuarantineRules.UndoRelease, &r.UndoRelease},
		{"delete_rest", c.QuarantineRules.DeleteRest, &r.DeleteRest},
		{"keep_released", c.QuarantineRules.KeepReleased, &r.KeepTaken},
	} {
		if f.text == "" {
			continue
		}
		if *f.to, err = ParseSpan(f.text); err != nil {
			return r, errs.Context(err, "%s", f.name)
		}
	}
	if text := c.QuarantineRules.Pool; text != "" {
		if r.Pool, err = ParseSize(text); err != nil {
			return r, errs.Context(err, "pool_size")
		}
	}
	if text := c.QuarantineRules.SearchText; text != "" {
		if r.Text, err = ParseSize(text); err != nil {
			return r, errs.Context(err, "search_text")
		}
	}
	for _, f := range []struct {
		name, text string
		to         *mail.Address
	}{{"report_false_positive", c.QuarantineRules.ReportFalse, &r.FalsePositives}, {"report_suspicious", c.QuarantineRules.ReportSuspicious, &r.Suspicious}} {
		if f.text == "" {
			continue
		}
		if *f.to, err = mail.ParseAddress(f.text); err != nil || f.to.Domain == "" {
			return r, errs.New(errs.Invalid, "%s is an address such as outbreak@vendor.example, not %q", f.name, clip(f.text))
		}
	}
	return r, r.Check()
}

// ParseSize reads bytes such as 512M, 20G or 2T, of 1024; 0 is none.
func ParseSize(s string) (int64, error) {
	for i, unit := range []string{"K", "M", "G", "T", ""} {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		shift := 10 * (i + 1)
		if unit == "" {
			shift = 0
		}
		if n, err := strconv.ParseUint(digits, 10, 63-shift); err == nil {
			return int64(n) << shift, nil
		}
		break
	}
	return 0, errs.New(errs.Invalid, "%q is not a size such as 512M or 20G", clip(s))
}

// FormatSize writes what ParseSize reads.
func FormatSize(n int64) string {
	unit := 0
	for unit < 4 && n > 0 && n%1024 == 0 {
		n, unit = n/1024, unit+1
	}
	return strconv.FormatInt(n, 10) + []string{"", "K", "M", "G", "T"}[unit]
}

// spans are the units of ParseSpan, the largest first.
var spans = []struct {
	unit string
	d    time.Duration
}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

// ParseSpan reads a time such as 30s, 15m, 8h, 7d or 1w; 0 is none.
func ParseSpan(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	for _, u := range spans {
		if digits, ok := strings.CutSuffix(s, u.unit); ok {
			if n, err := strconv.ParseUint(digits, 10, 31); err == nil && int64(n) <= int64(1<<63-1)/int64(u.d) {
				return time.Duration(n) * u.d, nil
			}
		}
	}
	return 0, errs.New(errs.Invalid, "%q is not a time such as 30s, 8h or 7d", clip(s))
}

// FormatSpan writes whole seconds as ParseSpan reads them.
func FormatSpan(d time.Duration) string {
	for _, u := range spans[1:] {
		if d > 0 && d%u.d == 0 {
			return strconv.FormatInt(int64(d/u.d), 10) + u.unit
		}
	}
	return "0"
}
