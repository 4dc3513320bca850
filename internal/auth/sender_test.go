package auth

import (
	"fmt"
	"testing"
	"time"

	"lazaret/internal/errs"
)

func senders(t *testing.T, c *clock) *Senders {
	t.Helper()
	h, err := HashPassword("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSenders([]Sender{{Name: "ann@example.com", Hash: h}, {Name: "bob", Hash: h}}, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Register B11 by structure: each attempt, whoever it names, costs exactly one
// derivation of the same parameters, until the delay refuses it unseen; and the
// delay comes after the same number of failures. No clock is read.
func TestSEC_B11(t *testing.T) {
	c := &clock{t: time.Unix(1_000_000, 0)}
	s := senders(t, c)
	var work []string
	s.verify.matches = func(h *hash, password string) bool {
		work = append(work, fmt.Sprint(h.memory, h.passes, h.lanes, len(h.salt), len(h.key), len(password)))
		return h.matches(password)
	}
	attempts := func(name, from string) (replies []string) {
		work = nil
		for range 6 {
			err := s.Login(name, "wrong horse..", from)
			replies = append(replies, fmt.Sprint(errs.KindOf(err), err, len(work)))
		}
		return replies
	}
	known, costs := attempts("bob", "192.0.2.1"), fmt.Sprint(work)
	unknown, costs2 := attempts("nobody", "198.51.100.1"), fmt.Sprint(work)
	if fmt.Sprint(known) != fmt.Sprint(unknown) || costs != costs2 || len(work) != freeTries {
		t.Errorf("a known name: %q, work %s\nan unknown one: %q, work %s", known, costs, unknown, costs2)
	}
}

func TestSendersLogin(t *testing.T) {
	c := &clock{t: time.Unix(1_000_000, 0)}
	s := senders(t, c)
	if err := s.Login("ann@example.com", "correct horse", "192.0.2.1"); err != nil {
		t.Error(err)
	}
	for _, bad := range [][2]string{{"ann@example.com", ""}, {"ann@example.com", "Correct horse"}, {"ANN@example.com", "correct horse"}, {"", "correct horse"}} {
		if err := s.Login(bad[0], bad[1], "192.0.2."+fmt.Sprint(len(bad[0]))); !errs.Is(err, errs.Denied) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := s.Set(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Login("ann@example.com", "correct horse", "203.0.113.1"); !errs.Is(err, errs.Denied) {
		t.Errorf("a user who was deleted: %v", err)
	}
	for _, bad := range []Sender{{Name: "a b", Hash: "x"}, {Name: ""}, {Name: "a", Hash: "plain"}, {Name: "a:b"}, {Name: "ü"}, {Name: "-y"}} {
		if err := s.Set([]Sender{bad}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
