package quarantine_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// undoable is a world in which decisions can be taken back for the default times.
func undoable(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.rules(quarantine.DefaultRules())
	return w
}

func (w *world) rules(r quarantine.Rules) {
	w.t.Helper()
	set := quarantine.Defaults()
	set[0].Users = []string{"gina"} // Policy
	set = append(set, quarantine.Settings{Name: "Legal", Kind: quarantine.KindPolicy, Retention: 48 * time.Hour, DefaultAction: quarantine.Release})
	if err := w.s.Configure(set, r); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) undo(p mail.Principal, mids ...mail.MID) quarantine.Outcome {
	w.t.Helper()
	out, err := w.s.Undo(ctx, p, mids)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) ripen(want int) {
	w.t.Helper()
	if n, err := w.s.Ripen(ctx); err != nil || n != want {
		w.t.Errorf("ripe %d, want %d, %v", n, want, err)
	}
}

// A release can be taken back until it leaves. Its lines are written when it is
// decided, undo has its own, and to lists the message is gone meanwhile.
func TestUndoRelease(t *testing.T) {
	w := undoable(t)
	mid := w.put("let go", "Policy")
	w.lines.take()
	w.pass(time.Minute)
	out := w.act(quarantine.Release, admin, "", mid)
	if out.Count != 1 || out.Decision == 0 || w.state(mid) != "leaving" || w.sent.count(mid) != 0 {
		t.Fatalf("%+v, %s", out, w.state(mid))
	}
	if got, want := w.lines.take(), fmt.Sprintf("alice: released MID %d in \"Policy\"\nMID %d released from \"Policy\" (manual) t=60\nMID %d released from all", mid, mid, mid); got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
	if l := w.search(admin, quarantine.Query{}); len(l) != 0 {
		t.Errorf("a list shows %v", l)
	}
	if l := w.search(admin, quarantine.Query{States: []quarantine.State{quarantine.Leaving}}); !slices.Equal(l, []mail.MID{mid}) {
		t.Errorf("asked for, it is %v", l)
	}
	if out := w.act(quarantine.Delete, other, "", mid); out.Count != 0 || !strings.Contains(out.Missed[0].Why, "by alice (manual)") || !strings.Contains(out.Missed[0].Why, "undo brings it back") {
		t.Errorf("the second to decide: %+v", out)
	}
	w.pass(29 * time.Second)
	w.ripen(0)
	if out := w.undo(other, mid); out.Count != 1 || w.state(mid) != "held" {
		t.Errorf("%+v, %s", out, w.state(mid))
	}
	if got, want := w.lines.take(), fmt.Sprintf("bob: took back MID %d in \"Policy\"\nMID %d back to \"Policy\"", mid, mid); got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
	w.pass(time.Hour)
	w.ripen(0)
	w.act(quarantine.Release, admin, "", mid)
	w.pass(30 * time.Second)
	w.lines.take()
	w.ripen(1)
	if w.state(mid) != "releasing" || w.sent.count(mid) != 1 || w.lines.take() != "" {
		t.Error("after its time:", w.state(mid), w.sent.count(mid))
	}
	if out := w.undo(admin, mid); out.Count != 0 || !strings.Contains(out.Missed[0].Why, "cannot be taken back any more") {
		t.Errorf("too late: %+v", out)
	}
	if !has(w.lines.audit, fmt.Sprintf("bob: quarantine undo MID %d: ok", mid)) {
		t.Errorf("audit %q", w.lines.audit)
	}
}

// What is deleted rests in the bin with its content; expiry passes it by.
func TestUndoDelete(t *testing.T) {
	w := undoable(t)
	kept, lost := w.put("kept", "Policy", "Virus"), w.put("lost", "Policy")
	w.act(quarantine.Delete, admin, "", kept, lost)
	if w.state(kept) != "binned" || w.state(lost) != "binned" {
		t.Fatal(w.state(kept), w.state(lost))
	}
	if c, err := w.content(kept); err != nil || !strings.Contains(c, "kept") {
		t.Errorf("content in the bin: %q, %v", c, err)
	}
	w.pass(7*24*time.Hour - time.Second)
	if n, err := w.s.ExpireDue(ctx); n != 0 || err != nil {
		t.Errorf("expiry changed %d, %v", n, err)
	}
	w.ripen(0)
	if out := w.undo(admin, kept); out.Count != 1 {
		t.Errorf("%+v", out)
	}
	m, err := w.s.Show(ctx, admin, kept)
	if err != nil || m.State != "held" || len(m.Quarantines) != 2 || m.Quarantines[0].State != "held" || m.Quarantines[1].State != "held" || m.Quarantines[0].By != "" {
		t.Errorf("%+v, %v", m, err)
	}
	w.pass(time.Second)
	w.ripen(1)
	if _, err := w.content(lost); w.state(lost) != "deleted" || !errs.Is(err, errs.NotFound) {
		t.Errorf("%s, %v", w.state(lost), err)
	}
	w.pass(3 * 24 * time.Hour) // ten days in all: its exit time counts on
	if n, err := w.s.ExpireDue(ctx); n != 1 || err != nil || w.state(kept) != "held" {
		t.Errorf("expiry changed %d, %v, %s", n, err, w.state(kept))
	}
}

