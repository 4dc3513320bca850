package filter

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/errs"
)

// Each wrong script is refused at its place, in words that help.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		src       string
		line, col int
		msg       string
	}{
		{`if (true) {}`, 1, 1, `cannot be named "if"`},
		{`(true)`, 1, 1, "expected the name of a filter"},
		{"a: if (true) {}\na: if (true) {}", 2, 1, "named a in line 1 already"},
		{`a if (true) {}`, 1, 3, `expected ":" (active) or "!" (inactive)`},
		{`a: quarantine("P");`, 1, 4, `expected "if"`},
		{`a: if true {`, 1, 13, "the block that begins in line 1, column 12 is not closed"},
		{`a: if (subjct == "x") {}`, 1, 8, `unknown rule "subjct"; the rules are addr-count, arc-status, attachment-binary-contains, attachment-contains,`},
		{"a: if (true) {\n\tquarantin(\"P\"); }", 2, 2, `unknown action "quarantin"; the actions are add-footer,`},
		{`a: if (subject = "x") {}`, 1, 16, "== or !=, not ="},
		{`a: if (subject > "x") {}`, 1, 16, "expected == or != after subject"},
		{`a: if (subject == x) {}`, 1, 19, `expected a regular expression in quotes, found "x"`},
		{`a: if (subject == "x) {}`, 1, 19, "not closed"},
		{"a: if (subject == \"x\ny\") {}", 1, 19, "not closed on its line"},
		{`a: if (subject == "(") {}`, 1, 19, "missing closing )"},
		{`a: if (subject == "(?=x)") {}`, 1, 19, "look-ahead (?=...) is not possible"},
		{`a: if (subject == "(a)\1") {}`, 1, 19, `back reference \1`},
		{`a: if (subject == "x\Z") {}`, 1, 19, `write \z`},
		{`a: if (subject == "x{,3}") {}`, 1, 19, "{0,n}"},
		{`a: if (subject == "((a{100}){100}){100}") {}`, 1, 19, "regular expression"},
		{`a: if (subject == "(abcdefghij){900}") {}`, 1, 19, "too large"},
		{`a: if (header(X) == "x") {}`, 1, 15, "the name of a header field in quotes"},
		{`a: if (header("X:") == "x") {}`, 1, 15, "forbidden character"},
		{`a: if (body-contains("x", 0)) {}`, 1, 27, "1 to 10000"},
		{`a: if (body-size > 5G) {}`, 1, 20, "20K or 5M"},
		{`a: if (body-size > 9223372036854775807K) {}`, 1, 20, "20K or 5M"},
		{`a: if (rcpt-count > 5K) {}`, 1, 21, "expected a number"},
		{`a: if (remote-ip == "10.1.2.3/99") {}`, 1, 21, "no IP address"},
		{`a: if (true) { quarantine("Unclassified"); }`, 1, 27, "no filter can name the quarantine Unclassified"},
		{`a: if (true) { quarantine(""); }`, 1, 27, "has a name"},
		{`a: if (true) { quarantine("P") drop(); }`, 1, 32, `expected ";" after quarantine(...), found "drop"`},
		{`a: if (true) { drop("x"); }`, 1, 21, `expected ")" as in drop()`},
		{`a: if (true) { insert-header("X"); }`, 1, 33, `expected "," as in insert-header("X-Name", "value")`},
		{`a: if (true) { insert-header("X Y", "z"); }`, 1, 30, "forbidden character"},
		{`a: if (true) { log-entry("$Subjekt"); }`, 1, 26, "unknown variable $Subjekt; the variables are $BodySize,"},
		{`a: if (random(0) < 1) {}`, 1, 15, "random(10) is 0 to 9"},
		{`a: if (date > "2026-13-01") {}`, 1, 15, "MM/DD/YYYY hh:mm:ss"},
		{`a: if (addr-count("To", "to") > 1) {}`, 1, 25, "stands twice"},
		{`a: if (addr-count() > 1) {}`, 1, 19, "the name of a header field in quotes"},
		{`a: if (smtp-auth-id-matches("From")) {}`, 1, 29, "the targets are *EnvelopeFrom,"},
		{`a: if (attachment-size > 1G) {}`, 1, 26, "20K or 5M"},
		{`a: if (true and) {}`, 1, 16, "expected a rule"},
		{`a: if (true {}`, 1, 13, `expected ")" to close the condition`},
		{`a: if (true) {} else`, 1, 21, `expected "{" after "else", found the end of the script`},
		{"a: // x\n", 1, 4, "begins with #"},
		{"a: if (subject == “x”) {}", 1, 19, "straight quotes"},
		{"# é\n\té", 2, 2, "unexpected character"},
		{"a: if (true) {\xff}", 1, 1, "not UTF-8"},
		{"a: if (subject == \"a\x00b\") {}", 1, 21, "control character 0x00"},
		{strings.Repeat("#", MaxScript+1), 1, 1, "longer than"},
		{"a: if (" + strings.Repeat("(", 1000), 1, 56, "nested deeper"},
		{"a: if (" + strings.Repeat("not ", 1000), 1, 200, "nested deeper"},
		{strings.Repeat("x", MaxName+1) + ": if (true) {}", 1, 1, "name is longer"},
	} {
		_, err := Parse(c.src)
		var se *SyntaxError
		if !errors.As(err, &se) || se.Line != c.line || se.Column != c.col || !strings.Contains(se.Msg, c.msg) {
			t.Errorf("%.60q:\n got %v\nwant line %d, column %d: ...%s", c.src, err, c.line, c.col, c.msg)
		}
		if !errs.Is(err, errs.Invalid) || errs.Public(err) != err.Error() {
			t.Errorf("%.60q: kind %v, shown as %q", c.src, errs.KindOf(err), errs.Public(err))
		}
	}
}

