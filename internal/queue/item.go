package queue

import (
	"slices"
	"time"

	"lazaret/internal/mail"
)

// The names of the destinations behind which the quarantine lives. The last is
// named like the.euq.queue of the field (reference 4.2).
const (
	CPQHost        = "the.cpq.host"         // gateway to manager
	CPQReleaseHost = "the.cpq.release.host" // manager to gateway
	BounceQueue    = "the.bounce.queue"     // to nobody: the sender is told
	PVOQueue       = "the.pvo.queue"        // into the quarantines of the gateway's own
)

// Dest is a destination: the name an administrator sees, and the lane that
// splits one name into links that fail and recover by themselves (one for each
// gateway behind the.cpq.release.host). Lane is empty for ordinary hosts.
type Dest struct {
	Name string
	Lane string
}

// String gives the name, with the lane behind a slash.
func (d Dest) String() string {
	if d.Lane == "" {
		return d.Name
	}
	return d.Name + "/" + d.Lane
}

// Quarantine reports whether mail for d is quarantined mail: it never expires
// and never bounces, whatever the settings say.
func (d Dest) Quarantine() bool {
	return d.Name == CPQHost || d.Name == CPQReleaseHost || d.Name == PVOQueue
}

// Item is one message: the record that the Store keeps, without the content.
type Item struct {
	MID   mail.MID
	Key   mail.Key
	State MessageState
	From  mail.Address
	mail.Params
	Size       int64 // of the content as received
	Hash       mail.Hash
	Accepted   time.Time
	Origin     mail.Origin
	Subject    string
	MessageID  string
	Prepend    []byte // whole header lines, sent before the content
	Judged     mail.Judgement
	Route      mail.Route // on a gateway: how it travels, if a filter wants it otherwise
	Copied     bool       // on a gateway: bcc-scan made it
	Placements []mail.Placement
	Release    *Release // on the manager, and on a gateway for mail that came back
	Tries      int      // judgements begun after a crash or failure (poison rule)
	Recipients []Recipient
}

// Release says which decision at a manager sends a message home.
type Release struct {
	Action     mail.ActionKey
	Gateway    string   // serial of the gateway it goes back to
	ManagerMID mail.MID // 0: it was in a quarantine of the gateway's own
	GatewayMID mail.MID
	Cause      string        // manual, expired, queue full
	By         string        // user name
	Extras     []mail.Extras // on the manager: what the gateway is told to do to the message

	Held []mail.Placement // on the gateway: what the message was held for
	Step string           // on the gateway: what scanning it again gave, in words; "": it was not
}

// Recipient is one recipient of a message. Its RID is its index.
type Recipient struct {
	mail.RcptParams
	RID      mail.RID
	Address  mail.Address
	Dest     Dest
	State    RecipientState
	Attempts int
	Next     time.Time // not before
	Reply    string    // the last reply or failure, hostile text
	Code     int       // of it: the SMTP code, 0 when no reply was had
	Status   string    // of it: the enhanced status, or empty
	Remote   string    // of it: the host that gave it, or empty
	Last     time.Time // when it came
	Warned   int       // delay notices that were due so far
}

// Clone gives a copy that shares nothing that changes.
func (it *Item) Clone() *Item {
	c := *it
	c.Prepend = slices.Clone(it.Prepend)
	c.Placements = slices.Clone(it.Placements)
	c.Recipients = slices.Clone(it.Recipients)
	if it.Release != nil {
		r := *it.Release
		c.Release = &r
	}
	return &c
}

// Final reports whether no recipient waits any more.
func (it *Item) Final() bool {
	for i := range it.Recipients {
		if !it.Recipients[i].State.Final() {
			return false
		}
	}
	return true
}

// Made is a message that the program itself makes: a report, an alert. It is
// small; its Item is complete, with MID, Key, Size and Hash.
type Made struct {
	Item    *Item
	Content []byte
}

// Copy is a new message made from the content of an existing one, or from a
// content that is in the store under the new number already.
type Copy struct {
	Of   mail.MID // whose content; Item.MID: its own
	Item *Item    // with its own MID and Key
}
