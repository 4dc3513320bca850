package gateway

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/outbreak"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

func rulesOf(f *testlib.Feed) config.Outbreak {
	return config.Outbreak{Source: f.URL, Feed: f.Name, Keys: []string{f.Key}, CAFile: f.CAFile}
}

const program = "Subject: Offer\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=offer.exe\r\n\r\nMZ\r\n"

// Rules come over HTTPS from a server with a pinned root, hold what they are
// for as long as the policy says, and are in force after a start without network.
func TestOutbreakRules(t *testing.T) {
	f := testlib.NewFeed(t)
	w := newWorld(t, nil, func(c *config.Config) {
		paired(c)
		c.Outbreak = rulesOf(f)
		c.MailPolicies = []config.MailPolicy{
			{Table: config.Inbound, Name: "Warned", Recipients: []string{"warned@"}, Outbreak: "custom", Threats: []config.OutbreakPolicy{
				{Threshold: 5, Viral: "1d", Other: "4h", Modify: 2, Subject: "[$threat_category]", Headers: true}}},
			{Table: config.Inbound, Name: "Lab", Recipients: []string{"lab@"}, Outbreak: "off"},
		}
	})
	update := func(want string) {
		t.Helper()
		if said, err := w.OutbreakUpdate(t.Context()); err != nil || !strings.Contains(said, want) {
			t.Errorf("%q %v, want %q", said, err, want)
		}
	}
	update("serial 1, 0 rules")
	f.Publish(`OUTBREAK_0000231 4 virus "file":{"extension":[".exe"]}`)
	update("New rules are in force: feed test, serial 2, 1 rules")
	update("up to date")
	w.inject("a@partner.example", program, nil, "bob@one.example", "warned@one.example", "lab@one.example")
	w.until("two deliveries", func() bool { return len(w.mailbox.Messages()) == 2 })
	for _, m := range w.mailbox.Messages() {
		warned := strings.Contains(string(m.Content), "\r\nSubject: [Virus] Offer\r\n") &&
			strings.Contains(string(m.Content), "X-IronPort-Outbreak-Status: Yes, level 4, Virus - Test\r\nX-IronPort-Outbreak-Description: a test\r\n")
		if strings.Contains(m.To[0], "warned@") != warned {
			t.Errorf("%s got %q", m.To[0], m.Content)
		}
	}
	var held []*queue.Item
	w.until("only what is held is in the spool", func() bool {
		held = nil
		if err := w.spool.Scan(context.Background(), func(it *queue.Item) error { held = append(held, it); return nil }); err != nil {
			t.Fatal(err)
		}
		return len(held) == 1
	})
	if len(held) != 1 || len(held[0].Placements) != 1 || held[0].Placements[0].Reason != "VOF rule:OUTBREAK_0000231" || held[0].Placements[0].Keep != 24*time.Hour {
		t.Fatalf("%+v", held)
	}
	mid := held[0].MID.String()
	want := []string{"MID " + mid + " Outbreak Filters: verdict positive", "MID " + mid + " Threat Level=4 Category=Virus Type=Test",
		"MID " + mid + ` enqueued for transfer to centralized quarantine "Outbreak" (VOF rule:OUTBREAK_0000231)`}
	if got := w.lines("MID "+mid+" Outbreak", "MID "+mid+" Threat", "MID "+mid+" enqueued"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	f.Close()
	if _, err := w.OutbreakUpdate(t.Context()); err == nil || !strings.Contains(w.OutbreakStatus().Trouble, "does not give the outbreak feed") {
		t.Errorf("%v, %+v", err, w.OutbreakStatus())
	}
	w.end()
	w.open(w.Path("."), nil)
	if r, err := w.OutbreakRule("OUTBREAK_0000231"); err != nil || r.Level != 4 {
		t.Errorf("after a start without network: %+v %v", r, err)
	}
	if info, err := os.Stat(w.Path(feedName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// A server whose certificate is not by the pinned root is not asked, nor one
// without a good file of roots.
func TestOutbreakNeedsThePinnedRoot(t *testing.T) {
	f := testlib.NewFeed(t)
	g := newGateway(t, func(c *config.Config) { c.Outbreak = rulesOf(f); c.Outbreak.CAFile = "" })
	if _, err := g.OutbreakUpdate(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Error(err)
	}
	if err := os.WriteFile(f.CAFile, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	g = newGateway(t, func(c *config.Config) { c.Outbreak = rulesOf(f) })
	if _, err := g.OutbreakUpdate(t.Context()); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Error(err)
	}
	g = newGateway(t, nil)
	if _, err := g.OutbreakUpdate(t.Context()); err == nil || !strings.Contains(err.Error(), "outbreakconfig says") {
		t.Error(err)
	}
}

// Held outbreak messages are judged again on each rule update (reference 2.6):
// what no rule holds any more goes on its way, what another one holds has a new
// reason, what nothing can be said of stays. The exit is that of the policy, and
// all that one rule holds is dealt with together.
func TestOutbreakJudgedAgain(t *testing.T) {
	f := testlib.NewFeed(t)
	w := newWorld(t, nil, func(c *config.Config) {
		holding(c)
		c.Outbreak = rulesOf(f)
		c.Filters += "mine: if (subject == 'mine') { quarantine('Outbreak'); }\n"
		c.MailPolicies = []config.MailPolicy{{Table: config.Inbound, Name: "Sales", Recipients: []string{"sales@"}, Outbreak: "custom", Threats: []config.OutbreakPolicy{{Threshold: 2, Viral: "2d", Other: "1h"}}}}
	})
	stop := w.live()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.rejudgeHeld(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	update := func(rules ...string) {
		t.Helper()
		f.Publish(rules...)
		if _, err := w.OutbreakUpdate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reasons := func() string {
		var all []string
		for _, m := range w.held(quarantine.Held) {
			all = append(all, m.Subject+"="+m.Quarantines[0].Reason)
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	inject := func(subject, body, to string) mail.MID {
		return w.inject("a@partner.example", "Subject: "+subject+"\r\n\r\n"+body+"\r\n", func(it *queue.Item) { it.Subject = subject }, to)
	}
	update(`R1 3 virus "body":["click"]`, `R2 2 phish "body":["parcel"]`)
	inject("one", "click here", "sales@other.example")
	two := inject("two", "click for your parcel", "bob@other.example")
	inject("low", "your parcel", "sales@other.example")
	inject("mine", "hello", "bob@other.example")
	w.until("four are held", func() bool { return len(w.held(quarantine.Held)) == 4 })
	if got := reasons(); got != "low=VOF rule:R2 mine=message filter:mine one=VOF rule:R1 two=VOF rule:R1" {
		t.Errorf("%s", got)
	}
	for _, m := range w.held(quarantine.Held) {
		want := map[string]time.Duration{"one": 48 * time.Hour, "two": 24 * time.Hour, "low": time.Hour, "mine": 24 * time.Hour}[m.Subject]
		if got := m.Quarantines[0].Exit.Sub(m.Received); got != want {
			t.Errorf("%s: %v, want %v", m.Subject, got, want)
		}
	}
	cli := func(line, want string) {
		t.Helper()
		var out nobody
		if status := w.language.Exec(t.Context(), root, line, &out); status != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %d %q, want %q", line, status, out.String(), want)
		}
	}
	cli("quarantine rules", "R1                                                2 ")
	cli("quarantine rules --json", `{"rule":"R1","messages":2,`)
	cli("quarantine search --rule R2", "low")
	update(`R3 4 virus "body":["parcel"]`)
	w.until("one is released", func() bool { return len(w.mailbox.Messages()) == 1 && len(w.held(quarantine.Held)) == 3 })
	w.until("the others have a new reason", func() bool {
		return reasons() == "low=VOF rule:R3 mine=message filter:mine two=VOF rule:R3"
	})
	for _, want := range []string{"MID " + two.String() + ` quarantine "Outbreak" new reason (VOF rule:R3)`, `released from quarantine "Outbreak" (rule update) t=`,
		"held messages judged by new outbreak rules: "} {
		w.until("a line "+want, func() bool { return strings.Contains(w.log(), want) })
	}
	if _, err := w.quarantines.SetHold(t.Context(), root, []mail.MID{two}, "a case"); err != nil {
		t.Fatal(err)
	}
	update()
	w.until("what may go is gone", func() bool {
		return reasons() == "mine=message filter:mine two=VOF rule:R3" && len(w.mailbox.Messages()) == 2
	})
	cli("quarantine hold "+two.String()+" --lift", "1 ")
	cli("quarantine delete --all --quarantine Outbreak --rule R3", "1 ")
	w.until("all of the rule is gone", func() bool { return w.state(two) == "deleted" })
	stop()
}

// Without rules nothing is known: what is held stays when their source is taken
// away, and what is too big to be judged stays too.
func TestOutbreakUnknownStays(t *testing.T) {
	f := testlib.NewFeed(t)
	w := newWorld(t, nil, func(c *config.Config) { holding(c); c.Outbreak = rulesOf(f) })
	w.live()
	f.Publish(`R1 3 virus "body":["click"]`)
	if _, err := w.OutbreakUpdate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.inject("a@partner.example", "Subject: one\r\n\r\nclick\r\n", nil, "bob@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 })
	judge := func(want quarantine.Rejudged) {
		t.Helper()
		if out, err := w.quarantines.Rejudge(t.Context(), w.judgeHeld); err != nil || out != want {
			t.Errorf("%+v %v, want %+v", out, err, want)
		}
	}
	judge(quarantine.Rejudged{Judged: 1})
	w.threats.Configure(outbreak.Settings{})
	judge(quarantine.Rejudged{Unknown: 1})
	if n := len(w.held(quarantine.Held)); n != 1 {
		t.Errorf("%d are held", n)
	}
}

// That there are no new rules reaches an administrator by mail.
func TestOutbreakTroubleByMail(t *testing.T) {
	f := testlib.NewFeed(t)
	w := newWorld(t, nil, func(c *config.Config) {
		c.Outbreak = rulesOf(f)
		c.Alerts.Recipients = []config.AlertRecipient{{Address: "ops@other.example"}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.KeepAlerts(ctx, w.postAlert) }()
	t.Cleanup(func() { cancel(); <-done })
	f.Close()
	if _, err := w.OutbreakUpdate(t.Context()); err == nil {
		t.Fatal("a publisher that is away gave rules")
	}
	w.until("the alert", func() bool {
		all := w.mailbox.Messages()
		return len(all) == 1 && strings.Contains(strings.Join(strings.Fields(string(all[0].Content)), " "), "Outbreak rules not updated: ")
	})
}
