package quarantine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// heavy puts a message of about 1 MiB into quarantines.
func (w *world) heavy(subject string, quarantines ...string) mail.MID {
	w.t.Helper()
	return w.putBody(subject, strings.Repeat("0123456789abcde\n", 1<<16), quarantines...)
}

func (w *world) putBody(subject, text string, quarantines ...string) mail.MID {
	w.t.Helper()
	d, body := w.depositBody(subject, text, quarantines...)
	mid, _, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return mid
}

func (w *world) makeRoom() int {
	w.t.Helper()
	n, err := w.s.MakeRoom(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

const smallPool = quarantine.MinPool // 64 messages of 1 MiB

// A full pool empties the bin first, then lets messages go by default action,
// the one whose latest exit time is first being the first.
func TestOverflow(t *testing.T) {
	w := newWorld(t)
	r := quarantine.DefaultRules()
	r.Pool = smallPool
	w.rules(r)
	binned := w.heavy("binned", "Policy")
	outbreak := w.heavy("outbreak", "Outbreak")  // 1 d Release
	late := w.heavy("late", "Outbreak", "Virus") // latest: 30 d
	held := w.heavy("evidence", "File Analysis") // 1 h, but on hold
	first := w.heavy("first", "Policy")          // 10 d Delete
	for i := range 58 {
		w.heavy(fmt.Sprint("filler ", i), "Policy")
	}
	w.act(quarantine.Delete, admin, "", binned)
	if out, err := w.s.SetHold(ctx, admin, []mail.MID{held}, "case"); err != nil || out.Count != 1 {
		t.Fatal(out, err)
	}
	if n := w.makeRoom(); n != 0 {
		t.Errorf("%d left although there is room", n)
	}
	w.heavy("one too many", "Policy")
	w.lines.take()
	if n := w.makeRoom(); n != 1 || w.state(binned) != "deleted" || w.state(outbreak) != "held" {
		t.Errorf("%d left; %s, %s", n, w.state(binned), w.state(outbreak))
	}
	w.heavy("another", "Policy")
	w.lines.take()
	if n := w.makeRoom(); n != 1 || w.state(outbreak) != "releasing" || w.sent.count(outbreak) != 1 {
		t.Errorf("%d left; %s", n, w.state(outbreak))
	}
	if got := w.lines.take(); !strings.Contains(got, fmt.Sprintf("MID %d released from \"Outbreak\" (queue full)", outbreak)) {
		t.Errorf("log:\n%s", got)
	}
	w.heavy("and another", "Policy")
	if n := w.makeRoom(); n != 1 || w.state(first) != "deleted" || w.state(held) != "held" || w.state(late) != "held" {
		t.Errorf("%d left; %s, %s, %s", n, w.state(first), w.state(held), w.state(late))
	}
	if err := w.s.Ready(1000); err != nil {
		t.Errorf("with room made: %v", err)
	}
}

// All exempt and full: mail waits at the gateways, until there is room again.
func TestOverflowExempt(t *testing.T) {
	w := newWorld(t)
	set := quarantine.Defaults()
	for i := range set {
		set[i].Exempt = set[i].Name != quarantine.Virus
	}
	r := quarantine.DefaultRules()
	r.Pool = smallPool
	if err := w.s.Configure(set, r); err != nil {
		t.Fatal(err)
	}
	var last mail.MID
	for i := range 64 {
		last = w.heavy(fmt.Sprint("filler ", i), "Policy")
	}
	if n := w.makeRoom(); n != 0 || !errs.Is(w.s.Ready(1000), errs.Full) {
		t.Errorf("%d left, ready: %v", n, w.s.Ready(1000))
	}
	if !has(w.lines.log, "mail waits at the gateways") {
		t.Errorf("nobody is told: %q", w.lines.log)
	}
	w.act(quarantine.Delete, admin, "", last)
	if n := w.makeRoom(); n != 1 || w.s.Ready(1000) != nil {
		t.Errorf("%d left, ready: %v", n, w.s.Ready(1000))
	}
	for i := range set {
		set[i].Exempt = true
	}
	if err := w.s.Configure(set, r); err == nil {
		t.Error("all quarantines may be exempt")
	}
}

// Administrators hear of 75, 85 and 95 percent, once each while it rises.
func TestPoolAlerts(t *testing.T) {
	w := newWorld(t)
	r := quarantine.DefaultRules()
	r.Pool, r.DeleteRest = smallPool, 0
	w.rules(r)
	var mids []mail.MID
	count := func() int {
		w.makeRoom()
		return strings.Count(w.lines.take(), "the quarantines are ")
	}
	told := 0
	for i := range 62 { // 96 percent
		mids = append(mids, w.heavy(fmt.Sprint("filler ", i), "Policy"))
		told += count()
	}
	if told != 3 {
		t.Errorf("told %d times", told)
	}
	w.act(quarantine.Delete, admin, "", mids[60:]...) // 93 percent: within the margin
	w.heavy("again", "Policy")
	w.heavy("and again", "Policy")
	if n := count(); n != 0 {
		t.Errorf("told %d times more at the same level", n)
	}
	w.act(quarantine.Delete, admin, "", mids[40:60]...)
	if n := count(); n != 0 {
		t.Errorf("told %d times of less", n)
	}
	for i := range 20 {
		w.heavy(fmt.Sprint("new filler ", i), "Policy")
	}
	if n := count(); n != 1 {
		t.Errorf("told %d times at the second rise", n)
	}
}

// The counters of the pool follow each way in and out.
func TestUsage(t *testing.T) {
	w := undoable(t)
	usage := func() (all, bin, going int64) {
		t.Helper()
		u, err := w.db.Usage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return u.All.Messages, u.Bin.Messages, u.Going.Messages
	}
	want := func(all, bin, going int64) {
		t.Helper()
		if a, b, g := usage(); a != all || b != bin || g != going {
			t.Errorf("%d, %d in the bin, %d going; want %d, %d, %d", a, b, g, all, bin, going)
		}
	}
	one, two := w.put("one", "Policy", "Virus"), w.put("two", "Policy")
	want(2, 0, 0)
	w.act(quarantine.Delete, admin, "", one)
	w.act(quarantine.Release, admin, "", two)
	want(2, 1, 1)
	w.undo(admin, one, two)
	want(2, 0, 0)
	w.act(quarantine.Delete, admin, "", one)
	w.act(quarantine.Release, admin, "", two)
	w.pass(8 * 24 * time.Hour)
	w.ripen(2)
	want(1, 0, 1)
	if err := w.db.Releases().SetAside(ctx, two, fmt.Errorf("550 no")); err != nil {
		t.Fatal(err)
	}
	want(1, 0, 0) // failed: its content is kept
	if f, err := w.db.Arrivals(ctx, w.clock().Add(-9*24*time.Hour)); err != nil || f.Messages != 2 || f.Bytes == 0 {
		t.Errorf("%+v, %v", f, err)
	}
}
