package access

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lazaret/internal/mail"
)

// The seed's own text, blanks and all.
const seedHAT = `$RELAYED
  RELAY {}
$BLOCKED
  REJECT {}
RELAYLIST:
  10.1.2.3
    $RELAYED (Only select hosts can relay from this box)
ALL
  $BLOCKED (Everyone else)
`

func mustHAT(t testing.TB, text string) *HAT {
	t.Helper()
	h, err := ParseHAT(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The seed's table parses as it stands, decides as it says, and is exported to the letter.
func TestSeedTable(t *testing.T) {
	h := mustHAT(t, seedHAT)
	if got := h.String(); got != seedHAT {
		t.Errorf("export differs:\n%s", got)
	}
	if got := CPQHAT(netip.MustParseAddr("10.1.2.3")).String(); got != seedHAT {
		t.Errorf("our own CPQ table differs from the seed's:\n%s", got)
	}
	d := h.Decide(Client{IP: netip.MustParseAddr("10.1.2.3")})
	if d.Action != Relay || d.Group != "RELAYLIST" || d.Match != "10.1.2.3" || d.Policy.Name != "RELAYED" {
		t.Errorf("peer: %+v", d)
	}
	d = h.Decide(Client{IP: netip.MustParseAddr("10.1.2.4")})
	if d.Action != Reject || d.Group != "ALL" || d.Match != "ALL" || d.Policy.Name != "BLOCKED" {
		t.Errorf("stranger: %+v", d)
	}
}

// One row a condition: what it takes and what it does not.
func TestConditions(t *testing.T) {
	named := func(ip, host string) Client {
		return Client{IP: netip.MustParseAddr(ip), Host: host, Verified: true}
	}
	addr := func(ip string) Client { return Client{IP: netip.MustParseAddr(ip), Lookup: LookupMissing} }
	for _, c := range []struct {
		entry  string
		client Client
		want   bool
	}{
		{"10.1.2.3", addr("10.1.2.3"), true},
		{"10.1.2.3", addr("::ffff:10.1.2.3"), true}, // dual-stack sockets give this form
		{"10.1.2.3", addr("10.1.2.30"), false},
		{"10.1.2.3-20", addr("10.1.2.20"), true},
		{"10.1.2.3-20", addr("10.1.2.21"), false},
		{"10.1.2.3-10.1.3.0", addr("10.1.2.255"), true},
		{"10.1.2.3-10.1.3.0", addr("10.1.2.2"), false},
		{"10.1.2.3-10.1.3.0", addr("::a01:2ff"), false},
		{"10.1.0.0/16", addr("10.1.255.255"), true},
		{"10.1.0.0/16", addr("10.2.0.0"), false},
		{"0.0.0.0/0", addr("2001:db8::1"), false},
		{"10.1.", addr("10.1.200.3"), true},
		{"10.1.", addr("10.10.0.3"), false},
		{"2001:db8::/32", addr("2001:db8:ffff::1"), true},
		{"2001:db8::", addr("2001:db8::"), true},
		{"2001:db8::1-2001:db8::ff", addr("2001:db8::100"), false},
		{"fe80::1", Client{IP: netip.MustParseAddr("fe80::1%eth0")}, true},
		{"mx.example.com", named("10.0.0.1", "MX.example.com."), true},
		{"mx.example.com", Client{IP: netip.MustParseAddr("10.0.0.1"), Host: "mx.example.com"}, false}, // not verified
		{"mx.example.com", named("10.0.0.1", "a.mx.example.com"), false},
		{".example.com", named("10.0.0.1", "a.b.example.com"), true},
		{".example.com", named("10.0.0.1", "example.com"), false},
		{".example.com", named("10.0.0.1", "badexample.com"), false},
		{"192-0-2-1.dyn.example", named("10.0.0.1", "192-0-2-1.dyn.example"), true},
		{"nx.domain", addr("10.0.0.1"), true},
		{"nx.domain", named("10.0.0.1", "a.example"), false},
		{"serv.fail", Client{IP: netip.MustParseAddr("10.0.0.1"), Lookup: LookupFailed}, true},
		{"serv.fail", addr("10.0.0.1"), false},
		{"not.double.verified", Client{IP: netip.MustParseAddr("10.0.0.1"), Host: "a.example"}, true},
		{"not.double.verified", named("10.0.0.1", "a.example"), false},
	} {
		h := mustHAT(t, "G:\n "+c.entry+"\n $RELAYED\nALL\n $BLOCKED\n")
		if d := h.Decide(c.client); (d.Group == "G") != c.want {
			t.Errorf("%s on %+v: group %s match %q, want a match: %v", c.entry, c.client, d.Group, d.Match, c.want)
		}
	}
}

// The first group wins, in a group the first entry names the match, CONTINUE looks further.
func TestOrder(t *testing.T) {
	h := mustHAT(t, `
$LOOK
  CONTINUE {}
A:
  10.0.0.0/8
  $LOOK
B:
  10.0.0.0/8 (office)
  10.0.0.1
  $TRUSTED
C:
  10.0.0.1
  $BLOCKED
ALL
  $ACCEPTED
`)
	d := h.Decide(Client{IP: netip.MustParseAddr("10.0.0.1")})
	if d.Group != "B" || d.Match != "10.0.0.0/8" || d.Policy.Name != "TRUSTED" || d.Action != Accept {
		t.Errorf("%+v", d)
	}
}

func TestParameters(t *testing.T) {
	h := mustHAT(t, `
$P
  ACCEPT {max_message_size = 10M, max_rcpts_per_msg=5,
    max_msgs_per_session = 2 max_concurrency = 3
    tls = "required", bare_newlines = normalize, smtp_auth = required
    max_rcpts_per_hour = 7, max_rcpts_per_hour_code = 550, max_rcpts_per_hour_text = "enough"
    significant_bits = 24 significant_bits_ipv6 = 48
    dhap_limit = 3, dhap_limit_text = "stop guessing"
    max_rcpts_per_sender = 9, max_rcpts_per_sender_minutes = 5, max_rcpts_per_sender_code = 451, max_rcpts_per_sender_text = "slow down"
    verify_sender = on, spam_check = off, virus_check = on
    banner = "hello, {you} = welcome"
  }
ALL
  $P
`)
	want := Params{MaxMessageSize: 10 << 20, MaxRecipients: 5, MaxMessages: 2, MaxConcurrency: 3, TLS: TLSRequired, BareNewlines: NormaliseBare, Banner: "hello, {you} = welcome",
		HourlyRecipients: 7, HourlyCode: 550, HourlyText: "enough", Bits4: 24, Bits6: 48, InvalidRecipients: 3, InvalidText: "stop guessing",
		SenderRecipients: 9, SenderMinutes: 5, SenderCode: 451, SenderText: "slow down", Auth: AuthRequired, VerifySender: true, SpamCheck: true}
	p := h.Decide(Client{}).Policy
	if p.Params != want {
		t.Errorf("%+v", p.Params)
	}
	if q := mustHAT(t, h.String()).Decide(Client{}).Policy; q.Params != want {
		t.Errorf("after export: %+v", q.Params)
	}
	if other := strings.Replace(h.String(), "normalise", "normalize", 1); other == h.String() || mustHAT(t, other).String() != h.String() {
		t.Error("of the two spellings of normalise, not both are read or the wrong one is written")
	}
	if d := (&Policy{}); d.MessageSize() != DefaultMessageSize || d.Recipients() != DefaultRecipients || d.Messages() != DefaultMessages || d.Concurrency() != DefaultConcurrency {
		t.Error("a policy without parameters has no limits")
	}
}

// Each refused table with the line it names.
func TestRefusedTables(t *testing.T) {
	const end = "ALL\n $BLOCKED\n"
	for _, c := range []struct{ text, want string }{
		{"", "the table does not end in ALL"},
		{"\n\n$A\n ACCEPT {}\n", "HAT line 4: the table does not end in ALL"},
		{"ALL\n", "HAT line 1: sender group ALL has no policy"},
		{"ALL:\n $BLOCKED\n", "HAT line 1: ALL, the last group, is written without a colon"},
		{"ALL\n 10.0.0.1\n $BLOCKED\n", `HAT line 2: sender group ALL: a policy is expected, not "10.0.0.1"`},
		{end + "G:\n $BLOCKED\n", "HAT line 3: nothing may follow the policy of ALL"},
		{"hello\n" + end, `HAT line 1: "hello" is neither $POLICY, nor GROUP:, nor ALL`},
		{"$A\n" + end, "HAT line 2: policy $A: expected ACTION {...}"},
		{"$A\n ACCEPT\n" + end, "HAT line 2: policy $A: expected ACTION {...}"},
		{"$A\n accept {}\n" + end, "HAT line 2: policy $A: expected ACTION {...}"},
		{"$A\n ACCEPT {\n" + end, `HAT line 3: expected name = value, not "ALL"`},
		{"$A\n ACCEPT {} x\n" + end, "HAT line 2: nothing may follow the closing brace"},
		{"$A\n ACCEPT {}\n$A\n ACCEPT {}\n" + end, "HAT line 3: policy $A is defined twice"},
		{"$A b\n ACCEPT {}\n" + end, `HAT line 1: policy name "A b"`},
		{"$A\n ACCEPT {\n  tls = off\n  speed = 3\n }\n" + end, `HAT line 4: parameter "speed" is not known: the parameters are banner, banner_code, bare_newlines,`},
		{"$A\n ACCEPT {\n tls = off,\n tls = off}\n" + end, "HAT line 4: parameter tls is given twice"},
		{"$A\n ACCEPT {tls = maybe}\n" + end, `HAT line 2: parameter tls: "maybe" is not one of preferred, off, required`},
		{"$A\n ACCEPT {max_message_size = 3G}\n" + end, `HAT line 2: parameter max_message_size: "3G" is not a size`},
		{"$A\n ACCEPT {max_message_size = 9223372036854775807M}\n" + end, "HAT line 2: parameter max_message_size"},
		{"$A\n ACCEPT {max_rcpts_per_msg = 0}\n" + end, `HAT line 2: parameter max_rcpts_per_msg: "0" is not a number`},
		{"$A\n ACCEPT {banner = \"x}\n" + end, "HAT line 2: a quoted value is not closed"},
		{"G:\n $NOWHERE\n" + end, "HAT line 2: policy $NOWHERE is not defined"},
		{"G:\n $BLOCKED\nG:\n $BLOCKED\n" + end, "HAT line 3: sender group G is there twice"},
		{"G:\n 10.0.0.1\n" + end, `HAT line 3: sender group G: a policy is expected, not "ALL"`},
		{"G:\nH:\n $BLOCKED\n" + end, `HAT line 2: sender group G: a policy is expected, not "H:"`},
		{"G:\n $BLOCKED\n $BLOCKED\n" + end, "HAT line 3: $BLOCKED: policies are defined before the first sender group"},
		{"G h:\n $BLOCKED\n" + end, `HAT line 1: sender group name "G h"`},
		{"G:\n 10.0.0.256\n $BLOCKED\n" + end, `HAT line 2: entry "10.0.0.256" is not an address`},
		{"G:\n 10.0.0\n $BLOCKED\n" + end, `HAT line 2: entry "10.0.0" is not an address`},
		{"G:\n 10.0.0.9-3\n $BLOCKED\n" + end, `HAT line 2: entry "10.0.0.9-3": the range ends before it starts`},
		{"G:\n 10.0.0.1-::2\n $BLOCKED\n" + end, `HAT line 2: entry "10.0.0.1-::2" is not a range`},
		{"G:\n 10.1.2-20\n $BLOCKED\n" + end, `HAT line 2: entry "10.1.2-20" is neither`},
		{"G:\n 10.1.2.3/16\n $BLOCKED\n" + end, `HAT line 2: entry "10.1.2.3/16" has bits behind its prefix: 10.1.0.0/16 is meant?`},
		{"G:\n 10.1.0.0/33\n $BLOCKED\n" + end, `HAT line 2: entry "10.1.0.0/33" is not a network`},
		{"G:\n a..b\n $BLOCKED\n" + end, `HAT line 2: entry "a..b" is neither an address`},
		{"G:\n sbrs[1.0:-1.0]\n $BLOCKED\n" + end, `HAT line 2: entry "sbrs[1.0:-1.0]": the range ends before it starts`},
		{"G:\n sbrs[-10.1:1]\n $BLOCKED\n" + end, `HAT line 2: entry "sbrs[-10.1:1]": a range of scores is`},
		{"G:\n sbrs[1.25:2]\n $BLOCKED\n" + end, `HAT line 2: entry "sbrs[1.25:2]": a range of scores is`},
		{"G:\n sbrs[1:2\n $BLOCKED\n" + end, `HAT line 2: entry "sbrs[1:2": the bracket is not closed`},
		{"G:\n sbo[1]\n $BLOCKED\n" + end, `HAT line 2: entry "sbo[1]": with brackets there are`},
		{"G:\n dnslist[]\n $BLOCKED\n" + end, `HAT line 2: entry "dnslist[]": dnslist[...] names the zone`},
		{"G:\n dnslist[[192.0.2.1]]\n $BLOCKED\n" + end, "names the zone of a DNS list"},
		{"G:\n" + manyZones(21) + " $BLOCKED\n" + end, "HAT line 22: the table asks more than 20 DNS lists"},
		{"$A\n ACCEPT {banner_code = 554}\n" + end, "HAT line 2: policy $A: banner_code is the code of a refusal"},
		{"$A\n REJECT {banner_code = 220}\n" + end, `HAT line 2: parameter banner_code: "220" is not a number from 400 to 599`},
		{"$A\n ACCEPT {significant_bits = 33}\n" + end, `HAT line 2: parameter significant_bits: "33" is not a number from 8 to 32`},
		{"$A\n ACCEPT {smtp_auth = yes}\n" + end, `HAT line 2: parameter smtp_auth: "yes" is not one of off, preferred, required`},
		{"$A\n ACCEPT {verify_sender = yes}\n" + end, `HAT line 2: parameter verify_sender: "yes" is neither off nor on`},
		{"G:\n 10.0.0.1 (open\n $BLOCKED\n" + end, "HAT line 2: a comment stands in parentheses"},
		{"$C\n CONTINUE {}\nALL\n $C\n", "HAT line 4: ALL is the last group"},
		{"G:\n $BLOCKED (a\x1b[31m)\n" + end, "HAT: line 2 has a control character"},
		{"G:\n $BLOCKED (a\u202e)\n" + end, "HAT: line 2 has a control character"},
		{"G:\n $BLOCKED (\xff)\n" + end, "HAT: line 2 is not UTF-8"},
		{strings.Repeat("x", 1001), "HAT: line 1 is longer than 1000 bytes"},
	} {
		_, err := ParseHAT(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

// What is exported parses to the same table, whatever it holds.
func TestRoundTrip(t *testing.T) {
	entries := []string{"sbrs[-1.0:10.0]", "sbrs[none]", "dnslist[zone.example]", "10.1.2.3", "10.1.2.3-9", "10.0.0.0/8", "10.2.", "::1", "2001:db8::/32", "mx.example", ".example", "nx.domain"}
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for i := range rapid.IntRange(0, 4).Draw(t, "policies") {
			action := rapid.SampledFrom([]string{"ACCEPT", "REJECT", "RELAY", "TCPREFUSE", "CONTINUE"}).Draw(t, "action")
			fmt.Fprintf(&b, "$P%d\n %s {", i, action)
			if rapid.Bool().Draw(t, "size") {
				fmt.Fprintf(&b, "max_message_size=%d,", rapid.Int64Range(1, 2<<30).Draw(t, "bytes"))
			}
			for _, p := range []string{"max_rcpts_per_hour = 3", "dhap_limit = 2 ", "spam_check = off,", "verify_sender = on ", "significant_bits = 24,"} {
				if rapid.Bool().Draw(t, p) {
					b.WriteString("\n" + p)
				}
			}
			if rapid.Bool().Draw(t, "more") {
				fmt.Fprintf(&b, "tls = %s\n banner = \"%s\"", rapid.SampledFrom([]string{"off", "preferred", "required"}).Draw(t, "tls"), rapid.StringMatching(`[ -!#-~]{1,20}`).Draw(t, "banner"))
			}
			b.WriteString("}\n")
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "groups") {
			fmt.Fprintf(&b, "G%d:\n", i)
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				b.WriteString(rapid.SampledFrom(entries).Draw(t, "entry") + " (" + rapid.StringMatching(`[a-zä() $:]{0,10}`).Draw(t, "note") + ")\n")
			}
			b.WriteString("$" + rapid.SampledFrom([]string{"P0", "ACCEPTED", "BLOCKED"}).Draw(t, "policy") + "\n")
		}
		b.WriteString("ALL\n $BLOCKED\n")
		h, err := ParseHAT(b.String())
		if err != nil {
			return // P0 is not always there
		}
		again, err := ParseHAT(h.String())
		if err != nil {
			t.Fatalf("export is refused: %v\n%s", err, h)
		}
		if fmt.Sprint(h.Policies()) != fmt.Sprint(again.Policies()) || fmt.Sprintf("%+v", h.Groups()) != fmt.Sprintf("%+v", again.Groups()) || h.String() != again.String() {
			t.Fatalf("export changed the table:\n%s\n%s", h, again)
		}
	})
}

func FuzzParseHAT(f *testing.F) {
	f.Add(seedHAT)
	f.Add(predefinedText)
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHAT(s)
		if err != nil {
			return
		}
		if again, err := ParseHAT(h.String()); err != nil || again.String() != h.String() {
			t.Fatalf("%q: export %q: %v", s, h.String(), err)
		}
		h.Decide(Client{IP: netip.MustParseAddr("10.1.2.3"), Host: "a.example", Verified: true})
	})
}

