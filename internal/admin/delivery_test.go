package admin

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
)

// deliverySettings is a language with the commands about deliveries.
func deliverySettings(t *testing.T) (*house, *config.Store) {
	t.Helper()
	conf := config.Defaults(config.Params{Role: config.Gateway, Hostname: "gw1.demo.example", Serial: "GATEWAY0001", IP: "127.0.0.1", SSHPort: 2222, SMTPPort: 2525, CPQPort: 7025})
	conf.Interfaces = append(conf.Interfaces, config.Interface{Name: "Data2", IP: "127.0.0.2"})
	st := config.NewStore(filepath.Join(t.TempDir(), "config.xml"), conf, logs.DiscardAudit(), nil)
	f := Configuration{Store: st, FlushDNS: func() {}}
	return language(t, append(f.Commands(), append(f.DeliveryCommands(), TLSCommands(teller{})...)...)...), st
}

// teller is a TLSVerifier that says what it was asked.
type teller struct{}

func (teller) Verify(_ context.Context, name string, port uint16, say func(string)) error {
	say("asked for " + name + "\x1b[2J")
	if port == 26 {
		return errors.New("no")
	}
	return nil
}

const someINI = `[DEFAULT]
ip_sort_pref = prefer-ipv6
max_host_concurrency = 500
max_messages_per_connection = 50
recipient_limit = 0
recipient_minutes = 60
table_tls = on
[slow.example]
recipient_limit = 300
`

