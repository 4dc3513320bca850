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

// What an action cannot be is refused with its place, and what there is none of
// here by name.
func TestActionErrors(t *testing.T) {
	for script, want := range map[string]string{
		`add-footer("../x")`:                          `line 1, column 27: "../x" is no name`,
		`add-footer("x", "y")`:                        `line 1, column 30: expected ")" as in add-footer`,
		`archive("a/b")`:                              `line 1, column 24: "a/b" is no name`,
		`alt-rcpt-to("")`:                             `line 1, column 28: `,
		`alt-mailhost("a b")`:                         `line 1, column 29: "a b" is neither a domain nor an IP address`,
		`drop-attachments-by-size("5M")`:              `line 1, column 41: expected a number`,
		`drop-attachments-by-size(-5)`:                `line 1, column 41: expected a number`,
		`drop-attachments-by-name("(")`:               `line 1, column 41: the regular expression is wrong`,
		`drop-attachments-where-contains("a", "$x")`:  `line 1, column 53: unknown variable $x`,
		`log-entry("$dropped_filename")`:              `line 1, column 26: unknown variable $dropped_filename`,
		`notify("nobody")`:                            `line 1, column 23: "nobody" is neither an address`,
		`notify("a@b.example", "s", "Boss a@b.c>")`:   `line 1, column 43: "Boss a@b.c>" is no address`,
		`notify("a@b.example", "s", "\"x <a@b.c>")`:   `line 1, column 43: `,
		`encrypt-deferred("x")`:                       `line 1, column 16: the action encrypt-deferred is not done here: `,
		`url-reputation-replace(-10, -6, "", "", 1)`:  `line 1, column 16: the action url-reputation-replace is not done here: nobody rates URLs`,
		`if (rcpt-to-group == "x") { drop(); }`:       `line 1, column 20: the rule rcpt-to-group does not exist here: there is no LDAP`,
		`if (signed-certificate("x")) { drop(); }`:    `line 1, column 20: the rule signed-certificate does not exist here: `,
		`if (reputation < 10.5) { drop(); }`:          `line 1, column 33: expected a score from -10.0 to 10.0`,
		`if (reputation < 1.55) { drop(); }`:          `line 1, column 33: expected a score`,
		`if (header-repeats("to", 3)) { drop(); }`:    `line 1, column 35: what is counted is`,
		`if (header-repeats("subject", 0)) {drop();}`: `line 1, column 46: expected how many messages`,
		`if (dnslist("a b")) { drop(); }`:             `line 1, column 28: "a b" is no zone`,
		`if (rcpt-count > -1) { drop(); }`:            `line 1, column 33: expected a number`,
	} {
		if _, err := Parse("f: if (true) { " + script + " }"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
}

// Every action and rule is printed so that it is read as the same.
func TestPrintAll(t *testing.T) {
	script := `f: if (reputation < -2.5 AND no-reputation AND dnslist("a.example") AND header-repeats("subject", 3, "incoming") AND message-tag != "x") {` + "\n"
	for _, a := range actions {
		if !finals[a.word] && a.word != "skip-filters" {
			script += a.usage + ";\n"
		}
	}
	set, err := Parse(script + "}")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(set.String())
	if err != nil || again.String() != set.String() || strings.Count(set.String(), ";") != len(actions)-4 {
		t.Errorf("%v\n%s", err, set)
	}
}

// Of the same kind the last action wins; the rest adds up.
func TestLastWins(t *testing.T) {
	set, err := Parse(`a: if (true) { alt-mailhost("a.example"); alt-rcpt-to("a@a.example"); add-footer("one"); bounce-profile("p"); alt-src-host("Data 1"); tag-message("t"); archive("x"); notify("n@a.example"); }
		b: if (message-tag == "t") { alt-mailhost("[192.0.2.1]"); alt-rcpt-to("b@a.example"); add-footer("two"); archive("x"); notify("n@a.example"); skip-filters(); }`)
	if err != nil {
		t.Fatal(err)
	}
	set.For(Site{Interfaces: []string{"Data 1"}, Profiles: []string{"p"}, Text: func(name string) *Text {
		return &Text{Plain: name + " <$Subject>", HTML: "<b>$EnvelopeFrom & $Subject</b>"}
	}})
	f := sample()
	f.facts.Subject = "a<b\r\nX: y"
	d, err := set.Run(t.Context(), f)
	if err != nil || d.Route != (mail.Route{Host: "[192.0.2.1]", Interface: "Data 1", Profile: "p"}) || d.To.String() != "b@a.example" || d.ToBy != "alt-rcpt-to-filter filter 'b'" ||
		len(d.Body) != 1 || d.Body[0].Text != "two <a<b  X: y>\r\n" || d.Body[0].HTML != "<b>Eve@partner.example & a&lt;b  X: y</b>\r\n" || len(d.Archive) != 1 || len(d.Notices) != 2 || len(d.Tags) != 1 {
		t.Errorf("%v %+v", err, d)
	}
	for script, want := range map[string]string{`add-footer("x")`: `there is no text "x"`, `alt-src-host("x")`: `there is no interface "x"`, `bounce-profile("x")`: `there is no bounce profile "x"`,
		`drop-attachments-where-dictionary-match("x")`: `there is no dictionary "x"`, `notify("a@b.example", "", "", "x")`: `there is no text "x"`} {
		set, err := Parse("f: if (true) { " + script + "; }")
		if err != nil {
			t.Errorf("%s: %v", script, err)
		} else if got := set.For(Site{}).List()[0].Invalid; got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}
