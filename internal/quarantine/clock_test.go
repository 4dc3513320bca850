package quarantine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

func (w *world) expire(want int) {
	w.t.Helper()
	if n, err := w.s.ExpireDue(ctx); err != nil || n != want {
		w.t.Errorf("expired %d, want %d, %v", n, want, err)
	}
}

// Register G1: a clock that jumps takes nothing with it. Nothing expires until
// the new time has lasted an hour, and then not most of it without a word.
func TestSEC_G1_ClockJump(t *testing.T) {
	for _, jump := range []time.Duration{10 * 366 * 24 * time.Hour, 24 * time.Hour, 90 * time.Minute, -90 * time.Minute, -24 * time.Hour} {
		w := undoable(t)
		var mids []mail.MID
		for i := range 150 {
			mids = append(mids, w.put(fmt.Sprint("m", i), "File Analysis")) // 1 h Release
		}
		binned := w.put("binned", "Policy")
		w.act(quarantine.Delete, admin, "", binned)
		w.expire(0)
		w.pass(10 * time.Second)
		w.jump(jump)
		w.expire(0)
		w.ripen(0)
		if n := strings.Count(w.lines.take(), "nothing expires until"); n != 1 {
			t.Errorf("%s: told %d times", jump, n)
		}
		if c := w.s.Clock(); !c.Doubt || c.Blocked || !c.Until.After(w.clock()) {
			t.Errorf("%s: %+v", jump, c)
		}
		w.pass(59 * time.Minute)
		w.expire(0)
		w.jump(-jump) // it was an error: the old time is new, and has to last as well
		w.expire(0)
		w.pass(time.Hour - 20*time.Minute)
		w.expire(0)
		if w.state(mids[0]) != "held" {
			t.Fatalf("%s: %s", jump, w.state(mids[0]))
		}
	}
}

// A jump that lasts is believed, but what is mostly due then waits for a word.
func TestClockBelieved(t *testing.T) {
	w := undoable(t)
	for i := range 150 {
		w.put(fmt.Sprint("m", i), "File Analysis")
	}
	w.expire(0)
	w.jump(48 * time.Hour)
	w.expire(0)
	w.pass(time.Hour)
	w.expire(0)
	w.pass(time.Hour)
	w.expire(0)
	if n := strings.Count(w.lines.take(), "150 of 150 messages are due at once"); n != 1 || !w.s.Clock().Blocked {
		t.Errorf("told %d times, %+v", n, w.s.Clock())
	}
	if err := w.s.ConfirmClock(guest); !errs.Is(err, errs.Denied) {
		t.Errorf("the guest: %v", err)
	}
	if err := w.s.ConfirmClock(admin); err != nil {
		t.Fatal(err)
	}
	w.expire(150)
	for i := range 90 { // few: these go by themselves once the clock is believed
		w.put(fmt.Sprint("few", i), "File Analysis")
	}
	w.jump(48 * time.Hour)
	w.expire(0)
	w.pass(time.Hour)
	w.expire(90)
}

// A long absence is looked at like a jump; a short one is not.
func TestClockAbsence(t *testing.T) {
	for gap, want := range map[time.Duration]int{20 * time.Hour: 1, 30 * time.Hour: 0, -2 * time.Hour: 0} {
		w := newWorld(t)
		mid := w.put("due", "File Analysis")
		w.expire(0)
		w.pass(2 * time.Hour)
		w.jump(gap)
		s, err := quarantine.New(quarantine.Options{Store: w.db, Contents: w.blobs, Sender: &w.sent, Log: &w.lines, Audit: &w.lines,
			Settings: quarantine.Defaults(), Clock: w.clock, Elapsed: w.elapsed})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := s.ExpireDue(ctx); err != nil || n != want {
			t.Errorf("%s: expired %d, %v", gap, n, err)
		}
		w.pass(time.Hour)
		if n, err := s.ExpireDue(ctx); gap > 0 && (err != nil || n+want != 1 || w.state(mid) != "releasing") {
			t.Errorf("%s, an hour later: expired %d, %v", gap, n, err)
		}
	}
}

