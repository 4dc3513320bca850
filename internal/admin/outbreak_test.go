package admin

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/outbreak"
)

const ruleKey = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// rulesInForce are what the commands are told.
type rulesInForce struct{ outbreak.Status }

func (r rulesInForce) OutbreakStatus() outbreak.Status { return r.Status }

func (r rulesInForce) OutbreakCopies() string { return "of messages that the manager holds: 2, 3 KB" }

func (r rulesInForce) OutbreakUpdate(context.Context) (string, error) {
	if r.Trouble != "" {
		return "", errs.New(errs.Temporary, "%s", r.Trouble)
	}
	return "New rules are in force\x1b[2J", nil
}

func (r rulesInForce) OutbreakRule(id string) (outbreak.Rule, error) {
	for _, x := range r.Feed.Rules {
		if x.ID == id {
			return x, nil
		}
	}
	return outbreak.Rule{}, errs.New(errs.NotFound, "no rule %s is in force", id)
}

func outbreakHouse(t *testing.T, r rulesInForce) (*house, *config.Store) {
	t.Helper()
	conf := config.Defaults(config.Params{Role: config.Gateway, Hostname: "gw1.demo.example", Serial: "GATEWAY0001", IP: "127.0.0.1", SSHPort: 2222, SMTPPort: 2525, CPQPort: 7025})
	st := config.NewStore(filepath.Join(t.TempDir(), "config.xml"), conf, logs.DiscardAudit(), nil)
	now := func() time.Time { return time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC) }
	f := Configuration{Store: st, FlushDNS: func() {}, Clock: now}
	return language(t, append(append(f.Commands(), f.ScanningCommands(engine{})...), f.OutbreakCommands(r)...)...), st
}

// Where rules come from and what policies do about them; what makes no sense
// does not get in.
func TestOutbreakConfig(t *testing.T) {
	l, st := outbreakHouse(t, rulesInForce{})
	source := "outbreakconfig source=https://rules.example.com/x.feed feed=example key=" + ruleKey
	wants(t, "source", first(run(t, l, admin, source+"; outbreakconfig")), "Commit", "source=https://rules.example.com/x.feed\nfeed=example\nkey="+ruleKey+"\n")
	wants(t, "policy", first(run(t, l, admin, "policyconfig new inbound Sales recipient=sales@ outbreak_threshold=4 outbreak_bypass=PDF,.docx outbreak_modify=2 'outbreak_subject=[$threat_category]' outbreak_deliver_nonviral=on; policyconfig print inbound Sales")),
		"outbreak=custom\n", "outbreak_threshold=4\noutbreak_viral_retention=1d\noutbreak_other_retention=4h\noutbreak_deliver_nonviral=on\noutbreak_bypass=.pdf,.docx\noutbreak_modify=2\noutbreak_subject=[$threat_category]\noutbreak_headers=on\n")
	wants(t, "off", first(run(t, l, admin, "policyconfig edit inbound DEFAULT outbreak=off")), "Commit")
	conf, _ := st.Pending()
	table, err := conf.MailTable(config.Inbound)
	if err != nil || table.Default.Outbreak.Scan || !table.Rows[0].Outbreak.Scan || table.Rows[0].Outbreak.Threshold != 4 || table.Rows[0].Outbreak.Other != 4*time.Hour {
		t.Errorf("%+v %v", table, err)
	}
	for line, want := range map[string]string{
		"outbreakconfig source=http://x.example/":                       "such as https://",
		"outbreakconfig source=relative":                                "absolute path or a URL",
		"outbreakconfig key=":                                           "1 to 4 public keys",
		"outbreakconfig key=ed25519:AAAA":                               "is not a key",
		"outbreakconfig feed=":                                          "feed is the name",
		"outbreakconfig poll=1s":                                        "poll is from 10s",
		"outbreakconfig max_message_size=big":                           "is not a size",
		"outbreakconfig colour=blue":                                    "is not a parameter",
		"outbreakconfig source=":                                        "needs rules: config/outbreak_filters",
		"policyconfig edit inbound Sales outbreak_threshold=6":          "is 1 to 5",
		"policyconfig edit inbound Sales outbreak_threshold=high":       "is a number",
		"policyconfig edit inbound Sales outbreak_viral_retention=1y":   "is not a time",
		"policyconfig edit inbound Sales outbreak_other_retention=1s":   "from 1m to 30d",
		"policyconfig edit inbound Sales outbreak_headers=maybe":        "is on or off",
		"policyconfig edit inbound Sales 'outbreak_subject=[$subject]'": "a variable is not known",
		"policyconfig edit inbound Sales outbreak_bypass=a.b":           "is not an extension",
		"policyconfig edit inbound Sales outbreak_colour=blue":          "is not a parameter",
		"policyconfig edit inbound Sales outbreak=maybe":                "outbreak is default, custom or off",
	} {
		if out, _ := run(t, l, admin, line); !strings.Contains(out, want) {
			t.Errorf("%s: %q, want %q", line, out, want)
		}
	}
}

