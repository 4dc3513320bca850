package auth

import (
	"sync"
	"time"

	"lazaret/internal/errs"
)

// Sender is one who may send mail after SMTP AUTH (RFC 4954). He is no
// administrator: his name opens nothing but the way for his mail.
type Sender struct {
	Name string
	Hash string // of HashPassword
}

// Limits of senders. RFC 4616 section 2 has 255 octets for a name.
const (
	maxSender  = 128
	maxSenders = 10_000
)

// Check reports what is wrong with the settings.
func (s Sender) Check() error {
	if !validSender(s.Name) {
		return errs.New(errs.Invalid, "user name %q is not 1 to %d printable ASCII characters without blanks, quotes, colons and backslashes", clip(s.Name), maxSender)
	}
	if _, err := parseHash(s.Hash); err != nil {
		return errs.Context(err, "user %s", s.Name)
	}
	return nil
}

func validSender(s string) bool {
	if s == "" || len(s) > maxSender || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ', c >= 127, c == '"', c == '\'', c == ':', c == '\\', c == '<', c == '>':
			return false
		}
	}
	return true
}

// Senders knows who may log in with SMTP AUTH. Safe for concurrent use.
type Senders struct {
	verify *verifier

	mu   sync.RWMutex
	list map[string]*hash
}

// NewSenders makes the list from settings. clock nil: time.Now.
func NewSenders(list []Sender, clock func() time.Time) (*Senders, error) {
	s := &Senders{verify: newVerifier(clock, maxSender)}
	return s, s.Set(list)
}

// Set replaces the list, as after a commit. Who has logged in stays so until his
// connection ends.
func (s *Senders) Set(list []Sender) error {
	if len(list) > maxSenders {
		return errs.New(errs.Invalid, "more than %d SMTP AUTH users", maxSenders)
	}
	next := make(map[string]*hash, len(list))
	for _, u := range list {
		if err := u.Check(); err != nil {
			return err
		}
		if next[u.Name] != nil {
			return errs.New(errs.Invalid, "SMTP AUTH user %s is there twice", u.Name)
		}
		h, err := parseHash(u.Hash)
		if err != nil {
			return err
		}
		next[u.Name] = &h
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = next
	return nil
}

// Login checks a name and a password from an address. The error is Denied, or
// Temporary when too many attempts failed and this one was not looked at. The
// work is the same whether there is such a user or not (register B11).
func (s *Senders) Login(name, password, from string) error {
	s.mu.RLock()
	h := s.list[name]
	s.mu.RUnlock()
	return s.verify.check(name, password, from, h)
}