func TestDefaults(t *testing.T) {
	for kind, want := range map[Kind]Action{Public: Accept, Private: Reject} {
		h := DefaultHAT(kind)
		if d := h.Decide(Client{IP: netip.MustParseAddr("192.0.2.1")}); d.Action != want || d.Group != All {
			t.Errorf("%s: %+v", kind, d)
		}
		h, err := h.With("RELAYLIST", "192.0.2.0/24", "our own")
		if err != nil {
			t.Fatal(err)
		}
		if d := h.Decide(Client{IP: netip.MustParseAddr("192.0.2.1")}); d.Action != Relay || d.Match != "192.0.2.0/24" {
			t.Errorf("%s with a relay: %+v", kind, d)
		}
	}
	var names []string
	for _, g := range DefaultHAT(Public).Groups() {
		names = append(names, g.Name+" "+g.Policy)
	}
	if got := strings.Join(names, ", "); got != "RELAYLIST RELAYED, WHITELIST TRUSTED, BLACKLIST BLOCKED, SUSPECTLIST THROTTLED, UNKNOWNLIST ACCEPTED, ALL ACCEPTED" {
		t.Error(got)
	}
	if !DefaultRAT(Private).Decide(mail.Address{Local: "a", Domain: "b"}).Accept || DefaultRAT(Public).Decide(mail.Address{Local: "a", Domain: "b"}).Accept {
		t.Error("default RATs decide the wrong way round")
	}
}

