// Package access decides who may connect and for whom mail is taken: the HAT
// (host access table) with its sender groups and mail flow policies, and the
// RAT (recipient access table).
//
// It is pure: tables in, decisions out. It opens no socket, asks no resolver
// and writes no log; the listener brings the facts and acts on the answer.
//
// It promises that a table it exports parses to the same table, that the seed's
// text parses as it stands, that every refused text is refused with its line,
// and that host names count only when forward and reverse lookup agree: a
// client names itself in its own reverse zone, so an unverified name must not
// open a relay.
package access

import (
	"net/netip"

	"lazaret/internal/errs"
)

// Kind is the type of a listener.
type Kind string

// The kinds of listener, reference 7.1.
const (
	Public  Kind = "public"  // takes mail from anywhere for the domains in its RAT
	Private Kind = "private" // relays for listed hosts, refuses the rest
)

// ParseKind reads "public" or "private".
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case Public, Private:
		return k, nil
	}
	return "", errs.New(errs.Invalid, "listener type %q is not known: it is public or private", clip(s))
}

// Action is a mail flow policy's connection behaviour.
type Action uint8

// The actions. The zero value refuses.
const (
	Reject    Action = iota // greet with 554, take nothing
	TCPRefuse               // close at once, say nothing
	Accept                  // take mail for the recipients of the RAT
	Relay                   // take mail for anyone
	Continue                // not this group: look further down
)

var actionNames = [...]string{Reject: "REJECT", TCPRefuse: "TCPREFUSE", Accept: "ACCEPT", Relay: "RELAY", Continue: "CONTINUE"}

// String gives the word as in the HAT and the log.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "REJECT"
}

func parseAction(s string) (Action, bool) {
	for a, name := range actionNames {
		if s == name {
			return Action(a), true
		}
	}
	return Reject, false
}

// Lookup says how the reverse lookup of a client went.
type Lookup uint8

// What a reverse lookup can give.
const (
	LookupOK      Lookup = iota // there is a name, verified or not
	LookupMissing               // there is none (NXDOMAIN, no data)
	LookupFailed                // nobody answered: not the client's fault
)

// Client is what is known of a connection before the first word.
type Client struct {
	IP       netip.Addr
	Host     string // reverse DNS name, empty without one
	Verified bool   // Host resolves to IP
	Lookup   Lookup
	Score    Score           // of the reputation service
	Listed   map[string]bool // DNS lists that have the address, by zone in lower case
}

// Decision is the HAT's answer, with the words for the log line.
type Decision struct {
	Group  string // sender group
	Match  string // the entry that matched, as it stands in the table
	Policy *Policy
	Action Action
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
