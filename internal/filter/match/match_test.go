package match

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Matches are found and counted over the edges of windows.
func TestLongText(t *testing.T) {
	term, err := NewTerm("needle")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, windowSize - overlap - 3, windowSize - 3, windowSize, 2*windowSize - 2*overlap - 1} {
		text := []byte(strings.Repeat("x", 3*windowSize))
		copy(text[at:], "needle")
		copy(text[len(text)-6:], "needle")
		w := NewSet([]*Rule{{Terms: []Term{term}, Least: 3}}).Window(t.Context())
		half := len(text) / 2
		if err := w.Add(Piece{Part: "1", Bytes: text[:half]}); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(Piece{Part: "1", Bytes: text[half:], Last: true}); err != nil || w.Total()[0] != 2 {
			t.Errorf("at %d: %d matches, %v", at, w.Total()[0], err)
		}
	}
}

// The short cut over plain text never hides a match.
func TestLiteral(t *testing.T) {
	patterns := []string{"(?i)ask", "ask", "(?i)(as)+k", "a(s|k)", "(?i)x?ask$", "(as){2}", "(ask){0,1}s", "^a", "", "(?i)äsk", "[ak]s", "(?i:A)sk.k"}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(patterns).Draw(t, "pattern")
		text := rapid.StringMatching("[askASKxäÄ\u212a\u017f]{0,12}").Draw(t, "text")
		re, lit, err := compileLiteral(p, false)
		if err != nil {
			t.Fatal(err)
		}
		w := NewSet([]*Rule{{Terms: []Term{{re: re, literal: []byte(lit), Weight: 1}}, Least: 100}}).Window(context.Background())
		if err := w.Add(Piece{Part: "1", Bytes: []byte(text), Last: true}); err != nil {
			t.Fatal(err)
		}
		if got, want := w.Total()[0], len(re.FindAllStringIndex(text, 100)); got != want {
			t.Fatalf("%q in %q: %d matches, want %d (literal %q)", p, text, got, want, lit)
		}
	})
}

// Evil patterns end (register C3): an engine that tries back would not end on
// these before the sun does, and the run's own deadline fails the test.
func TestEvilPatterns(t *testing.T) {
	text := []byte(strings.Repeat("a", 16<<10))
	for _, p := range []string{`(a+)+$b`, `(a|aa)*b`, `(.*)*(.*)*x`, `^(([a-z])+.)+[A-Z]([a-z])+$`, `(a?){50}a{50}b`, `([\s\S]{0,50}b){3}`} {
		re, err := Compile(p, false)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		if re.Match(text) {
			t.Errorf("%s matches", p)
		}
	}
}
