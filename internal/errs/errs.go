// Package errs holds the kinds of error that the rooms agree on.
//
// A kind says what the caller may do about an error, not where it came from:
// the wire turns kinds into SMTP replies, the command line into sentences and
// exit statuses. Causes are wrapped and stay for the log; they are not shown
// to a peer.
package errs

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// Kind says what can be done about an error.
type Kind uint8

// The kinds. The zero value is Internal: an error nobody classified is ours.
const (
	Internal  Kind = iota // a fault of the program or the machine
	Invalid               // the input is wrong; the same input will stay wrong
	NotFound              // the thing named does not exist
	Conflict              // somebody else was first, or the state forbids it
	Denied                // the principal or peer lacks the right
	Temporary             // try again later, nothing is wrong with the input
	Full                  // a limit of space or number is reached; try again later
	Damaged               // stored data failed its check
	Closed                // the service is shutting down or suspended
)

var kindNames = [...]string{"internal", "invalid", "not found", "conflict", "denied", "temporary", "full", "damaged", "closed"}

// String gives the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is an error with a kind, a sentence that may be shown, and a cause for the log.
type Error struct {
	Kind  Kind
	Text  string // one clear sentence without a final stop
	Cause error  // may be nil
}

// Error gives the sentence, with the cause behind a colon.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Text
	}
	return e.Text + ": " + e.Cause.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of a kind from a format.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// Wrap gives err a kind and says what was being done. A nil err stays nil.
func Wrap(kind Kind, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...), Cause: err}
}

// Context says what was being done and keeps err's kind. A nil err stays nil.
func Context(err error, format string, args ...any) error {
	return Wrap(KindOf(err), err, format, args...)
}

// KindOf gives the kind of the outermost classified error in err's chain.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Network gives what the network said without operation and address, which
// the caller names: "connection refused", not "dial tcp ADDR: connect:
// connection refused". What is not such an error stays as it is.
func Network(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Err == nil {
		return err
	}
	var call *os.SyscallError
	if errors.As(op.Err, &call) {
		return call.Err
	}
	return op.Err
}

// Public gives the sentence that may be shown to a peer or user: the text of
// the outermost classified error without its cause.
func Public(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Text
	}
	return "internal error"
}
