package quarantine_test

import (
	"testing"
	"time"

	"lazaret/internal/quarantine"
)

// Fault F13: a clock that was set ahead makes no record and no key old. Without
// its key a deposit that comes again would be a new message.
func TestF13_NothingForgotten(t *testing.T) {
	w := undoable(t)
	mid := w.put("gone", "Policy")
	w.act(quarantine.Delete, admin, "", mid)
	w.pass(8 * 24 * time.Hour) // out of the bin
	w.s.OnTime(ctx)
	w.confirm()
	w.ripen(1)
	if got := w.state(mid); got != "deleted" {
		t.Fatal(got)
	}
	w.pass(10 * time.Second)
	w.s.OnTime(ctx)
	w.jump(10 * 366 * 24 * time.Hour)
	w.s.OnTime(ctx)
	w.s.OnTime(ctx)
	if got := w.state(mid); got != "deleted" {
		t.Errorf("behind a jump the record is %s", got)
	}
	w.jump(-10 * 366 * 24 * time.Hour)
	w.confirm()
	for range 31 * 24 {
		w.pass(time.Hour)
		w.s.OnTime(ctx)
	}
	if _, err := w.s.Show(ctx, admin, mid); err == nil {
		t.Error("a record of 31 days ago is not forgotten")
	}
}

// confirm says that the clock is right.
func (w *world) confirm() {
	w.t.Helper()
	if err := w.s.ConfirmClock(admin); err != nil {
		w.t.Error(err)
	}
}
