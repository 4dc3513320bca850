package manager

import (
	"fmt"
	"strings"
	"testing"

	"lazaret/internal/cpq"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// A gateway in hostile hands says what it likes of releases: nothing of others'
// is touched, nothing that it was not given, and no state of its own mail turns
// to released before it was released (register D5).
func TestSEC_D5_Reports(t *testing.T) {
	x := newTarget(t, nil)
	const content = "Subject: x\r\n\r\nx\r\n"
	own := depositOf(redSerial, content)
	mid, _, err := x.quarantine.Ingest(t.Context(), quarantine.Deposit{MID: x.NextMID(), Key: own.Key, Gateway: redSerial, GatewayName: "red", GatewayMID: 501,
		Size: own.Size, Hash: own.Hash, Envelope: mail.Envelope{To: []mail.Address{{Local: "c", Domain: "d.example"}}}, Placements: own.Placements}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	foreign := depositOf("GATEWAY001", content)
	say := func(r cpq.Report) string {
		t.Helper()
		d, err := x.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		b, err := cpq.EncodeReports(cpq.ReportPlain, []cpq.Report{r})
		if err != nil {
			t.Fatal(err)
		}
		return d.Send(fmt.Sprintf("XREPORT %d\r\n%s", len(b), b))
	}
	r := cpq.Report{Action: mail.NewActionKey(own.Key, 1), ManagerMID: mid, GatewayMID: 9, Recipient: mail.Address{Local: "c", Domain: "d.example"}, Seq: 1,
		Fate: cpq.Accepted, Code: 250, Reply: "ok"}
	other := r
	other.Action = mail.NewActionKey(foreign.Key, 1)
	if got := say(other); !strings.HasPrefix(got, "550 5.7.1") {
		t.Errorf("of another gateway's message: %q", got)
	}
	state := func() string {
		t.Helper()
		m, err := x.quarantine.Show(t.Context(), mail.System(), mid)
		if err != nil {
			t.Fatal(err)
		}
		out := m.State
		for _, d := range m.Release {
			out += " " + d.State
		}
		return out
	}
	unknown := r
	unknown.ManagerMID = 4711
	for what, r := range map[string]cpq.Report{"of what is held": r, "of nothing": unknown} {
		if got := say(r); !strings.HasPrefix(got, "250 2.0.0 1 reports taken") || state() != "held" {
			t.Errorf("%s: %q, %s", what, got, state())
		}
	}
	d, err := x.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := d.Send("XREPORT 70000\r\n" + strings.Repeat("x", 70000)); !strings.HasPrefix(got, "552") {
		t.Errorf("too big: %.80q", got)
	}
	if got := d.Send("XREPORT 2\r\n{}"); !strings.HasPrefix(got, "554 5.6.0") {
		t.Errorf("another form: %q", got)
	}
	if got := d.Send("EHLO x\r\n"); !strings.Contains(got, "XREPORT 1") || !strings.Contains(got, "XVERDICT 1") {
		t.Errorf("announces %q", got)
	}
}

// A gateway in hostile hands says what it likes of what outbreak rules hold: it
// gets its own mail back, and nothing of others' moves (register D5).
func TestSEC_D5_Verdicts(t *testing.T) {
	x := newTarget(t, nil)
	const content = "Subject: x\r\n\r\nx\r\n"
	put := func(serial string) (mail.MID, mail.Key) {
		d := depositOf(serial, content)
		mid, _, err := x.quarantine.Ingest(t.Context(), quarantine.Deposit{MID: x.NextMID(), Key: d.Key, Gateway: serial, GatewayName: "red", GatewayMID: 501,
			Size: d.Size, Hash: d.Hash, Envelope: mail.Envelope{To: []mail.Address{{Local: "c", Domain: "d.example"}}},
			Placements: []mail.Placement{{Quarantine: "Outbreak", Reason: mail.OutbreakReason("R1")}}}, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return mid, d.Key
	}
	own, key := put(redSerial)
	foreign, theirs := put("GATEWAY001")
	say := func(v cpq.Verdict) string {
		t.Helper()
		d, err := x.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		b, err := cpq.EncodeVerdicts([]cpq.Verdict{v})
		if err != nil {
			t.Fatal(err)
		}
		return d.Send(fmt.Sprintf("XVERDICT %d\r\n%s", len(b), b))
	}
	state := func(mid mail.MID) string {
		t.Helper()
		m, err := x.quarantine.Show(t.Context(), mail.System(), mid)
		if err != nil {
			t.Fatal(err)
		}
		return m.State + " " + m.Quarantines[0].Reason
	}
	for _, c := range []struct {
		what, reply string
		v           cpq.Verdict
	}{
		{"of another's, by its key", "550 5.7.1", cpq.Verdict{Key: theirs, ManagerMID: foreign, For: cpq.ForRules, Stand: cpq.Cleared}},
		{"of another's, by a key of its own", "250 2.0.0 gone: 0", cpq.Verdict{Key: key, ManagerMID: foreign, For: cpq.ForRules, Stand: cpq.Cleared}},
		{"of nothing", "250 2.0.0 gone: 0", cpq.Verdict{Key: key, ManagerMID: 4711, For: cpq.ForRules, Stand: cpq.Cleared}},
		{"that nothing is known", "250 2.0.0 gone:", cpq.Verdict{Key: key, ManagerMID: own, For: cpq.ForRules, Stand: cpq.NotKnown}},
		{"of the same rule", "250 2.0.0 gone:", cpq.Verdict{Key: key, ManagerMID: own, For: cpq.ForRules, Stand: cpq.ByRule, Rule: "R1"}},
	} {
		if got := say(c.v); !strings.HasPrefix(got, c.reply) || state(own) != "held VOF rule:R1" || state(foreign) != "held VOF rule:R1" {
			t.Errorf("%s: %q, %s, %s", c.what, got, state(own), state(foreign))
		}
	}
	if got := say(cpq.Verdict{Key: key, ManagerMID: own, For: cpq.ForRules, Stand: cpq.ByRule, Rule: "R2"}); !strings.HasPrefix(got, "250 2.0.0 gone:") || state(own) != "held VOF rule:R2" {
		t.Errorf("another rule: %q, %s", got, state(own))
	}
	if got := say(cpq.Verdict{Key: key, ManagerMID: own, For: cpq.ForRules, Stand: cpq.Cleared}); !strings.HasPrefix(got, "250 2.0.0 gone: 0") || !strings.HasPrefix(state(own), "releasing") {
		t.Errorf("cleared: %q, %s", got, state(own))
	}
	d, err := x.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := d.Send("XVERDICT 2\r\n{}"); !strings.HasPrefix(got, "554 5.6.0") {
		t.Errorf("another form: %q", got)
	}
}
