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
	if got := d.Send("EHLO x\r\n"); !strings.Contains(got, "XREPORT 1") {
		t.Errorf("announces %q", got)
	}
}
