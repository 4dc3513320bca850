package gateway

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/config"
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
	if err := w.spool.Scan(context.Background(), func(it *queue.Item) error { held = append(held, it); return nil }); err != nil {
		t.Fatal(err)
	}
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
