package filter

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

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
	unknown  bool // its reputation is
}

func (f *fake) SenderAuth(context.Context) (mail.SenderAuth, error) { return f.sender, f.err }

func (f *fake) Outside(_ context.Context, q Question) (int64, bool, error) {
	switch q.Kind {
	case Listed:
		return map[string]int64{"list.example": 1}[q.Zone], true, f.err
	case Score:
		return -25, !f.unknown, f.err
	case RepeatSubjects:
		return 7 + int64(q.Way), true, f.err
	}
	return 3, true, f.err
}

func (f *fake) Facts() *Facts { return &f.facts }

func (f *fake) Header(_ context.Context, name string) ([]string, string, error) {
	f.head++
	return f.headers[strings.ToLower(name)], f.unseen, f.err
}

func (f *fake) Content(_ context.Context, want Want) (Content, error) {
	f.contents++
	text := want.Text
	part := []string{"1", "2", "2", "3"}
	for i, t := range f.texts {
		if text == nil {
			break
		}
		half := len(t) / 2
		if err := errors.Join(text(Piece{Part: part[i], Bytes: []byte(t[:half]), Attached: i > 0}), text(Piece{Part: part[i], Bytes: []byte(t[half:]), Last: true, Attached: i > 0})); err != nil {
			return Content{}, err
		}
	}
	return f.content, f.err
}

func sample() *fake {
	return &fake{
		facts: Facts{
			MID: 7, Size: 5 << 20, Subject: "Hello\r\nBcc: x@y",
			Env: mail.Envelope{From: mail.Address{Local: "Eve", Domain: "partner.example"}, To: []mail.Address{{Local: "bob", Domain: "example.com"}, {Local: "ines", Domain: "example.org"}}},
			Origin: mail.Origin{
				RemoteIP: netip.MustParseAddr("::ffff:10.1.2.3"), SenderGroup: "UNKNOWNLIST",
				Listener: "Incoming", Interface: "Data 1", User: "eve",
			},
			Now: time.Date(2026, 7, 21, 14, 0, 0, 0, time.FixedZone("", -7*3600)), WorkQueue: 12, Seed: 99, Tags: []string{"seen"},
		},
		headers: map[string][]string{
			"subject": {"Hello", "hidden HOLDME"}, "precedence": {"bulk"},
			"to":     {`"Last, First" <a@b.example> (x, y), friends: c@d.example, e@f.example;`},
			"cc":     {"Jürgen <j@x.example>, k@x.example", "=?utf-8?q?J=C3=BCrgen?= <j@x.example>, k@x.example"},
			"from":   {"Eve <eve+news@partner.example>"},
			"sender": {"Mallory <mallory@partner.example>"},
		},
		texts: []string{"first part: wire transfer", "second: wire transfer, wire transfer", "second, read otherwise: wire transfer"},
		content: Content{
			Attachments: []string{"a.pdf", "evil.exe"}, Findings: []string{"boundary-ambiguous"}, Signed: true,
			Files: []File{
				{Names: []string{"a.pdf"}, Types: []string{"application/pdf"}, Kinds: []string{"pdf", "document"}, Size: 2048},
				{Names: []string{"evil.exe", "evil.e"}, Types: []string{"image/gif"}, Kinds: []string{"exe", "executable"}, Size: 3 << 20},
			},
		},
		sender: mail.SenderAuth{SPF: "softfail", DKIM: []string{"fail", "pass"}, DMARC: "pass"},
	}
}

// Each rule, both ways round, with the precedence of the operators.
func TestRules(t *testing.T) {
	for cond, want := range map[string]bool{
		`true`:                        true,
		`not true`:                    false,
		`NOT NOT true`:                true,
		`subject == "^Hello$"`:        true,
		`subject == "HOLDME"`:         true, // any of two Subject fields
		`subject != "HOLDME"`:         false,
		`subject == "hello"`:          false,
		`mail-from == "^eve@PARTNER"`: true,
		`reputation < -2.4`:           true,
		`reputation < -2.5`:           false,
		`reputation == -2.5 and not no-reputation`: true,
		`reputation != -2.5`:                       false,
		`reputation > 1`:                           false,
		`dnslist("list.example")`:                  true,
		`dnslist('other.example')`:                 false,
		`header-repeats("subject", 7)`:             true,
		`header-repeats("Subject", 8)`:             false,
		`header-repeats("subject", 8, "incoming")`: true,
		`header-repeats('mail-from', 4)`:           false,
		`message-tag == "^seen$"`:                  true,
		`message-tag == "other"`:                   false,
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
		`recv-listener == "^incoming$"`:            false,
		`recv-listener == "^Incoming$"`:            true,
		`recv-int == "Data"`:                       true,
		`recv-int != "Data 2"`:                     true,
		`workqueue-count > 12`:                     false,
		`workqueue-count >= 12`:                    true,
		`date > "07/21/2026 13:59:59"`:             true,
		`date > "07/21/2026 14:00:00"`:             false,
		`date == "2026-07-21 14:00:00"`:            true,
		`date < "07/21/2026"`:                      false,
		`date != "2026-07-22"`:                     true,
		`random(1) == 0`:                           true,
		`random(10) >= 10`:                         false,
		`addr-count("To") == 3`:                    true,
		`addr-count("To", "cc") > 4`:               true,
		`addr-count("To", "cc") > 5`:               false,
		`addr-count("X-No") == 0`:                  true,
		`smtp-auth-id-matches("*Any")`:             true,
		`smtp-auth-id-matches("*None")`:            false,
		`smtp-auth-id-matches("*envelopefrom")`:    true,
		`smtp-auth-id-matches("*FromAddress")`:     false,
		`smtp-auth-id-matches("*FromAddress","+")`: true,
		`smtp-auth-id-matches("*Sender")`:          false,
		`attachment-type == "^IMAGE/"`:             true,
		`attachment-mimetype == "text"`:            false,
		`attachment-filetype == "^executable$"`:    true,
		`attachment-filetype == "^zip$"`:           false,
		`attachment-size > 2M`:                     true,
		`attachment-size > 3M`:                     false,
		`attachment-size == 2K`:                    true,
		`encrypted`:                                false,
		`signed`:                                   true,
		`valid`:                                    true,
		`only-body-contains("first part")`:         true,
		`only-body-contains("second")`:             false,
		`attachment-contains("second", 1)`:         true,
		`attachment-contains("first part")`:        false,
		`attachment-binary-contains("otherwise")`:  true,
		`every-attachment-contains("transfer")`:    false, // one of the two has no text
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
