package queue

import (
	"fmt"
	"strings"
	"testing"
)

// Every pair of every table: exactly the moves written here are possible.
func TestEveryPair(t *testing.T) {
	walk(t, "message", int(numMessageStates), func(a, b int) (fmt.Stringer, error) { return MessageState(a).To(MessageState(b)) },
		func(i int) string { return MessageState(i).String() },
		"receiving>work receiving>done work>routed work>done work>held work>corrupt routed>done routed>corrupt held>work held>done held>corrupt")
	walk(t, "recipient", int(numRecipientStates), func(a, b int) (fmt.Stringer, error) { return RecipientState(a).To(RecipientState(b)) },
		func(i int) string { return RecipientState(i).String() },
		"pending>active pending>bounced pending>deleted active>pending active>deferred active>delivered active>bounced active>deleted "+
			"deferred>active deferred>bounced deferred>deleted")
	walk(t, "destination", int(numHostStates), func(a, b int) (fmt.Stringer, error) { return HostState(a).To(HostState(b)) },
		func(i int) string { return HostState(i).String() },
		"unknown>up unknown>down unknown>suspended up>down up>unknown up>suspended down>up down>unknown down>suspended suspended>unknown")
}

func walk(t *testing.T, what string, n int, to func(a, b int) (fmt.Stringer, error), name func(int) string, allowed string) {
	ok := make(map[string]bool)
	for _, m := range strings.Fields(allowed) {
		ok[m] = true
	}
	for a := range n + 1 { // one past the end: a damaged record can say anything
		for b := range n + 1 {
			move := name(a) + ">" + name(b)
			got, err := to(a, b)
			if (err == nil) != ok[move] {
				t.Errorf("%s %s: %v", what, move, err)
			}
			if want := name(b); err == nil && got.String() != want {
				t.Errorf("%s %s gives %s", what, move, got)
			}
			if want := name(a); err != nil && got.String() != want {
				t.Errorf("%s %s is refused and gives %s", what, move, got)
			}
		}
	}
}
