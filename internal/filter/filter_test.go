package filter

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lazaret/internal/mail"
)

// fake is a message whose content is given; it counts what is read.
type fake struct {
	facts    Facts
	headers  map[string][]string
	texts    []string
	content  Content
	err      error
	unseen   string
	contents int
	head     int
	sender   mail.SenderAuth
}

func (f *fake) SenderAuth(context.Context) (mail.SenderAuth, error) { return f.sender, f.err }

func (f *fake) Facts() *Facts { return &f.facts }

func (f *fake) Header(_ context.Context, name string) ([]string, string, error) {
	f.head++
	return f.headers[strings.ToLower(name)], f.unseen, f.err
}

func (f *fake) Content(_ context.Context, text func(Piece) error) (Content, error) {
	f.contents++
	part := []string{"1", "2", "2", "3"}
	for i, t := range f.texts {
		if text == nil {
			break
		}
		half := len(t) / 2
		if err := errors.Join(text(Piece{part[i], []byte(t[:half]), false}), text(Piece{part[i], []byte(t[half:]), true})); err != nil {
			return Content{}, err
		}
	}
	return f.content, f.err
}

func sample() *fake {
	return &fake{
		facts: Facts{
			MID: 7, Size: 5 << 20, Subject: "Hello\r\nBcc: x@y",
			Env:    mail.Envelope{From: mail.Address{Local: "Eve", Domain: "partner.example"}, To: []mail.Address{{Local: "bob", Domain: "example.com"}, {Local: "ines", Domain: "example.org"}}},
			Origin: mail.Origin{RemoteIP: netip.MustParseAddr("::ffff:10.1.2.3"), SenderGroup: "UNKNOWNLIST"},
		},
		sender:  mail.SenderAuth{SPF: "softfail", DKIM: []string{"fail", "pass"}, DMARC: "pass"},
		headers: map[string][]string{"subject": {"Hello", "hidden HOLDME"}, "precedence": {"bulk"}},
		texts:   []string{"first part: wire transfer", "second: wire transfer, wire transfer", "second, read otherwise: wire transfer"},
		content: Content{Attachments: []string{"a.pdf", "evil.exe"}, Findings: []string{"boundary-ambiguous"}},
	}
}

// Each rule, both ways round, with the precedence of the operators.
func TestRules(t *testing.T) {
	for cond, want := range map[string]bool{
		`true`:                                     true,
		`not true`:                                 false,
		`NOT NOT true`:                             true,
		`subject == "^Hello$"`:                     true,
		`subject == "HOLDME"`:                      true, // any of two Subject fields
		`subject != "HOLDME"`:                      false,
		`subject == "hello"`:                       false,
		`mail-from == "^eve@PARTNER"`:              true,
		`mail-from == '^$'`:                        false,
		`rcpt-to == "@example\.org$"`:              true,
		`rcpt-to == "@example\\.org$"`:             true, // both spellings of the backslash
		`rcpt-to != "@example.org$"`:               false,
		`header("Precedence")`:                     true,
		`spf-status == "Softfail"`:                 true,
		`spf-passed`:                               false,
		`dkim-authentication == "pass"`:            true,
		`dkim-authentication != "pass"`:            false, // != is the opposite of ==
		`dmarc-status == "^pass$"`:                 true,
		`arc-status == "^none$"`:                   true, // not looked at
		`header('precedence') == "bulk"`:           true,
		`header("X-No")`:                           false,
		`header("X-No") != "x"`:                    true,
		`body-contains("wire transfer", 3)`:        true,
		`body-contains("wire transfer", 4)`:        false,
		`body-contains("transferring")`:            false,
		`body-contains("transfersecond")`:          false, // a match does not span two parts
		`attachment-filename == "[.]exe$"`:         true,
		`attachment-filename != "[.]exe$"`:         false,
		`malformed-header or duplicate_boundaries`: false,
		`mime-finding == "^boundary-"`:             true,
		`mime-finding == "nul"`:                    false,
		`unscannable`:                              false,
		`body-size >= 5M`:                          true,
		`body-size > 5M`:                           false,
		`body-size != 5120K`:                       false,
		`body-size < 5242881`:                      true,
		`rcpt-count == 2`:                          true,
		`rcpt-count <= 1`:                          false,
		`remote-ip == "10.1.2.3"`:                  true,
		`remote-ip == "10.1.0.0/16"`:               true,
		`remote-ip == "10.1.2.1-3"`:                true,
		`remote-ip == "10.1.2.4-10.1.2.9"`:         false,
		`remote-ip == "10.1."`:                     true,
		`remote-ip != "::/0"`:                      true,
		`sendergroup == "^UNKNOWN"`:                true,
		`true or true and not true`:                true,
		`(true or true) and not true`:              false,
		`not true or true`:                         true,
		`not (true or true)`:                       false,
		`(subject == "x") Or (rcpt-count > 1)`:     true,
	} {
		set, err := Parse("f: if (" + cond + `) { quarantine("Yes"); } else { quarantine("No"); }`)
		if err != nil {
			t.Errorf("%s: %v", cond, err)
			continue
		}
		d, err := set.Run(t.Context(), sample())
		if err != nil || len(d.Quarantine) != 1 || (d.Quarantine[0].Quarantine == "Yes") != want {
			t.Errorf("%s: %v %v, want %v", cond, d.Quarantine, err, want)
		}
	}
}

