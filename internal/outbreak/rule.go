package outbreak

import (
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Levels of threat (reference 7.7). Of a message that meets no rule it is 0.
const (
	MinLevel     = 1
	MaxLevel     = 5
	DefaultLevel = 3 // from which on a policy holds
)

// Kind is the category of a threat.
type Kind string

// The kinds. Virus and Malware are viral: what carries them is an attachment.
const (
	Virus   Kind = "virus"
	Malware Kind = "malware"
	Phish   Kind = "phish"
	Scam    Kind = "scam"
	Spam    Kind = "spam"
	Other   Kind = "other"
)

// Viral reports whether the longer of a policy's two retention times is for it.
func (k Kind) Viral() bool { return k == Virus || k == Malware }

// Word is the kind as it stands in headers and subjects: Phish.
func (k Kind) Word() string {
	if k == "" {
		return "Unknown"
	}
	return strings.ToUpper(string(k[:1])) + string(k[1:])
}

// Rule is one rule. All that it asks for must be so, of a list any. The names
// of its fields are those of the feed.
type Rule struct {
	ID        string    `json:"id"` // 1 to 40 letters, digits, _ - . such as OUTBREAK_0000231
	Level     int       `json:"level"`
	Kind      Kind      `json:"kind"`
	Type      string    `json:"type,omitempty"` // in a word or two: Trojan, Password
	Text      string    `json:"description"`
	Published time.Time `json:"published"`
	Expires   time.Time `json:"expires,omitzero"` // zero: never

	File    *File    `json:"file,omitempty"`         // there is an attachment like this
	Size    *Range   `json:"message_size,omitempty"` // of the whole message, in bytes
	Headers []Header `json:"headers,omitempty"`      // each of them
	Body    []string `json:"body,omitempty"`         // one of these expressions is in the text
	Hosts   []string `json:"url_hosts,omitempty"`    // one of these is named: host.example, or .example for all below it
}

// File is what a rule asks of one attachment, all of it of the same one.
type File struct {
	Names      []string `json:"name,omitempty"`      // expressions over its name
	Extensions []string `json:"extension,omitempty"` // .exe
	Types      []string `json:"type,omitempty"`      // media types as the message says them
	Kinds      []string `json:"kind,omitempty"`      // what it is by its content: exe, executable
	Size       *Range   `json:"size,omitempty"`      // decoded, in bytes
	SHA256     []string `json:"sha256,omitempty"`    // of its content, decoded
}

// Range is a range of sizes, both ends in it; 0 is no bound.
type Range struct {
	Min int64 `json:"min,omitempty"`
	Max int64 `json:"max,omitempty"`
}

// Header is an expression over a header field.
type Header struct {
	Name  string `json:"name"`
	Match string `json:"match"`
}

// holds reports whether a size is in the range; without one each is.
func (r *Range) holds(n int64) bool {
	return r == nil || n >= r.Min && (r.Max == 0 || n <= r.Max)
}

// Expired reports whether a rule counts no more.
func (r *Rule) Expired(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// TypeWord is the type as it stands in headers and log lines.
func (r *Rule) TypeWord() string {
	if r.Type == "" {
		return r.Kind.Word()
	}
	return r.Type
}

// Limits of one rule.
const (
	maxID   = 40
	maxText = 500 // bytes of a description
	maxType = 40
)

// check finds what is wrong with a rule, but for its expressions.
func (r *Rule) check() error {
	if err := CheckID(r.ID); err != nil {
		return err
	}
	switch {
	case r.Level < MinLevel || r.Level > MaxLevel:
		return errs.New(errs.Invalid, "level is %d, not 1 to 5", r.Level)
	case r.Kind != Virus && r.Kind != Malware && r.Kind != Phish && r.Kind != Scam && r.Kind != Spam && r.Kind != Other:
		return errs.New(errs.Invalid, "kind is virus, malware, phish, scam, spam or other, not %q", clip(string(r.Kind)))
	case !sayable(r.Text, maxText) || r.Text == "":
		return errs.New(errs.Invalid, "description is 1 to %d bytes of printable text on one line", maxText)
	case !sayable(r.Type, maxType):
		return errs.New(errs.Invalid, "type is at most %d bytes of printable text on one line", maxType)
	case r.Published.IsZero():
		return errs.New(errs.Invalid, "published is missing")
	case !r.Expires.IsZero() && !r.Expires.After(r.Published):
		return errs.New(errs.Invalid, "expires is not after published")
	case r.File == nil && len(r.Headers)+len(r.Body)+len(r.Hosts) == 0:
		return errs.New(errs.Invalid, "it asks for nothing: file, headers, body or url_hosts are needed")
	case !r.Size.sound():
		return errs.New(errs.Invalid, "message_size is no range")
	}
	for _, h := range r.Hosts {
		if d, err := mail.ParseDomain(strings.TrimPrefix(h, ".")); err != nil || d != strings.TrimPrefix(h, ".") {
			return errs.New(errs.Invalid, "url_hosts: %q is not a host in lower case, or a dot and one", clip(h))
		}
	}
	for _, h := range r.Headers {
		if _, err := mail.NewHeader(h.Name, ""); err != nil {
			return because(err, "headers")
		}
	}
	return r.File.check()
}

// CheckID finds what is wrong with the name of a rule: it stands in log lines,
// headers and commands.
func CheckID(id string) error {
	bad := func(r rune) bool {
		return (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') && r != '_' && r != '-' && r != '.'
	}
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, bad) {
		return errs.New(errs.Invalid, "%q is not the id of a rule: 1 to %d letters, digits, _, - and .", clip(id), maxID)
	}
	return nil
}

func (r *Range) sound() bool {
	return r == nil || r.Min >= 0 && r.Max >= 0 && (r.Max == 0 || r.Max >= r.Min) && r.Min+r.Max > 0
}

func (f *File) check() error {
	switch {
	case f == nil:
		return nil
	case len(f.Names)+len(f.Extensions)+len(f.Types)+len(f.Kinds)+len(f.SHA256) == 0 && f.Size == nil:
		return errs.New(errs.Invalid, "file asks for nothing")
	case !f.Size.sound():
		return errs.New(errs.Invalid, "file: size is no range")
	}
	for _, e := range f.Extensions {
		if extension("x"+e) != e || e == "" {
			return errs.New(errs.Invalid, "file: %q is not an extension in lower case such as .exe", clip(e))
		}
	}
	for _, t := range f.Types {
		if t != strings.ToLower(t) || !strings.Contains(t, "/") {
			return errs.New(errs.Invalid, "file: %q is not a media type in lower case such as text/html", clip(t))
		}
	}
	for _, h := range f.SHA256 {
		if got, err := mail.ParseHash(h); err != nil || got.String() != h {
			return errs.New(errs.Invalid, "file: sha256 is 64 hexadecimal digits in lower case, not %q", clip(h))
		}
	}
	return nil
}

// extension gives the last extension of a file name as a system would see it,
// which drops dots and blanks at the end.
func extension(name string) string {
	return strings.ToLower(path.Ext(strings.TrimRight(strings.ReplaceAll(name, `\`, "/"), ". \t")))
}

// sayable reports whether a text may stand in a header or log line.
func sayable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// clip shortens what is shown in an error.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
