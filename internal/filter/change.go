package filter

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// checkField knows which fields of the header a filter may change. Those that
// say how to read the body are none: what was looked at would not be what is
// delivered.
func checkField(name string) error {
	if _, err := mail.NewHeader(name, ""); err != nil {
		return err
	}
	if l := strings.ToLower(name); strings.HasPrefix(l, "content-") || l == "mime-version" {
		return fmt.Errorf("the field %s says how the message is to be read; it is not changed", clip(name))
	}
	return nil
}

// change does the actions that change the message, or skip a stage.
func (r *run) change(ctx context.Context, a *action) error {
	if done, err := r.elsewhere(ctx, a); done || err != nil {
		return err
	}
	if a.dropping() {
		return r.drop(ctx, a)
	}
	switch a.word {
	case "strip-header":
		r.out.Fields = append(r.out.Fields, mail.FieldEdit{Name: a.args[0].text})
	case "edit-header-text":
		r.out.Fields = append(r.out.Fields, mail.FieldEdit{Name: a.args[0].text, Change: replacing(a.args[1].re, a.args[2].text)})
	case "drop-attachments":
		r.out.Extras = append(r.out.Extras, mail.Extras{Strip: true})
	case "add-heading", "add-footer":
		if err := r.beside(ctx, a); err != nil {
			return err
		}
	case "edit-body-text":
		r.out.Edit(mail.BodyEdit{Kind: mail.EditText, Change: replacingText(a.args[0].re, a.args[1].text), By: r.by(a.word)})
	case "html-convert":
		r.out.Edit(mail.BodyEdit{Kind: mail.ToPlain, By: r.by(a.word)})
	case "skip-spamcheck":
		r.out.Skip.Spam = true
		return nil
	case "skip-viruscheck":
		r.out.Skip.Virus = true
		return nil
	case "skip-vofcheck":
		r.out.Skip.Outbreak = true
		return nil
	}
	r.out.EditedBy = r.by(a.word)
	return nil
}

// replacingText is replacing for the text of a message: the places that match,
// at most maxReplacedText, and no more than that many bytes come of it as a
// text may have.
func replacingText(re *regexp.Regexp, text string) func(string) (string, bool) {
	tmpl := group.ReplaceAllString(strings.ReplaceAll(text, "$", "$$"), "$${$1}")
	return func(value string) (string, bool) {
		places := re.FindAllStringSubmatchIndex(value, maxReplacedText)
		if len(places) == 0 {
			return value, false
		}
		var b []byte
		at := 0
		for _, p := range places {
			if len(b) > len(value)+maxGrown {
				break
			}
			b = append(b, value[at:p[0]]...)
			b = re.ExpandString(b, tmpl, value, p)
			at = p[1]
		}
		return string(append(b, value[at:]...)), true
	}
}

// Limits of what edit-body-text does to one text.
const (
	maxReplacedText = 10_000
	maxGrown        = 4 << 20 // bytes
)

// maxReplaced is how many places of one field are changed: what comes out must
// not be many times what came in.
const maxReplaced = 100

// maxEdited is the longest value that is changed: a longer one would be cut.
const maxEdited = 32 << 10

// group is how a text names a group of the expression.
var group = regexp.MustCompile(`\\([1-9])`)

// replacing gives what puts a text in place of each match, in the value as it is
// shown. \1 to \9 in the text are the groups of the expression.
func replacing(re *regexp.Regexp, text string) func(string) (string, bool) {
	tmpl := group.ReplaceAllString(strings.ReplaceAll(text, "$", "$$"), "$${$1}")
	return func(raw string) (string, bool) {
		if len(raw) > maxEdited {
			return raw, false
		}
		value := message.DecodeHeader(raw)
		places := re.FindAllStringSubmatchIndex(value, maxReplaced)
		if len(places) == 0 {
			return raw, false
		}
		var b []byte
		at := 0
		for _, p := range places {
			b = append(b, value[at:p[0]]...)
			b = re.ExpandString(b, tmpl, value, p)
			at = p[1]
		}
		out := oneLine(string(append(b, value[at:]...)))
		if !ascii(out) || strings.Contains(out, "=?") {
			out = encoded(out)
		}
		return out, true
	}
}

// oneLine is harmless for a text of any length.
func oneLine(s string) string {
	var b strings.Builder
	for len(s) > maxText {
		cut := strings.ToValidUTF8(s[:maxText], "")
		if cut == "" {
			cut = s[:maxText]
		}
		b.WriteString(harmless(cut))
		s = s[len(cut):]
	}
	b.WriteString(harmless(s))
	return strings.TrimSpace(b.String())
}
