package mail

import (
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"lazaret/internal/errs"
)

// Extras are what a quarantine wants done to a message that it lets go before
// its time (reference 1.3). They travel as instructions; the gateway carries
// them out (P4). The zero value is none.
type Extras struct {
	Tag    string `json:"tag,omitempty"`    // put into the subject, UTF-8; empty: nothing
	AtEnd  bool   `json:"end,omitempty"`    // behind the subject, not in front of it
	Header string `json:"header,omitempty"` // name of a field that is added; empty: none
	Value  string `json:"value,omitempty"`  // of it
	Strip  bool   `json:"strip,omitempty"`  // all attachments go
}

// MaxTag is the most bytes of Extras.Tag.
const MaxTag = 100

// Check finds what is wrong with extras.
func (e Extras) Check() error {
	if len(e.Tag) > MaxTag || !utf8.ValidString(e.Tag) || e.Tag != strings.TrimSpace(e.Tag) {
		return errs.New(errs.Invalid, "a subject tag has at most %d bytes of UTF-8 and no blanks around it", MaxTag)
	}
	for _, r := range e.Tag {
		if !unicode.IsPrint(r) {
			return errs.New(errs.Invalid, "subject tag %q has a forbidden character", clip(e.Tag))
		}
	}
	if e.AtEnd && e.Tag == "" {
		return errs.New(errs.Invalid, "there is no subject tag to stand at the end")
	}
	if e.Header == "" {
		if e.Value != "" {
			return errs.New(errs.Invalid, "a header value needs a header name")
		}
		return nil
	}
	// Anything else would be a field with a meaning, of the sender's.
	if len(e.Header) < 3 || !strings.EqualFold(e.Header[:2], "X-") {
		return errs.New(errs.Invalid, "an added header begins with X-, %q does not", clip(e.Header))
	}
	for i := 0; i < len(e.Value); i++ {
		if e.Value[i] < ' ' || e.Value[i] > '~' {
			return errs.New(errs.Invalid, "header value %q is not printable ASCII", clip(e.Value))
		}
	}
	_, err := NewHeader(e.Header, e.Value)
	return err
}

// Line gives the header line that is added, empty without one.
func (e Extras) Line() string {
	h, err := NewHeader(e.Header, e.Value)
	if e.Header == "" || err != nil {
		return ""
	}
	return h.String()
}

// Subject gives a subject, raw and unfolded, with the tag in it. A tag that is
// not ASCII becomes encoded words (RFC 2047), with the blank beside other such
// words inside, where it is shown.
func (e Extras) Subject(raw string) string {
	switch {
	case e.Tag == "":
		return raw
	case raw == "":
		return mime.BEncoding.Encode("utf-8", e.Tag)
	case e.AtEnd:
		tag := e.Tag
		if strings.HasSuffix(raw, "?=") && !ascii(tag) {
			tag = " " + tag
		}
		return raw + " " + mime.BEncoding.Encode("utf-8", tag)
	}
	tag := e.Tag
	if strings.HasPrefix(raw, "=?") && !ascii(tag) {
		tag += " "
	}
	return mime.BEncoding.Encode("utf-8", tag) + " " + raw
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
