package blob

import (
	"testing"
	"time"
)

// Objects of this machine stand in the order in which they came, and two of the
// same moment are two.
func TestLocalObjectsStandInOrder(t *testing.T) {
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	seen := map[object]bool{}
	last := object{}
	for i := range 1000 {
		o := localObject(classSmall, at.Add(time.Duration(i/10)*time.Microsecond))
		if seen[o] || o[0] != classSmall {
			t.Fatalf("object %x: of class %q, here before: %v", o, o[0], seen[o])
		}
		seen[o] = true
		if i%10 == 0 && string(o[:]) <= string(last[:]) {
			t.Fatalf("%x comes behind %x", o, last)
		}
		last = o
	}
	if id := last.id(); len(id) != 1+2*(idSize-1) {
		t.Errorf("%q", id)
	} else if o, err := parseID(id, classSmall); err != nil || o != last {
		t.Errorf("%x is read as %x, %v", last, o, err)
	}
}