// A peer is admitted and dismissed; text from outside cannot add lines.
func TestEdit(t *testing.T) {
	h := CPQHAT()
	peer := netip.MustParseAddr("10.9.9.9")
	in, err := h.With("RELAYLIST", "10.9.9.9", "sma1")
	if err != nil || in.Decide(Client{IP: peer}).Action != Relay || h.Decide(Client{IP: peer}).Action != Reject {
		t.Fatalf("%v\n%s\n%s", err, in, h)
	}
	twice, err := in.With("RELAYLIST", "10.9.9.9", "again")
	if err != nil || twice.String() != in.String() {
		t.Errorf("%v\n%s", err, twice)
	}
	if out, err := in.Without("RELAYLIST", "10.9.9.9"); err != nil || out.String() != h.String() {
		t.Errorf("%v\n%s", err, out)
	}
	for _, c := range [][3]string{{"RELAYLIST", "10.0.0.1\n  0.0.0.0/0", ""}, {"RELAYLIST", "10.0.0.1", "x)\n0.0.0.0/0 (y"}, {"ALL", "10.0.0.1", ""}, {"NONE", "10.0.0.1", ""}} {
		if got, err := h.With(c[0], c[1], c[2]); err == nil {
			t.Errorf("%q was taken:\n%s", c, got)
		}
	}
}