// One decision about many comes back as one; what others decided stays.
func TestUndoBulk(t *testing.T) {
	w := undoable(t)
	var mids []mail.MID
	for range 1200 { // more than one batch
		mids = append(mids, w.put("bulk", "Policy"))
	}
	mine := w.act(quarantine.Delete, admin, "", mids[:1000]...)
	theirs := w.act(quarantine.Delete, other, "", mids[900:]...)
	if mine.Count != 1000 || theirs.Count != 200 {
		t.Fatal(mine.Count, theirs.Count)
	}
	out, err := w.s.UndoDecision(ctx, admin, mine.Decision)
	if err != nil || out.Count != 1000 || len(out.Missed) != 0 {
		t.Errorf("%d, %d missed, %v", out.Count, len(out.Missed), err)
	}
	if w.state(mids[0]) != "held" || w.state(mids[999]) != "held" || w.state(mids[1000]) != "binned" {
		t.Error(w.state(mids[0]), w.state(mids[999]), w.state(mids[1000]))
	}
	if _, err := w.s.UndoDecision(ctx, admin, mine.Decision); !errs.Is(err, errs.NotFound) {
		t.Errorf("twice: %v", err)
	}
	if _, err := w.s.UndoDecision(ctx, admin, 4711); !errs.Is(err, errs.NotFound) {
		t.Errorf("a decision nobody made: %v", err)
	}
}

// Leaving one of two quarantines can be taken back as well, by those who may
// work there.
func TestUndoPart(t *testing.T) {
	w := undoable(t)
	mid := w.put("two", "Policy", "Virus")
	w.act(quarantine.Release, admin, "Virus", mid)
	if out := w.undo(guest, mid); out.Count != 0 {
		t.Errorf("the guest took back what they may not see: %+v", out)
	}
	w.pass(30 * time.Second)
	if out := w.undo(admin, mid); out.Count != 0 {
		t.Errorf("a release is taken back later than it would have left: %+v", out)
	}
	w.act(quarantine.Delete, guest, "", mid) // from Policy, which is its last: deleted as a whole
	if w.state(mid) != "binned" {
		t.Fatal(w.state(mid))
	}
	if out := w.undo(admin, mid); out.Count != 1 || w.state(mid) != "held" {
		t.Errorf("%+v %s", out, w.state(mid))
	}
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil || m.Quarantines[0].State != "held" || m.Quarantines[1].State != "released" {
		t.Errorf("the other decision was taken back too: %+v, %v", m, err)
	}
}

func TestDelay(t *testing.T) {
	w := undoable(t)
	mid := w.put("later", "Policy", "Virus")
	out, err := w.s.Delay(ctx, guest, []mail.MID{mid, 4711}, "", 8*time.Hour)
	if err != nil || out.Count != 1 || len(out.Missed) != 1 {
		t.Fatal(out, err)
	}
	m, err := w.s.Show(ctx, admin, mid)
	want := w.clock().Add(10*24*time.Hour + 8*time.Hour)
	if err != nil || !m.Quarantines[0].Exit.Equal(want) || !m.Quarantines[1].Exit.Equal(w.clock().Add(30*24*time.Hour)) {
		t.Errorf("%+v, %v", m.Quarantines, err)
	}
	for _, d := range []time.Duration{0, -time.Hour, quarantine.MaxRetention + time.Hour} {
		if _, err := w.s.Delay(ctx, admin, []mail.MID{mid}, "", d); !errs.Is(err, errs.Invalid) {
			t.Errorf("by %s: %v", d, err)
		}
	}
	w.pass(10*24*time.Hour + 7*time.Hour)
	if n, err := w.s.ExpireDue(ctx); n != 0 || err != nil {
		t.Errorf("expired %d, %v", n, err)
	}
}