// What is in force, what it asks for, and what is wrong.
func TestOutbreakStatus(t *testing.T) {
	l, _ := outbreakHouse(t, rulesInForce{})
	wants(t, "none", first(run(t, l, admin, "outbreakstatus")), "There is no source of outbreak rules")
	at := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	key, err := outbreak.ParseKey(ruleKey)
	if err != nil {
		t.Fatal(err)
	}
	s := outbreak.Status{Settings: outbreak.Settings{Source: "/x.feed", Feed: "example", Keys: []outbreak.Key{key}}, Asked: at, Trouble: "it is away\x1b[2J"}
	l, _ = outbreakHouse(t, rulesInForce{s})
	wants(t, "nothing yet", first(run(t, l, admin, "outbreakstatus")), "Last asked: 2026-11-28 10:00 UTC\nLast good:  never\nTrouble:    it is away", "In force:   no rules\n", key.ID())
	if out, status := run(t, l, admin, "outbreakupdate"); status == 0 || !strings.Contains(out, "it is away") || strings.Contains(out, "\x1b") {
		t.Errorf("%d %q", status, out)
	}
	wants(t, "copies", first(run(t, l, admin, "outbreakstatus")), "Copies:     of messages that the manager holds: 2, 3 KB\n")
	s.Trouble, s.Good = "", at
	s.Feed = outbreak.Feed{Name: "example", Serial: 42, Published: at, Expires: at.Add(24 * time.Hour), Rules: []outbreak.Rule{
		{ID: "R1", Level: 4, Kind: outbreak.Virus, Type: "Trojan", Text: "a program", Published: at, File: &outbreak.File{Extensions: []string{".exe"}, Size: &outbreak.Range{Max: 9}}},
		{ID: "R2", Level: 2, Kind: outbreak.Phish, Text: "old", Published: at, Expires: at.Add(time.Hour), Hosts: []string{"evil.example"}},
	}}
	l, _ = outbreakHouse(t, rulesInForce{s})
	wants(t, "rules", first(run(t, l, admin, "outbreakstatus")), "serial 42 of 2026-11-28 10:00 UTC, 2 rules; another one by 2026-11-29 10:00 UTC\n", "    4 virus    never                a program\n", "    2 phish    expired              old\n")
	wants(t, "rule", first(run(t, l, admin, "outbreakstatus R1")), "Rule:        R1\nLevel:       4\n", "Type:        Trojan\n", "Extension:   .exe\nFile of:     0 to 9 bytes")
	wants(t, "update", first(run(t, l, admin, "outbreakupdate")), "New rules are in force")
	if out, status := run(t, l, admin, "outbreakstatus R3"); status != 1 || !strings.Contains(out, "no rule R3") {
		t.Errorf("%d %q", status, out)
	}
}
