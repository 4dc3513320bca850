package access

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

// param is one name that may stand between the braces.
type param struct {
	name string
	set  func(p *Params, value string) error
	get  func(p *Params) string // empty: not given
}

// paramTable gives the parameters in the order of the export.
func paramTable() []param {
	return []param{
		{"max_message_size", func(p *Params, v string) (err error) {
			p.MaxMessageSize, err = parseSize(v)
			return err
		}, func(p *Params) string { return formatSize(p.MaxMessageSize) }},
		countParam("max_rcpts_per_msg", func(p *Params) *int { return &p.MaxRecipients }),
		countParam("max_msgs_per_session", func(p *Params) *int { return &p.MaxMessages }),
		countParam("max_concurrency", func(p *Params) *int { return &p.MaxConcurrency }),
		countParam("max_rcpts_per_hour", func(p *Params) *int { return &p.HourlyRecipients }),
		codeParam("max_rcpts_per_hour_code", func(p *Params) *int { return &p.HourlyCode }),
		textParam("max_rcpts_per_hour_text", func(p *Params) *string { return &p.HourlyText }),
		numberParam("significant_bits", 8, 32, func(p *Params) *int { return &p.Bits4 }),
		numberParam("significant_bits_ipv6", 16, 128, func(p *Params) *int { return &p.Bits6 }),
		countParam("dhap_limit", func(p *Params) *int { return &p.InvalidRecipients }),
		textParam("dhap_limit_text", func(p *Params) *string { return &p.InvalidText }),
		countParam("max_rcpts_per_sender", func(p *Params) *int { return &p.SenderRecipients }),
		numberParam("max_rcpts_per_sender_minutes", 1, 1440, func(p *Params) *int { return &p.SenderMinutes }),
		codeParam("max_rcpts_per_sender_code", func(p *Params) *int { return &p.SenderCode }),
		textParam("max_rcpts_per_sender_text", func(p *Params) *string { return &p.SenderText }),
		wordParam("tls", func(p *Params) *TLSMode { return &p.TLS }, "preferred", "off", "required"),
		wordParam("smtp_auth", func(p *Params) *AuthMode { return &p.Auth }, "off", "preferred", "required"),
		switchParam("verify_sender", func(p *Params) *OnOff { return &p.VerifySender }, "off", "on"),
		switchParam("spam_check", func(p *Params) *OffOn { return &p.SpamCheck }, "on", "off"),
		switchParam("virus_check", func(p *Params) *OffOn { return &p.VirusCheck }, "on", "off"),
		wordParam("bare_newlines", func(p *Params) *Newlines { return &p.BareNewlines }, "reject", "normalise|normalize"),
		textParam("banner", func(p *Params) *string { return &p.Banner }),
		codeParam("banner_code", func(p *Params) *int { return &p.BannerCode }),
	}
}

// textParam reads what is said to a client.
func textParam(name string, at func(*Params) *string) param {
	return param{name, func(p *Params, v string) error {
		if v == "" || len(v) > 200 || !printable(v) {
			return errs.New(errs.Invalid, "it has 1 to 200 printable ASCII characters and no quotation mark")
		}
		*at(p) = v
		return nil
	}, func(p *Params) string {
		if *at(p) == "" {
			return ""
		}
		return `"` + *at(p) + `"`
	}}
}

// codeParam reads the code of a refusal.
func codeParam(name string, at func(*Params) *int) param { return numberParam(name, 400, 599, at) }

// switchParam reads one of two words; the first is the zero value.
func switchParam[T ~bool](name string, at func(*Params) *T, zero, other string) param {
	return param{name, func(p *Params, v string) error {
		if v != zero && v != other {
			return errs.New(errs.Invalid, "%q is neither %s nor %s", clip(v), zero, other)
		}
		*at(p) = v == other
		return nil
	}, func(p *Params) string {
		if *at(p) {
			return other
		}
		return ""
	}}
}

func countParam(name string, at func(*Params) *int) param { return numberParam(name, 1, 1_000_000, at) }

// numberParam reads a whole number between two others, neither of which is 0.
func numberParam(name string, least, most int, at func(*Params) *int) param {
	return param{name, func(p *Params, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return errs.New(errs.Invalid, "%q is not a number from %d to %d", clip(v), least, most)
		}
		*at(p) = n
		return nil
	}, func(p *Params) string {
		if n := *at(p); n != 0 {
			return strconv.Itoa(n)
		}
		return ""
	}}
}

// wordParam reads one of the words; the first is the zero value and is not
// exported. Of two spellings a|b both are read and the first is written.
func wordParam[T ~uint8](name string, at func(*Params) *T, words ...string) param {
	return param{name, func(p *Params, v string) error {
		for i, w := range words {
			if slices.Contains(strings.Split(w, "|"), v) {
				*at(p) = T(i)
				return nil
			}
		}
		return errs.New(errs.Invalid, "%q is not one of %s", clip(v), strings.ReplaceAll(strings.Join(words, ", "), "|", " or "))
	}, func(p *Params) string {
		if n := int(*at(p)); n != 0 && n < len(words) {
			written, _, _ := strings.Cut(words[n], "|")
			return written
		}
		return ""
	}}
}

func parseSize(v string) (int64, error) {
	digits, unit := v, int64(1)
	switch {
	case strings.HasSuffix(v, "K"):
		digits, unit = v[:len(v)-1], 1<<10
	case strings.HasSuffix(v, "M"):
		digits, unit = v[:len(v)-1], 1<<20
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > (2<<30)/unit {
		return 0, errs.New(errs.Invalid, "%q is not a size from 1 to 2048M", clip(v))
	}
	return n * unit, nil
}

func formatSize(n int64) string {
	switch {
	case n == 0:
		return ""
	case n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + "M"
	case n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + "K"
	}
	return strconv.FormatInt(n, 10)
}

// printable reports whether s is printable ASCII without a quotation mark.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 32 || s[i] > 126 || s[i] == '"' {
			return false
		}
	}
	return true
}

// setParam sets one pair; seen holds the names already given.
func setParam(p *Params, seen map[string]bool, name, value string) error {
	names := make([]string, 0, 8)
	for _, e := range paramTable() {
		if e.name != name {
			names = append(names, e.name)
			continue
		}
		if seen[name] {
			return errs.New(errs.Invalid, "parameter %s is given twice", name)
		}
		seen[name] = true
		if err := e.set(p, value); err != nil {
			return errs.New(errs.Invalid, "parameter %s: %s", name, errs.Public(err))
		}
		return nil
	}
	sort.Strings(names)
	return errs.New(errs.Invalid, "parameter %q is not known: the parameters are %s", clip(name), strings.Join(names, ", "))
}