const script = `# comment with "quotes" and { braces }
one: IF (subject == "(?i)hold\\.me" or not (mail-from == 'a"b' and rcpt-count >= 3)) { # here too
  quarantine('Policy'); if (header("X")) { drop() } else if (body-contains("x", 2)) { skip-filters(); }
};
three: if (random(10)<3 and addr-count('To',"Cc") > 5 or date>='2026-01-02' or smtp-auth-id-matches("*any","+")) {}
two! if (true) and (body-size < 10k) { insert-header("X-A", "it's $Subject \"$$\""); deliver(); } else { }
`

const printed = `one: if (subject == "(?i)hold\\.me" OR NOT (mail-from == "a\"b" AND rcpt-count >= 3)) {
  quarantine("Policy");
  if (header("X")) {
    drop();
  } else if (body-contains("x", 2)) {
    skip-filters();
  }
}
three: if (random(10) < 3 AND addr-count("To", "Cc") > 5 OR date >= "2026-01-02" OR smtp-auth-id-matches("*Any", "+")) {
}
two! if (true AND body-size < 10k) {
  insert-header("X-A", "it's $Subject \"$$\"");
  deliver();
} else {
}
`

// A script prints in one form, which parses and prints to itself.
func TestString(t *testing.T) {
	set, err := Parse(script)
	if err != nil {
		t.Fatal(err)
	}
	if got := set.String(); got != printed {
		t.Errorf("printed as\n%s", got)
	}
	again, err := Parse(printed)
	if err != nil || again.String() != printed {
		t.Errorf("%v\n%s", err, again)
	}
	want := []Info{{1, "one", true, 2, ""}, {2, "three", true, 5, ""}, {3, "two", false, 6, ""}}
	if got := set.List(); !slices.Equal(got, want) {
		t.Errorf("list %v", got)
	}
	if got := set.Quarantines(); !slices.Equal(got, []string{"Policy"}) {
		t.Errorf("quarantines %v", got)
	}
}

// Warnings follow the ways through a filter, not the order of the words.
func TestWarnings(t *testing.T) {
	for body, want := range map[string]string{
		`quarantine("P"); deliver();`:                                  "1: defeats the quarantine: the message is delivered",
		`quarantine("P"); drop();`:                                     "1: defeats the quarantine: the message is gone",
		`deliver(); quarantine("P");`:                                  "1: never reached",
		`if (true) { quarantine("P"); } deliver();`:                    "1: defeats",
		`if (true) { quarantine("P"); skip-filters(); } deliver();`:    "0",
		`if (true) { quarantine("P"); } else { deliver(); }`:           "0",
		`if (true) { drop(); } else { deliver(); } log-entry("never")`: "0",
		`quarantine("P"); skip-filters();`:                             "0",
		`duplicate-quarantine("P"); drop();`:                           "0",
	} {
		set, err := Parse("f: if (true) { " + body + " }")
		if err != nil {
			t.Fatal(err)
		}
		ws := set.Warnings()
		number, msg, _ := strings.Cut(want, ": ")
		if number == "0" && len(ws) != 0 || number == "1" && (len(ws) != 1 || !strings.Contains(ws[0].String(), msg)) {
			t.Errorf("%s: %v", body, ws)
		}
	}
}

// No script makes the parser panic; what parses prints and parses again.
func FuzzParse(f *testing.F) {
	f.Add(script)
	f.Add(printed)
	f.Add(`a: if (remote-ip != "10.1.") { log-entry('$MID'); }`)
	f.Fuzz(func(t *testing.T, src string) {
		set, err := Parse(src)
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) || se.Line < 1 || se.Column < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		text := set.String()
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if again.String() != text {
			t.Fatalf("not stable:\n%s\n%s", text, again)
		}
		if _, err := again.Run(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
	})
}