func TestRAT(t *testing.T) {
	r, err := ParseRAT(`
# ours
root@example.com REJECT 550 5.1.1 No root here
abuse@ ACCEPT
"a b"@example.com REJECT
example.com ACCEPT
.example.org ACCEPT
192.0.2.1 ACCEPT
ALL REJECT 550 5.7.1 We do not relay
`)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]bool{
		"a@example.com": true, "a@EXAMPLE.com.": true, "Root@example.com": false, `"a b"@example.com`: false,
		"a@sub.example.com": false, "a@a.example.org": true, "a@example.org": false, "a@badexample.org": false,
		"Abuse@elsewhere.net": true, "a@elsewhere.net": false, "a@[192.0.2.1]": true, "a@[192.0.2.2]": false,
		"a%elsewhere.net@example.com": true, "a%example.com@elsewhere.net": false, "postmaster": true, "postmaster@elsewhere.net": false,
	} {
		a, err := mail.ParseAddress(in)
		if err != nil {
			t.Fatal(err)
		}
		if d := r.Decide(a); d.Accept != want {
			t.Errorf("%s: %+v, want %v", in, d, want)
		}
	}
	if d := r.Decide(mail.Address{Local: "root", Domain: "example.com"}); d.Response != (Response{550, "5.1.1 No root here"}) || d.Match != "root@example.com" {
		t.Errorf("%+v", d)
	}
	for text, want := range map[string]string{"ALL REJECT": "", "a@example.com ACCEPT\n.example.org ACCEPT\nexample.net ACCEPT\nALL REJECT": "example.net", "example.net REJECT\nALL ACCEPT": ""} {
		if r, err := ParseRAT(text); err != nil || r.Home() != want {
			t.Errorf("home of %q is %q, %v", text, r.Home(), err)
		}
	}
	if d := r.Decide(mail.Address{Local: "postmaster"}); d.Response.Code != 0 {
		t.Errorf("postmaster is taken with the words of a refusal: %+v", d)
	}
	again, err := ParseRAT(r.String())
	if err != nil || again.String() != r.String() || fmt.Sprint(again.Entries()) != fmt.Sprint(r.Entries()) {
		t.Errorf("%v\n%s", err, again)
	}
	listed, err := NewRAT(r.Entries())
	if err != nil || listed.String() != r.String() {
		t.Errorf("%v\n%s", err, listed)
	}
	if d := (&RAT{}).Decide(mail.Address{Local: "a", Domain: "b"}); d.Accept {
		t.Error("an empty RAT took somebody")
	}
}

