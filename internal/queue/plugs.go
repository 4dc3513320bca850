package queue

import (
	"context"
	"io"
	"time"

	"lazaret/internal/mail"
)

// Store keeps messages. The spool implements it on a gateway, SQL on a manager.
type Store interface {
	// Scan calls fn for each live message, oldest first. It sets damaged
	// records aside itself and goes on. The Item is fn's to keep.
	Scan(ctx context.Context, fn func(*Item) error) error
	// Load gives one message: errs.NotFound, errs.Damaged.
	Load(ctx context.Context, mid mail.MID) (*Item, error)
	// Open gives the content. A damaged content gives errs.Damaged on Open or
	// on Read, never io.EOF.
	Open(ctx context.Context, mid mail.MID) (io.ReadCloser, error)
	// Apply does all of an update or nothing. An empty durable update syncs
	// everything applied before.
	Apply(ctx context.Context, u Update) error
	// SetAside takes a message out of Scan and keeps what there is of it.
	SetAside(ctx context.Context, mid mail.MID, cause error) error
}

// SizedStore is a Store that gives a content without reading its record again.
// The size is that of the record, and a content of another size is damaged.
type SizedStore interface {
	OpenSized(ctx context.Context, mid mail.MID, size int64) (io.ReadCloser, error)
}

// LeanScanner is a Store that scans faster for a schedule alone. The Item has
// number, state, tries, time of acceptance, and of its recipients destination,
// state, last and next time; it is valid until fn returns.
type LeanScanner interface {
	ScanLean(ctx context.Context, fn func(*Item) error) error
}

// Update is one change of the store.
type Update struct {
	Save     []*Item
	Remove   []mail.MID // content and all
	Final    []*Item    // the last state of the messages of Remove, for a store that keeps history
	Add      []Copy     // new messages from an existing content
	New      []Made     // new messages with a content of their own
	Receipts []Receipt

	// Delivered names recipients of the one message of Save that a foreign host
	// has taken just now. What it says, and what Remove says, should outlive the
	// process even if the update is not durable.
	Delivered []mail.RID

	// Report names messages that a manager released, of which something became.
	// A store that owes the manager an account keeps it with the update.
	Report []*Item

	Durable bool // on stable storage when Apply returns nil; otherwise with the next durable one
}

// Receipt is custody passed over CPQ.
type Receipt struct {
	Item   *Item
	Remote string // the message's id at the other side
	Reply  string
	At     time.Time
}

// Opener gives the content of one message, from its start each time.
type Opener func() (io.ReadCloser, error)

// Processor judges one message. It may be called again for the same message
// (after a crash, or an error), so what it decides must not have left it: the
// queue carries out the Routing. An error keeps the message in the work queue
// and is tried again with back-off; errs.Damaged sets the message aside. It
// must not keep or change the Item.
type Processor interface {
	Process(ctx context.Context, item *Item, open Opener) (Routing, error)
}

// Parker is a Processor that says where a message goes that killed what judged
// it, again and again (the poison rule). Its content is not looked at. Without
// a place the queue holds it.
type Parker interface {
	Park(item *Item, why string) (r Routing, ok bool)
}

// Poison makes of an error of a Processor one that counts like a panic of it:
// the message did harm to what looked at it. The third time it is parked.
func Poison(err error) error { return poison{err} }

type poison struct{ error }

// Unwrap gives the cause.
func (p poison) Unwrap() error { return p.error }

// Routing is what becomes of a message.
type Routing struct {
	Drop       bool                 // nobody gets it
	Dest       func(Recipient) Dest // nil: the domain of each recipient
	Placements []mail.Placement     // kept with the message
	Prepend    []byte               // put in front of what the item has
	Judged     *mail.Judgement      // kept with the message; nil: as it was
	Step       string               // kept with a released message, for its account
	Copies     []Copy               // made in the same durable batch
	Parts      []Copy               // what the message goes on as, under other numbers; it ends itself
	New        []Made               // made of it, in the same durable batch
	Route      mail.Route           // kept with the message, beside what it has
}

// Courier carries messages to one destination.
//
// Run is the life of one connection. It connects (or not, when Next gives
// nothing), takes tasks from the feed one after the other, may hold several,
// settles each with Done, and returns when Next says so, when ctx ends or when
// the connection is lost. Tasks not settled when it returns go back to the
// schedule and have cost no attempt. A failure before a message was begun
// (dial, greeting, TLS) is feed.Down; a loss inside a transaction is Done with
// Deferred.
type Courier interface {
	Run(ctx context.Context, dest Dest, feed *Feed)
}

// Outcome is the result for one recipient of a task: Delivered, Deferred or
// Bounced.
type Outcome struct {
	State   RecipientState
	Code    int    // SMTP code; 0 when no reply was had (DNS)
	Status  string // enhanced status, x.y.z
	Reply   string // the reply or failure in words
	Remote  string // the host that answered; empty when none did
	Passed  bool   // the host was told what the sender asked (RFC 3461) and will see to it
	Receipt string // the id at the other side, over CPQ

	// Possible: Deferred, and yet the other side may have it. It is not tried
	// again soon.
	Possible bool
}

// Log is what the queue writes into mail_logs; *logs.Mail implements it. The
// lines of a delivery are the courier's, those of a judgement the processor's.
type Log interface {
	Finished(mid mail.MID, done bool)
	Bounced(dcid mail.DCID, mid mail.MID, rid mail.RID, status, reason, code string, texts []string) // expired
	Deleted(mid mail.MID, rids []mail.RID)
	Pending(mid mail.MID, rids []mail.RID, until time.Time)
	Suspended(domains string)
	Fault(component, text string)
}
