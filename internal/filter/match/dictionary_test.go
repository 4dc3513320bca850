package match

import (
	"fmt"
	"strings"
	"testing"
)

// total gives what a rule counts in a text, and the texts that it found.
func total(t *testing.T, r *Rule, text string) (int, []string) {
	t.Helper()
	w := NewSet([]*Rule{r}).Window(t.Context())
	if err := w.Add(Piece{Part: "1", Bytes: []byte(text), Last: true}); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range w.Found(0) {
		found = append(found, m.Text)
	}
	return w.Total()[0], found
}

// Terms add up by their weights, alone or in words, with or without their case.
func TestDictionary(t *testing.T) {
	lines := []string{"confidential, 5", "secret", "project (alpha|beta), 3", "Köln, 2", "*credit, 10", "ignored, 0", "salt, pepper, 2"}
	for _, c := range []struct {
		o     DictionaryOptions
		text  string
		want  int
		found string
	}{
		{DictionaryOptions{}, "CONFIDENTIAL and Secret", 6, "[CONFIDENTIAL Secret]"},
		{DictionaryOptions{}, "secretary of secrets, nonconfidential", 0, "[]"},
		{DictionaryOptions{}, "secret,secret;secret_", 2, "[secret]"},
		{DictionaryOptions{Parts: true}, "secretary of secrets", 2, "[secret]"},
		{DictionaryOptions{Case: true}, "Secret Confidential köln Köln", 2, "[Köln]"},
		{DictionaryOptions{}, "Project Beta in KÖLN; Kölner", 5, "[Project Beta KÖLN]"},
		{DictionaryOptions{}, "card 4111 1111 1111 1111", 10, "[************1111]"},
		{DictionaryOptions{}, "ignored", 0, "[]"},
		{DictionaryOptions{}, "salt, pepper", 2, "[salt, pepper]"},
	} {
		d, err := NewDictionary("d", lines, c.o)
		if err != nil {
			t.Fatal(err)
		}
		r := &Rule{Terms: d.Terms(), Least: 100}
		n, found := total(t, r, c.text)
		in, same := r.In(c.text)
		if n != c.want || in != n || len(found) != len(same) {
			t.Errorf("%+v, %q: %d and %d, want %d", c.o, c.text, n, in, c.want)
		}
		for _, f := range found {
			if !strings.Contains(c.found, f) {
				t.Errorf("%q: %q, want %s", c.text, found, c.found)
			}
		}
	}
}

// What is wrong with a line is said with its number.
func TestDictionaryErrors(t *testing.T) {
	for line, want := range map[string]string{
		"a, 11":                  `term 2: the weight of "a, 11" is not 0 to 10`,
		"x*":                     `term 2: "x*" matches in every text`,
		"(":                      "term 2: the regular expression is wrong",
		"*creditt":               `term 2: unknown smart identifier "*creditt"`,
		"first":                  `term 2: the term "first" stands twice`,
		"":                       "term 2: a term has 1 to 500 bytes",
		", 3":                    "term 2: a term has 1 to 500 bytes",
		strings.Repeat("a", 501): "term 2: a term has 1 to 500 bytes",
		"[a-z]{900}[a-z]{900}[a-z]{900}[a-z]{900}[a-z]{900}": "term 2: the regular expression is too large",
		"(?=x)":                       "term 2: look-ahead",
		strings.Repeat("(", 50) + "a": "term 2: the regular expression is wrong",
	} {
		if _, err := NewDictionary("d", []string{"first", line}, DictionaryOptions{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", line, err, want)
		}
	}
	many := make([]string, MaxTerms+1)
	for i := range many {
		many[i] = fmt.Sprint("word", i)
	}
	if _, err := NewDictionary("d", many, DictionaryOptions{}); err == nil || err.Error() != "term 5001: there are more than 5000 terms" {
		t.Error(err)
	}
	if d, err := NewDictionary("d", many[:MaxTerms], DictionaryOptions{}); err != nil || d.Len() != MaxTerms {
		t.Error(err)
	}
}

// What thousands of words cost beside one, for a text that has none of them.
func BenchmarkDictionary(b *testing.B) {
	text := []byte(strings.Repeat("Some words of a letter, as they come along.\r\n", 90))
	for _, n := range []int{1, 100, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			lines := make([]string, n)
			for i := range lines {
				lines[i] = fmt.Sprintf("word%d-%d", i*7919, i)
			}
			d, err := NewDictionary("d", lines, DictionaryOptions{})
			if err != nil {
				b.Fatal(err)
			}
			set := NewSet([]*Rule{{Terms: d.Terms(), Least: 10}})
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
