package access

import (
	"strings"
	"testing"
)

func order(h *HAT) string {
	var names []string
	for _, g := range h.Groups() {
		names = append(names, g.Name+"="+g.Policy)
	}
	return strings.Join(names, " ")
}

// Groups and policies are added, changed, moved and taken out, each by a copy
// that is a table of its own; what would not be one is refused.
func TestEditTable(t *testing.T) {
	h := DefaultHAT(Private)
	must := func(next *HAT, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseHAT(next.String()); err != nil || again.String() != next.String() {
			t.Fatalf("%v\n%s", err, next)
		}
		h = next
	}
	must(h.WithPolicy("SLOW", "ACCEPT {max_rcpts_per_hour = 5\n tls = required}"))
	must(h.WithGroup(Group{Name: "PARTNERS", Policy: "SLOW", Comment: "friends", Entries: []Entry{{Text: ".example.net", Comment: "them"}}}, ""))
	must(h.WithGroup(Group{Name: "FIRST", Policy: "BLOCKED"}, "RELAYLIST"))
	must(h.MoveGroup("PARTNERS", "FIRST"))
	must(h.SetPolicy("ALL", "SLOW", "everyone"))
	must(h.WithPolicy("SLOW", "ACCEPT {max_rcpts_per_hour = 6}"))
	if got := order(h); got != "PARTNERS=SLOW FIRST=BLOCKED RELAYLIST=RELAYED ALL=SLOW" {
		t.Error(got)
	}
	if !strings.Contains(h.String(), "PARTNERS:\n  .example.net (them)\n    $SLOW (friends)\n") || !strings.Contains(h.String(), "max_rcpts_per_hour = 6") {
		t.Error(h)
	}
	before := h.String()
	for want, do := range map[string]func() (*HAT, error){
		`a sender group "FIRST" already`: func() (*HAT, error) { return h.WithGroup(Group{Name: "FIRST", Policy: "SLOW"}, "") },
		`no sender group "NONE"`:         func() (*HAT, error) { return h.MoveGroup("FIRST", "NONE") },
		"ALL is the last group":          func() (*HAT, error) { return h.MoveGroup("ALL", "FIRST") },
		"stays where it is":              func() (*HAT, error) { return h.WithoutGroup("ALL") },
		"policy $X is not defined":       func() (*HAT, error) { return h.SetPolicy("FIRST", "X", "") },
		"policy name \"X\\n$Y\"":         func() (*HAT, error) { return h.SetPolicy("FIRST", "X\n$Y", "") },
		"control character":              func() (*HAT, error) { return h.SetPolicy("FIRST", "SLOW", "a)\nALL\n$TRUSTED (") },
		"is the one of sender group":     func() (*HAT, error) { return h.WithoutPolicy("SLOW") },
		"no policy $X":                   func() (*HAT, error) { return h.WithoutPolicy("X") },
		"policy $X: HAT line 2":          func() (*HAT, error) { return h.WithPolicy("X", "PERMIT {}") },
		"policy $X: HAT line 3":          func() (*HAT, error) { return h.WithPolicy("X", "ACCEPT {}\nrubbish") },
		"one definition":                 func() (*HAT, error) { return h.WithPolicy("X", "ACCEPT {}\n$Y\nACCEPT {}") },
		"entry \"a b\"": func() (*HAT, error) {
			return h.WithGroup(Group{Name: "G", Policy: "SLOW", Entries: []Entry{{Text: "a b"}}}, "")
		},
	} {
		if next, err := do(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v\n%v", want, err, next)
		}
	}
	if h.String() != before {
		t.Error("a refused change changed the table")
	}
	must(h.WithoutGroup("PARTNERS"))
	must(h.WithPolicy("EXTRA", "REJECT {banner_code = 521}"))
	must(h.WithoutPolicy("EXTRA"))
	if got := order(h); got != "FIRST=BLOCKED RELAYLIST=RELAYED ALL=SLOW" {
		t.Error(got)
	}
}
