package quarantine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// engines are the gateways of a test: what they say of a message by its subject.
type engines struct {
	mu     sync.Mutex
	answer map[string]mail.Finding
	wait   chan struct{} // nil: they answer at once
	asked  chan mail.MID
	read   []string
}

// Examine implements quarantine.Examiner.
func (e *engines) Examine(ctx context.Context, r *quarantine.Record, open func() (io.ReadCloser, error)) (mail.Finding, error) {
	c, err := open()
	if err != nil {
		return mail.Finding{}, err
	}
	b, err := io.ReadAll(c)
	if err = errors.Join(err, c.Close()); err != nil {
		return mail.Finding{}, err
	}
	e.mu.Lock()
	e.read = append(e.read, string(b))
	f, ok := e.answer[r.Subject]
	wait := e.wait
	e.mu.Unlock()
	if wait != nil {
		e.asked <- r.MID
		select {
		case <-wait:
		case <-ctx.Done():
			return mail.Finding{}, errs.Wrap(errs.Temporary, ctx.Err(), "waiting")
		}
	}
	if !ok {
		return f, errs.New(errs.Temporary, "the gateway does not answer")
	}
	return f, nil
}

// scanning gives the service of a world engines, and lets Virus release what is
// found clean.
func (w *world) scanning(e *engines) {
	w.t.Helper()
	set := quarantine.Defaults()
	for i := range set {
		set[i].ReleaseClean = set[i].Name == quarantine.Virus
	}
	set[0].Users = []string{"gina"}
	r := quarantine.DefaultRules()
	r.UndoRelease, r.DeleteRest = 0, 0
	var err error
	w.s, err = quarantine.New(quarantine.Options{Store: w.db, Contents: w.blobs, Sender: &w.sent, Log: &w.lines, Audit: &w.lines,
		Settings: set, Rules: r, Examiner: e, Clock: w.clock, Elapsed: w.elapsed})
	if err != nil {
		w.t.Fatal(err)
	}
}

// What is scanned again and found harmless leaves the quarantines that let it,
// and those alone; whatever else comes out, or nothing, leaves it as it is.
func TestRescan(t *testing.T) {
	w := newWorld(t)
	clean, worm := mail.Finding{Harmless: true, Text: "clean"}, mail.Finding{Text: "infected Worm"}
	e := &engines{answer: map[string]mail.Finding{"clean": clean, "both": clean, "policy": clean, "held": clean, "worm": worm}}
	w.scanning(e)
	mids := map[string]mail.MID{}
	for subject, in := range map[string][]string{"clean": {"Virus"}, "both": {"Virus", "Policy"}, "policy": {"Policy"}, "held": {"Virus"}, "worm": {"Virus"}, "away": {"Virus"}, "gone": {"Virus"}} {
		mids[subject] = w.put(subject, in...)
	}
	w.act(quarantine.Delete, admin, "", mids["gone"])
	if out, err := w.s.SetHold(ctx, admin, []mail.MID{mids["held"]}, "lawyers"); err != nil || out.Count != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	w.lines.take()
	var all []mail.MID
	for _, mid := range mids {
		all = append(all, mid)
	}
	out, err := w.s.Rescan(ctx, admin, append(all, 999, all[0]), "")
	if err != nil || len(out.Found) != 5 || len(out.Missed) != 3 || out.Released != 2 {
		t.Errorf("%+v, %v", out, err)
	}
	for subject, want := range map[string]string{"clean": "releasing", "both": "held", "policy": "held", "held": "held", "worm": "held", "away": "held", "gone": "deleted"} {
		if got := w.state(mids[subject]); got != want {
			t.Errorf("%s is %s, want %s", subject, got, want)
		}
	}
	m, err := w.s.Show(ctx, admin, mids["both"])
	if err != nil || m.Quarantines[0].State == m.Quarantines[1].State {
		t.Errorf("%+v, %v", m, err)
	}
	got := w.lines.take()
	for _, want := range []string{
		fmt.Sprintf(`MID %d released from "Virus" (found clean)`, mids["clean"]), fmt.Sprintf("MID %d released from all", mids["clean"]),
		fmt.Sprintf("MID %d found infected Worm", mids["worm"]),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	for _, text := range e.read {
		if !strings.Contains(text, "Subject: ") {
			t.Errorf("scanned %q", text)
		}
	}
}

// Nobody scans what he may not see, nor makes it leave; where there is no
// engine nothing is found.
func TestRescanRights(t *testing.T) {
	w := newWorld(t)
	e := &engines{answer: map[string]mail.Finding{"both": {Harmless: true, Text: "clean"}}}
	w.scanning(e)
	mid, virus := w.put("both", "Virus", "Policy"), w.put("both", "Virus")
	gina := mail.Principal{Name: "gina", Role: mail.Operator, Via: "test"}
	out, err := w.s.Rescan(ctx, gina, []mail.MID{mid, virus}, "")
	if err != nil || len(out.Found) != 1 || out.Found[0].MID != mid || out.Released != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := w.s.Rescan(ctx, gina, []mail.MID{mid}, "Virus"); !errs.Is(err, errs.NotFound) {
		t.Errorf("%v", err)
	}
	if out, err := w.s.Rescan(ctx, admin, []mail.MID{virus}, "Policy"); err != nil || len(out.Missed) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	w.withStore(w.db)
	if _, err := w.s.Rescan(ctx, admin, []mail.MID{mid}, ""); !errs.Is(err, errs.Invalid) {
		t.Errorf("%v", err)
	}
}

// One message is scanned by one at a time; who decides meanwhile is first.
func TestRescanAlone(t *testing.T) {
	w := newWorld(t)
	e := &engines{answer: map[string]mail.Finding{"slow": {Harmless: true, Text: "clean"}}, wait: make(chan struct{}), asked: make(chan mail.MID, 1)}
	w.scanning(e)
	mid := w.put("slow", "Virus")
	done := make(chan quarantine.Rescanned, 1)
	go func() {
		out, err := w.s.Rescan(ctx, admin, []mail.MID{mid}, "")
		if err != nil {
			t.Error(err)
		}
		done <- out
	}()
	<-e.asked
	out, err := w.s.Rescan(ctx, admin, []mail.MID{mid}, "")
	if err != nil || len(out.Missed) != 1 || !strings.Contains(out.Missed[0].Why, "already") {
		t.Errorf("%+v, %v", out, err)
	}
	w.act(quarantine.Delete, admin, "", mid)
	close(e.wait)
	if out := <-done; len(out.Found) != 1 || out.Released != 0 || w.state(mid) != "deleted" {
		t.Errorf("%+v, %s", out, w.state(mid))
	}
}
