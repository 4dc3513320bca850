package delivery

import (
	"strings"

	"lazaret/internal/errs"
)

// TLSMode says what a destination demands of TLS, reference 8.1.
type TLSMode uint8

// The modes.
const (
	TLSNone            TLSMode = iota // never asked for
	TLSPreferred                      // used when it works, without checking who answers
	TLSRequired                       // nothing is sent without it
	TLSPreferredVerify                // checked, and used when the check succeeds
	TLSRequiredVerify                 // nothing is sent to a host that did not prove its name
)

var tlsModeNames = [...]string{"none", "preferred", "required", "preferred-verify", "required-verify"}

// String gives the name that ParseTLSMode reads.
func (m TLSMode) String() string { return tlsModeNames[m] }

// ParseTLSMode reads none, preferred, required, preferred-verify or required-verify.
func ParseTLSMode(s string) (TLSMode, error) {
	for i, name := range tlsModeNames {
		if s == name {
			return TLSMode(i), nil
		}
	}
	return 0, errs.New(errs.Invalid, "%q is not a TLS mode: one of %s", clip(s), strings.Join(tlsModeNames[:], ", "))
}

// Required reports whether mail waits rather than leave without TLS.
func (m TLSMode) Required() bool { return m == TLSRequired || m == TLSRequiredVerify }

// Verify reports whether the certificate's chain and name are checked.
func (m TLSMode) Verify() bool { return m == TLSPreferredVerify || m == TLSRequiredVerify }

// Control is what the destination controls say of one domain, as far as the
// courier is concerned; concurrency is the queue's. The zero value is safe to
// use: no TLS, the default number of messages.
type Control struct {
	TLS      TLSMode
	Messages int // messages per connection; 0 is DefaultMessages
}

// DefaultMessages is max_messages_per_connection of reference 8.1.
const DefaultMessages = 50

func (c Control) messages() int {
	if c.Messages <= 0 {
		return DefaultMessages
	}
	return c.Messages
}
