package auth

import (
	"time"

	"lazaret/internal/errs"
)

// maxDerivations is how many passwords are computed at a time: a flood of
// logins waits in line and cannot take the memory of the mail.
const maxDerivations = 2

// verifier judges passwords for one kind of users: with delays after failures,
// and with the same work for a name that exists and for one that does not.
type verifier struct {
	delays  *delays
	slots   chan struct{}
	decoy   hash
	maxName int
	matches func(h *hash, password string) bool // (*hash).matches; a test counts
}

func newVerifier(clock func() time.Time, longest int) *verifier {
	if clock == nil {
		clock = time.Now
	}
	return &verifier{
		delays: newDelays(clock, longest),
		slots:  make(chan struct{}, maxDerivations),
		// What an unknown name is compared with: same cost, no password fits,
		// since the key is not the outcome of any derivation that was made.
		decoy:   hash{memory: memoryKiB, passes: passes, lanes: lanes, salt: make([]byte, saltLen), key: make([]byte, keyLen)},
		maxName: longest,
		matches: func(h *hash, password string) bool { return h.matches(password) },
	}
}

// check compares a password with a hash; nil stands for a user who does not
// exist or has no password. The error is Denied, or Temporary when too many
// attempts failed and this one was not even looked at.
func (v *verifier) check(name, password, from string, h *hash) error {
	denied := errs.New(errs.Denied, "user name or password is wrong")
	if password == "" || len(password) > MaxPassword || len(name) > v.maxName {
		v.delays.failed(name, from)
		return denied
	}
	if wait := v.delays.wait(name, from); wait > 0 {
		return errs.New(errs.Temporary, "too many failed logins, try again in %s", wait.Round(time.Second))
	}
	known := h != nil
	if !known {
		h = &v.decoy
	}
	v.slots <- struct{}{}
	ok := v.matches(h, password)
	<-v.slots
	if !ok || !known {
		v.delays.failed(name, from)
		return denied
	}
	v.delays.succeeded(name)
	return nil
}
