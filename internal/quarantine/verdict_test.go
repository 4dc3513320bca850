package quarantine_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// ruled puts a message into Outbreak by a rule, and gives what is said of it.
func (w *world) ruled(subject string, more ...mail.Placement) quarantine.Verdict {
	w.t.Helper()
	mid := w.placed(subject, append([]mail.Placement{{Quarantine: "Outbreak", Reason: mail.OutbreakReason("R1")}}, more...)...)
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil {
		w.t.Fatal(err)
	}
	return quarantine.Verdict{MID: mid, Key: m.Key, Known: true}
}

// What a gateway says of held messages releases what no rule holds, gives what
// another one holds a new reason, changes nothing else, and may be said again.
// The answer names what is not held any more and cannot be brought back.
func TestJudged(t *testing.T) {
	w := newWorld(t)
	clear, again := w.ruled("clear"), w.ruled("again")
	again.Rule = "R2"
	both := w.ruled("both", mail.Placement{Quarantine: "Policy", Reason: "message filter:x"})
	kept, unknown, deleted := w.ruled("kept"), w.ruled("unknown"), w.ruled("deleted")
	unknown.Known = false
	filtered := quarantine.Verdict{MID: w.put("filtered", "Outbreak"), Known: true}
	foreign, wrong, none := w.ruled("foreign"), w.ruled("wrong"), quarantine.Verdict{MID: 9999, Known: true}
	wrong.Key = foreign.Key
	if out, err := w.s.SetHold(ctx, admin, []mail.MID{kept.MID}, "lawyers"); err != nil || out.Count != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	w.act(quarantine.Delete, admin, "", deleted.MID)
	w.lines.take()
	list := []quarantine.Verdict{clear, again, both, kept, unknown, deleted, filtered, wrong, none}
	for round, want := range []quarantine.Rejudged{{Judged: 8, Released: 2, Changed: 1, Unknown: 1}, {Judged: 8, Unknown: 1}} {
		out, gone, err := w.s.Judged(ctx, serial, list)
		if err != nil || out != want || !reflect.DeepEqual(gone, []int{0, 2, 5, 6, 7, 8}) {
			t.Errorf("round %d: %+v %v %v", round, out, gone, err)
		}
	}
	states := map[mail.MID]string{clear.MID: "releasing", again.MID: "held", both.MID: "held", kept.MID: "held", unknown.MID: "held", deleted.MID: "deleted", filtered.MID: "held", wrong.MID: "held"}
	for mid, want := range states {
		if got := w.state(mid); got != want {
			t.Errorf("MID %d is %s, want %s", mid, got, want)
		}
	}
	lines := w.lines.take()
	for _, want := range []string{fmt.Sprintf(`MID %d released from "Outbreak" (rule update) t=0`, clear.MID), fmt.Sprintf("MID %d released from all", clear.MID),
		fmt.Sprintf(`MID %d in "Outbreak" new (VOF rule:R2)`, again.MID), fmt.Sprintf(`MID %d released from "Outbreak" (rule update)`, both.MID)} {
		if strings.Count(lines, want) != 1 {
			t.Errorf("not once %q in\n%s", want, lines)
		}
	}
	if n := w.sent.count(clear.MID); n != 1 {
		t.Errorf("sent %d times", n)
	}
	// Of others' messages nobody says anything, whatever he knows of them.
	if out, gone, err := w.s.Judged(ctx, "OTHER00001", []quarantine.Verdict{foreign}); err != nil || out.Released != 0 || len(gone) != 1 || w.state(foreign.MID) != "held" {
		t.Errorf("%+v %v %v", out, gone, err)
	}
}

// A re-scan that finds another outbreak rule says so by the reason, as a rule
// update does.
func TestRescanFindsARule(t *testing.T) {
	w := newWorld(t)
	e := &engines{answer: map[string]mail.Finding{"other": {Text: "clean, " + mail.FoundRule("R7")}, "hostile": {Text: "infected outbreak rule X, " + mail.FoundRule("A B")}}}
	w.scanning(e)
	other, hostile := w.ruled("other"), w.ruled("hostile")
	w.lines.take()
	out, err := w.s.Rescan(ctx, admin, []mail.MID{other.MID, hostile.MID}, "")
	if err != nil || len(out.Found) != 2 || out.Released != 0 {
		t.Errorf("%+v %v", out, err)
	}
	lines := w.lines.take()
	if !strings.Contains(lines, fmt.Sprintf(`MID %d in "Outbreak" new (VOF rule:R7)`, other.MID)) || strings.Count(lines, " new (") != 1 {
		t.Errorf("%s", lines)
	}
}
