package admin

import (
	"context"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/tracking"
)

// asked is a tracker that keeps the question and says what it is told to.
type asked struct {
	q   tracking.Query
	say Found
}

func (a *asked) Where(_ context.Context, _ mail.Principal, q tracking.Query, note func(string)) (Found, error) {
	note("half way")
	if q.Sender == "broken" {
		return Found{}, errs.New(errs.Temporary, "no disk")
	}
	a.q = q
	return a.say, nil
}

// The three forms of a condition, the default time, what makes no sense, who
// may ask, and an answer that is full of control characters or not complete.
func TestWhere(t *testing.T) {
	now := time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)
	a := &asked{}
	l := language(t, append(WhereCommands(a, func() time.Time { return now }, "quarantine where"), ToldCommand(told{}))...)
	for _, line := range []string{"where sender A subject 'b c' limit 5", "where --sender=A --subject 'b c' --limit=5", "quarantine where from=A subject='b c' --limit 5"} {
		if out, status := run(t, l, admin, line); status != 0 || !strings.HasPrefix(out, "Nobody could say.") {
			t.Errorf("%s: %d %s", line, status, out)
		}
		if want := (tracking.Query{Sender: "A", Subject: "b c", Limit: 5, Since: now.Add(-7 * 24 * time.Hour)}); a.q != want {
			t.Errorf("%s: %+v", line, a.q)
		}
	}
	for line, want := range map[string]string{
		"where":                  "say whose message, or which",
		"where sender":           `"sender" needs a value`,
		"where sender ''":        "sender needs a value",
		"where colour red":       `there is no condition "colour"`,
		"where mid x":            `"x" is not a message ID`,
		"where mid 1 esa_mid 2":  "give one of them",
		"where mid 1 limit 0":    "limit is 1 to 1000",
		"where mid 1 limit 9999": "limit is 1 to 1000",
		"where mid 1 since soon": `"soon" is not a date`,
		"where mid 1 since 2026-03-02 until 2026-03-01": "not after its start",
		"where sender " + strings.Repeat("x", 2000):     "longer than 1024",
	} {
		if out, status := run(t, l, admin, line); status != exitInvalid || !strings.Contains(out, want) || !strings.Contains(out, "Usage:") {
			t.Errorf("%.60s: %d %s", line, status, out)
		}
	}
	if out, status := run(t, l, admin, "where sender broken"); status != exitFailed || out != "no disk\n" {
		t.Errorf("%d %q", status, out)
	}
	for role, sees := range map[mail.Role]bool{mail.Administrator: true, mail.Operator: true, mail.ReadOnlyOperator: true, mail.Technician: true, mail.Guest: false, mail.CommandClient: false} {
		out, _ := run(t, l, mail.Principal{Name: "u", Role: role}, "where mid 1")
		if strings.Contains(out, "Unknown command") == sees {
			t.Errorf("%s: %s", role, out)
		}
	}
	for role, may := range map[mail.Role]bool{mail.CommandClient: true, mail.Operator: false} {
		word, _ := tracking.Query{MID: 7, Limit: 1}.Encode()
		out, _ := run(t, l, mail.Principal{Name: "m", Role: role}, "cpqwhere "+word)
		if strings.Contains(out, `"serial":"GATEWAY0007"`) != may {
			t.Errorf("%s: %s", role, out)
		}
	}
	a.say = Found{
		Rows: []tracking.Row{{Appliance: "gw1\x1b", Messages: []*tracking.Message{{MID: 7, Received: now, Sender: "a\n\x1b[2J", Subject: "s\u202e"}},
			Says: []tracking.Says{{Recipient: "b\x1b\n", State: tracking.Waiting, Text: "waiting\n\x07"}}}},
		Asked: []tracking.Asked{{Name: "gw1", From: now, Cut: []string{"older files"}}, {Name: "gw2\x1b", Error: "down\x1b"}},
	}
	out, status := run(t, l, admin, "where mid 7 --since 2026-03-01")
	if status != 0 || strings.ContainsAny(out, "\x1b\x07\u202e") || strings.Count(out, "\n") != 4 {
		t.Errorf("%d %q", status, out)
	}
	wants(t, "not complete", out, "Not complete, gw1: older files\n", `gw2\u001b did not answer: down\u001b`)
	out, _ = run(t, l, admin, "where mid 7 --json")
	if strings.ContainsAny(out, "\x1b\x07\u202e") || strings.Count(out, "\n") != 2 {
		t.Errorf("%q", out)
	}
	wants(t, "JSON", out, `"found":1,"complete":false`)
}

type told struct{}

func (told) Tell(_ context.Context, q tracking.Query) (tracking.Answer, error) {
	return tracking.Answer{Version: tracking.Version, Serial: "GATEWAY000" + q.MID.String()}, nil
}