func TestRefusedRATs(t *testing.T) {
	for text, want := range map[string]string{
		"example.com":                              `RAT line 1: access "" is not known`,
		"\nexample.com accept":                     `RAT line 2: access "accept" is not known`,
		"ALL REJECT\nexample.com ACCEPT":           "RAT line 2: nothing may follow ALL",
		"a@@b ACCEPT":                              `RAT line 1: "a@@b" is none of`,
		".[192.0.2.1] ACCEPT":                      "is none of",
		"@example.com ACCEPT":                      "is none of",
		"example.com REJECT 250 fine":              `RAT line 1: response "250 fine"`,
		"example.com ACCEPT 550 no":                "RAT line 1: response",
		"example.com REJECT 550":                   "RAT line 1: response",
		"example.com REJECT 421 go":                "RAT line 1: response",
		"example.com REJECT 550 " + "\u00e4":       "RAT line 1: response",
		"example.com REJECT +50 no":                "RAT line 1: response",
		"example.com REJECT 550 " + "a\x00b":       "RAT: line 1 has a control character",
		strings.Repeat("ALL REJECT\n", 2):          "RAT line 2: nothing may follow ALL",
		"example.com ACCEPT\nexample.com\tACCEPTS": `RAT line 2: access "ACCEPTS"`,
	} {
		if _, err := ParseRAT(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if _, err := NewRAT([]RATEntry{{Address: "#a@b", Access: "ACCEPT"}}); err == nil || !strings.Contains(err.Error(), "RAT entry 1") {
		t.Errorf("an entry that its own export would hide: %v", err)
	}
	if _, err := NewRAT([]RATEntry{{Address: "a.b", Access: "REJECT", Response: "550 a\r\n250 b"}}); err == nil {
		t.Error("a response of two lines was taken")
	}
}
