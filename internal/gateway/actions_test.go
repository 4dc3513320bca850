package gateway

import (
	"slices"
	"strings"
	"testing"

	"lazaret/internal/config"
)

// Filters change fields, take attachments out, send copies, and refuse: the
// content as it was received stays what a copy gets.
func TestFilterActions(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		c.Filters = `edit: if (subject == "offer") { strip-header("X-Secret"); edit-header-text("Subject", "(?i)(special) offer", "[\1 €]"); bcc("archive@other.example"); }
			strip: if (attachment-filename == "exe$") { drop-attachments(); }
			refuse: if (mail-from == "^bad@") { bounce(); }`
		c.ContentFilters = []config.ContentFilter{
			{Table: config.Inbound, Name: "tag", Conditions: []string{`header("X-Tag")`}, Actions: []string{`edit-header-text("Subject", "^", "tagged ")`, `bcc("second@other.example")`}},
			{Table: config.Inbound, Name: "no", Conditions: []string{`subject == "refuse me"`}, Actions: []string{"bounce()"}},
		}
		c.MailPolicies = []config.MailPolicy{{Table: config.Inbound, Name: "DEFAULT", ContentMode: "custom", Content: []string{"tag", "no"}}}
	})
	got := func(n int) map[string]string {
		w.until("deliveries", func() bool { return len(w.mailbox.Messages()) == n && w.empty() })
		all := map[string]string{}
		for _, m := range w.mailbox.Messages() {
			all[strings.Trim(m.To[0], "TO:<>")] = string(m.Content)
		}
		return all
	}
	first := "X-Secret: 1\r\nSubject: a Special Offer,\r\n special offer\r\nx-secret: 2\r\nX-Tag: 1\r\n\r\nhello\r\n"
	w.inject("a@partner.example", first, nil, "bob@one.example")
	all := got(3)
	if m := all["bob@one.example"]; strings.Contains(m, "ecret:") || !strings.Contains(m, "Subject: =?utf-8?q?tagged_a_[Special_=E2=82=AC],_[special_=E2=82=AC]?=\r\n") || !strings.HasSuffix(m, "\r\n\r\nhello\r\n") {
		t.Errorf("bob got %q", m)
	}
	for _, to := range []string{"archive@other.example", "second@other.example"} {
		if m := all[to]; !strings.HasSuffix(m, first) {
			t.Errorf("%s got %q", to, m)
		}
	}
	w.inject("a@partner.example", "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/octet-stream; name=a.exe\r\n\r\nMZ\r\n--b--\r\n", nil, "bob@one.example")
	if m := got(4)["bob@one.example"]; strings.Contains(m, "MZ") || !strings.Contains(m, "text\r\n") || !strings.Contains(m, "was removed by a filter") {
		t.Errorf("bob got %q", m)
	}
	w.inject("bad@partner.example", "Subject: x\r\n\r\nbad\r\n", relayed, "bob@one.example")
	if m := got(5)["bad@partner.example"]; !strings.Contains(m, "Status: 5.7.1\r\n") || !strings.Contains(m, "bob@one.example") || strings.Contains(m, "'refuse'") {
		t.Errorf("the sender got %q", m)
	}
	// One who may be somebody else is told nothing (no backscatter).
	w.inject("good@partner.example", "Subject: refuse me\r\n\r\nbad\r\n", nil, "bob@one.example")
	w.until("the second is kept", func() bool { return w.keptNumber() == 1 && w.empty() })
	if l := w.lines("aborted MID", "rewritten to", "by bcc filter"); len(l) != 6 || !slices.Equal(l, []string{
		"MID 2 was generated based on MID 1 by bcc filter 'edit'",
		"MID 3 was generated based on MID 1 by bcc filter 'tag'",
		"MID 1 rewritten to MID 4 by edit-header-text filter 'tag'",
		"MID 5 rewritten to MID 6 by drop-attachments filter 'strip'",
		"Message aborted MID 7 Bounced by filter 'refuse'",
		l[5],
	}) || !strings.HasSuffix(l[5], "Bounced by content filter 'no' in the inbound table") {
		t.Errorf("%s", strings.Join(l, "\n"))
	}
}
