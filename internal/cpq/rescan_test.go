package cpq

import (
	"reflect"
	"strings"
	"testing"

	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// A re-scan has one form, and every other is refused with the place.
func TestRescanForm(t *testing.T) {
	h := mail.Hash{1, 2, 3}
	m := Metadata{Rescan: &Rescan{Key: mail.NewKey("4223BF43B7C9D2E1", 501, h), ManagerMID: 44, Size: 7, Hash: h}}
	b, err := Encode(m)
	want := `{"version":5,"rescan":{"key":"4223BF43B7C9D2E1-501-0102030000000000","manager_mid":44,"size":7,"sha256":"` + h.String() + `"}}`
	if err != nil || string(b) != want {
		t.Fatalf("%s, %v", b, err)
	}
	if back, err := Decode(b); err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("%+v, %v", back, err)
	}
	for name, c := range map[string][2]string{
		"other version":  {`"version":5`, `"version":1`},
		"other hash":     {`"sha256":"01`, `"sha256":"02`},
		"no number":      {`"manager_mid":44`, `"manager_mid":0`},
		"unknown field":  {`,"size"`, `,"x":1,"size"`},
		"two in one":     {`}}`, `},"rescan":{}}`},
		"negative":       {`"size":7`, `"size":-7`},
		"something more": {`}}`, `}} `},
	} {
		if m, err := Decode([]byte(strings.Replace(want, c[0], c[1], 1))); err == nil {
			t.Errorf("%s: %+v", name, m.Rescan)
		}
	}
	if err := m.CheckContent(7, h); err != nil || m.CheckContent(8, h) == nil || m.CheckContent(7, mail.Hash{}) == nil {
		t.Error(err)
	}
}

// What is found comes over as it is, but for what a reply cannot carry; no other
// reply, and no receipt, says that something is harmless.
func TestFound(t *testing.T) {
	for _, f := range []mail.Finding{{Harmless: true, Text: "clean"}, {Text: "infected Worm, as before"}, {Text: ""}} {
		if got, err := ParseFound(ReplyFound(f)); err != nil || got != f {
			t.Errorf("%+v, %v", got, err)
		}
	}
	f := mail.Finding{Text: "infected a\r\n250 found harmless: \x1b[2J\u00fc" + strings.Repeat("x", 1000)}
	got, err := ParseFound(ReplyFound(f))
	if err != nil || got.Harmless || len(got.Text) != maxFound || strings.ContainsAny(got.Text, "\r\n\x1b") {
		t.Errorf("%+v, %v", got, err)
	}
	for _, r := range []smtp.Reply{ReplyAccepted(42), smtp.NewReply(250, "2.0.0", "ok"), smtp.NewReply(451, "4.3.0", "found harmless: clean"),
		smtp.NewReply(250, "2.0.0", "found harmless: clean", "found: infected"), {}} {
		if got, err := ParseFound(r); err == nil {
			t.Errorf("%q is %+v", r.String(), got)
		}
	}
}
