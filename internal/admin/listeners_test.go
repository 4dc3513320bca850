package admin

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lazaret/internal/access"
	"lazaret/internal/config"
	"lazaret/internal/mail"
)

// feed executes a line with input.
func feed(t *testing.T, l *house, line string, input ...string) (string, int) {
	t.Helper()
	s := newScript(input...)
	status := l.Exec(t.Context(), admin, line, s)
	return s.String(), status
}

// must executes lines that have to work.
func must(t *testing.T, l *house, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if out, status := run(t, l, admin, line); status != 0 {
			t.Fatalf("%s: %d %s", line, status, out)
		}
	}
}

// Listeners are made, changed, renamed and removed by single lines, pending
// until commit; the hidden one is in no menu and goes by its name.
func TestListenerConfig(t *testing.T) {
	l, st := settings(t, config.Gateway)
	must(t, l, "listenerconfig new Outbound private Management 2526", "listenerconfig new Second public Management 2527 example.com,.example.org")
	if len(st.Committed().Listeners) != 2 {
		t.Error("in force without commit")
	}
	conf, _ := st.Pending()
	if p := conf.Listener("Outbound"); p == nil || p.Type != "private" || p.Port != 2526 || p.HAT != strings.TrimSpace(access.DefaultHAT(access.Private).String()) || len(p.RAT) != 0 || p.Backlog != config.DefaultBacklog {
		t.Errorf("%+v", p)
	}
	if s := conf.Listener("Second"); s == nil || len(s.RAT) != 3 || s.RAT[1].Address != ".example.org" || s.RAT[2].Access != "REJECT" {
		t.Errorf("%+v", s)
	}
	if n := conf.Listeners; n[len(n)-1].Name != "cpq_listener" {
		t.Error("the hidden listener is not the last")
	}
	must(t, l, "listenerconfig edit Outbound setup Management 2600 77", "listenerconfig edit Outbound name Away")
	conf, _ = st.Pending()
	if p := conf.Listener("Away"); p == nil || p.Port != 2600 || p.Backlog != 77 || conf.Listener("Outbound") != nil {
		t.Errorf("%+v", p)
	}
	s := newScript("listenerconfig", "edit", "2", "setup", "", "2601", "", "", "", "listenerconfig", "")
	l.Shell(t.Context(), admin, s)
	wants(t, "dialogue", s.String(), "Currently configured listeners:\n1. IncomingMail (on Management, 127.0.0.1) SMTP TCP Port 2525 Public\n2. Away (on Management, 127.0.0.1) SMTP TCP Port 2600 Private\n",
		"Enter the name or number of the listener you wish to edit.\n1. IncomingMail\n2. Away\n3. Second\n[]> 2\n", "Enter the TCP port for this listener.\n[2600]> 2601\n", "Listen Queue Size: 77\n",
		"Commit to put this in force.\n", "2. Away (on Management, 127.0.0.1) SMTP TCP Port 2601 Private\n")
	if strings.Contains(s.String(), "cpq_listener") {
		t.Error("the hidden listener is in the menu")
	}
	wants(t, "hidden", first(run(t, l, admin, "listenerconfig edit cpq_listener hostaccess print")), "RELAYLIST:\n")
	for line, want := range map[string]string{
		"listenerconfig delete cpq_listener":                            "exactly one belongs here",
		"listenerconfig edit cpq_listener name x":                       "cpq_listener",
		"listenerconfig edit cpq_listener hostaccess reset Y":           "pairing",
		"listenerconfig new Away private Management 2700":               "There is a listener \"Away\" already",
		"listenerconfig new Third private Management 2601":              "Away has the same address and port",
		"listenerconfig new Third private Nowhere 2700":                 "is not one of: Management",
		"listenerconfig new Third open Management 2700":                 "is not one of: public, private",
		"listenerconfig new Third private Management 70000":             "is not a number from 1 to 65535",
		"listenerconfig new Third private Management 2700 x y":          "is too much",
		"listenerconfig edit Nobody setup Management 1 1":               "there is no listener",
		"listenerconfig edit Away":                                      "",
		"listenerconfig edit Away routing":                              "is not one of: name, setup, hostaccess, rcptaccess",
		"listenerconfig edit Second hostaccess print now":               "is too much",
		"listenerconfig new Third public Management 2700 exa..mple.com": "is none of user@domain",
	} {
		out, status := run(t, l, admin, line)
		if want != "" && (status == 0 || !strings.Contains(out, want)) {
			t.Errorf("%s: %d %q, want %s", line, status, out, want)
		}
	}
	must(t, l, "listenerconfig delete Second", "listenerconfig delete Away")
	if conf, _ := st.Pending(); len(conf.Listeners) != 2 {
		t.Errorf("%d listeners", len(conf.Listeners))
	}
	if out, _ := run(t, l, mail.Principal{Name: "r", Role: mail.ReadOnlyOperator}, "listenerconfig edit IncomingMail hostaccess print"); !strings.HasPrefix(out, "Unknown command") {
		t.Errorf("a read-only operator got %q", out)
	}
	m, _ := settings(t, config.Manager)
	if out, status := run(t, m, admin, "listenerconfig new X public Management 2700 example.com"); status == 0 || !strings.Contains(out, "a manager takes no mail over SMTP") {
		t.Errorf("on a manager: %q", out)
	}
}

