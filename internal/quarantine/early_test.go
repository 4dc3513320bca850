package quarantine_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// extras gives what the gateway would be told about a message on its way home.
func (w *world) extras(mid mail.MID) []mail.Extras {
	w.t.Helper()
	it, err := w.db.Releases().Load(ctx, mid)
	if err != nil {
		w.t.Fatal(err)
	}
	return it.Release.Extras
}

// Tag, header and stripping are for what leaves before its time, to make room:
// not for what is released by hand or at its exit time (F18 to F21). What is in
// two quarantines gets the extras of both.
func TestEarlyReleaseExtras(t *testing.T) {
	w := newWorld(t)
	one := mail.Extras{Tag: "[early]", Header: "X-Early", Value: "True"}
	two := mail.Extras{Tag: "(really)", AtEnd: true, Strip: true}
	set := quarantine.Defaults()
	for i := range set {
		switch set[i].Name {
		case quarantine.Outbreak:
			set[i].Early = one
		case quarantine.FileAnalysis:
			set[i].Early = two
		}
	}
	r := quarantine.DefaultRules()
	r.Pool, r.UndoRelease, r.DeleteRest = smallPool, 0, 0
	if err := w.s.Configure(set, r); err != nil {
		t.Fatal(err)
	}
	byHand := w.put("by hand", "Outbreak", "File Analysis")
	w.act(quarantine.Release, admin, "", byHand)
	expired := w.put("expired", "File Analysis")
	w.pass(2 * time.Hour)
	if n, err := w.s.ExpireDue(ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for _, mid := range []mail.MID{byHand, expired} {
		if x := w.extras(mid); w.state(mid) != "releasing" || len(x) != 0 {
			t.Errorf("MID %s is %s with %+v", mid, w.state(mid), x)
		}
	}
	if got := w.lines.take(); strings.Contains(got, "stripped") {
		t.Errorf("log:\n%s", got)
	}
	both := w.heavy("both", "Outbreak", "File Analysis")
	single := w.heavy("single", "Outbreak")
	for i := range 63 {
		w.heavy(fmt.Sprint("filler ", i), "Virus")
	}
	if n := w.makeRoom(); n != 2 {
		t.Fatalf("%d left", n)
	}
	if x := w.extras(both); !reflect.DeepEqual(x, []mail.Extras{one, two}) {
		t.Errorf("%+v", x)
	}
	if x := w.extras(single); !reflect.DeepEqual(x, []mail.Extras{one}) {
		t.Errorf("%+v", x)
	}
	got := w.lines.take()
	for _, want := range []string{
		fmt.Sprintf(`MID %d released from "Outbreak" (queue full)`, both), fmt.Sprintf(`MID %d released (attachments stripped) from "File Analysis" (queue full)`, both),
		fmt.Sprintf("MID %d released (attachments stripped) from all", both), fmt.Sprintf("MID %d released from all", single),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
}

// Extras are for a quarantine whose default action is Release.
func TestEarlySettings(t *testing.T) {
	s := quarantine.Defaults()[0] // Policy, Delete
	s.Early = mail.Extras{Strip: true}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "its default action is Delete") {
		t.Error(err)
	}
	s.DefaultAction = quarantine.Release
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	s.Early.Header = "Bcc"
	if err := s.Check(); err == nil {
		t.Error("Bcc is taken")
	}
}

// The values of a new appliance, reference 1.2 (F1, F6).
func TestDefaultSettings(t *testing.T) {
	const day = 24 * time.Hour
	want := map[string]struct {
		kind      quarantine.Kind
		retention time.Duration
		action    quarantine.Action
	}{
		"Policy": {quarantine.KindPolicy, 10 * day, quarantine.Delete}, "Virus": {quarantine.KindVirus, 30 * day, quarantine.Delete},
		"Outbreak": {quarantine.KindOutbreak, day, quarantine.Release}, "File Analysis": {quarantine.KindFileAnalysis, time.Hour, quarantine.Release},
		"Unclassified": {quarantine.KindUnclassified, 10 * day, quarantine.Delete},
	}
	all := quarantine.Defaults()
	for _, s := range all {
		if w, ok := want[s.Name]; !ok || s.Kind != w.kind || s.Retention != w.retention || s.DefaultAction != w.action || s.Exempt || s.Early != (mail.Extras{}) {
			t.Errorf("%+v", s)
		}
	}
	if len(all) != len(want) || quarantine.Check(all) != nil {
		t.Errorf("%d quarantines, %v", len(all), quarantine.Check(all))
	}
}
