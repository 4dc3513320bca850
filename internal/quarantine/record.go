package quarantine

import (
	"strings"
	"time"

	"lazaret/internal/mail"
)

// Deposit is a message that a gateway brings, or that is put into a local
// quarantine, without its content.
type Deposit struct {
	MID         mail.MID // its number here, from the store's NextMID; unused when the key is known
	Key         mail.Key
	Gateway     string   // serial of the gateway that accepted it
	GatewayName string   // as it calls itself
	GatewayMID  mail.MID // its number there
	Accepted    time.Time
	Envelope    mail.Envelope
	Origin      mail.Origin // where the gateway got it from
	Policy      string      // mail policy it was judged by
	Direction   string      // inbound, outbound
	Size        int64
	Hash        mail.Hash
	Subject     string // raw and unfolded
	MessageID   string
	Prepend     []byte // whole header lines to go on top on delivery
	Placements  []mail.Placement
}

// ContentID names one stored content. Contents gives it out; it says nothing
// about the content.
type ContentID string

// Record is one message as the store keeps it.
type Record struct {
	Deposit
	Content     ContentID
	Display     string    // subject, decoded
	Received    time.Time // when it came in here
	State       State
	Version     uint64    // grows with each change
	Actions     uint32    // release decisions so far: the number of the action key
	Changed     time.Time // of State
	Memberships []Membership
	Release     []Delivery // of the last release decision, one a recipient
}

// Membership is one message in one quarantine.
type Membership struct {
	Quarantine string
	Reason     string
	State      MembershipState
	Entered    time.Time
	Exit       time.Time // scheduled exit
	Left       time.Time // zero while held
	Cause      Cause     // of leaving
	By         string    // who made it leave
}

// Delivery is how far a release is for one recipient.
type Delivery struct {
	RID       mail.RID
	Recipient mail.Address
	State     DeliveryState
	Reply     string
	Remote    mail.MID // the message's new number at the gateway, when taken
	At        time.Time
}

// Intent is a release decision that is to be carried out.
type Intent struct {
	Action mail.ActionKey
	Cause  Cause
	By     string
	RIDs   []mail.RID // recipients it goes to
	At     time.Time
}

// Change is one compare-and-set on a record: done only when the stored version
// is Version. After has the new state; Left are the indexes of memberships
// that changed. Intent is set when the message begins to leave.
type Change struct {
	Version uint64
	After   *Record
	Left    []int
	Intent  *Intent
}

// Count is how many messages a quarantine holds.
type Count struct {
	Quarantine string
	Messages   int64
	Bytes      int64
	Last       time.Time // newest entry
}

// Fold is the form in which text is compared: what a person types finds what
// was written, whatever the case.
func Fold(s string) string { return strings.ToLower(s) }
