package gateway

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/tracking"
)

// where gives the sentences about some messages.
func (w *world) where(q tracking.Query) string {
	w.t.Helper()
	q.Limit, q.Since = 10, time.Now().Add(-time.Hour)
	f, err := tracker{w.Gateway}.Where(w.t.Context(), mail.System(), q, func(string) {})
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range f.Rows {
		for _, s := range r.Says {
			b.WriteString("<" + s.Recipient + ">: " + s.Text + "\n")
		}
	}
	return b.String()
}

// A message that was split is followed into its parts, for each recipient; what
// waits is told of by the queue, with the reason and the next try, also when
// the log has lost it, and over a log that was rolled; and when the log was
// removed under a message that is gone, nobody claims to know.
func TestWhereSplitAndLost(t *testing.T) {
	w := newWorld(t, func(int, string) string { return "451 4.2.0 come later\r\n" }, func(c *config.Config) {
		c.MailPolicies = []config.MailPolicy{{Table: config.Inbound, Name: "Sales", Recipients: []string{"sales@"}, Antivirus: "off"}}
	})
	mid := w.inject("a@partner.example", "Subject: Split\r\n\r\nx\r\n", nil, "sales@one.example", "bob@example.com")
	w.inject("lost@partner.example", "Subject: Lost\r\n\r\nx\r\n", nil, "carol@example.com")
	w.until("a delivery and two delays", func() bool {
		return len(w.mailbox.Messages()) == 1 && strings.Count(w.log(), "pending till") >= 2 && strings.Contains(w.log(), "Message done ")
	})
	check := func(when string, q tracking.Query, want ...string) {
		t.Helper()
		got := w.where(q)
		for _, s := range want {
			if !strings.Contains(got, s) {
				t.Errorf("%s: %q is not in\n%s", when, s, got)
			}
		}
		if len(want) == 0 && got != "" {
			t.Errorf("%s: %s", when, got)
		}
	}
	split := []string{"<sales@one.example>: went on as MID ", ": delivered to 127.0.0.1 port ", "<bob@example.com>: went on as MID ", ": waiting for example.com (", "come later", "(next try "}
	lost := []string{"<carol@example.com>: waiting for example.com (", "come later", "(next try "}
	check("split", tracking.Query{MID: mid}, split...)
	check("by a recipient of a part", tracking.Query{Recipient: "bob@"}, "<bob@example.com>: went on as MID ", ": waiting for ")
	check("only the queue knows it", tracking.Query{Sender: "LOST@partner"}, lost...)
	check("never seen", tracking.Query{Sender: "nobody@partner"})
	w.MailLog.Rollover()
	check("over two files", tracking.Query{MID: mid}, split...)
	files, err := logs.Files(w.Path("log", "mail_logs"), "mail")
	for _, f := range files[:len(files)-1] {
		err = errors.Join(err, os.Remove(f))
	}
	if err != nil {
		t.Fatal(err)
	}
	check("the log is gone, the queue is not", tracking.Query{Sender: "lost@partner"}, lost...)
	check("and what was delivered is forgotten", tracking.Query{Recipient: "sales@one.example"})
}
