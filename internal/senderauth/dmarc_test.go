package senderauth

import (
	"fmt"
	"strings"
	"testing"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
)

// The tree walk of RFC 9989 section 4.10: which names are asked for, in which
// order, where it ends; a long name is cut to seven labels.
func TestTreeWalk(t *testing.T) {
	for _, c := range []struct {
		domain, want string
	}{
		{"a.mail.example.com", "a.mail.example.com mail.example.com example.com com"},
		{"com", "com"},
		{"a.b.c.d.e.f.g.h.i.j.mail.example.com", "a.b.c.d.e.f.g.h.i.j.mail.example.com g.h.i.j.mail.example.com h.i.j.mail.example.com i.j.mail.example.com j.mail.example.com mail.example.com example.com com"},
		{"a.b.c.d.e.f.example.com", "a.b.c.d.e.f.example.com b.c.d.e.f.example.com c.d.e.f.example.com d.e.f.example.com e.f.example.com f.example.com example.com com"},
	} {
		names := []string{c.domain}
		for d, ok := parent(c.domain); ok; d, ok = parent(d) {
			names = append(names, d)
		}
		if got := strings.Join(names, " "); got != c.want || len(names) > maxLabels {
			t.Errorf("%s: %d names, %s", c.domain, len(names), got)
		}
	}
}

// The organisational domain by the three rules of section 4.10.2, and the
// record that counts by section 4.10.1.
func TestDMARCPolicyOf(t *testing.T) {
	txt := map[string][]string{
		"_dmarc.example.com":        {"v=DMARC1; p=reject; sp=quarantine"},
		"_dmarc.sub.example.com":    {"v=DMARC1; p=none"},
		"_dmarc.two.example.com":    {"v=DMARC1; p=none", "v=DMARC1; p=reject"},
		"_dmarc.other.example.com":  {"v=spf1 -all", "V=DMARC1; p=none", "v=DMARC2; p=none"},
		"_dmarc.bank":               {"v=DMARC1; p=reject; sp=reject; np=reject; psd=y"},
		"_dmarc.my.bank":            {"v=DMARC1; p=quarantine"},
		"_dmarc.dept.uni.example":   {"v=DMARC1; p=quarantine; psd=n"},
		"_dmarc.uni.example":        {"v=DMARC1; p=reject"},
		"_dmarc.nopolicy.example":   {"v=DMARC1; rua=mailto:d@nopolicy.example"},
		"_dmarc.badpolicy.example":  {"v=DMARC1; p=destroy"},
		"_dmarc.badsp.example":      {"v=DMARC1; p=reject; sp=all; rua=mailto:d@badsp.example"},
		"_dmarc.testing.example":    {"v=DMARC1; p=reject; t=y"},
		"_dmarc.testing2.example":   {"v=DMARC1;p=quarantine;t=y"},
		"_dmarc.np.example":         {"v=DMARC1; p=none; sp=quarantine; np=reject"},
		"exists.np.example":         {"hello"},
		"_dmarc.casetags.example":   {"v=DMARC1; P=Reject ; X=y; ;"},
		"_dmarc.notfirst.example":   {"p=reject; v=DMARC1"},
		"_dmarc.withblanks.example": {" v = DMARC1 ; p = reject"},
	}
	v := New(&dns.Fake{TXT: txt, Fail: map[string]error{"_dmarc.dead.example": errs.New(errs.Temporary, "timeout")}})
	for author, want := range map[string]string{
		"example.com":                  "fail reject example.com",
		"mail.example.com":             "fail quarantine example.com",
		"sub.example.com":              "fail none sub.example.com",
		"a.sub.example.com":            "fail quarantine example.com", // the fewest labels
		"two.example.com":              "fail quarantine example.com", // two records are none
		"other.example.com":            "fail quarantine example.com",
		"my.bank":                      "fail quarantine my.bank",
		"www.my.bank":                  "fail quarantine my.bank",
		"their.bank":                   "fail reject bank",
		"bank":                         "fail reject bank",
		"x.dept.uni.example":           "fail quarantine dept.uni.example",
		"dept.uni.example":             "fail quarantine dept.uni.example",
		"it.uni.example":               "fail reject uni.example",
		"nopolicy.example":             "fail none nopolicy.example",
		"badpolicy.example":            "permerror  badpolicy.example",
		"badsp.example":                "fail reject badsp.example",
		"sub.badsp.example":            "fail none badsp.example",
		"testing.example":              "fail quarantine testing.example",
		"testing2.example":             "fail none testing2.example",
		"exists.np.example":            "fail quarantine np.example",
		"missing.np.example":           "fail reject np.example",
		"casetags.example":             "fail reject casetags.example",
		"withblanks.example":           "fail reject withblanks.example",
		"notfirst.example":             "none  ",
		"nothing.example":              "none  ",
		"dead.example":                 "temperror  ",
		"below.dead.example":           "temperror  ",
		strings.Repeat("a.", 40) + "x": "none  ",
	} {
		d := v.DMARC(t.Context(), author, Result{})
		if got := fmt.Sprintf("%s %s %s", d.Verdict, d.Policy, d.Record); got != want {
			t.Errorf("%s: %s, want %s (%s)", author, got, want, d.Reason)
		}
	}
}

