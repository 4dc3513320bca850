package filter

import (
	"strings"
	"testing"

	"lazaret/internal/mail"
)

// What is put in place of matches is what was asked for, one line, in words that
// a header can hold, and not many times what came.
func TestEditHeaderText(t *testing.T) {
	for _, c := range []struct{ re, text, value, want string }{
		{"a(.)c", `<\1>`, "abc adc", "<b> <d>"},
		{"x", "$1 ${name} $$", "x", "$1 ${name} $$"},
		{"nothing", "y", "abc", ""},
		{"Gr..e", "Hi", "=?utf-8?q?Gr=C3=BC=C3=9Fe?= Bob", "Hi Bob"},
		{"b", "ü", "abc", "=?utf-8?q?a=C3=BCc?="},
		{"b", "=?", "abc", "a= ?c"},
		{"b", "", "\tb\x1b\x00", ""},
		{"", "-", "ab", "-a-b-"},
	} {
		set, err := Parse("f: if (true) { edit-header-text(\"Subject\", " + quote(c.re) + ", " + quote(c.text) + "); }")
		if err != nil {
			t.Errorf("%s: %v", c.re, err)
			continue
		}
		d, err := set.Run(t.Context(), sample())
		if err != nil || len(d.Fields) != 1 || d.EditedBy != "edit-header-text filter 'f'" {
			t.Fatalf("%+v %v", d, err)
		}
		got, ok := d.Fields[0].Change(c.value)
		if want := c.want != "" || c.re == "b" && c.text == ""; ok != want || ok && got != c.want {
			t.Errorf("%s -> %s in %q: %q %v, want %q", c.re, c.text, c.value, got, ok, c.want)
		}
		again, err := Parse(set.String())
		if err != nil || again.String() != set.String() {
			t.Errorf("%s: %v", set, err)
		}
	}
	set, _ := Parse(`f: if (true) { edit-header-text("X", "a", "` + strings.Repeat("b", 900) + `"); }`)
	d, _ := set.Run(t.Context(), sample())
	if got, _ := d.Fields[0].Change(strings.Repeat("a", 30_000)); len(got) > 30_000+900*maxReplaced || strings.Count(got, "a") != 30_000-maxReplaced {
		t.Errorf("%d bytes", len(got))
	}
	if _, ok := d.Fields[0].Change(strings.Repeat("a", maxEdited+1)); ok {
		t.Error("a value that would be cut is changed")
	}
}

// Actions that change the message or its way; fields of meaning stay.
func TestChangingActions(t *testing.T) {
	set, err := Parse(`a: if (true) { strip-header("x-y"); drop-attachments(); bcc("a@b.example"); skip-spamcheck(); skip-viruscheck(); skip-vofcheck(); quarantine("Policy"); }
		b: if (true) { bounce(); } c: if (true) { log-entry("never"); }`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := set.Run(t.Context(), sample())
	if err != nil || !d.Drop || !d.Bounce || d.DropReason != "Bounced by filter 'b'" || len(d.Quarantine)+len(d.Notes) != 0 || d.Skip != (mail.Skip{Spam: true, Virus: true, Outbreak: true}) ||
		len(d.Bcc) != 1 || d.Bcc[0].To.String() != "a@b.example" || d.Bcc[0].By != "a" || len(d.Extras) != 1 || !d.Extras[0].Strip || len(d.Fields) != 1 || d.EditedBy != "drop-attachments filter 'a'" {
		t.Errorf("%+v %v", d, err)
	}
	for script, want := range map[string]string{
		`f: if (true) { strip-header("Content-Type"); }`:             "line 1, column 29: the field Content-Type says how the message is to be read; it is not changed",
		`f: if (true) { edit-header-text("mime-version", "", ""); }`: "line 1, column 33: the field mime-version says how",
		`f: if (true) { edit-header-text("Subject", "(", ""); }`:     "line 1, column 44: the regular expression is wrong",
		`f: if (true) { bcc("nobody"); }`:                            "line 1, column 20: ",
		`f: if (true) { strip-header("a b"); }`:                      "line 1, column 29: ",
		`f: if (true) { bounce("x"); }`:                              `line 1, column 23: expected ")" as in bounce()`,
	} {
		if _, err := Parse(script); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
	set, _ = Parse(`f: if (true) { quarantine("Policy"); bounce(); drop(); }`)
	if w := set.Warnings(); len(w) != 2 || !strings.Contains(w[0].Msg, "bounce() after quarantine() defeats") || !strings.Contains(w[1].Msg, "drop() is never reached") {
		t.Errorf("%v", w)
	}
}
