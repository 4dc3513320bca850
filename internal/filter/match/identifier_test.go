package match

import (
	"strings"
	"testing"
)

// Numbers that prove themselves are found, whatever stands beside them; others are not.
func TestIdentifiers(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       int
	}{
		{"*credit", "card 4111 1111 1111 1111, thanks", 1},
		{"*credit", "4111111111111111", 1},
		{"*credit", "4111-1111-1111-1112", 0},                             // check digit
		{"*credit", "12 4111 1111 1111 1111 05", 1},                       // figures beside it
		{"*credit", "4111 1111 1111 1111 5500 0000 0000 0004", 2},         // two in a row
		{"*credit", "94111111111111111", 0},                               // part of a longer figure
		{"*credit", "3782 822463 10005", 1},                               // 15 digits
		{"*CREDIT", "0000 0000 0000 0000", 0},                             // no issuer
		{"*iban", "pay to DE89 3704 0044 0532 0130 00 please", 1},         // the example of the German banks
		{"*iban", "pay to de89370400440532013000.", 1},                    // as typed
		{"*iban", "DE88 3704 0044 0532 0130 00", 0},                       // check digits
		{"*iban", "ref AB12 GB82 WEST 1234 5698 7654 32 and so forth", 1}, // a word before that looks like one
		{"*iban", "NO93 8601 1117 947", 1},                                // the shortest
		{"*ssn", "his is 078-05-1120", 1},
		{"*ssn", "078051120", 0},
		{"*ssn", "666-05-1120 900-05-1120 078-00-1120 078-05-0000", 0},
		{"*ssn", "tel 1 078-05-1120", 1},
	} {
		term, err := NewTerm(c.name)
		if err != nil {
			t.Fatal(err)
		}
		w := NewWindow(t.Context(), []*Rule{{Terms: []Term{term}, Least: 100}})
		if err := w.Add(Piece{Part: "1", Bytes: []byte(c.text), Last: true}); err != nil || w.Total()[0] != c.want {
			t.Errorf("%s in %q: %d, want %d (%v)", c.name, c.text, w.sums[0], c.want, err)
		}
		for _, f := range w.Found(0) {
			if !strings.HasPrefix(f, "*****") {
				t.Errorf("%s: %q is shown", c.name, f)
			}
		}
	}
	if _, err := NewTerm("*creditt"); err == nil || !strings.Contains(err.Error(), "they are *credit, *iban, *ssn") {
		t.Error(err)
	}
}

// A text of digits only costs one look at each.
func BenchmarkIdentifiers(b *testing.B) {
	text := []byte(strings.Repeat("4111 ", 200_000))
	var terms []Term
	for _, id := range identifiers {
		term, _ := NewTerm(id.name)
		terms = append(terms, term)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		w := NewWindow(b.Context(), []*Rule{{Terms: terms, Least: 1 << 30}})
		if err := w.Add(Piece{Part: "1", Bytes: text, Last: true}); err != nil {
			b.Fatal(err)
		}
	}
}
