package gateway

import (
	"context"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/queue"
)

// Each part of a split message has the content filters of its policy (reference
// 7.5): default, custom or off; a copy is for the recipients of the part.
func TestContentFiltersByPolicy(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		paired(c)
		c.Filters = `m: if (subject == "offer") { duplicate-quarantine("Copies"); }`
		c.Dictionaries = []config.Dictionary{{Name: "words", Terms: []string{"free offer, 5", "cheap, 2"}}}
		c.ContentFilters = []config.ContentFilter{
			{Table: config.Outbound, Name: "hold", Actions: []string{"drop()"}},
			{Table: config.Inbound, Name: "hold", Conditions: []string{`dictionary-match("words", 7)`}, Actions: []string{`quarantine("Policy")`, `log-entry("$EnvelopeRecipients: $MatchedContent")`}},
			{Table: config.Inbound, Name: "copy", Match: "any", Conditions: []string{`subject == "nothing"`, `body-contains("cheap")`}, Actions: []string{`duplicate-quarantine("Dup")`, `insert-header("X-Copied", "yes")`}},
			{Table: config.Inbound, Name: "away", Actions: []string{"drop()"}},
		}
		c.MailPolicies = []config.MailPolicy{
			{Table: config.Inbound, Name: "Sales", Recipients: []string{"sales@"}, ContentMode: "custom", Content: []string{"copy"}},
			{Table: config.Inbound, Name: "Lab", Recipients: []string{"lab@"}, ContentMode: "off"},
			{Table: config.Inbound, Name: "Board", Recipients: []string{"board@"}, ContentMode: "custom", Content: []string{"away", "hold"}},
			{Table: config.Inbound, Name: "Staff", Recipients: []string{"staff@"}},
			{Table: config.Inbound, Name: "DEFAULT", ContentMode: "custom", Content: []string{"hold"}},
		}
	})
	w.inject("a@partner.example", "Subject: an offer\r\n\r\nA free\r\noffer, free offer and cheap\r\n", nil, "x@other.example", "sales@one.example", "lab@one.example", "board@one.example", "staff@one.example", "sales@two.example")
	w.until("three deliveries", func() bool { return len(w.mailbox.Messages()) == 3 })
	for _, m := range w.mailbox.Messages() {
		sales := strings.Contains(m.To[0], "sales@")
		if !sales && !strings.Contains(m.To[0], "lab@") || sales != strings.Contains(string(m.Content), "X-Copied: yes\r\n") {
			t.Errorf("%s got %q", m.To, m.Content)
		}
	}
	held := map[string]string{}
	if err := w.spool.Scan(context.Background(), func(it *queue.Item) error {
		var to []string
		for _, r := range it.Recipients {
			to = append(to, r.Address.String())
		}
		for _, p := range it.Placements {
			key := p.Quarantine + " " + p.Reason
			held[key] = strings.Trim(held[key]+" "+strings.Join(to, " "), " ")
			for _, m := range p.Matched {
				held[key] += ", " + m.Rule + " " + m.Part + " " + m.Text
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"Copies message filter:m":    "x@other.example sales@one.example lab@one.example board@one.example staff@one.example sales@two.example, m: subject == \"offer\" Subject offer",
		"Dup content filter:copy":    "sales@one.example sales@two.example, copy: body-contains(\"cheap\") body cheap",
		"Policy content filter:hold": "", // two, in either order
	} {
		if got := held[key]; want != "" && got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if got := held["Policy content filter:hold"]; strings.Count(got, "hold: dictionary-match(\"words\", 7) body free offer") != 2 || !strings.Contains(got, "x@other.example") || !strings.Contains(got, "staff@one.example") || len(held) != 3 {
		t.Errorf("%q", held)
	}
	want := []string{
		"MID 1 was split creating MID 2 due to a per-recipient policy Sales in the inbound table",
		"MID 1 was split creating MID 3 due to a per-recipient policy Lab in the inbound table",
		"MID 1 was split creating MID 4 due to a per-recipient policy Board in the inbound table",
		"MID 4 Custom Log Entry: board@one.example: free offer, cheap", // in the order of the direction, not of the policy
		"Message aborted MID 4 Dropped by content filter 'away' in the inbound table",
		"MID 1 was split creating MID 5 due to a per-recipient policy Staff in the inbound table",
		"MID 5 Custom Log Entry: staff@one.example: free offer, cheap",
		"MID 1 was split creating MID 6 due to a per-recipient policy DEFAULT in the inbound table",
		"MID 6 Custom Log Entry: x@other.example: free offer, cheap",
	}
	if got := w.lines("was split", "aborted MID", "Custom Log"); !slices.Equal(got, want) {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
