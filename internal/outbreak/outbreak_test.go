package outbreak

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func compile(p string) (*regexp.Regexp, error) { return match.Compile(p, false) }

// newKey gives a key that is always the same for the same letter.
func newKey(letter string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(letter, ed25519.SeedSize)))
}

// rule is JSON of a rule that is right, with more fields.
func rule(id string, level int, rest string) string {
	return fmt.Sprintf(`{"id":%q,"level":%d,"kind":"phish","type":"Password","description":"asks for passwords","published":"2026-11-28T10:00:00Z",%s}`, id, level, rest)
}

func feed(serial int, rules ...string) string {
	return fmt.Sprintf(`{"feed":"example","serial":%d,"published":"2026-11-28T11:00:00Z","expires":"2026-12-05T11:00:00Z","rules":[%s]}`, serial, strings.Join(rules, ","))
}

func newSet(t testing.TB, rules ...string) *Set {
	t.Helper()
	f, err := ParseFeed([]byte(feed(1, rules...)), compile)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSet(f, compile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Only what a pinned key signed is believed, and all of it.
func TestSignature(t *testing.T) {
	a, b := newKey("a"), newKey("b")
	text := feed(1, rule("R1", 3, `"body":["x"]`))
	one, err := Sign([]byte(text), a)
	if err != nil {
		t.Fatal(err)
	}
	both, err := Sign([]byte(text), b, a)
	if err != nil {
		t.Fatal(err)
	}
	pinned := []Key{PublicKey(a)}
	for _, good := range [][]byte{one, both} {
		if got, by, err := Verify(good, pinned); err != nil || string(got) != text || by.ID() != PublicKey(a).ID() {
			t.Errorf("%q %v %v", got, by, err)
		}
	}
	for i := range one { // no octet can be another
		bad := []byte(string(one))
		bad[i] ^= 1
		if _, _, err := Verify(bad, pinned); err == nil {
			t.Fatalf("octet %d changed is believed: %q", i, bad)
		}
	}
	if _, _, err := Verify(one, []Key{PublicKey(b)}); err == nil || !strings.Contains(err.Error(), "no good signature") || !strings.Contains(err.Error(), PublicKey(a).ID()) {
		t.Error(err)
	}
	if _, _, err := Verify([]byte(magic+"\n"+text), pinned); err == nil {
		t.Error("a feed without a signature is believed")
	}
	if k, err := ParseKey(PublicKey(a).String()); err != nil || k.ID() != PublicKey(a).ID() {
		t.Error(err)
	}
	for _, bad := range []string{"", "ed25519:", "ed25519:AAAA", "rsa:" + PublicKey(a).String()[8:]} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

// What is refused, and what it says.
func TestFeedRefused(t *testing.T) {
	body := `"body":["x"]`
	ok := feed(1, rule("R1", 3, body))
	many := make([]string, MaxPatterns+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"x%d"`, i)
	}
	for _, c := range []struct{ text, want string }{
		{strings.Replace(ok, `"serial":1`, `"serial":0`, 1), "serial is missing"},
		{strings.Replace(ok, `"feed":"example"`, `"feed":"a b"`, 1), "without blanks"},
		{strings.Replace(ok, `"serial"`, `"cereal"`, 1), `unknown field "cereal"`},
		{strings.Replace(ok, "2026-12-05", "2025-12-05", 1), "one after the other"},
		{ok + "{}", "behind the end"},
		{feed(1, rule("R1", 3, body), rule("R1", 3, body)), "there twice"},
		{feed(1, rule("R 1", 3, body)), "not the id"},
		{feed(1, rule("R1", 6, body)), "not 1 to 5"},
		{feed(1, strings.Replace(rule("R1", 3, body), "phish", "fish", 1)), "kind is"},
		{feed(1, strings.Replace(rule("R1", 3, body), "asks for", `asks\nfor`, 1)), "on one line"},
		{feed(1, rule("R1", 3, `"message_size":{"min":1}`)), "asks for nothing"},
		{feed(1, rule("R1", 3, `"body":["(?=x)"]`)), "R1): look-ahead"},
		{feed(1, rule("R1", 3, `"headers":[{"name":"a b","match":"x"}]`)), "header name"},
		{feed(1, rule("R1", 3, `"url_hosts":["Evil.example"]`)), "lower case"},
		{feed(1, rule("R1", 3, `"file":{}`)), "file asks for nothing"},
		{feed(1, rule("R1", 3, `"file":{"extension":["exe"]}`)), "such as .exe"},
		{feed(1, rule("R1", 3, `"file":{"type":["x"]}`)), "media type"},
		{feed(1, rule("R1", 3, `"file":{"sha256":["12"]}`)), "64 hexadecimal"},
		{feed(1, rule("R1", 3, `"file":{"size":{"min":2,"max":1}}`)), "no range"},
		{feed(1, rule("R1", 3, `"body":[`+strings.Join(many, ",")+`]`)), "more than 1000 expressions"},
		{feed(1, rule("R1", 3, body+`,"expires":"2026-11-28T10:00:00Z"`)), "not after published"},
	} {
		if _, err := ParseFeed([]byte(c.text), compile); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q: %v", c.want, err)
		}
	}
	if _, err := ParseFeed([]byte(ok), compile); err != nil {
		t.Error(err)
	}
}

// Which rule a message meets: all of what it asks for, and the highest level.
func TestJudge(t *testing.T) {
	hash := mail.Hash(sha256.Sum256([]byte("evil")))
	s := newSet(t,
		rule("BODY", 2, `"body":["verify your account","x"]`),
		rule("BODY2", 2, `"body":["x"]`),
		rule("FILE", 4, `"file":{"extension":[".exe",".scr"],"size":{"min":10,"max":20}},"message_size":{"max":1000}`),
		rule("KIND", 3, `"file":{"kind":["executable"],"type":["image/png"]}`),
		rule("NAME", 3, `"file":{"name":["(?i)^invoice"]}`),
		rule("HASH", 5, `"file":{"sha256":["`+hash.String()+`"]}`),
		rule("HEAD", 3, `"headers":[{"name":"Subject","match":"(?i)parcel"},{"name":"X-Mailer","match":"bulk"}]`),
		rule("HOST", 3, `"url_hosts":["evil.example",".bad.example"]`),
		rule("OLD", 5, `"headers":[{"name":"Subject","match":"old"}],"expires":"2026-11-28T11:00:00Z"`),
	)
	file := func(name string, size int64) Attachment { return Attachment{Names: []string{name}, Size: size} }
	for _, c := range []struct {
		want   string
		f      Facts
		bypass []string
	}{
		{want: ""},
		{want: "BODY", f: Facts{Bodies: []bool{true, false}}},
		{want: "BODY", f: Facts{Bodies: []bool{false, true}}}, // of two of one level the first
		{want: "FILE", f: Facts{Files: []Attachment{file("a.EXE", 15)}}},
		{want: "FILE", f: Facts{Files: []Attachment{file("a.txt", 15), file(`c:\a.b\a.scr . `, 10)}}},
		{want: "", f: Facts{Files: []Attachment{file("a.exe", 21), file("a.txt", 15)}}}, // no one file is all of it
		{want: "", f: Facts{Size: 1001, Files: []Attachment{file("a.exe", 15)}}},
		{want: "KIND", f: Facts{Files: []Attachment{{Names: []string{"a.png"}, Types: []string{"image/png"}, Kinds: []string{"exe", "executable"}}}}},
		{want: "NAME", f: Facts{Files: []Attachment{{Names: []string{"x", "INVOICE.pdf"}}}}},
		{want: "HASH", f: Facts{Bodies: []bool{true, true}, Files: []Attachment{{Hashes: []mail.Hash{{}, hash}}}}},
		{want: "", f: Facts{Headers: map[string][]string{"Subject": {"Your parcel"}}}},
		{want: "HEAD", f: Facts{Headers: map[string][]string{"Subject": {"a", "Your parcel"}, "X-Mailer": {"bulk 1"}}}},
		{want: "", f: Facts{Headers: map[string][]string{"Subject": {"old"}}}},
		{want: "", f: Facts{Files: []Attachment{file("a.exe", 15)}}, bypass: []string{".exe"}},
		{want: "NAME", f: Facts{Files: []Attachment{file("a.exe", 15), file("invoice.pdf", 1)}}, bypass: []string{".exe"}},
		{want: "FILE", f: Facts{Files: []Attachment{{Names: []string{"a.txt", "a.exe"}, Size: 15}}}, bypass: []string{".txt"}},
	} {
		if c.f.Bodies == nil {
			c.f.Bodies = make([]bool, len(s.Bodies()))
		}
		v := s.Judge(c.f, c.bypass, now)
		got := ""
		if v.Positive() {
			got = v.ID
		}
		if got != c.want || v.Positive() != (v.Threat() > 0) {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
	if v := (*Set)(nil).Judge(Facts{}, nil, now); v.Positive() {
		t.Error("nil holds")
	}
}

// A host is found however it is written, and in whatever pieces it comes.
func TestHosts(t *testing.T) {
	s := newSet(t, rule("R", 3, `"url_hosts":["evil.example",".bad.example","xn--bcher-kva.example"]`))
	for text, want := range map[string]string{
		"see http://evil.example/x":                   "evil.example",
		"see evil.example.":                           "evil.example",
		"EVIL.Example":                                "evil.example",
		"http://u:p@evil.example:8080/":               "evil.example",
		"http://good.example@evil.example":            "evil.example",
		"http://%65vil%2Eexample/":                    "evil.example",
		`<a href="http&#58;//evil&#46;example">`:      "evil.example",
		"<a href='http://ev\r\n\til.example'>":        "evil.example",
		"http:\\\\evil.example\\x":                    "evil.example",
		"http://a.bad.example":                        ".bad.example",
		"http://a.b.BAD.example":                      ".bad.example",
		"http://bücher.example/":                      "xn--bcher-kva.example",
		"bad.example":                                 "",
		"notevil.example":                             "",
		"evil.example.org":                            "",
		strings.Repeat("a.", 2000) + "evil.example x": "",
	} {
		for _, size := range []int{1, 2, 3, 7, len(text)} {
			h := s.NewHosts()
			for i := 0; i < len(text); i += size {
				h.Add([]byte(text[i:min(i+size, len(text))]), i+size >= len(text))
			}
			got := ""
			for k := range h.found {
				got += k
			}
			if got != want {
				t.Fatalf("%q in pieces of %d: %q, want %q", text[:min(len(text), 60)], size, got, want)
			}
		}
	}
}

// What a person writes becomes a feed with a serial of its own.
func TestPublish(t *testing.T) {
	d, err := ReadDraft([]byte(`{"feed":"example","rules":[{"id":"R1","level":3,"kind":"virus","description":"x","file":{"extension":[".exe"]}}]}`), now)
	if err != nil {
		t.Fatal(err)
	}
	b, f, err := d.Publish(41, now, 24*time.Hour, compile)
	if err != nil || f.Serial != 42 || !f.Rules[0].Published.Equal(now) {
		t.Fatalf("%+v %v", f, err)
	}
	got, err := ParseFeed(b, compile)
	if err != nil || got.Serial != 42 || got.Rules[0].ID != "R1" || !got.Expires.Equal(now.Add(24*time.Hour)) {
		t.Errorf("%+v %v", got, err)
	}
	if _, _, err := (&Draft{Name: "x", Rules: []Rule{{ID: "R"}}}).Publish(0, now, time.Hour, compile); err == nil {
		t.Error("a wrong rule is published")
	}
}

func FuzzRead(f *testing.F) {
	key := newKey("a")
	good, err := Sign([]byte(feed(1, rule("R1", 3, `"body":["x"]`))), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good))
	f.Add(magic + "\n{}")
	f.Add(feed(2, rule("R1", 3, `"file":{"extension":[".exe"]}`)))
	f.Fuzz(func(t *testing.T, s string) {
		if got, _, err := Verify([]byte(s), []Key{PublicKey(key)}); err == nil && string(good) != s && !strings.HasSuffix(string(good), string(got)) {
			t.Errorf("%q is believed", s)
		}
		if fd, err := ParseFeed([]byte(s), compile); err == nil {
			if _, err := NewSet(fd, compile); err != nil {
				t.Errorf("%q is a feed, but no set: %v", s, err)
			}
		}
	})
}
