package listener

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lazaret/internal/access"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
	"lazaret/internal/stats"
	"lazaret/internal/testlib/proof"
)

// foreignSpellings are recipients of foreign domains in all the spellings in
// which somebody may take them for ours: mail for example.com and example.org
// is taken here.
func foreignSpellings() []string {
	locals := []string{`b`, `"b"`, `"b@example.com"`, `b%example.com`, `example.com!b`, `"b\@example.com"`, `"b@example.com\""`, `b+example.com`, `postmaster`, `"postmaster"`, `"<b@example.com>"`, `"b@example.com>"`, `b#example.com`, `b/example.com`}
	domains := []string{
		"elsewhere.example", "ELSEWHERE.EXAMPLE", "elsewhere.example.", "elsewhere.example..", ".elsewhere.example", "example.com.elsewhere.example", "example.com@elsewhere.example",
		"notexample.com", "sub.example.com", "xexample.com", "example.comx", "example.co", "example.com.com", "example-com", "example_com", "com",
		"examp1e.com", "xn--exmple-cua.com", "xn--xample-9uf.com", "ex\u0430mple.com", "\uff45xample.com", "example\u3002com", "example\uff0ecom", "e\u0301xample.com", "example.\u200bcom", "EXAMPLE\u212aCOM",
		"[127.0.0.1]", "[IPv6:::1]", "[IPv6:::ffff:127.0.0.1]", "[::1]", "[2130706433]", "127.0.0.1", "0x7f000001", "2130706433", "[example.com]", "[192.0.2.1].example.com",
		"localhost", "gw1.example.com", "the.cpq.host", "the.cpq.release.host", "example.com\t.elsewhere.example", "example.com\x00.elsewhere.example", "example.com%elsewhere.example", "example.com:elsewhere.example", "example.com,elsewhere.example",
	}
	var all []string
	for _, l := range locals {
		for _, d := range domains {
			all = append(all, "<"+l+"@"+d+">")
		}
	}
	for _, route := range []string{"@example.com:", "@example.com,@example.org:", "@elsewhere.example:", "@[127.0.0.1]:", "@example.com", ":"} {
		for _, a := range []string{"b@elsewhere.example", "b%elsewhere.example@example.com", "b@example.com@elsewhere.example", `"b@example.com"@elsewhere.example`, "b@[127.0.0.1]"} {
			all = append(all, "<"+route+a+">")
		}
	}
	const a = "b@elsewhere.example"
	return append(all, a, " "+a, "<<"+a+">>", "<"+a, a+">", "<"+a+">@example.com", "<"+a+"> <b@example.com>", "<b@example.com><"+a+">", "<"+a+"> ORCPT=rfc822;b@example.com",
		"<"+a+"(b@example.com)>", "<(b@example.com)"+a+">", "\"b@example.com\" <"+a+">", "b@example.com <"+a+">", "<b>", "<>", "< >", "<@example.com>", "<@>", "<b@>", "<b@.>", "<b@ example.com>", "<b @example.com>",
		"<b@example.com >", "<b@example.com\r>", "<b@example.com\x0bx>", "<b\\@example.com@elsewhere.example>", "<\"b\"@example.com@elsewhere.example>", "<elsewhere.example!b>", "<b%elsewhere.example>")
}

// mapped reports whether a spelling is one of our own domain by the mapping of
// international names (UTS 46).
func mapped(to string) bool {
	for _, d := range []string{"@\uff45xample.com", "@example\u3002com", "@example\uff0ecom", "@example.\u200bcom"} {
		if strings.HasSuffix(to, d+">") {
			return true
		}
	}
	return false
}