// What the actions of several filters come to (reference 2.1, 7.4).
func TestDisposition(t *testing.T) {
	place := func(q, f string) mail.Placement {
		return mail.Placement{Quarantine: q, Reason: "message filter:" + f}
	}
	for name, c := range map[string]struct {
		script string
		want   mail.Disposition
	}{
		"flags add up, no quarantine twice": {
			`a: if (true) { quarantine("P"); quarantine("V"); } b: if (true) { quarantine("P"); }`,
			mail.Disposition{Quarantine: []mail.Placement{place("P", "a"), place("V", "a")}}},
		"an inactive filter does nothing": {`a! if (true) { drop(); }`, mail.Disposition{}},
		"a later drop wins, copies stay": {
			`a: if (true) { duplicate-quarantine("C"); quarantine("P"); insert-header("X","y"); } b: if (true) { drop(); } c: if (true) { quarantine("Q"); }`,
			mail.Disposition{Drop: true, DropReason: "Dropped by filter 'b'", Copies: []mail.Placement{place("C", "a")}, CopiedBy: []string{"a"}}},
		"deliver defeats its own filter's flags only": {
			`a: if (true) { quarantine("P"); } b: if (true) { quarantine("V"); deliver(); } c: if (true) { drop(); }`,
			mail.Disposition{Quarantine: []mail.Placement{place("P", "a")}}},
		"skip-filters keeps the flags": {
			`a: if (true) { quarantine("P"); skip-filters(); } b: if (true) { drop(); }`,
			mail.Disposition{Quarantine: []mail.Placement{place("P", "a")}}},
		"nested if, else if": {
			`a: if (not true) { drop(); } else if (true) { if (rcpt-count == 2) { log-entry("two") } else { drop(); } log-entry("after"); } else { drop(); }`,
			mail.Disposition{Notes: []string{"two", "after"}}},
	} {
		set, err := Parse(c.script)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := set.Run(t.Context(), sample())
		if len(got.Quarantine) == 0 {
			got.Quarantine = nil
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, c.want)
		}
	}
}

