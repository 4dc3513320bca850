package quarantine

import (
	"slices"
	"strconv"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/message"
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
	Until       time.Time // leaving: it goes then; binned: its content goes then; else zero
	Decision    DecisionID
	Hold        Hold
	Memberships []Membership
	Attachments []message.Attachment // at most message.MaxAttachments
	Attached    int                  // all of them; below 0: not known, see NotLooked
	Text        string               // of a new one: what is searched for pieces of text; not read back
	Rank        string               // of a sorted list: the value that it was sorted by
	Release     []Delivery           // of the last release decision, one a recipient
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
	Decision   DecisionID
	Extras     mail.Extras // with which it was released

	Matched []mail.Matched // what the rules found that led there
}

// DecisionID numbers what somebody decided by hand about one or many messages,
// so that all of it can be taken back. Zero: nobody did.
type DecisionID uint64

// String gives the number in decimal.
func (d DecisionID) String() string { return strconv.FormatUint(uint64(d), 10) }

// Decision is what somebody decided by hand.
type Decision struct {
	ID         DecisionID
	Action     Action
	Quarantine string // empty: all that the party may work in
	By         string
	From       string // address it came from
	At         time.Time
}

// Latest gives the latest exit time of the quarantines that the message is in,
// by which room is made (reference 1.4); zero when it is in none.
func (r *Record) Latest() (t time.Time) {
	for i := range r.Memberships {
		if m := &r.Memberships[i]; m.State == In && m.Exit.After(t) {
			t = m.Exit
		}
	}
	return t
}

// Extras gives what is done to the message on its way home: what each
// quarantine asked for that let it go before its time.
func (r *Record) Extras() (all []mail.Extras) {
	for i := range r.Memberships {
		if m := &r.Memberships[i]; m.State == Released && m.Extras != (mail.Extras{}) {
			all = append(all, m.Extras)
		}
	}
	return all
}

// stripped reports whether the message loses its attachments on its way home.
func (r *Record) stripped() bool {
	return slices.ContainsFunc(r.Extras(), func(e mail.Extras) bool { return e.Strip })
}

// Flow is an amount of mail.
type Flow struct {
	Messages int64
	Bytes    int64 // of content as received; what it takes on disk is less
}

// Usage is what the pool of all quarantines holds. A message counts once.
type Usage struct {
	All   Flow // all that has content
	Bin   Flow // of these: deleted, and to be removed
	Going Flow // of these: released, and not yet taken by a gateway
}

// Weight is what removing a message would free.
type Weight struct {
	MID   mail.MID
	Bytes int64
}

// Day is what leaves by schedule on one day, UTC.
type Day struct {
	Start time.Time
	Flow
}

// Hold is a legal hold: while it lasts the message neither expires nor leaves.
// The zero value is none.
type Hold struct {
	By  string
	Why string
	At  time.Time
}

// On reports whether there is a hold.
func (h Hold) On() bool { return !h.At.IsZero() }

// Delivery is how far a release is for one recipient.
type Delivery struct {
	RID       mail.RID
	Recipient mail.Address
	State     DeliveryState
	Reply     string
	Remote    mail.MID // the message's new number at the gateway, when taken
	At        time.Time

	Action uint32    // the number of the decision that it goes by
	Asked  time.Time // when that was made
	Taken  time.Time // when the gateway took it
	Proof  Proof     // what the gateway said since
}

// Proof is what a gateway last said about one recipient of a release. The zero
// value: nothing yet.
type Proof struct {
	Seq      uint64    // of the report: later ones have more
	At       time.Time // of the last try, or of the end
	Next     time.Time // not tried again before
	Attempts int
	Host     string // that answered; hostile
	Code     int    // of its reply; 0: there was none
	Reply    string // or why there is none; hostile
	Rescan   string // what scanning it again gave; empty: it was not, or not yet; hostile
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
// is that of Before. Members are the indexes, in After, of memberships that
// changed or are new. Intent is set when the message begins to go home.
type Change struct {
	Before  *Record
	After   *Record
	Members []int
	Proofs  []int // indexes, in After.Release, of what a gateway said something new about
	Intent  *Intent
}

// member notes a membership as changed.
func (c *Change) member(i int) {
	if !slices.Contains(c.Members, i) {
		c.Members = append(c.Members, i)
	}
}

// was gives a membership as it was before; the zero value for a new one, which
// was not in.
func (c *Change) was(i int) (Membership, bool) {
	if i < len(c.Before.Memberships) {
		return c.Before.Memberships[i], true
	}
	return Membership{}, false
}

// Came and Went report whether a membership is held now and was not before, or
// the reverse.
func (c *Change) Came(i int) bool {
	m, old := c.was(i)
	return c.After.Memberships[i].State == In && (!old || m.State != In)
}

// Went is the reverse of Came.
func (c *Change) Went(i int) bool {
	m, old := c.was(i)
	return c.After.Memberships[i].State != In && old && m.State == In
}

// Count is how many messages a quarantine holds.
type Count struct {
	Quarantine string
	Messages   int64
	Bytes      int64
	Last       time.Time // newest entry
}
