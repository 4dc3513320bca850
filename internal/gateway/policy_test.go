package gateway

import (
	"context"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// lines gives what mail_logs says of some messages, without dates.
func (w *world) lines(contains ...string) (out []string) {
	w.t.Helper()
	for _, l := range strings.Split(w.log(), "\n") {
		if i := strings.Index(l, "Info: "); i >= 0 && slices.ContainsFunc(contains, func(s string) bool { return strings.Contains(l, s) }) {
			out = append(out, l[i+6:])
		}
	}
	return out
}

func policies(socket string) func(*config.Config) {
	return func(c *config.Config) {
		c.Antivirus.Clamd = socket
		c.MailPolicies = []config.MailPolicy{
			{Table: config.Inbound, Name: "Sales", Recipients: []string{"sales@"}, Antivirus: "custom", Verdicts: []config.VirusVerdict{
				{Verdict: "infected", Action: "deliver", Tag: "[WARNING: VIRUS DETECTED]", Header: "X-Virus: yes"},
			}},
			{Table: config.Inbound, Name: "Lab", Recipients: []string{"lab@"}, Antivirus: "off"},
			{Table: config.Inbound, Name: "Board", Recipients: []string{"board@"}, Antivirus: "custom", Verdicts: []config.VirusVerdict{{Verdict: "infected", Action: "drop"}}},
		}
	}
}

// One message to recipients of four policies (reference 7.8) with a virus that a
// real clamd finds: each part has a number of its own and gets what its policy
// says; what is not scanned and what is clean goes as it came.
func TestSplinteredByPolicy(t *testing.T) {
	s := testlib.NewClamd(t)
	w := newWorld(t, nil, policies(s.Socket))
	virus := "Subject: Offer\r\n\r\n" + testlib.EICAR() + "\r\n"
	mid := w.inject("a@partner.example", virus, nil, "x@other.example", "sales@one.example", "lab@one.example", "board@one.example", "sales@two.example")
	w.until("three deliveries", func() bool { return len(w.mailbox.Messages()) == 3 })
	got := map[string]string{}
	for _, m := range w.mailbox.Messages() {
		got[strings.Trim(m.To[0], "TO:<>")] = string(m.Content)
	}
	for _, to := range []string{"sales@one.example", "sales@two.example"} {
		if m := got[to]; !strings.Contains(m, "X-Virus: yes\r\n") || !strings.Contains(m, "Subject: [WARNING: VIRUS DETECTED] Offer\r\n\r\nX5O") {
			t.Errorf("%s got %q", to, m)
		}
	}
	if m := got["lab@one.example"]; !strings.HasSuffix(m, virus) || strings.Contains(m, "WARNING") {
		t.Errorf("lab got %q", m)
	}
	var held []*queue.Item
	if err := w.spool.Scan(context.Background(), func(it *queue.Item) error { held = append(held, it); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(held) != 1 || len(held[0].Recipients) != 1 || held[0].Recipients[0].Dest.Name != queue.CPQHost ||
		held[0].Placements[0].Quarantine != "Virus" || held[0].Placements[0].Reason != "antivirus:infected Lazaret.Eicar.Part.UNOFFICIAL" || held[0].MID == mid {
		t.Errorf("in the queue: %d, %+v", len(held), held[0])
	}
	want := []string{
		"MID 1 was split creating MID 2 due to a per-recipient policy Sales in the inbound table",
		"MID 2 interim AV verdict using ClamAV VIRAL",
		"MID 2 antivirus positive 'Lazaret.Eicar.Part.UNOFFICIAL'",
		"MID 1 was split creating MID 3 due to a per-recipient policy Lab in the inbound table",
		"MID 1 was split creating MID 4 due to a per-recipient policy Board in the inbound table",
		"MID 4 interim AV verdict using ClamAV VIRAL",
		"MID 4 antivirus positive 'Lazaret.Eicar.Part.UNOFFICIAL'",
		"Message aborted MID 4 Dropped by antivirus",
		"MID 1 was split creating MID 5 due to a per-recipient policy DEFAULT in the inbound table",
		"MID 5 interim AV verdict using ClamAV VIRAL",
		"MID 5 antivirus positive 'Lazaret.Eicar.Part.UNOFFICIAL'",
		"Message finished MID 1 done",
	}
	if got := w.lines("was split", "AV verdict", " antivirus ", "aborted MID", "finished MID 1 "); !slices.Equal(got, want) {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A message with one policy keeps its number when nothing is changed, and gets
// another when it is.
func TestRewrittenByAntivirus(t *testing.T) {
	s := testlib.NewClamd(t)
	w := newWorld(t, nil, policies(s.Socket))
	w.inject("a@partner.example", "Subject: Offer\r\n\r\nhello\r\n", nil, "sales@one.example")
	w.until("a delivery", func() bool { return len(w.mailbox.Messages()) == 1 })
	w.inject("a@partner.example", "Subject: Offer\r\n\r\n"+testlib.EICAR()+"\r\n", nil, "sales@one.example")
	w.until("another", func() bool { return len(w.mailbox.Messages()) == 2 && w.empty() })
	want := []string{"MID 1 antivirus negative", "MID 2 antivirus positive 'Lazaret.Eicar.Part.UNOFFICIAL'", "MID 2 rewritten to MID 3 by antivirus", "Message finished MID 2 done"}
	if got := w.lines(" antivirus ", "by antivirus", "finished MID 2 "); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Register C5: while clamd is away mail waits and nothing is delivered; when it
// is back the mail goes on by itself.
func TestSEC_C5_MailWaitsForTheScanner(t *testing.T) {
	s := testlib.NewClamd(t)
	w := newWorld(t, nil, policies(s.Socket))
	s.Stop()
	w.inject("a@partner.example", "Subject: Offer\r\n\r\nhello\r\n", nil, "x@other.example")
	lab := w.inject("a@partner.example", "Subject: Lab\r\n\r\nhello\r\n", nil, "lab@one.example")
	w.until("what is not scanned goes", func() bool { return len(w.mailbox.Messages()) == 1 })
	if got := w.lines("queued for delivery"); len(got) != 1 || !strings.Contains(got[0], lab.String()) {
		t.Errorf("%q", got)
	}
	s.Start(t, "clamd")
	w.until("the rest goes", func() bool { return len(w.mailbox.Messages()) == 2 })
	if got := w.lines(" antivirus "); !slices.Equal(got, []string{"MID 1 antivirus negative"}) {
		t.Errorf("%q", got)
	}
}