// Alignment of section 4.5, strict and relaxed, with a walk for each identifier;
// what a sender chose costs no question.
func TestDMARCAlignment(t *testing.T) {
	fake := &dns.Fake{TXT: map[string][]string{
		"_dmarc.example.com":         {"v=DMARC1; p=reject"},
		"_dmarc.strict.example":      {"v=DMARC1; p=reject; adkim=s; aspf=s"},
		"_dmarc.corp.example.com":    {"v=DMARC1; p=reject; psd=n"},
		"_dmarc.host.test":           {"v=DMARC1; p=reject; psd=y"},
		"_dmarc.attacker.invalid":    {"v=DMARC1; p=none; psd=y"},
		"_dmarc.mail.strict.example": {"v=DMARC1; p=reject"},
	}, Fail: map[string]error{"_dmarc.evil.com": errs.New(errs.Temporary, "the sender's name server")}}
	v := New(fake)
	pass := func(domains ...string) (r Result) {
		for _, d := range domains {
			r.DKIM = append(r.DKIM, Signature{Verdict: Pass, Domain: d})
		}
		return r
	}
	bySPF := func(domain string, verdict Verdict) Result { return Result{SPF: SPF{Verdict: verdict, Domain: domain}} }
	for _, c := range []struct {
		author string
		r      Result
		want   Verdict
		by     string
	}{
		{"example.com", pass("example.com"), Pass, "dkim"},
		{"example.com", pass("mail.example.com"), Pass, "dkim"},
		{"news.example.com", pass("mail.example.com"), Pass, "dkim"},
		{"example.com", pass("EXAMPLE.com."), Pass, "dkim"},
		{"example.com", pass("notexample.com", "com", ""), Fail, ""},
		{"example.com", pass("evil.com"), Fail, ""},
		{"example.com", pass("evil.com", "example.com"), Pass, "dkim"},
		{"example.com", pass("corp.example.com"), Fail, ""}, // psd=n: another organisation
		{"corp.example.com", pass("example.com"), Fail, ""},
		{"corp.example.com", pass("x.corp.example.com"), Pass, "dkim"},
		{"strict.example", pass("mail.strict.example"), Fail, ""},
		{"strict.example", bySPF("mail.strict.example", Pass), Fail, ""},
		{"strict.example", bySPF("strict.example", Pass), Pass, "spf"},
		{"example.com", bySPF("bounce.example.com", Pass), Pass, "spf"},
		{"example.com", bySPF("bounce.example.com", SoftFail), Fail, ""},
		{"example.com", bySPF("example.com", TempError), TempError, ""},
		{"a.host.test", pass("b.host.test"), Fail, ""}, // two customers of one suffix
		{"a.host.test", pass("x.a.host.test"), Pass, "dkim"},
	} {
		d := v.DMARC(t.Context(), c.author, c.r)
		if d.Verdict != c.want || d.By != c.by {
			t.Errorf("%s with %+v: %+v, want %s by %q", c.author, c.r, d, c.want, c.by)
		}
	}
}

