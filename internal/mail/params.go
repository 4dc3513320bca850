package mail

import (
	"slices"
	"strings"

	"lazaret/internal/errs"
)

// Params is what the client asked for at MAIL, beside the sender and the size.
// It goes with the message to its last hop.
type Params struct {
	EightBit   bool   `json:"eightbit,omitempty"`   // BODY=8BITMIME, RFC 6152
	Binary     bool   `json:"binary,omitempty"`     // BODY=BINARYMIME, RFC 3030: any octets, no line ends
	UTF8       bool   `json:"utf8,omitempty"`       // SMTPUTF8, RFC 6531
	RequireTLS bool   `json:"requiretls,omitempty"` // REQUIRETLS, RFC 8689
	Ret        Ret    `json:"ret,omitempty"`        // RET=, RFC 3461 section 4.3
	EnvID      string `json:"envid,omitempty"`      // ENVID=, RFC 3461 section 4.4: decoded from xtext, at most MaxEnvID printable characters
}

// MaxEnvID is the limit of RFC 3461 section 4.4.
const MaxEnvID = 100

// Ret is how much of a message a report about its failure returns.
type Ret string

// The values of RET=; empty leaves it to us.
const (
	RetFull    Ret = "FULL"
	RetHeaders Ret = "HDRS"
)

// RcptParams is what the client asked for at RCPT, RFC 3461 section 4.
type RcptParams struct {
	Notify Notify `json:"notify,omitempty"`
	ORCPT  string `json:"orcpt,omitempty"` // "type;address", the address decoded from xtext; hostile text
}

// MaxORCPT is the limit of RFC 3461 section 4.2.
const MaxORCPT = 500

// Notify says when the sender wants to hear of a recipient. Zero leaves it to
// us: failures, and delays too long.
type Notify uint8

// The words of NOTIFY=, RFC 3461 section 4.1. Never stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Has reports whether a word was given.
func (n Notify) Has(word Notify) bool { return n&word != 0 }

// WantsFailure reports whether a failure is to be told: asked for, or left to us.
func (n Notify) WantsFailure() bool { return n == 0 || n.Has(NotifyFailure) }

// WantsDelay reports whether a delay is to be told: asked for, or left to us.
func (n Notify) WantsDelay() bool { return n == 0 || n.Has(NotifyDelay) }

// ParseNotify reads the value of NOTIFY=, RFC 3461 section 4.1: words between
// commas, in any case, none twice, NEVER alone.
func ParseNotify(s string) (Notify, error) {
	var n Notify
	for _, w := range strings.Split(s, ",") {
		i := slices.Index(notifyWords, strings.ToUpper(w))
		if i < 0 || n.Has(1<<i) {
			return 0, errs.New(errs.Invalid, "NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY")
		}
		n |= 1 << i
	}
	if n.Has(NotifyNever) && n != NotifyNever {
		return 0, errs.New(errs.Invalid, "NOTIFY=NEVER stands alone")
	}
	return n, nil
}

var notifyWords = []string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}

// String gives the value for NOTIFY=, empty for zero.
func (n Notify) String() string {
	var words []string
	for i, w := range notifyWords {
		if n.Has(1 << i) {
			words = append(words, w)
		}
	}
	return strings.Join(words, ",")
}
