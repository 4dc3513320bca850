// Package cpq is the protocol between gateway and manager: SMTP with one more
// command that carries what the envelope cannot say, docs/cpq.md.
//
// It has no socket, no certificate and no store. It promises that metadata is
// either exactly of the form of the document or refused.
package cpq

import (
	"net/netip"
	"slices"
	"time"

	"lazaret/internal/mail"
)

// Versions of the metadata block. The second is that of a release with extras,
// and only of such: a gateway that does not know them refuses or is not asked,
// and never lets go unstripped what was to be stripped.
const (
	Version       = 1
	VersionExtras = 2

	// VersionMatched is that of a deposit with matched content, and only of such.
	// A manager that does not know it gets the deposit without.
	VersionMatched = 3

	// VersionKeep is that of a deposit whose mail policy says how long it is held,
	// and only of such. A manager that does not know it gets the deposit without.
	VersionKeep = 4
)

// Words of the wire.
const (
	Verb        = "XCPQ"
	VersionWord = "1"
	ExtrasWord  = "2"
	MatchedWord = "3"
	KeepWord    = "4"
	RescanWord  = "5"
	Keyword     = Verb + " " + VersionWord + " " + ExtrasWord + " " + MatchedWord + " " + KeepWord + " " + RescanWord // in the EHLO reply after TLS
)

// Limits, docs/cpq.md section 4.
const (
	MaxBlock      = 64 << 10
	maxWord       = 255 // names of all kinds
	maxCause      = 64
	maxSubject    = 1 << 10
	maxReason     = 1 << 10
	maxPrepend    = 16 << 10
	maxPlacements = 100
	maxKeep       = 30 * 24 * time.Hour
)

// Metadata is one block: exactly one of the three is set.
type Metadata struct {
	Deposit *Deposit
	Release *Release
	Rescan  *Rescan
}

// Deposit travels from a gateway to a manager: a message to be held.
type Deposit struct {
	Key           mail.Key
	GatewaySerial string
	GatewayName   string
	GatewayMID    mail.MID
	Accepted      time.Time // UTC, whole milliseconds
	Origin        Origin
	Policy        string // mail policy that the message was judged by
	Direction     Direction
	Size          int64     // of the content as received
	Hash          mail.Hash // of the content as received
	Subject       string    // raw, unfolded; hostile
	Prepend       string    // whole header lines that were added and go on top on delivery
	Placements    []mail.Placement
}

// Origin is where the gateway got the message from.
type Origin struct {
	RemoteIP    netip.Addr
	RemoteHost  string // hostile
	Helo        string // hostile
	Listener    string
	SenderGroup string
}

// Direction of a message, seen from the gateway's organisation.
type Direction string

// The directions.
const (
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
)

// Release travels from a manager to the gateway that made the deposit: the
// message goes on to the recipients of the envelope.
type Release struct {
	Action     mail.ActionKey
	Key        mail.Key
	ManagerMID mail.MID
	GatewayMID mail.MID
	Size       int64
	Hash       mail.Hash
	Cause      string        // manual, expired, queue full
	By         string        // user, or system
	Prepend    string        // that of the deposit
	Extras     []mail.Extras // what the gateway does to the message, in order; none: it goes as it came
}

// Version gives the version of the block that stands for m.
func (m Metadata) Version() int {
	if m.Rescan != nil {
		return VersionRescan
	}
	if m.Release != nil && len(m.Release.Extras) > 0 {
		return VersionExtras
	}
	if m.placed(func(p mail.Placement) bool { return p.Keep > 0 }) {
		return VersionKeep
	}
	if m.placed(func(p mail.Placement) bool { return len(p.Matched) > 0 }) {
		return VersionMatched
	}
	return Version
}

// placed reports whether one of a deposit's placements is such.
func (m Metadata) placed(is func(mail.Placement) bool) bool {
	return m.Deposit != nil && slices.ContainsFunc(m.Deposit.Placements, is)
}

// Plain gives a deposit without its matched content.
func (m Metadata) Plain() Metadata {
	return m.changed(func(p *mail.Placement) { p.Matched = nil })
}

// Unkept gives a deposit that is held as the manager's quarantines say.
func (m Metadata) Unkept() Metadata {
	return m.changed(func(p *mail.Placement) { p.Keep = 0 })
}

// changed gives a deposit with other placements.
func (m Metadata) changed(change func(*mail.Placement)) Metadata {
	if m.Deposit == nil {
		return m
	}
	d := *m.Deposit
	d.Placements = slices.Clone(d.Placements)
	for i := range d.Placements {
		change(&d.Placements[i])
	}
	return Metadata{Deposit: &d}
}
