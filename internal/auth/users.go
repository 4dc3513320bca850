package auth

import (
	"crypto/subtle"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Options of the list of users.
type Options struct {
	Clock func() time.Time // nil: time.Now
}

// Users checks who somebody is. Safe for concurrent use.
type Users struct {
	verify *verifier

	mu   sync.RWMutex
	list map[string]account
}

type account struct {
	role mail.Role
	hash *hash // nil: no login by password
	keys [][]byte
}

// NewUsers makes the list from settings.
func NewUsers(list []User, o Options) (*Users, error) {
	u := &Users{verify: newVerifier(o.Clock, maxName)}
	return u, u.Set(list)
}

// Set replaces the list, as after a commit. Sessions that are open keep the
// principal they have.
func (u *Users) Set(list []User) error {
	if err := CheckUsers(list); err != nil {
		return err
	}
	next := make(map[string]account, len(list))
	for _, s := range list {
		a := account{role: s.Group}
		if s.Hash != "" {
			h, err := parseHash(s.Hash)
			if err != nil {
				return err
			}
			a.hash = &h
		}
		for _, line := range s.Keys {
			key, err := ParseKey(line)
			if err != nil {
				return err
			}
			a.keys = append(a.keys, key.Marshal())
		}
		next[s.Name] = a
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = next
	return nil
}

// Password checks a password. from is the address of the caller, via the
// transport; both go into the principal. The error is Denied, or Temporary when
// too many attempts failed and this one was not even looked at.
func (u *Users) Password(name, password, from, via string) (mail.Principal, error) {
	a, _ := u.lookup(name)
	if err := u.verify.check(name, password, from, a.hash); err != nil {
		return mail.Principal{}, err
	}
	return mail.Principal{Name: name, Role: a.role, From: from, Via: via}, nil
}

// Key checks that the key, in SSH wire form, is one of the user's. The caller
// must have seen a signature by it: a key that was only offered proves nothing
// (CVE-2024-45337). Keys cannot be guessed, so they are never delayed: nobody
// is locked out of an appliance by a stranger's password guessing.
func (u *Users) Key(name string, wire []byte, from, via string) (mail.Principal, error) {
	a, _ := u.lookup(name)
	found := 0
	for _, k := range a.keys {
		found |= subtle.ConstantTimeCompare(k, wire)
	}
	if found != 1 {
		return mail.Principal{}, errs.New(errs.Denied, "key is not known for this user")
	}
	return mail.Principal{Name: name, Role: a.role, From: from, Via: via}, nil
}

func (u *Users) lookup(name string) (account, bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	a, ok := u.list[name]
	return a, ok
}
