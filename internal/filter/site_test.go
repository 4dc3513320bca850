package filter

import (
	"fmt"
	"strings"
	"testing"

	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
)

// A filter that names what there is not is invalid and does not run; the others do.
func TestInvalid(t *testing.T) {
	set, err := Parse(`a: if (recv-listener != "Gone") { drop(); }
		b: if (body-contains("x") or recv-int == "Data 1") { log-entry("b"); }
		c: if (true) { log-entry("c"); }`)
	if err != nil {
		t.Fatal(err)
	}
	set.For(Site{Listeners: []string{"Incoming"}, Interfaces: []string{"Data 1"}})
	list := set.List()
	if list[0].Invalid != `no listener matches "Gone"` || list[1].Invalid+list[2].Invalid != "" {
		t.Errorf("%+v", list)
	}
	d, err := set.Run(t.Context(), sample())
	if err != nil || d.Drop || len(d.Notes) != 2 {
		t.Errorf("%+v %v", d, err)
	}
	set.For(Site{Listeners: []string{"Gone"}})
	if list := set.List(); list[0].Invalid != "" || list[1].Invalid != `no interface matches "Data 1"` {
		t.Errorf("%+v", list)
	}
	if d, err := set.Run(t.Context(), sample()); err != nil || !d.Drop {
		t.Errorf("%+v %v", d, err)
	}
}

// Chances are as asked for, and the same whenever a message is judged.
func TestRandom(t *testing.T) {
	set, err := Parse(`a: if (random(10) < 3) { log-entry("a"); } b: if (random(10) < 3) { log-entry("b"); }`)
	if err != nil {
		t.Fatal(err)
	}
	a, b, both := 0, 0, 0
	m := sample()
	for i := range 10000 {
		m.facts.Seed = uint64(i)
		d, err := set.Run(t.Context(), m)
		again, _ := set.Run(t.Context(), m)
		if err != nil || len(again.Notes) != len(d.Notes) {
			t.Fatal("judged otherwise the second time", err)
		}
		switch {
		case len(d.Notes) == 2:
			a, b, both = a+1, b+1, both+1
		case len(d.Notes) == 1 && d.Notes[0] == "a":
			a++
		case len(d.Notes) == 1:
			b++
		}
	}
	if a < 2800 || a > 3200 || b < 2800 || b > 3200 || both < 800 || both > 1000 {
		t.Errorf("of 10000 %d, %d, both %d", a, b, both)
	}
}

