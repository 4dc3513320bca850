package access

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

// TLSMode says what a policy wants of STARTTLS.
type TLSMode uint8

// The modes.
const (
	TLSPreferred TLSMode = iota // offered
	TLSOff                      // not offered
	TLSRequired                 // nothing else is taken before it
)

// Newlines says what happens to a bare CR, LF or NUL in content.
type Newlines uint8

// The modes; nothing is ever passed on as it came (register B1).
const (
	RejectBare Newlines = iota
	NormaliseBare
)

// Policy is a mail flow policy: an action with its limits. A limit of zero was
// not given and stands for the default.
type Policy struct {
	Name   string // without the dollar sign
	Action Action
	Params Params
}

// Params are the parameters between the braces. The names of the original are
// nowhere published for certain; ours are those in paramTable.
type Params struct {
	MaxMessageSize int64 // bytes
	MaxRecipients  int   // a message
	MaxMessages    int   // a session
	MaxConcurrency int   // connections at a time from one address
	TLS            TLSMode
	BareNewlines   Newlines
	Banner         string // text of the greeting, of the refusal for REJECT
}

// The limits where a policy gives none.
const (
	DefaultMessageSize = 50 << 20
	DefaultRecipients  = 1000 // register B10
	DefaultMessages    = 10000
	DefaultConcurrency = 300
)

// MessageSize is the limit of one message in bytes.
func (p *Policy) MessageSize() int64 { return or(p.Params.MaxMessageSize, DefaultMessageSize) }

// Recipients is the limit of recipients of one message.
func (p *Policy) Recipients() int { return or(p.Params.MaxRecipients, DefaultRecipients) }

// Messages is the limit of messages of one session.
func (p *Policy) Messages() int { return or(p.Params.MaxMessages, DefaultMessages) }

// Concurrency is the limit of connections at a time from one address.
func (p *Policy) Concurrency() int { return or(p.Params.MaxConcurrency, DefaultConcurrency) }

func or[T int | int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

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
		wordParam("tls", func(p *Params) *TLSMode { return &p.TLS }, "preferred", "off", "required"),
		wordParam("bare_newlines", func(p *Params) *Newlines { return &p.BareNewlines }, "reject", "normalise|normalize"),
		{"banner", func(p *Params, v string) error {
			if v == "" || len(v) > 200 || !printable(v) {
				return errs.New(errs.Invalid, "a banner has 1 to 200 printable ASCII characters and no quotation mark")
			}
			p.Banner = v
			return nil
		}, func(p *Params) string {
			if p.Banner == "" {
				return ""
			}
			return `"` + p.Banner + `"`
		}},
	}
}

func countParam(name string, at func(*Params) *int) param {
	const most = 1_000_000
	return param{name, func(p *Params, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > most {
			return errs.New(errs.Invalid, "%q is not a number from 1 to %d", clip(v), most)
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

// appendTo writes the definition as it stands in a HAT.
func (p *Policy) appendTo(b *strings.Builder) {
	b.WriteString("$" + p.Name + "\n  " + p.Action.String() + " {")
	given := false
	for _, e := range paramTable() {
		if v := e.get(&p.Params); v != "" {
			b.WriteString("\n    " + e.name + " = " + v)
			given = true
		}
	}
	if given {
		b.WriteString("\n  ")
	}
	b.WriteString("}\n")
}