// Register C6: a message that names many domains costs few questions.
func TestSEC_C6_DMARCQuestions(t *testing.T) {
	w := &walker{ctx: t.Context(), resolver: &dns.Fake{TXT: map[string][]string{"_dmarc.example.com": {"v=DMARC1; p=reject"}}}, seen: map[string]answer{}}
	if _, err := w.policy("example.com"); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := w.aligned("example.com", fmt.Sprintf("a.b.c.d.e%d.example.com", i), false); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.seen) > maxWalk {
		t.Errorf("%d names were asked for", len(w.seen))
	}
}

// Which domain is the author's, and which messages have none.
func TestAuthor(t *testing.T) {
	for header, want := range map[string]string{
		"From: a@Example.COM\r\n": "example.com",
		"from : \"x, y@evil.example\" <a@example.com>\r\n\r\nFrom: b@c.d":             "example.com",
		"From: A\r\n <a@example.com>, b@EXAMPLE.com\r\n":                              "example.com",
		"From: a@b\xc3\xbccher.example\r\n":                                           "xn--bcher-kva.example",
		"From: a@example.com, b@other.example\r\n":                                    "",
		"From: a@example.com\r\nFrom: a@example.com\r\n":                              "",
		"From: undisclosed:;\r\n":                                                     "",
		"From: a@[192.0.2.1]\r\n":                                                     "",
		"From: info@shop.example <a@example.com>\r\n":                                 "example.com",
		"From: \"a\\\" <b@evil.example>\" (<c@evil.example> (x)) <a@example.com>\r\n": "example.com",
		"From: \"a b\"@example.com\r\n":                                               "example.com",
		"From: <a@example.com> <b@evil.example>\r\n":                                  "",
		"From: <@route.example:a@example.com>\r\n":                                    "",
		"From: \"a <a@example.com>\r\n":                                               "",
		"From: (a <a@example.com>\r\n":                                                "",
		"From: <a@>\r\n":                                                              "",
		"Subject: x\r\n":                                                              "",
		"From: <>\r\n":                                                                "",
		"From: " + strings.Repeat("a@example.com, ", 1000) + "\r\n":                   "",
	} {
		got, err := Author([]byte(header))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.60q: %q, %v", header, got, err)
		}
	}
}

// The examples of RFC 9989 appendix B.1: identifier alignment by SPF and by
// DKIM, in order, with the policy relaxed and strict.
func TestDMARCExamples(t *testing.T) {
	for _, c := range []struct {
		name            string
		author          string
		spf, dkim       string
		relaxed, strict Verdict
	}{
		{"B.1.1 example 1", "example.com", "example.com", "", Pass, Pass},
		{"B.1.1 example 2", "example.com", "child.example.com", "", Pass, Fail},
		{"B.1.1 example 3", "child.example.com", "example.net", "", Fail, Fail},
		{"B.1.2 example 1", "example.com", "", "example.com", Pass, Pass},
		{"B.1.2 example 2", "child.example.com", "", "example.com", Pass, Fail},
		{"B.1.2 example 3", "example.com", "", "sample.net", Fail, Fail},
	} {
		for mode, want := range map[string]Verdict{"": c.relaxed, "; adkim=s; aspf=s": c.strict} {
			v := New(&dns.Fake{TXT: map[string][]string{"_dmarc.example.com": {"v=DMARC1; p=reject" + mode}, "_dmarc.example.net": {"v=DMARC1; p=none"}, "_dmarc.sample.net": {"v=DMARC1; p=none"}}})
			var r Result
			if c.spf != "" {
				r.SPF = SPF{Verdict: Pass, Domain: c.spf}
			}
			if c.dkim != "" {
				r.DKIM = []Signature{{Verdict: Pass, Domain: c.dkim}}
			}
			if d := v.DMARC(t.Context(), c.author, r); d.Verdict != want {
				t.Errorf("%s, %q: %+v, want %s", c.name, mode, d, want)
			}
		}
	}
}