// When the pool is full is foreseen from what comes in and what leaves.
func TestForecast(t *testing.T) {
	w := newWorld(t)
	r := quarantine.DefaultRules()
	r.Pool = smallPool
	w.rules(r)
	if f, err := w.s.Forecast(ctx, admin); err != nil || !f.Full.IsZero() || f.Used != 0 || f.Limit != smallPool {
		t.Errorf("empty: %+v, %v", f, err)
	}
	for i := range 8 { // 8 MiB a day, staying 10 days: 80 of 64 MiB, full on the eighth day
		w.heavy(fmt.Sprint("m", i), "Policy")
	}
	f, err := w.s.Forecast(ctx, admin)
	if days := f.Full.Sub(w.clock()); err != nil || f.Basis != "day" || days < 7*24*time.Hour || days > 8*24*time.Hour || f.Retained != 240 {
		t.Errorf("%+v, %v", f, err)
	}
	w.pass(4 * 24 * time.Hour) // nothing came since: the week's mean is an eighth as much
	if f, err = w.s.Forecast(ctx, admin); err != nil || f.Basis != "week" || !f.Full.IsZero() {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := w.s.Forecast(ctx, guest); !errs.Is(err, errs.Denied) {
		t.Errorf("the guest: %v", err)
	}
}

// A dry run says what expiry then does.
func TestDueBy(t *testing.T) {
	w := undoable(t)
	w.put("a", "Policy")
	w.put("b", "Policy", "Outbreak")
	kept := w.put("c", "Policy")
	if _, err := w.s.SetHold(ctx, admin, []mail.MID{kept}, "case"); err != nil {
		t.Fatal(err)
	}
	at := w.clock().Add(10 * 24 * time.Hour)
	due, err := w.s.DueBy(ctx, admin, at)
	if err != nil || len(due) != 2 || due[0].Quarantine != "Outbreak" || due[0].Messages != 1 || due[0].Action != quarantine.Release ||
		due[1].Messages != 2 || due[1].Action != quarantine.Delete || !due[1].Last.Equal(at) {
		t.Errorf("%+v, %v", due, err)
	}
	if due, err := w.s.DueBy(ctx, guest, at); err != nil || len(due) != 1 || due[0].Quarantine != "Policy" {
		t.Errorf("the guest: %+v, %v", due, err)
	}
	w.pass(10 * 24 * time.Hour)
	w.expire(3) // one message in two quarantines is changed twice
}

// A changed retention holds for what is held when somebody asks for it.
func TestRetain(t *testing.T) {
	w := newWorld(t)
	mid := w.put("old", "Policy", "Virus")
	set := quarantine.Defaults()
	set[0].Retention = 20 * 24 * time.Hour
	if err := w.s.Configure(set, quarantine.Rules{}); err != nil {
		t.Fatal(err)
	}
	if out, err := w.s.Retain(ctx, admin, "Policy"); err != nil || out.Count != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil || !m.Quarantines[0].Exit.Equal(w.clock().Add(20*24*time.Hour)) || !m.Quarantines[1].Exit.Equal(w.clock().Add(30*24*time.Hour)) {
		t.Errorf("%+v, %v", m, err)
	}
	if out, err := w.s.Retain(ctx, admin, "Policy"); err != nil || out.Count != 0 || len(out.Missed) != 0 {
		t.Errorf("again: %+v, %v", out, err)
	}
	for _, name := range []string{"Nirvana", ""} {
		if _, err := w.s.Retain(ctx, admin, name); !errs.Is(err, errs.NotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A quarantine that is deleted lets go what it holds by its default action,
// exempt or not; what is on hold stays until the hold is lifted.
func TestDeleteQuarantine(t *testing.T) {
	w := undoable(t) // has Legal: Release
	set := append(quarantine.Defaults(), quarantine.Settings{Name: "Legal", Kind: quarantine.KindPolicy, Retention: time.Hour, DefaultAction: quarantine.Release, Exempt: true})
	if err := w.s.Configure(set, quarantine.Rules{}); err != nil {
		t.Fatal(err)
	}
	alone, both, held := w.put("alone", "Legal"), w.put("both", "Legal", "Policy"), w.put("held", "Legal")
	if _, err := w.s.SetHold(ctx, admin, []mail.MID{held}, "case"); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Configure(quarantine.Defaults(), quarantine.Rules{}); err != nil {
		t.Fatal(err)
	}
	clear := func(want int) {
		t.Helper()
		if n, err := w.s.ClearRetired(ctx); err != nil || n != want {
			t.Errorf("cleared %d, want %d, %v", n, want, err)
		}
	}
	clear(2)
	if w.state(alone) != "releasing" || w.state(both) != "held" || w.state(held) != "held" {
		t.Error(w.state(alone), w.state(both), w.state(held))
	}
	clear(0)
	if _, err := w.s.LiftHold(ctx, admin, []mail.MID{held}); err != nil {
		t.Fatal(err)
	}
	clear(1)
	if l, err := w.db.Retired(ctx); err != nil || len(l) != 0 {
		t.Errorf("%v, %v", l, err)
	}
	late := w.put("late", "Legal") // and what comes in for it now is Unclassified
	if m, err := w.s.Show(ctx, admin, late); err != nil || m.Quarantines[0].Name != quarantine.Unclassified {
		t.Errorf("%+v, %v", m, err)
	}
}