const edit = "listenerconfig edit IncomingMail hostaccess "

// The HAT by single lines: groups and policies are made, changed, moved and
// removed, in force after commit; what is wrong changes nothing and says where.
func TestHostAccess(t *testing.T) {
	l, st := settings(t, config.Gateway)
	must(t, l,
		edit+"new policy SLOW accept max_rcpts_per_hour = 5, tls = required",
		edit+`new policy AWAY REJECT "banner = \"not today\", banner_code = 450"`,
		edit+"new sendergroup PARTNERS $SLOW .example.net,192.0.2.0/24 WHITELIST",
		edit+"new sendergroup LISTED AWAY dnslist[bl.example]",
		edit+"edit sendergroup PARTNERS add mx.example.org",
		edit+"edit sendergroup PARTNERS remove 192.0.2.0/24",
		edit+"edit sendergroup ALL policy SLOW",
		edit+"edit policy SLOW ACCEPT max_rcpts_per_hour = 6",
		edit+"move LISTED RELAYLIST",
		edit+"delete sendergroup SUSPECTLIST",
		edit+"delete policy THROTTLED",
		`commit "x"`)
	h, err := access.ParseHAT(st.Committed().Listener("IncomingMail").HAT)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, g := range h.Groups() {
		order = append(order, g.Name+"="+g.Policy)
	}
	if got := strings.Join(order, " "); got != "LISTED=AWAY RELAYLIST=RELAYED PARTNERS=SLOW WHITELIST=TRUSTED BLACKLIST=BLOCKED UNKNOWNLIST=ACCEPTED ALL=SLOW" {
		t.Error(got)
	}
	wants(t, "print", first(run(t, l, admin, edit+"print")), "$SLOW\n  ACCEPT {\n    max_rcpts_per_hour = 6\n  }\n", "banner = \"not today\"", "PARTNERS:\n  .example.net\n  mx.example.org\n    $SLOW\n")
	before := st.Committed().Listener("IncomingMail").HAT
	for line, want := range map[string]string{
		edit + "new policy SLOW ACCEPT":                             "There is a policy $SLOW already",
		edit + "new policy X PERMIT":                                "expected ACTION",
		edit + "new policy X ACCEPT speed = 3":                      `parameter "speed" is not known`,
		edit + `new policy X ACCEPT "} x {"`:                        "nothing may follow the closing brace",
		edit + "new sendergroup PARTNERS SLOW":                      "a sender group \"PARTNERS\" already",
		edit + "new sendergroup NEW NONE":                           "policy $NONE is not defined",
		edit + "new sendergroup NEW SLOW 10.0.0.999":                `entry "10.0.0.999"`,
		edit + "new sendergroup NEW SLOW 10.0.0.1 NOWHERE":          `no sender group "NOWHERE"`,
		edit + "edit sendergroup PARTNERS remove 10.0.0.1":          "has no entry 10.0.0.1",
		edit + "edit sendergroup PARTNERS add":                      "an entry is needed",
		edit + "edit sendergroup NOBODY add 10.0.0.1":               "The sender group NOBODY does not exist",
		edit + "edit policy NOBODY ACCEPT":                          "The policy $NOBODY does not exist",
		edit + "delete sendergroup ALL":                             "ALL is the last group",
		edit + "delete policy SLOW":                                 "is the one of sender group",
		edit + "move ALL PARTNERS":                                  "ALL is the last group",
		edit + "delete sendergroup PARTNERS LISTED":                 "is too much",
		"listenerconfig edit IncomingMail hostaccess new other X Y": "is not one of: sendergroup, policy",
	} {
		if out, status := run(t, l, admin, line); status == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %q, want %s", line, status, out, want)
		}
	}
	if conf, pending := st.Pending(); pending || conf.Listener("IncomingMail").HAT != before {
		t.Error("a refused change is pending")
	}
	s := newScript("listenerconfig", "edit", "IncomingMail", "hostaccess", "edit", "policy", "SLOW", "", "", "new", "", "VIPS", "", "10.9.9.9", "", "", "", "", "commit", "y")
	l.Shell(t.Context(), admin, s)
	wants(t, "dialogue", s.String(), "There are currently 6 policies defined.\nThere are currently 7 sender groups.\n1. LISTED ($AWAY, 1 entries)\n",
		"Enter the behavior: ACCEPT, RELAY, REJECT, TCPREFUSE or CONTINUE.\n[ACCEPT]> \n", "[max_rcpts_per_hour = 6]> \n", "[ACCEPTED]> \n", "[ALL]> \n")
	must(t, l, edit+"reset Y")
	if conf, _ := st.Pending(); conf.Listener("IncomingMail").HAT != strings.TrimSpace(access.DefaultHAT(access.Public).String()) {
		t.Error("not reset")
	}
}

