package gateway

import (
	"strings"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

// What is not to leave is held, tagged or dropped by its severity; what comes in
// and what has nothing in it is not touched (F168).
func TestDLP(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		holding(c)
		c.Dictionaries = []config.Dictionary{{Name: "HR", Terms: []string{"salary, 5"}}}
		c.Quarantines = append(c.Quarantines, legal(c))
		c.DLPPolicies = []config.DLPPolicy{
			{Name: "Cards", Identifiers: []string{"*credit"}, Weight: 40, Severities: []config.DLPSeverity{
				{Level: "medium", From: 35, Action: "quarantine", Quarantine: "Legal"}, {Level: "high", From: 60, Action: "drop"}}},
			{Name: "Staff", Dictionaries: []string{"HR"}, Severities: []config.DLPSeverity{{Level: "low", From: 10, Action: "deliver", Tag: "[INTERNAL]"}}},
		}
		c.MailPolicies = []config.MailPolicy{{Table: config.Outbound, Name: "DEFAULT", DLPMode: "custom", DLP: []string{"Cards", "Staff"}},
			{Table: config.Outbound, Name: "Board", Senders: []string{"board@one.example"}, DLPMode: "off"}}
	})
	w.live()
	const card, other = "4111 1111 1111 1111", "5500 0000 0000 0004"
	inject := func(from, subject, text string, change func(*queue.Item)) mail.MID {
		return w.inject(from, "Subject: "+subject+"\r\n\r\n"+text+"\r\n", func(it *queue.Item) { it.Subject = subject; change(it) }, "bob@other.example")
	}
	got := func(subject string) bool {
		for _, m := range w.mailbox.Messages() {
			if strings.Contains(string(m.Content), "Subject: "+subject+"\r\n") {
				return true
			}
		}
		return false
	}
	mid := inject("a@one.example", "one", "my card is "+card, relayed)
	w.until("one card is held", func() bool { return len(w.held(quarantine.Held)) == 1 })
	m, err := w.quarantines.Show(t.Context(), root, mid)
	if err != nil || m.Quarantines[0].Name != "Legal" || m.Quarantines[0].Reason != "DLP violation" || len(m.Quarantines[0].Matched) != 1 ||
		m.Quarantines[0].Matched[0].Rule != "DLP policy Cards" || m.Quarantines[0].Matched[0].Part != "body" || strings.Contains(m.Quarantines[0].Matched[0].Text, "4111 1111 1111") {
		t.Errorf("%+v %v", m, err)
	}
	line := "MID " + mid.String() + " DLP violation. Severity: MEDIUM (Risk Factor: 40). DLP policy match: 'Cards'."
	w.until("the line", func() bool { return len(w.lines(line)) == 1 })
	inject("a@one.example", "two", card+" and "+other, relayed)
	w.until("two are dropped", func() bool { return len(w.lines("Dropped by DLP")) == 1 })
	inject("a@one.example", "pay", "your salary, the salary of all", relayed)
	w.until("a word is marked", func() bool { return got("[INTERNAL] pay") })
	inject("a@one.example", "little", "no salary", relayed)
	inject("a@partner.example", "in", card, func(*queue.Item) {})
	inject("board@one.example", "board", card, relayed)
	w.until("little, what comes in, and who may, goes on", func() bool { return got("little") && got("in") && got("board") })
	if n := len(w.held(quarantine.Held)); n != 1 || got("two") || len(w.lines("DLP violation. Severity")) != 3 {
		t.Errorf("%d held\n%s", n, w.log())
	}
	w.release(mid)
	w.until("released it arrives, and is not looked into again", func() bool { return got("one") })
}

// legal is a quarantine as Policy is.
func legal(c *config.Config) config.Quarantine {
	for _, q := range c.Quarantines {
		if q.Name == "Policy" {
			q.Name = "Legal"
			return q
		}
	}
	panic("there is no Policy")
}
