package filter

import "testing"

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