// Values from outside fill a variable and never end a line (register B5).
func TestVariables(t *testing.T) {
	set, err := Parse(`f: if (true) {
		insert-header("X-Info", "$Subject|$envelopefrom|$EnvelopeRecipients|$remote_ip|$MID|$FilterName|$$5 $5");
		log-entry("$Subject"); insert-header("X-Word", "$Subject"); }`)
	if err != nil {
		t.Fatal(err)
	}
	m := sample()
	d, err := set.Run(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	want := "X-Info: Hello  Bcc: x@y|Eve@partner.example|bob@example.com, ines@example.org|10.1.2.3|7|f|$5 $5\r\n"
	if got := d.Headers[0].String(); got != want {
		t.Errorf("%q", got)
	}
	for _, s := range []string{"\x00\r\n\t\x85\u2028x", strings.Repeat("ü", 3000), "=?utf-8?q?=0D=0ABcc:_x?=", "\xff\xfe", "\u202egnp.exe", strings.Repeat("=?", 1000)} {
		m.facts.Subject = s
		d, err := set.Run(t.Context(), m)
		if err != nil {
			t.Errorf("%.20q: %v", s, err)
			continue
		}
		h := d.Headers[1].String()
		if line := strings.TrimSuffix(h, "\r\n"); strings.ContainsAny(line, "\r\n\x00") || !ascii(line) || len(h) > 1000 {
			t.Errorf("%.20q gave %q", s, h)
		}
		if s[0] == '=' && strings.Contains(h, "=?utf-8?q?=0D") {
			t.Errorf("an encoded word went through: %q", h)
		}
		if strings.ContainsAny(d.Notes[0], "\r\n\x00\u2028\u202e") {
			t.Errorf("%.20q: note %q", s, d.Notes[0])
		}
	}
}

// Cheap rules decide first, the content is read once, and only when it matters.
func TestReading(t *testing.T) {
	run := func(script string) *fake {
		set, err := Parse(script)
		if err != nil {
			t.Fatal(err)
		}
		m := sample()
		if _, err := set.Run(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := run(`a: if (body-contains("x") and subject == "x" and rcpt-count == 5) { drop(); }`); m.contents+m.head != 0 {
		t.Error("read although the envelope decides")
	}
	if m := run(`a: if (body-contains("x") or true) { log-entry("x"); }`); m.contents != 0 {
		t.Error("read although true decides")
	}
	if m := run(`a: if (body-contains("x")) {} b: if (attachment-filename == "nowhere" or body-contains("y")) {}`); m.contents != 1 {
		t.Errorf("read %d times", m.contents)
	}
	if m := run(`a! if (body-contains("x")) {}`); m.contents != 0 {
		t.Error("read for an inactive filter")
	}
	set, _ := Parse(`a: if (true) { quarantine("P"); } b: if (body-contains("x")) { drop(); }`)
	m := sample()
	m.err = errors.New("disk on fire")
	if d, err := set.Run(t.Context(), m); err == nil || d.Quarantine != nil {
		t.Error("a failed read gave a judgement")
	}
}

// Matches are found and counted over the edges of windows.
func TestLongText(t *testing.T) {
	set, err := Parse(`f: if (body-contains("needle", 3)) { drop(); } else { if (body-contains("needle", 2)) { log-entry("two"); } }`)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, windowSize - overlap - 3, windowSize - 3, windowSize, 2*windowSize - 2*overlap - 1} {
		text := []byte(strings.Repeat("x", 3*windowSize))
		copy(text[at:], "needle")
		copy(text[len(text)-6:], "needle")
		m := sample()
		m.texts = []string{string(text)}
		if d, err := set.Run(t.Context(), m); err != nil || d.Drop || len(d.Notes) != 1 {
			t.Errorf("at %d: %+v %v", at, d, err)
		}
	}
}

// What a filter wanted to see and could not is held, unless the script has its
// own rule for that (promise P3); what none wanted to see is not looked at.
func TestUnscannable(t *testing.T) {
	for script, want := range map[string]string{
		`a: if (attachment-filename == "nowhere") { drop(); }`:                           "Policy unscannable: depth-limit",
		`a: if (attachment-filename != "nowhere") { deliver(); }`:                        "Policy unscannable: depth-limit",
		`a: if (attachment-filename != "nowhere") { drop(); }`:                           "",
		`a: if (body-contains("transfer")) { quarantine("V"); }`:                         "V message filter:a",
		`a: if (unscannable) { quarantine("Big"); } b: if (body-contains("nowhere")) {}`: "Big message filter:a",
		`a! if (unscannable) { quarantine("Big"); } b: if (body-contains("nowhere")) {}`: "Policy unscannable: depth-limit",
		`a: if (true) { deliver(); } b: if (body-contains("x")) {}`:                      "",
	} {
		set, err := Parse(script)
		if err != nil {
			t.Fatal(err)
		}
		m := sample()
		m.content.Unscannable = "depth-limit"
		d, err := set.Run(t.Context(), m)
		got := ""
		for _, p := range d.Quarantine {
			got += p.Quarantine + " " + p.Reason
		}
		if err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", script, got, err, want)
		}
	}
}

// The short cut over plain text never hides a match.
func TestLiteral(t *testing.T) {
	patterns := []string{"(?i)ask", "ask", "(?i)(as)+k", "a(s|k)", "(?i)x?ask$", "(as){2}", "(ask){0,1}s", "^a", "", "(?i)äsk", "[ak]s", "(?i:A)sk.k"}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(patterns).Draw(t, "pattern")
		text := rapid.StringMatching("[askASKxäÄ\u212a\u017f]{0,12}").Draw(t, "text")
		re, lit, err := compileLiteral(p, false)
		if err != nil {
			t.Fatal(err)
		}
		w := newWindow(context.Background(), []*bodyRule{{re: re, literal: lit, least: 100}})
		if err := w.add(Piece{Part: "1", Bytes: []byte(text), Last: true}); err != nil {
			t.Fatal(err)
		}
		if got, want := w.total()[0], len(re.FindAllStringIndex(text, 100)); got != want {
			t.Fatalf("%q in %q: %d matches, want %d (literal %q)", p, text, got, want, lit)
		}
	})
}
