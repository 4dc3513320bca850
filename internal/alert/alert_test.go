package alert

import (
	"bytes"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
)

var start = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)

// One cause makes one mail an interval that doubles up to the limit; what was
// held back is counted; another cause is not held back; a cause that had
// stopped begins anew.
func TestRepeats(t *testing.T) {
	const first, most = 5 * time.Minute, time.Hour
	var r Repeats
	sent, missed := 0, 0
	offer := func(at time.Duration, text string) {
		if a, ok := r.Offer(Alert{Class: "delivery", Text: text, At: start.Add(at)}, first, most); ok {
			sent++
			missed += a.Missed
		}
	}
	for i := range 24 * 60 { // a day, each minute
		offer(time.Duration(i)*time.Minute, "MID "+strings.Repeat("7", i%5+1)+" failed")
	}
	if sent < 24 || sent > 30 || sent+missed < 24*60-60 || sent+missed > 24*60 {
		t.Errorf("%d mails for %d more", sent, missed)
	}
	before := sent
	offer(24*time.Hour, "the disk is full")
	if sent != before+1 {
		t.Error("another cause is held back")
	}
	if due := r.Due(start.Add(26*time.Hour), first, most); len(due) != 1 || due[0].Missed == 0 {
		t.Errorf("%+v", due)
	}
	r.Due(start.Add(48*time.Hour), first, most)
	if len(r.known) != 0 {
		t.Errorf("%d causes remembered", len(r.known))
	}
	for i := range 5000 {
		r.Offer(Alert{Class: "c", Text: strings.Repeat("x", i), At: start}, first, most)
	}
	if len(r.known) > maxCauses+1 {
		t.Errorf("%d causes remembered", len(r.known))
	}
}

// Register B5: hostile text makes no header line and no second recipient.
func TestSEC_B5_AlertWithHostileText(t *testing.T) {
	to := mail.Address{Local: "ops", Domain: "example.com"}
	for _, evil := range []string{"x\r\nBcc: victim@example.net", "a\nb", "\x00\x1b[2J", "ü\u2028y", strings.Repeat("A", 5000), "\r\n.\r\n"} {
		a := Alert{Class: "cpq", Level: Critical, Text: evil, At: start, Missed: 3, Since: start}
		b, err := a.Mail("gw1.example.com", "SERIAL01", "1.x", to, to)
		if err != nil {
			t.Fatal(err)
		}
		m, err := netmail.ReadMessage(bytes.NewReader(b))
		if err != nil || len(m.Header) != 8 || m.Header.Get("To") != "<ops@example.com>" || m.Header.Get("Auto-Submitted") != "auto-generated" {
			t.Errorf("%q: %v %v", evil, err, m.Header)
		}
		for _, line := range bytes.SplitAfter(b, []byte("\r\n")) {
			if len(line) > 1000 || bytes.ContainsAny(bytes.TrimSuffix(line, []byte("\r\n")), "\r\n\x00") {
				t.Errorf("%q: line %q", evil, line)
			}
		}
	}
	if b, err := (&Alert{At: start}).Mail("h", "s", "1", to, mail.Address{Local: "a\r\nBcc: b", Domain: "c"}); err == nil {
		t.Errorf("%q", b)
	}
}

func TestWants(t *testing.T) {
	r := Recipient{Classes: []string{"cpq"}, From: Warning}
	if r.Wants("cpq", Info) || !r.Wants("cpq", Critical) || r.Wants("system", Critical) || !(&Recipient{}).Wants("any", Info) {
		t.Error("wrong")
	}
	if l, err := ParseLevel("CRITICAL"); l != Critical || err != nil {
		t.Error(l, err)
	}
	if _, err := ParseLevel("loud"); err == nil {
		t.Error("accepted")
	}
}