// No spelling of a foreign recipient opens the relay: none is taken (register
// B6). With SMTPUTF8 some of the twins are no twins but other spellings of our
// own domain (full width, other dots): they are taken, and it is the ASCII
// form that was checked, is logged and is routed.
func TestSEC_B6_NoSpellingOpensTheRelay(t *testing.T) {
	all := foreignSpellings()
	if len(all) < 500 {
		t.Fatalf("only %d spellings", len(all))
	}
	r := newRig(t, settings("Incoming", acceptAll))
	tried := 0
	for _, params := range []string{"", " SMTPUTF8"} {
		for _, to := range all {
			d := r.dial("Incoming")
			d.say("", "220")
			if ehlo := d.say("EHLO client.example", "250"); params != "" && !strings.Contains(ehlo, "SMTPUTF8") {
				d.conn.Close()
				continue
			}
			d.say("MAIL FROM:<a@b.example>"+params, "250")
			d.conn.Write([]byte("RCPT TO:" + to + "\r\n"))
			tried++
			got := d.reply()
			own := params != "" && mapped(to) && strings.HasPrefix(got, "250") && strings.HasSuffix(got, "@example.com> ok")
			if !own && (got == "" || got[0] != '5') {
				t.Errorf("%q%s: %s", to, params, got)
			}
			d.conn.Write([]byte("DATA\r\n"))
			if got := d.reply(); strings.HasPrefix(got, "354") != own {
				t.Errorf("%q%s: DATA: %s", to, params, got)
			}
			d.conn.Close()
		}
	}
	r.stop()
	for line := range strings.Lines(r.log.lines()) {
		if strings.Contains(line, " RID 0 To: ") && !strings.HasSuffix(line, "@example.com>\n") {
			t.Errorf("taken: %s", line)
		}
	}
	proof.Line(t, "SEC_B6", tried)
}

// The domain that is checked is the domain that is routed: what is taken stands
// in the envelope with a domain that the RAT takes, and reads back from its own
// text to the same address.
func TestSEC_B6_CheckedIsRouted(t *testing.T) {
	rat, err := access.ParseRAT("blocked@example.org REJECT\nexample.com ACCEPT\n.example.org ACCEPT\nabuse@ ACCEPT\n[192.0.2.1] ACCEPT\nALL REJECT")
	if err != nil {
		t.Fatal(err)
	}
	hat, err := access.ParseHAT(acceptAll)
	if err != nil {
		t.Fatal(err)
	}
	pieces := []string{"b", "abuse", "postmaster", "@", "@", ".", "example", ".com", ".org", "example.com", "sub.example.org", "[192.0.2.1]", "[IPv6:::1]", "%", "!", ":", ",", `"`, `\`, " ", "EXAMPLE", "elsewhere.example", "xn--exmple-cua", "-", "_", "\x00", "ä"}
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		var text string
		if rapid.Bool().Draw(rt, "shaped") {
			text = rapid.SampledFrom([]string{"b", "abuse", `"a@b"`, "x%y", "blocked"}).Draw(rt, "local") + "@" +
				rapid.SampledFrom([]string{"example.com", "Example.COM.", "a.example.org", "example.org", "[192.0.2.1]", "elsewhere.example", "aexample.com"}).Draw(rt, "domain")
		} else {
			text = strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 8).Draw(rt, "pieces"), "")
		}
		to, err := mail.ParseAddress(text)
		if err != nil || to.IsNull() {
			return
		}
		g := &Group{opts: Options{Log: newLogBuffer(t).mail, Stats: &stats.Set{}, Clock: newClock().Now}, rates: newRates()}
		s := &session{listener: &listener{group: g, name: "L"}, rules: &rules{Settings: Settings{Protocol: SMTP, RAT: rat}}, policy: hat.Decide(access.Client{}).Policy, log: g.opts.Log}
		s.origin.RemoteIP = netip.MustParseAddr("192.0.2.9")
		reply := s.Rcpt(t.Context(), smtp.RcptCommand{To: to})
		if !reply.Positive() {
			if len(s.tx.env.To) != 0 {
				rt.Fatalf("%q was refused and stands in the envelope", text)
			}
			return
		}
		taken++
		got := s.tx.env.To[0]
		ours := slices.Contains([]string{"example.com", "[192.0.2.1]"}, got.Domain) || strings.HasSuffix(got.Domain, ".example.org") || strings.EqualFold(got.Local, "abuse")
		again, err := mail.ParseAddress(got.String())
		if !ours || err != nil || again != got || got.Domain == "" || to.Domain != "" && got != to {
			rt.Fatalf("%q: checked %+v, routed %+v (read back %+v, %v)", text, to, got, again, err)
		}
		if fmt.Sprint(rat.Decide(got).Accept) != "true" {
			rt.Fatalf("%q: %+v is not in the RAT", text, got)
		}
	})
	proof.Line(t, "SEC_B6-checked-is-routed", taken)
}
