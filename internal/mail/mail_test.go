package mail

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// The spellings an open-relay prober tries (register B6): what is accepted
// must come out with exactly one domain, and that one in normal form.
func TestParseAddress(t *testing.T) {
	good := map[string]Address{
		"":                            {},
		"postmaster":                  {Local: "postmaster"},
		"a@b":                         {"a", "b"},
		"A.b+c@EXAMPLE.Com":           {"A.b+c", "example.com"},
		"a@example.com.":              {"a", "example.com"},
		`"a@b"@example.com`:           {`"a@b"`, "example.com"},
		`"a\"b c"@example.com`:        {`"a\"b c"`, "example.com"},
		"user%other.net@example.com":  {"user%other.net", "example.com"},
		"a!b@example.com":             {"a!b", "example.com"},
		"a@[192.0.2.1]":               {"a", "[192.0.2.1]"},
		"a@[ipv6:2001:DB8::1]":        {"a", "[IPv6:2001:db8::1]"},
		"bob@xn--bcher-kva.example":   {"bob", "xn--bcher-kva.example"},
		"under_score@a_b.example.com": {"under_score", "a_b.example.com"},

		// RFC 6531: the local part as it came, the domain as in DNS. Composed
		// and decomposed letters are two local parts but one domain.
		"ü@b":                      {"ü", "b"},
		"u\u0308@b":                {"u\u0308", "b"},
		"bob@bücher.example":       {"bob", "xn--bcher-kva.example"},
		"bob@bu\u0308cher.example": {"bob", "xn--bcher-kva.example"},
		"bob@BÜCHER.Example.":      {"bob", "xn--bcher-kva.example"},
		"bob@bücher。example":       {"bob", "xn--bcher-kva.example"},
		`"ü b"@例え.example`:         {`"ü b"`, "xn--r8jz45g.example"},
	}
	for in, want := range good {
		got, err := ParseAddress(in)
		if err != nil || got != want {
			t.Errorf("%q: %v %v, want %v", in, got, err, want)
		}
	}
	bad := []string{
		"a", "@b", "a@", "a@b@c", "a b@c", "a@b c", "@x:a@b", "a@.b", "a@b..c", ".a@b", "a.@b", "a..b@c",
		"a@-b", "a@b-", `"a@b`, `"a"b@c`, `""@c`, "a@[300.1.1.1]", "a@[::1]", "a@[IPv6:192.0.2.1]", "a@[1.2.3.4",
		"a\r\n@b", "a@b\x00", "a\xff@b", "a\u0085b@c", "a\u2028@c", "a@b\xff", "a@\u202eb", "a@ü\x00", "a@ü_b.example", "\"\\ü\"@b",
		strings.Repeat("ü", 33) + "@b", strings.Repeat("ü", 30) + "@" + strings.Repeat("üüüüüüü.", 14) + "c",
		"a@b>c", "<a@b>", "a@" + strings.Repeat("a", 64),
		strings.Repeat("a", 65) + "@b", strings.Repeat("a", 60) + "@" + strings.Repeat("b.", 110) + "c",
		`"a` + "\n" + `"@b`, "a@[IPv6:fe80::1%eth0]",
	}
	for _, in := range bad {
		if got, err := ParseAddress(in); err == nil {
			t.Errorf("%q: accepted as %v", in, got)
		}
	}
}

// What String gives is read back as the same address, whatever was typed.
func TestAddressRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, err := ParseAddress(rapid.StringMatching(`[a-z"\\.@ \[\]:0-9%]{0,20}@?[a-zA-Z.\-\[\]0-9]{0,12}`).Draw(t, "s"))
		if err != nil {
			return
		}
		b, err := ParseAddress(a.String())
		if err != nil || a != b {
			t.Fatalf("%v became %v, %v", a, b, err)
		}
	})
}

// A header line has no way to become two (register B5).
func TestNewHeader(t *testing.T) {
	for _, h := range [][2]string{{"", "x"}, {"a b", "x"}, {"a:", "x"}, {"a\r\nb", "x"}, {"X", "a\r\nb"}, {"X", "a\nb"}, {"X", "a\rb"}, {"X", "a\x00b"}, {"X", strings.Repeat("a", 901)}, {strings.Repeat("a", 77), "x"}} {
		if _, err := NewHeader(h[0], h[1]); err == nil {
			t.Errorf("%q accepted", h)
		}
	}
	h, err := NewHeader("X-Held", "yes: really")
	if err != nil || h.String() != "X-Held: yes: really\r\n" {
		t.Errorf("%q %v", h, err)
	}
}

func TestKeys(t *testing.T) {
	k := NewKey("A1B2C3D4E5", 501, Hash{0xab, 0xcd})
	if k != "A1B2C3D4E5-501-abcd000000000000" {
		t.Errorf("key %s", k)
	}
	if _, serial, mid, err := ParseKey(string(k)); err != nil || serial != "A1B2C3D4E5" || mid != 501 {
		t.Errorf("%s %d %v", serial, mid, err)
	}
	a := NewActionKey(k, 3)
	if got, of, err := ParseActionKey(string(a)); err != nil || got != a || of != k {
		t.Errorf("%s %s %v", got, of, err)
	}
	for _, s := range []string{"", "A1B2C3D4E5-0-abcd000000000000", "A1B2C3D4E5-01-abcd000000000000", "a1b2c3d4e5-1-abcd000000000000",
		"A1B2C3D4E5-1-ABCD000000000000", "A1B2C3D4E5-1-abcd", string(a), "A1B2C3D4E5-1-abcd00000000000g", "SHORT-1-abcd000000000000"} {
		if _, _, _, err := ParseKey(s); err == nil {
			t.Errorf("key %q accepted", s)
		}
	}
	for _, s := range []string{"", string(k), string(k) + "-", string(k) + "--1", string(k) + "-01", "x-1"} {
		if _, _, err := ParseActionKey(s); err == nil {
			t.Errorf("action key %q accepted", s)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b", `"a"@b`, "a@[1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		out := a.Path()
		if strings.ContainsAny(out[1:len(out)-1], "<>\r\n\x00") && a.Local[0] != '"' || !utf8.ValidString(out) || len(out) > MaxPath {
			t.Fatalf("%q gave %q", s, out)
		}
	})
}