// Exit time and reason go along with a move and overwrite those of the target.
func TestMove(t *testing.T) {
	w := undoable(t)
	mid, both := w.put("one", "Policy"), w.put("both", "Policy", "Legal")
	w.lines.take()
	w.pass(time.Hour)
	out, err := w.s.Move(ctx, admin, []mail.MID{mid, both}, "Policy", "Legal")
	if err != nil || out.Count != 2 {
		t.Fatal(out, err)
	}
	for _, id := range []mail.MID{mid, both} {
		m, err := w.s.Show(ctx, admin, id)
		if err != nil || m.State != "held" || len(m.Quarantines) != 2 || m.Quarantines[0].State != "moved" || m.Quarantines[1].Name != "Legal" ||
			m.Quarantines[1].State != "held" || m.Quarantines[1].Reason != "message filter:policy" || !m.Quarantines[1].Exit.Equal(m.Quarantines[0].Exit) {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if got, want := w.lines.take(), fmt.Sprintf("alice: moved MID %d in \"Policy\"\nMID %d moved from \"Policy\" to \"Legal\"", mid, mid); !strings.HasPrefix(got, want) {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
	if l, err := w.s.Quarantines(ctx, admin); err != nil || l[0].Messages != 0 || l[5].Messages != 2 {
		t.Errorf("%+v, %v", l, err)
	}
	if out, err := w.s.Move(ctx, admin, []mail.MID{mid}, "Legal", "Policy"); err != nil || out.Count != 1 {
		t.Errorf("back: %+v, %v", out, err)
	}
	w.act(quarantine.Release, admin, "", mid)
	w.pass(time.Minute)
	w.ripen(1)
	if w.state(mid) != "releasing" {
		t.Errorf("released after a move: %s", w.state(mid))
	}
	gone := w.put("gone", "Policy", "Legal")
	w.act(quarantine.Delete, admin, "Legal", gone)
	if out, err := w.s.Move(ctx, admin, []mail.MID{gone}, "Policy", "Legal"); err != nil || out.Count != 0 || !strings.Contains(out.Missed[0].Why, "was deleted from") {
		t.Errorf("into where it was deleted: %+v, %v", out, err)
	}
	for _, c := range []struct {
		from, to string
		p        mail.Principal
		kind     errs.Kind
	}{
		{"Policy", "Virus", admin, errs.Invalid}, {"Policy", "Policy", admin, errs.Invalid}, {"", "Legal", admin, errs.Invalid},
		{"Policy", "Nirvana", admin, errs.Invalid}, {"Policy", "Legal", guest, errs.NotFound},
	} {
		if _, err := w.s.Move(ctx, c.p, []mail.MID{gone}, c.from, c.to); !errs.Is(err, c.kind) {
			t.Errorf("%q to %q: %v", c.from, c.to, err)
		}
	}
}

// A hold binds everybody and the clock until it is lifted.
func TestHold(t *testing.T) {
	w := undoable(t)
	mid, binned := w.put("evidence", "Policy"), w.put("nearly gone", "Policy")
	w.act(quarantine.Delete, admin, "", binned)
	if out, err := w.s.SetHold(ctx, admin, []mail.MID{mid, binned}, "case 4711"); err != nil || out.Count != 2 {
		t.Fatal(out, err)
	}
	if _, err := w.s.SetHold(ctx, guest, []mail.MID{mid}, "x"); !errs.Is(err, errs.Denied) {
		t.Errorf("the guest: %v", err)
	}
	for _, a := range []quarantine.Action{quarantine.Delete, quarantine.Release} {
		if out := w.act(a, other, "", mid); out.Count != 0 || !strings.Contains(out.Missed[0].Why, "on hold since") || !strings.Contains(out.Missed[0].Why, "case 4711") {
			t.Errorf("%s: %+v", a, out)
		}
	}
	w.pass(100 * 24 * time.Hour)
	w.ripen(0)
	if n, err := w.s.ExpireDue(ctx); n != 0 || err != nil || w.state(mid) != "held" {
		t.Errorf("expired %d, %v", n, err)
	}
	if m, err := w.s.Show(ctx, admin, mid); err != nil || m.Hold == nil || m.Hold.By != "alice" {
		t.Errorf("%+v, %v", m, err)
	}
	if out := w.undo(admin, binned); out.Count != 1 || w.state(binned) != "held" {
		t.Errorf("%+v", out)
	}
	if out, err := w.s.LiftHold(ctx, other, []mail.MID{mid, binned}); err != nil || out.Count != 2 {
		t.Errorf("%+v, %v", out, err)
	}
	if n, err := w.s.ExpireDue(ctx); n != 2 || err != nil || w.state(mid) != "deleted" {
		t.Errorf("expired %d, %v", n, err)
	}
	if out, err := w.s.SetHold(ctx, admin, []mail.MID{mid}, "too late"); err != nil || out.Count != 0 {
		t.Errorf("%+v, %v", out, err)
	}
}

// A message whose release failed: giving it up rests in the bin too, and comes
// back as failed.
func TestUndoFailed(t *testing.T) {
	w := newWorld(t)
	d, body := w.deposit("refused", "Policy")
	mid, _, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	w.act(quarantine.Release, admin, "", mid)
	if err := w.db.Releases().SetAside(ctx, mid, fmt.Errorf("550 no")); err != nil || w.state(mid) != "failed" {
		t.Fatal(err, w.state(mid))
	}
	w.rules(quarantine.DefaultRules())
	for _, a := range []quarantine.Action{quarantine.Delete, quarantine.Release} {
		if out := w.act(a, admin, "", mid); out.Count != 1 || w.state(mid) == "failed" {
			t.Errorf("%s: %+v %s", a, out, w.state(mid))
		}
		if out := w.undo(admin, mid); out.Count != 1 || w.state(mid) != "failed" {
			t.Errorf("undo of %s: %+v, %s", a, out, w.state(mid))
		}
	}
	w.act(quarantine.Release, admin, "", mid)
	w.pass(30 * time.Second)
	w.ripen(1)
	if w.state(mid) != "releasing" || w.sent.count(mid) != 2 {
		t.Error(w.state(mid), w.sent.count(mid))
	}
}
