package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// lookalikes gives some 500 pairs that mean something to a directory, a database
// or a careless comparison, and are not the pair given.
func lookalikes(name, password string) [][2]string {
	var out [][2]string
	twist := func(s string) []string {
		l := []string{
			"", " ", s + " ", " " + s, s + "\x00", "\x00" + s, s + "\x00x", s + "\n", s + "\r\n", s + "\t", strings.ToUpper(s), strings.ToUpper(s[:1]) + s[1:],
			s[:len(s)-1], s + s, "*", s + "*", s[:1] + "*", "*)(uid=*", s + ")(|(uid=*", s + ")(&", "(" + s + ")", `\2a`, s + `\00`, `\` + s, s + `\`,
			s + "' OR '1'='1", s + "'--", `" or ""="`, "' UNION SELECT 'x", s + ";", "uid=" + s, "cn=" + s + ",dc=x", s + ",ou=x", s + "@example.com", `DOMAIN\` + s,
			strings.Replace(s, "a", "а", 1), strings.Replace(s, "a", "á", 1), strings.Replace(s, "a", "a\u0301", 1), strings.Replace(s, "a", "\uff41", 1), "\u200b" + s, s + "\u200b",
			"\ufeff" + s, s + "\u202e", strings.Repeat(s, 100), strings.Repeat("x", 1<<16), "null", "undefined", "true", "0", "root", "anonymous", "\xff\xfe", s + "\xff",
		}
		for i := range 60 { // one octet of the word is another
			b := []byte(s)
			b[i%len(b)] ^= byte(1 << (i % 8))
			l = append(l, string(b))
		}
		return l
	}
	for _, n := range twist(name) {
		out = append(out, [2]string{n, password}, [2]string{n, ""})
	}
	for _, p := range twist(password) {
		out = append(out, [2]string{name, p})
	}
	for i, n := range twist(name) {
		p := twist(password)
		out = append(out, [2]string{n, p[(i*7)%len(p)]}, [2]string{n, n})
	}
	kept := out[:0]
	for _, pair := range out {
		if pair != [2]string{name, password} {
			kept = append(kept, pair)
		}
	}
	return kept
}

// Register A3: only the exact pair logs in, for administrators and for those who
// send by SMTP AUTH; an empty password, or one that is too long, is refused
// before anything is compared. How often somebody may fail is out of this: the
// clock goes on for an hour before each try.
func TestSEC_A3_OnlyTheExactPair(t *testing.T) {
	const name, password = "admin", "a correct horse"
	cheap := hash{memory: 8, passes: 1, lanes: 1, salt: make([]byte, saltLen)} // what it costs is another matter
	stored := cheap.format(cheap.derive(password, keyLen))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { now = now.Add(time.Hour); return now }
	users, err := NewUsers([]User{{Name: name, Group: mail.Administrator, Hash: stored}, {Name: "keyonly", Group: mail.Guest, Keys: []string{key1}}}, Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	senders, err := NewSenders([]Sender{{Name: name, Hash: stored}}, clock)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, v := range []*verifier{users.verify, senders.verify} {
		v.decoy = cheap
		v.decoy.key = make([]byte, keyLen)
		v.matches = func(h *hash, p string) bool { compared++; return h.matches(p) }
	}
	pairs := append(lookalikes(name, password), [2]string{"keyonly", ""}, [2]string{"keyonly", password}, [2]string{"keyonly", "keyonly"}, [2]string{"", ""})
	if len(pairs) < 500 {
		t.Errorf("only %d pairs", len(pairs))
	}
	for i, pair := range pairs {
		from := fmt.Sprintf("192.0.2.%d", i%250)
		before := compared
		if p, err := users.Password(pair[0], pair[1], from, "test"); !errs.Is(err, errs.Denied) || p != (mail.Principal{}) {
			t.Errorf("%.60q %.60q: %+v, %v", pair[0], pair[1], p, err)
		}
		if err := senders.Login(pair[0], pair[1], from); !errs.Is(err, errs.Denied) {
			t.Errorf("sender %.60q %.60q: %v", pair[0], pair[1], err)
		}
		if (pair[1] == "" || len(pair[1]) > MaxPassword) && compared != before {
			t.Errorf("%.60q: a password of %d bytes was compared", pair[0], len(pair[1]))
		}
	}
	if p, err := users.Password(name, password, "192.0.2.1", "test"); err != nil || p.Name != name || p.Role != mail.Administrator {
		t.Errorf("the pair itself: %+v, %v", p, err)
	}
	if err := senders.Login(name, password, "192.0.2.1"); err != nil {
		t.Error("the pair itself:", err)
	}
}