// What rules matched is there for texts, of those that held only.
func TestMatchedContent(t *testing.T) {
	set, err := Parse(`a: if (body-contains("w[a-z]+ transfer", 2) and not body-contains("second", 5)) { log-entry("$MatchedContent|$filenames|$filesizes|$FileTypes|$RecvListener|$remotehost|$Date $Time"); }`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := set.Run(t.Context(), sample())
	if err != nil || len(d.Notes) != 1 || d.Notes[0] != "wire transfer|a.pdf, evil.exe|2048, 3145728|pdf, exe|Incoming||07/21/2026 14:00:00" {
		t.Errorf("%q %v", d.Notes, err)
	}
	m := sample()
	m.texts = []string{"wx transfer \x1b[2Jwire transfer"}
	set, _ = Parse(`a: if (body-contains("w.. transfer.+")) { log-entry("$MatchedContent"); } b: if (body-contains("(?s)x.*")) { log-entry("$MatchedContent"); }`)
	if d, err = set.Run(t.Context(), m); err != nil || len(d.Notes) != 1 || d.Notes[0] != "x transfer  [2Jwire transfer" {
		t.Errorf("%q %v", d.Notes, err)
	}
}

// dictionaries are those of the tests.
func dictionaries(t *testing.T) Site {
	d, err := match.NewDictionary("words", []string{"wire transfer, 4", "hello, 3", "eve, 2", "*credit, 10"}, match.DictionaryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return Site{Dictionary: func(name string) *match.Dictionary {
		if name == d.Name {
			return d
		}
		return nil
	}}
}

// Rules about dictionaries look where they say, and add up the weights.
func TestDictionaryRules(t *testing.T) {
	for cond, want := range map[string]bool{
		`dictionary-match("words")`:                                               true,
		`dictionary-match("words", 12)`:                                           true, // three times
		`dictionary-match("words", 13)`:                                           false,
		`body-dictionary-match("words", 4)`:                                       true,
		`body-dictionary-match("words", 5)`:                                       false,
		`attachment-dictionary-match("words", 8)`:                                 true,
		`attachment-dictionary-match("words", 9)`:                                 false,
		`subject-dictionary-match("words", 3)`:                                    true,
		`subject-dictionary-match("words", 4)`:                                    false,
		`header-dictionary-match("words", "From", 2)`:                             true,
		`header-dictionary-match("words", "Precedence")`:                          false,
		`mail-from-dictionary-match("words")`:                                     true,
		`rcpt-to-dictionary-match("words")`:                                       false,
		`not dictionary-match("words", 13) and subject-dictionary-match("words")`: true,
	} {
		set, err := Parse("f: if (" + cond + ") { drop(); }")
		if err != nil {
			t.Errorf("%s: %v", cond, err)
			continue
		}
		d, err := set.For(dictionaries(t)).Run(t.Context(), sample())
		if err != nil || d.Drop != want {
			t.Errorf("%s: %v %v", cond, d.Drop, err)
		}
		again, err := Parse(set.String())
		if err != nil || again.String() != set.String() {
			t.Errorf("%s printed as %s: %v", cond, set, err)
		}
	}
	set, err := Parse(`a: if (dictionary-match("none")) { drop(); } b: if (true) { log-entry("b"); }`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := set.For(dictionaries(t)).Run(t.Context(), sample())
	if err != nil || len(d.Notes) != 1 || set.List()[0].Invalid != `there is no dictionary "none"` {
		t.Errorf("%+v %v %+v", d, err, set.List())
	}
}

// A placement has what led to it: the rule, the part, the text. What held under
// a NOT, or in a condition that did not hold, did not lead to it.
func TestMatchedOfPlacements(t *testing.T) {
	m := sample()
	m.texts[0] = "first: wire transfer \x1b[2J, card 4111 1111 1111 1111"
	set, err := Parse(`a: if (subject == "Hel+o" and not body-contains("nothing") and dictionary-match("words", 14)) { quarantine("Policy"); }
		b: if (body-contains("second") and body-contains("third") or not not true) { quarantine("Other"); }
		c: if (attachment-contains("sec...") or attachment-filename == "zzz") { duplicate-quarantine("Copy"); quarantine("Policy"); }
		d: if (body-contains("wire.*2J")) { quarantine("Other"); }
		e: if (header("From") != "nobody") { quarantine("Last"); }`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := set.For(dictionaries(t)).Run(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, p := range append(d.Quarantine, d.Copies...) {
		fmt.Fprintln(&b, p.Quarantine)
		for _, f := range p.Matched {
			fmt.Fprintln(&b, " ", f)
		}
	}
	const want = `Policy
  {a: subject == "Hel+o" Subject Hello}
  {a: dictionary-match("words", 14) body wire transfer}
  {a: dictionary-match("words", 14) body ************1111}
  {c: attachment-contains("sec...") attachment second}
Other
  {d: body-contains("wire.*2J") body wire transfer  [2J}
Last
Copy
  {c: attachment-contains("sec...") attachment second}
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
	set, _ = Parse(`a: if (body-contains("` + strings.Repeat("a?", 300) + `x")) { quarantine("P"); }`)
	m.texts = []string{strings.Repeat("aax", 100)}
	if d, err = set.Run(t.Context(), m); err != nil || len(d.Quarantine) != 1 || len(d.Quarantine[0].Matched[0].Rule) > mail.MaxMatchedText {
		t.Errorf("%+v %v", d, err)
	}
}
