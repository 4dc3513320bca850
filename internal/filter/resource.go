package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text is a text resource: a disclaimer, or what a notice says (reference 7.4).
// Both may have the variables of filters.
type Text struct {
	Plain string // lines
	HTML  string // the same for text in HTML; empty: as Plain looks
}

// MaxResource is the longest text of a resource, in bytes.
const MaxResource = 32 << 10

// CheckText finds what is wrong with a text resource.
func CheckText(text string) error {
	switch {
	case len(text) > MaxResource:
		return fmt.Errorf("the text is longer than %d bytes", MaxResource)
	case !utf8.ValidString(text):
		return fmt.Errorf("the text is not UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f }):
		return fmt.Errorf("the text has a control character")
	}
	_, err := parseTemplate(text)
	return err
}

// texts are the templates of a resource.
type texts struct{ plain, html template }

// compile makes templates; a resource was checked when it was committed.
func (t *Text) compile() (*texts, error) {
	plain, err := parseTemplate(t.Plain)
	if err != nil {
		return nil, err
	}
	html, err := parseTemplate(t.HTML)
	return &texts{plain: plain, html: html}, err
}

// lines gives a text with CRLF behind each line.
func lines(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return strings.ReplaceAll(s, "\n", "\r\n")
}

// whole fills in the variables of a text of lines. No value can end a line, and
// each is passed through quote.
func (t template) whole(value func(name string) string, quote func(string) string) string {
	var b strings.Builder
	for _, p := range t {
		if p.variable {
			b.WriteString(quote(harmless(value(p.text))))
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// noticeText is what a notice says that names no text.
var noticeText = mustTemplate(`A message met the filter $FilterName.

From:     $EnvelopeFrom
To:       $EnvelopeRecipients
Subject:  $Subject
Received: $Timestamp from $remote_ip
MID:      $MID
`)

func mustTemplate(s string) template {
	t, err := parseTemplate(s)
	if err != nil {
		panic(err)
	}
	return t
}
