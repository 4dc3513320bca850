package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Two keys made for this test; their private halves exist nowhere.
const (
	key1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzKkUFcTqk/8t8VC6VnyYJBBqlnQ6HfU2kW4R2sVbTo admin@desk"
	key2 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTqqN0tC0Yf6nH9Zr0G3a5fF9lqv1VbqZ2uW4a1eXyz other"
)

// Reference 1.7, role by right, spelled out: the table in the code must not be
// the only witness of itself.
func TestRights(t *testing.T) {
	want := map[mail.Role]string{
		mail.Administrator:    "login status queueview queuechange logs logschange configview configchange userconfig quarantine quarantineall quarantineconfig sendcopy commandclient",
		mail.EmailAdmin:       "status queueview queuechange logs configview configchange quarantine quarantineall quarantineconfig",
		mail.Operator:         "login status queueview queuechange logs logschange configview configchange quarantine",
		mail.ReadOnlyOperator: "login status queueview logs configview quarantine",
		mail.Guest:            "login status quarantine",
		mail.HelpDesk:         "status quarantine",
		mail.Technician:       "login status logs logschange",
		mail.CommandClient:    "commandclient",
		"":                    "",
		"administrator":       "",
	}
	for role, rights := range want {
		for _, r := range Rights() {
			if has := strings.Contains(" "+rights+" ", " "+string(r)+" "); Can(role, r) != has {
				t.Errorf("role %q, right %s: %v, want %v", role, r, !has, has)
			}
		}
		if Can(role, "") || Can(role, "everything") {
			t.Errorf("role %q has a right that does not exist", role)
		}
	}
	if len(Roles()) != len(want)-2 {
		t.Errorf("%d roles, the table above has %d", len(Roles()), len(want)-2)
	}
}

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func users(t *testing.T, c *clock) *Users {
	t.Helper()
	h, err := HashPassword("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	u, err := NewUsers([]User{
		{Name: "admin", Group: mail.Administrator, Hash: h, Keys: []string{key1}},
		{Name: "cpq-manager", Group: mail.CommandClient, Keys: []string{key2}},
	}, Options{Clock: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestPassword(t *testing.T) {
	u := users(t, &clock{time.Unix(1e9, 0)})
	p, err := u.Password("admin", "correct horse", "192.0.2.1", "ssh")
	if want := (mail.Principal{Name: "admin", Role: mail.Administrator, From: "192.0.2.1", Via: "ssh"}); err != nil || p != want {
		t.Fatalf("%v %v", p, err)
	}
	// Each from its own network: no delay may hide what is tested.
	for i, c := range [][2]string{{"admin", "wrong"}, {"admin", ""}, {"nobody", "correct horse"}, {"cpq-manager", ""},
		{"cpq-manager", "correct horse"}, {"", ""}, {"admin", strings.Repeat("x", 300)}, {"ADMIN", "correct horse"}} {
		p, err := u.Password(c[0], c[1], fmt.Sprintf("10.0.%d.1", i), "ssh")
		if !errs.Is(err, errs.Denied) || p != (mail.Principal{}) {
			t.Errorf("%q: %v %v", c, p, err)
		}
		u.verify.delays.succeeded(c[0])
	}
}

// An unknown name, and one without a password, take a whole derivation: of the
// same parameters as a known one's.
func TestUnknownCosts(t *testing.T) {
	u := users(t, &clock{time.Unix(1e9, 0)})
	var work []string
	u.verify.matches = func(h *hash, password string) bool {
		work = append(work, fmt.Sprint(h.memory, h.passes, h.lanes, len(h.salt), len(h.key), len(password)))
		return h.matches(password)
	}
	for i, name := range []string{"admin", "nobody", "cpq-manager"} {
		u.Password(name, "wrong", fmt.Sprintf("10.1.%d.1", i), "ssh")
		if len(work) != i+1 || work[i] != work[0] {
			t.Errorf("%s: work %q", name, work)
		}
	}
}

func TestKeys(t *testing.T) {
	u := users(t, &clock{time.Unix(1e9, 0)})
	k1, err := ParseKey(key1)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := u.Key("admin", k1.Marshal(), "192.0.2.1", "ssh"); err != nil || p.Role != mail.Administrator {
		t.Errorf("%v %v", p, err)
	}
	for _, name := range []string{"cpq-manager", "nobody", ""} {
		if p, err := u.Key(name, k1.Marshal(), "192.0.2.1", "ssh"); !errs.Is(err, errs.Denied) {
			t.Errorf("%q got in by another's key: %v %v", name, p, err)
		}
	}
	if err := u.Set(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Key("admin", k1.Marshal(), "192.0.2.1", "ssh"); err == nil {
		t.Error("a removed user's key still opens")
	}
}

// Guessing slows down, by account for a while and by network for longer, and
// the right password is not even looked at then; keys still work.
func TestDelays(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	u := users(t, c)
	for range freeTries {
		if _, err := u.Password("admin", "wrong", "192.0.2.1", "ssh"); !errs.Is(err, errs.Denied) {
			t.Fatal(err)
		}
	}
	if _, err := u.Password("admin", "correct horse", "198.51.100.7", "ssh"); !errs.Is(err, errs.Temporary) {
		t.Errorf("account is not delayed: %v", err)
	}
	if _, err := u.Password("nobody", "x", "192.0.2.200", "ssh"); !errs.Is(err, errs.Temporary) {
		t.Errorf("network is not delayed: %v", err)
	}
	k1, _ := ParseKey(key1)
	if _, err := u.Key("admin", k1.Marshal(), "192.0.2.1", "ssh"); err != nil {
		t.Errorf("the key is locked out: %v", err)
	}
	c.t = c.t.Add(time.Second)
	if _, err := u.Password("admin", "correct horse", "198.51.100.7", "ssh"); err != nil {
		t.Errorf("still delayed after a second: %v", err)
	}
	for range 40 { // each waits its turn, as a patient guesser does
		c.t = c.t.Add(maxAddress)
		u.verify.delays.failed("admin", "192.0.2.1")
	}
	if w := u.verify.delays.wait("admin", "203.0.113.1"); w != maxAccount {
		t.Errorf("a stranger locks the account out for %v", w)
	}
	if w := u.verify.delays.wait("other", "192.0.2.1"); w != maxAddress {
		t.Errorf("the guesser waits only %v", w)
	}
	c.t = c.t.Add(-240 * time.Hour) // the clock was wrong and is set right
	if w := u.verify.delays.wait("admin", "192.0.2.1"); w > maxAddress {
		t.Errorf("a clock set back locks out for %v", w)
	}
}

// A flood of names cannot fill the memory.
func TestDelaysAreBounded(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	d := newDelays(c.now, maxName)
	for i := range maxRemember + 500 {
		d.failed(fmt.Sprint("u", i), fmt.Sprintf("2001:db8:%x::1", i))
	}
	if len(d.accounts) > maxRemember || len(d.sources) > maxRemember {
		t.Errorf("%d accounts, %d sources", len(d.accounts), len(d.sources))
	}
}

func TestCheck(t *testing.T) {
	good := User{Name: "a", Group: mail.Operator, FullName: "Ä B"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, u := range map[string]User{
		"user name":    {Name: "A b", Group: mail.Operator},
		"full name":    {Name: "a", Group: mail.Operator, FullName: "x\x1b[2J"},
		"unknown role": {Name: "a", Group: "Root"},
		"hash":         {Name: "a", Group: mail.Operator, Hash: "plain"},
		"cost":         {Name: "a", Group: mail.Operator, Hash: "$argon2id$v=19$m=4000000,t=2,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA"},
		"options":      {Name: "a", Group: mail.Operator, Keys: []string{`from="10.0.0.1" ` + key1}},
		"key 1":        {Name: "a", Group: mail.Operator, Keys: []string{"ssh-ed25519 AAAA"}},
	} {
		if err := u.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := CheckUsers([]User{good, good}); err == nil {
		t.Error("a name twice was accepted")
	}
}

func TestHash(t *testing.T) {
	a, err := HashPassword("x")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := HashPassword("x")
	if a == b || !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s %s", a, b)
	}
	h, err := parseHash(a)
	if err != nil || !h.matches("x") || h.matches("y") {
		t.Errorf("hash does not match its password: %v", err)
	}
	if one, other := NewPassword(), NewPassword(); len(one) < 16 || one == other {
		t.Error("passwords are not random")
	}
}
