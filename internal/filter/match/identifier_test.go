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
		{"*ssn", "078-05-11203 078 05.1120 0 78-05-1120", 1},
		{"*credit", "x4111111111111111y", 1},
		{"*credit", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", 1},
		{"*credit", "4111  1111 1111 1111", 0}, // two blanks
		{"*aba", "routing 021000021.", 1},      // of a bank in New York
		{"*aba", "021000022 0210000211 021-000-021 991000021", 0},
		{"*cusip", "Apple is 037833100, Google 38259P508, Oracle 68389X105", 3},
		{"*cusip", "037833101 38259p508x ABCDEFGH1", 0},
	} {
		term, err := NewTerm(c.name)
		if err != nil {
			t.Fatal(err)
		}
		w := NewSet([]*Rule{{Terms: []Term{term}, Least: 100}}).Window(t.Context())
		if err := w.Add(Piece{Part: "1", Bytes: []byte(c.text), Last: true}); err != nil || w.Total()[0] != c.want {
			t.Errorf("%s in %q: %d, want %d (%v)", c.name, c.text, w.Total()[0], c.want, err)
		}
		for _, f := range w.Found(0) {
			if !strings.HasPrefix(f.Text, "*****") {
				t.Errorf("%s: %q is shown", c.name, f)
			}
		}
	}
	if _, err := NewTerm("*creditt"); err == nil || !strings.Contains(err.Error(), "they are *aba, *credit, *cusip, *iban, *ssn") {
		t.Error(err)
	}
}

// Whatever stands in a text, it is looked at once: these are the dearest for
// each identifier.
func BenchmarkIdentifiers(b *testing.B) {
	for _, id := range identifiers {
		term, err := NewTerm(id.name)
		if err != nil {
			b.Fatal(err)
		}
		for name, unit := range map[string]string{"groups": "4111 ", "figures": "4 ", "ibans": "AB12-", "letter": "Some words of a letter, "} {
			b.Run(id.name[1:]+"/"+name, func(b *testing.B) {
				text := []byte(strings.Repeat(unit, 200_000))
				set := NewSet([]*Rule{{Terms: []Term{term}, Least: 1 << 30}})
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					w := set.Window(b.Context())
					if err := w.Add(Piece{Part: "1", Bytes: text, Last: true}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
