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

// placed gives quarantine and reason of all that waits for the manager.
func (w *world) placed() (out []string) {
	w.t.Helper()
	if err := w.spool.Scan(context.Background(), func(it *queue.Item) error {
		for _, p := range it.Placements {
			out = append(out, p.Quarantine+" "+p.Reason)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func policies(socket string) func(*config.Config) {
	return func(c *config.Config) {
		paired(c)
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
	w.until("the deliveries are noted", func() bool { // the host has a message before we have its 250
		held = nil
		if err := w.spool.Scan(context.Background(), func(it *queue.Item) error { held = append(held, it); return nil }); err != nil {
			t.Fatal(err)
		}
		return len(held) == 1
	})
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

// A real Rspamd: spam is held, what may be spam is marked, the rest goes; while
// it is away mail waits, unless its policy lets it go.
func TestAntispam(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		paired(c)
		c.Antispam.Rspamd = testlib.NewRspamd(t)
		c.MailPolicies = []config.MailPolicy{{Table: config.Inbound, Name: "Lab", Recipients: []string{"lab@"}, Antispam: "custom", Spam: []config.VirusVerdict{{Verdict: "positive", Action: "drop"}}}}
	})
	text := func(body string) string {
		return "From: a@partner.example\r\nTo: b@example.com\r\nMessage-ID: <1@partner.example>\r\nDate: Sat, 28 Nov 2026 00:00:00 +0000\r\nSubject: Offer\r\n\r\n" + body + "\r\n"
	}
	gtube := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	w.inject("a@partner.example", text("hello"), nil, "x@other.example")
	w.inject("a@partner.example", text("a lazaret-suspect letter"), nil, "x@other.example")
	w.inject("a@partner.example", text(gtube), nil, "lab@one.example", "x@other.example")
	w.until("two deliveries", func() bool { return len(w.mailbox.Messages()) == 2 })
	marked := 0
	for _, m := range w.mailbox.Messages() {
		if strings.Contains(string(m.Content), "Subject: [SUSPECTED SPAM] Offer\r\n") {
			marked++
		}
	}
	if marked != 1 {
		t.Errorf("%d of 2 are marked", marked)
	}
	var held []string
	w.until("one is held", func() bool { held = w.placed(); return len(held) > 0 })
	if !slices.Equal(held, []string{"Policy antispam:positive"}) {
		t.Errorf("%q", held)
	}
	got := w.lines("using engine", "Dropped")
	slices.Sort(got)
	want := []string{
		"MID 1 using engine: Rspamd spam negative", "MID 2 using engine: Rspamd spam suspect",
		"using engine: Rspamd spam positive", "using engine: Rspamd spam positive", "Dropped by antispam",
	}
	if len(got) != len(want) {
		t.Errorf("%q", got)
	}
	for _, s := range want {
		if !slices.ContainsFunc(got, func(l string) bool { return strings.HasSuffix(l, s) }) {
			t.Errorf("no line %q in %q", s, got)
		}
	}
}

// Register C5: while Rspamd is away mail waits, and what does not ask for it goes.
func TestSEC_C5_MailWaitsForRspamd(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		c.Antispam.Rspamd = "http://127.0.0.1:1"
		c.MailPolicies = []config.MailPolicy{
			{Table: config.Inbound, Name: "Lab", Recipients: []string{"lab@"}, Antispam: "off"},
			{Table: config.Inbound, Name: "Free", Recipients: []string{"free@"}, Antispam: "custom", Spam: []config.VirusVerdict{{Verdict: "unknown", Action: "deliver"}}},
		}
	})
	w.inject("a@partner.example", "Subject: x\r\n\r\nhello\r\n", nil, "x@other.example")
	w.inject("a@partner.example", "Subject: x\r\n\r\nhello\r\n", nil, "lab@one.example")
	w.inject("a@partner.example", "Subject: x\r\n\r\nhello\r\n", nil, "free@one.example")
	w.until("two deliveries", func() bool { return len(w.mailbox.Messages()) == 2 })
	if got := w.lines("using engine"); len(got) != 1 || !strings.HasPrefix(got[0], "MID 3 using engine: Rspamd spam unknown '") {
		t.Errorf("%q", got)
	}
}