// What is exported is imported to the same table, through the commands, for
// any table; an import with a mistake names its line and changes nothing (F153).
func TestHATRoundTrip(t *testing.T) {
	l, st := settings(t, config.Gateway)
	texts := []string{access.DefaultHAT(access.Public).String(), access.DefaultHAT(access.Private).String(), access.CPQHAT().String()}
	rapid.Check(t, func(rt *rapid.T) {
		h, err := access.ParseHAT(rapid.SampledFrom(texts).Draw(rt, "table"))
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(0, 4).Draw(rt, "edits") {
			name := rapid.StringMatching(`[A-Z][A-Z0-9_-]{0,8}`).Draw(rt, "name")
			if next, err := h.WithPolicy(name, rapid.SampledFrom([]string{"ACCEPT {}", "REJECT {banner = \"x, {y} = z\"}", "RELAY {tls = required, dhap_limit = 3}", "TCPREFUSE {}"}).Draw(rt, "body")); err == nil {
				h = next
			}
			entries := []access.Entry{{Text: rapid.SampledFrom([]string{"10.0.0.1", "sbrs[-3.0:1.0]", "dnslist[bl.example]", ".example.net", "2001:db8::/32"}).Draw(rt, "entry"), Comment: rapid.StringMatching(`[a-zä ()$:]{0,10}`).Draw(rt, "note")}}
			if next, err := h.WithGroup(access.Group{Name: name, Policy: name, Entries: entries}, ""); err == nil {
				h = next
			}
		}
		lines := strings.Split(strings.TrimSuffix(h.String(), "\n"), "\n")
		if out, status := feed(t, l, edit+"import", append(lines, ".")...); status != 0 || !strings.Contains(out, " sender groups imported.\n") {
			rt.Fatalf("%d %s\n%s", status, out, h)
		}
		if out, status := run(t, l, admin, edit+"export"); status != 0 || out != h.String() {
			rt.Fatalf("%d: export\n%s\nis not\n%s", status, out, h)
		}
	})
	conf, _ := st.Pending()
	before := conf.Listener("IncomingMail").HAT
	if out, status := feed(t, l, edit+"import", "$A", "  ACCEPT {}", "G:", "  $NOWHERE", "ALL", "  $A", "."); status == 0 || !strings.Contains(out, "HAT line 4: policy $NOWHERE is not defined") {
		t.Errorf("%d %s", status, out)
	}
	if conf, _ := st.Pending(); conf.Listener("IncomingMail").HAT != before {
		t.Error("an import with a mistake changed the table")
	}
}

