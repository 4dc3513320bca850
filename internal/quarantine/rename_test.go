package quarantine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

func (w *world) configure(all []quarantine.Settings) {
	w.t.Helper()
	r := quarantine.DefaultRules()
	r.UndoRelease, r.DeleteRest = 0, 0
	if err := w.s.Configure(all, r); err != nil {
		w.t.Fatal(err)
	}
}

// What rules found is shown to those who may see the quarantine, of both when
// two become one, and goes along when a message is moved.
func TestMatchedContent(t *testing.T) {
	w := newWorld(t)
	legal := quarantine.Settings{Name: "Legal", Kind: quarantine.KindPolicy, Retention: 48 * time.Hour, DefaultAction: quarantine.Delete, Users: []string{"gina"}}
	w.configure(append(quarantine.Defaults(), legal))
	one, two := mail.Matched{Rule: "a: true", Part: "body", Text: "x"}, mail.Matched{Rule: "b: true", Part: "b.doc", Text: "y"}
	mid := w.placed("found", mail.Placement{Quarantine: "Policy", Reason: "r", Matched: []mail.Matched{one}}, mail.Placement{Quarantine: "Nowhere", Matched: []mail.Matched{two}},
		mail.Placement{Quarantine: "Unclassified", Matched: []mail.Matched{one}}, mail.Placement{Quarantine: "Virus"})
	found := func(p mail.Principal) string {
		m, err := w.s.Show(ctx, p, mid)
		if err != nil {
			return err.Error()
		}
		var b strings.Builder
		for _, q := range m.Quarantines {
			if q.State == "held" || q.State == "in" {
				fmt.Fprint(&b, q.Name, q.Matched)
			}
		}
		return b.String()
	}
	if got, want := found(admin), "Policy[{a: true body x}]Unclassified[{b: true b.doc y} {a: true body x}]Virus[]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := found(guest); strings.Contains(got, "body") {
		t.Errorf("a guest sees %s", got)
	}
	if out, err := w.s.Move(ctx, admin, []mail.MID{mid}, "Policy", "Legal"); err != nil || out.Count != 1 {
		t.Fatal(out, err)
	}
	if got, want := found(guest), "Legal[{a: true body x}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A quarantine that gets another name keeps its messages, their exit times and
// its counters; what still uses the old name, a filter at a gateway or a person,
// reaches it; nothing is let go.
func TestRename(t *testing.T) {
	w := newWorld(t)
	legal := quarantine.Settings{Name: "Legal", Kind: quarantine.KindPolicy, Retention: 48 * time.Hour, DefaultAction: quarantine.Delete, Users: []string{"gina"}}
	w.configure(append(quarantine.Defaults(), legal))
	held, both, gone := w.put("held", "Legal"), w.put("both", "Legal", "Virus"), w.put("gone", "Legal")
	w.act(quarantine.Delete, admin, "Legal", gone)
	before, err := w.s.Show(ctx, admin, held)
	if err != nil {
		t.Fatal(err)
	}
	legal.Name, legal.Former = "Law", []string{"Legal"}
	w.configure(append(quarantine.Defaults(), legal))
	if n, err := w.s.ClearRetired(ctx); n != 0 || err != nil {
		t.Errorf("%d left, %v", n, err)
	}
	after, err := w.s.Show(ctx, guest, held)
	if err != nil || after.State != "held" || len(after.Quarantines) != 1 || after.Quarantines[0].Name != "Law" || !after.Quarantines[0].Exit.Equal(before.Quarantines[0].Exit) {
		t.Errorf("%+v %v", after, err)
	}
	late := w.put("late", "Legal") // a filter still says so
	for _, name := range []string{"Legal", "Law"} {
		if got := w.search(guest, quarantine.Query{Quarantine: name}); !slices.Equal(got, []mail.MID{late, both, held}) {
			t.Errorf("search %s: %v", name, got)
		}
	}
	list, err := w.s.Quarantines(ctx, admin)
	if err != nil || list[len(list)-1].Name != "Law" || list[len(list)-1].Messages != 3 || slices.ContainsFunc(list, func(l quarantine.Listed) bool { return l.Gone || l.Name == "Legal" }) {
		t.Errorf("%+v %v", list, err)
	}
	if out := w.act(quarantine.Release, guest, "Legal", both); out.Count != 1 {
		t.Errorf("released by the old name: %+v", out)
	}
	w.pass(49 * time.Hour)
	w.lines.take()
	if n, err := w.s.ExpireDue(ctx); n != 2 || err != nil {
		t.Errorf("%d expired, %v", n, err)
	}
	if got := w.lines.take(); !strings.Contains(got, fmt.Sprintf(`MID %d deleted from "Law" (expired)`, late)) || strings.Contains(got, `"Legal"`) {
		t.Errorf("log:\n%s", got)
	}
	// Without the old name, what uses it reaches Unclassified.
	legal.Former = nil
	w.configure(append(quarantine.Defaults(), legal))
	if m, err := w.s.Show(ctx, admin, w.put("later", "Legal")); err != nil || m.Quarantines[0].Name != "Unclassified" || !strings.HasSuffix(m.Quarantines[0].Reason, ` (no quarantine "Legal")`) {
		t.Errorf("%+v %v", m, err)
	}
}

func TestFormerNames(t *testing.T) {
	own := quarantine.Settings{Name: "Law", Former: []string{"Legal"}, Kind: quarantine.KindPolicy, Retention: time.Hour, DefaultAction: quarantine.Delete}
	for want, edit := range map[string]func(s *[]quarantine.Settings){
		"only one can be meant": func(s *[]quarantine.Settings) {
			*s = append(*s, quarantine.Settings{Name: "Legal", Kind: quarantine.KindPolicy, Retention: time.Hour, DefaultAction: quarantine.Delete})
		},
		"had no other name":        func(s *[]quarantine.Settings) { (*s)[0].Former = []string{"Old"} },
		"more than 10":             func(s *[]quarantine.Settings) { (*s)[5].Former = strings.Split("abcdefghijk", "") },
		"has a forbidden":          func(s *[]quarantine.Settings) { (*s)[5].Former = []string{"a'b"} },
		`"Virus" is the name of a`: func(s *[]quarantine.Settings) { (*s)[5].Former = []string{"Virus"} },
	} {
		all := append(quarantine.Defaults(), own)
		if err := quarantine.Check(all); err != nil {
			t.Fatal(err)
		}
		edit(&all)
		if err := quarantine.Check(all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