// Each form of destconfig: by a line, by questions, by a file; nothing that
// makes no sense gets in.
func TestDestConfig(t *testing.T) {
	l, st := deliverySettings(t)
	wants(t, "new", first(run(t, l, admin, "destconfig new Example.COM. table_tls=require_verify recipient_limit=100 recipient_minutes=5")), "Commit to put this in force.\n")
	wants(t, "edit", first(run(t, l, admin, "destconfig edit DEFAULT dane=off; destconfig edit example.com max_host_concurrency=7")), "Commit")
	wants(t, "list", first(run(t, l, admin, "destconfig list")), "example.com                    required-verify      7     -        100/5 prefer-ipv4  on   on", "DEFAULT                        preferred            -     -     no limit prefer-ipv4  off  on")
	for line, want := range map[string]string{
		"destconfig new example.com":                           "use edit",
		"destconfig new a..b":                                  "neither a domain nor DEFAULT",
		"destconfig new b.example table_tls=maybe":             `"maybe" is not one of none, preferred`,
		"destconfig new b.example speed=1":                     `"speed" is not a parameter`,
		"destconfig new b.example speed":                       "is not NAME=VALUE",
		"destconfig new b.example recipient_limit=5":           "0 is not a number of minutes from 1 to 60",
		"destconfig new b.example bounce_profile=Nightly":      `bounce profile "Nightly" does not exist`,
		"destconfig edit c.example dane=on":                    "has no destination control",
		"destconfig delete c.example":                          "has no destination control",
		"destconfig delete DEFAULT":                            "DEFAULT stays",
		"destconfig edit example.com max_host_concurrency=501": "concurrency is 0 (default) to 500",
	} {
		out, status := run(t, l, admin, line)
		if status == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	s := newScript("destconfig", "new", "asked.example", "ipv4-only", "3", "", "", "", "none", "", "", "", "", "")
	l.Shell(t.Context(), admin, s)
	wants(t, "dialogue", s.String(), "Enter the domain:\n[]> asked.example", "Enter table_tls:\n[preferred]> none", "Commit to put this in force.")
	conf, _ := st.Pending()
	if d := conf.Destinations[2]; d.Domain != "asked.example" || d.IP != "ipv4-only" || d.Concurrency != 3 || d.TLS != "none" || d.DANE != "off" {
		t.Errorf("%+v", d)
	}
	out, _ := run(t, l, admin, "destconfig export")
	in := newScript(strings.Split(out, "\n")...)
	if status := l.Exec(t.Context(), admin, "destconfig import", in); status != 0 || !strings.Contains(in.String(), "3 destination controls.") {
		t.Errorf("%d %q", status, in.String())
	}
	if again, _ := run(t, l, admin, "destconfig export"); again != out {
		t.Errorf("exported\n%s\nimported and exported\n%s", out, again)
	}
	in = newScript(strings.Split(someINI, "\n")...)
	if status := l.Exec(t.Context(), admin, "destconfig import", in); status != 0 || !strings.Contains(in.String(), "2 destination controls.") {
		t.Errorf("%d %q", status, in.String())
	}
	in = newScript("[slow.example]", "table_tls = on")
	if status := l.Exec(t.Context(), admin, "destconfig import", in); status == 0 || !strings.Contains(in.String(), "there is no section [DEFAULT]") {
		t.Errorf("%d %q", status, in.String())
	}
	wants(t, "commit", first(run(t, l, admin, "destconfig delete slow.example; commit x")), "Changes committed")
	if n := len(st.Committed().Destinations); n != 1 {
		t.Errorf("%d rows", n)
	}
	reader := mail.Principal{Name: "r", Role: mail.ReadOnlyOperator}
	if out, status := run(t, l, reader, "destconfig list"); status != 0 || !strings.Contains(out, "DEFAULT") {
		t.Errorf("a reader sees %q", out)
	}
	if out, _ := run(t, l, reader, "destconfig new x.example"); !strings.HasPrefix(out, "Unknown command") {
		t.Errorf("a reader got %q", out)
	}
}

func TestSMTPRoutes(t *testing.T) {
	l, st := deliverySettings(t)
	wants(t, "empty", first(run(t, l, admin, "smtproutes list")), "# There are no SMTP routes")
	wants(t, "new", first(run(t, l, admin, "smtproutes new example.com mail.example.com:2525,[192.0.2.7]/pri=10; smtproutes new .example.com USEDNS; smtproutes new ALL [192.0.2.1], [192.0.2.2]")), "1 SMTP routes.", "3 SMTP routes.")
	text := "example.com mail.example.com:2525, [192.0.2.7]/pri=10\n.example.com USEDNS\nALL [192.0.2.1], [192.0.2.2]\n"
	if out, _ := run(t, l, admin, "smtproutes export"); out != text {
		t.Errorf("%q", out)
	}
	for line, want := range map[string]string{
		"smtproutes new EXAMPLE.com USEDNS":           "use edit",
		"smtproutes new b.example":                    "at least one destination",
		"smtproutes new b.example host:99999":         "the port is a number",
		"smtproutes new mail.example.com example.com": "lead back",
		"smtproutes edit b.example USEDNS":            "has no route",
		"smtproutes delete b.example":                 "has no route",
	} {
		out, status := run(t, l, admin, line)
		if status == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	run(t, l, admin, "smtproutes edit example.com /dev/null; smtproutes delete ALL")
	if out, _ := run(t, l, admin, "smtproutes export"); out != "example.com /dev/null\n.example.com USEDNS\n" {
		t.Errorf("%q", out)
	}
	in := newScript("# all of them", text)
	if status := l.Exec(t.Context(), admin, "smtproutes import", in); status != 0 || !strings.Contains(in.String(), "3 SMTP routes.") {
		t.Errorf("%d %q", status, in.String())
	}
	run(t, l, admin, "commit x")
	if n := len(st.Committed().SMTPRoutes); n != 3 {
		t.Errorf("%d routes in force", n)
	}
}

func TestDeliveryConfig(t *testing.T) {
	l, st := deliverySettings(t)
	wants(t, "show", first(run(t, l, admin, "deliveryconfig")), "Default interface to deliver mail: Auto\nPossible Delivery: on\n", "concurrency: 1,000\n")
	wants(t, "setup", first(run(t, l, admin, "deliveryconfig setup Data2 off 300; deliveryconfig")), "Commit", "mail: Data2\nPossible Delivery: off\n", "concurrency: 300\n")
	for line, want := range map[string]string{
		"deliveryconfig setup Data9":         "not one of: Auto, Management, Data2",
		"deliveryconfig setup Auto perhaps":  "neither on nor off",
		"deliveryconfig setup Auto on many":  "is not a number",
		"deliveryconfig setup Auto on 10001": "10001 is not a number from 0",
		"altsrchost new example.com":         "an interface is needed",
		"altsrchost new example.com Data9":   "not one of: Management, Data2",
		"altsrchost new 192.0.2.0/99 Data2":  "is none of user@domain, domain",
		"altsrchost edit example.com Data2":  "There is no mapping",
		"dnsconfig new resolver.example":     "neither an IP address",
		"dnsconfig delete 192.0.2.1":         "There is no DNS server",
	} {
		out, status := run(t, l, admin, line)
		if status == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	run(t, l, admin, "altsrchost new Ann@Example.com Data2; altsrchost new 192.0.2.0/24 Management; altsrchost edit ann@example.com Management")
	if out, status := run(t, l, admin, "altsrchost new ann@EXAMPLE.com Data2"); status == 0 || !strings.Contains(out, "stands here twice") {
		t.Errorf("%d %q", status, out)
	}
	wants(t, "list", first(run(t, l, admin, "altsrchost delete 192.0.2.0/24; altsrchost list")), "1. ann@example.com -> Management (127.0.0.1)\n")
	wants(t, "dns", first(run(t, l, admin, "dnsconfig new 192.0.2.53 Y; dnsconfig new 192.0.2.54:5353; dnsconfig new 127.0.0.53; dnsconfig")),
		"1. 192.0.2.53, believed about DNSSEC\n2. 192.0.2.54:5353, not believed about DNSSEC\n3. 127.0.0.53, believed about DNSSEC\n")
	if out, status := run(t, l, admin, "dnsconfig new 192.0.2.55"); status == 0 || !strings.Contains(out, "more than three servers") {
		t.Errorf("%d %q", status, out)
	}
	wants(t, "flush", first(run(t, l, admin, "dnsflush; dnsconfig delete 192.0.2.53; commit x")), "asked for anew", "Changes committed")
	if n := len(st.Committed().DNSServers); n != 2 {
		t.Errorf("%d servers", n)
	}
}

func TestTLSVerify(t *testing.T) {
	l, _ := deliverySettings(t)
	if out, status := run(t, l, admin, "tlsverify example.com"); status != 0 || out != "asked for example.com\\u001b[2J\n" {
		t.Errorf("%d %q", status, out)
	}
	for _, line := range []string{"tlsverify", "tlsverify a.example x", "tlsverify a.example 26"} {
		if out, status := run(t, l, admin, line); status == 0 {
			t.Errorf("%s: %q", line, out)
		}
	}
}
