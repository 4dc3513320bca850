package mail

import (
	"mime"
	"strings"
	"testing"
)

func TestExtrasCheck(t *testing.T) {
	for _, good := range []Extras{{}, {Tag: "[early]"}, {Tag: "[fr\u00fch]", AtEnd: true}, {Header: "X-Early", Value: "True"}, {Header: "x-e"}, {Strip: true}} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []Extras{{Tag: " a"}, {Tag: "a\r\nBcc: x"}, {Tag: "\x1b[2J"}, {Tag: "\u202eabc"}, {Tag: "\xff"}, {Tag: strings.Repeat("x", MaxTag+1)}, {AtEnd: true},
		{Value: "True"}, {Header: "Bcc", Value: "x"}, {Header: "X-", Value: "x"}, {Header: "X-A:", Value: "x"}, {Header: "X-A", Value: "a\r\nb"}, {Header: "X-A", Value: "\u00fc"}, {Header: "X-A", Value: strings.Repeat("x", 901)}} {
		if err := bad.Check(); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// A reader shows the tag in front of the subject or behind it, one blank between.
func TestExtrasSubject(t *testing.T) {
	for _, c := range []struct {
		x         Extras
		raw, show string
	}{
		{Extras{}, "Offer", "Offer"},
		{Extras{Tag: "[early]"}, "Offer", "[early] Offer"},
		{Extras{Tag: "[early]", AtEnd: true}, "Offer", "Offer [early]"},
		{Extras{Tag: "[early]"}, "", "[early]"},
		{Extras{Tag: "[fr\u00fch]"}, "Offer", "[fr\u00fch] Offer"},
		{Extras{Tag: "[fr\u00fch]"}, "=?utf-8?q?gr=C3=BCn?=", "[fr\u00fch] gr\u00fcn"},
		{Extras{Tag: "[fr\u00fch]", AtEnd: true}, "=?utf-8?q?gr=C3=BCn?=", "gr\u00fcn [fr\u00fch]"},
		{Extras{Tag: "[early]"}, "=?utf-8?q?gr=C3=BCn?=", "[early] gr\u00fcn"},
	} {
		got := c.x.Subject(c.raw)
		if show, err := new(mime.WordDecoder).DecodeHeader(got); err != nil || show != c.show {
			t.Errorf("%+v on %q gives %q, shown as %q, %v", c.x, c.raw, got, show, err)
		}
	}
}