// The RAT by single lines and by import and export.
func TestRcptAccess(t *testing.T) {
	const rcpt = "listenerconfig edit IncomingMail rcptaccess "
	l, st := settings(t, config.Gateway)
	must(t, l, rcpt+"new example.com", rcpt+"new root@example.com REJECT 550 5.1.1 No root here", rcpt+"new .example.org accept", rcpt+"move root@example.com example.com",
		rcpt+"edit .example.org REJECT", rcpt+"new x.example ACCEPT", rcpt+"delete x.example", `commit "x"`)
	const want = "root@example.com REJECT 550 5.1.1 No root here\nexample.com ACCEPT\n.example.org REJECT\nALL REJECT\n"
	if out, _ := run(t, l, admin, rcpt+"export"); out != want {
		t.Error(out)
	}
	for line, want := range map[string]string{
		rcpt + "new EXAMPLE.com":               "The table has an entry EXAMPLE.com already",
		rcpt + "new a@@b":                      "is none of user@domain",
		rcpt + "new a.example PERMIT":          `access "PERMIT" is not known`,
		rcpt + "new a.example REJECT 250 fine": "response",
		rcpt + "edit nobody.example REJECT":    "The table has no entry nobody.example",
		rcpt + "delete nobody.example":         "The table has no entry nobody.example",
		rcpt + "move ALL example.com":          "nothing may follow ALL",
		rcpt + "delete example.com now":        "is too much",
	} {
		if out, status := run(t, l, admin, line); status == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %q, want %s", line, status, out, want)
		}
	}
	if _, pending := st.Pending(); pending {
		t.Error("a refused change is pending")
	}
	if out, status := feed(t, l, rcpt+"import", append(strings.Split(strings.TrimSuffix(want, "\n"), "\n"), ".")...); status != 0 || !strings.Contains(out, "4 recipients imported.") {
		t.Errorf("%d %s", status, out)
	}
	if out, status := feed(t, l, rcpt+"import", "example.com ACCEPT", "ALL MAYBE", "."); status == 0 || !strings.Contains(out, `RAT line 2: access "MAYBE"`) {
		t.Errorf("%d %s", status, out)
	}
	if out, status := feed(t, l, rcpt+"import", "."); status == 0 || !strings.Contains(out, "would relay for everybody") {
		t.Errorf("an empty table: %d %s", status, out)
	}
	if out, _ := run(t, l, admin, rcpt+"print"); out != want {
		t.Error(out)
	}
}

func TestReputationConfig(t *testing.T) {
	l, st := settings(t, config.Gateway)
	wants(t, "none", first(run(t, l, admin, "reputationconfig")), "Reputation scores: none\n")
	must(t, l, "reputationconfig file /var/lib/scores", "reputationconfig dns score.example.com")
	if conf, _ := st.Pending(); conf.Reputation != (config.Reputation{Source: "dns", Zone: "score.example.com"}) {
		t.Errorf("%+v", conf.Reputation)
	}
	wants(t, "bad", first(run(t, l, admin, "reputationconfig dns local")), "is not the zone of a score service")
	wants(t, "bad", first(run(t, l, admin, "reputationconfig file")), "needs the path")
	wants(t, "bad", first(run(t, l, admin, "reputationconfig oracle")), "is not one of: none, file, dns")
	must(t, l, "reputationconfig none")
	if conf, _ := st.Pending(); conf.Reputation.Source != "none" {
		t.Errorf("%+v", conf.Reputation)
	}
}
