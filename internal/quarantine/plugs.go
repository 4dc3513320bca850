package quarantine

import (
	"context"
	"io"
	"time"

	"lazaret/internal/mail"
)

// Store keeps records. Everything it does is durable when it returns nil.
type Store interface {
	// Add keeps a new record, held. When the key is known nothing is added and
	// the number of the first time is given; when a content of this hash is
	// kept already, that one is used. Either way a content that is not needed
	// is removed.
	Add(ctx context.Context, r *Record) (mid mail.MID, existing bool, err error)
	// Load gives the records that exist, in the order asked.
	Load(ctx context.Context, mids []mail.MID) ([]*Record, error)
	// Change makes each change whose version still holds, all in one
	// transaction, and says which it made.
	Change(ctx context.Context, changes []Change) ([]bool, error)
	// Find gives one page: at most q.Limit records.
	Find(ctx context.Context, q Query) ([]*Record, error)
	// Count says how many messages a query finds, wherever its page begins. It
	// estimates what would take long to count.
	Count(ctx context.Context, q Query) (Total, error)
	// Decide numbers a decision by hand; it is durable.
	Decide(ctx context.Context, d Decision) (DecisionID, error)
	// Counts gives what each quarantine holds now.
	Counts(ctx context.Context) ([]Count, error)
}

// Calendar is the part of the store that knows when things are due.
type Calendar interface {
	// Due gives messages of which a membership's exit time has come, longest
	// overdue first. None of them is on hold.
	Due(ctx context.Context, now time.Time, limit int) ([]mail.MID, error)
	// Ripe gives messages whose decision cannot be taken back any more and is
	// to be carried out, longest due first. None of them is on hold.
	Ripe(ctx context.Context, now time.Time, limit int) ([]mail.MID, error)
	// Seen notes the time that the clock showed; LastSeen gives it again, zero
	// when it was never noted.
	Seen(ctx context.Context, at time.Time) error
	LastSeen(ctx context.Context) (time.Time, error)
	// Retire notes a quarantine that was taken away, with the action by which
	// its messages leave; Unretire that none is left; Retired gives them.
	Retire(ctx context.Context, name string, a Action) error
	Unretire(ctx context.Context, name string) error
	Retired(ctx context.Context) (map[string]Action, error)
	// Turn says whether it is this appliance's turn, of those that share the
	// store, to do what the name says, and keeps it so for a while; EndTurn
	// lets another one have it at once. A store that is nobody else's always
	// says yes.
	Turn(ctx context.Context, name string, d time.Duration) (bool, error)
	EndTurn(ctx context.Context, name string) error
	// Rename gives at most limit memberships another quarantine, and their
	// number. A message that has one in both keeps them.
	Rename(ctx context.Context, from, to string, limit int) (int, error)
	// DecidedBy gives the messages that a decision changed, as far as nothing
	// else was decided about them since.
	DecidedBy(ctx context.Context, id DecisionID) ([]mail.MID, error)
	// Forget removes records of messages that were finished before a time and
	// keeps their keys; keys from before another time are removed too. It
	// gives the number of records removed, at most limit.
	Forget(ctx context.Context, records, keys time.Time, limit int) (int, error)
}

// Pool is the part of the store that knows how full it is.
type Pool interface {
	// Usage gives what all quarantines hold together.
	Usage(ctx context.Context) (Usage, error)
	// Sent gives messages that a gateway took before a time and of which delivery
	// is not proven, longest ago first. None of them is on hold.
	Sent(ctx context.Context, before time.Time, limit int) ([]Weight, error)
	// Binned gives messages in the bin, those that rest there longest first.
	Binned(ctx context.Context, limit int) ([]Weight, error)
	// Evictable gives held messages that are in none of the quarantines named
	// and not on hold, by their latest exit time.
	Evictable(ctx context.Context, exempt []string, limit int) ([]Weight, error)
}

// Outlook is the part of the store that a forecast is made from.
type Outlook interface {
	// Arrivals gives what came in since the hour of a time.
	Arrivals(ctx context.Context, since time.Time) (Flow, error)
	// Exits gives what leaves by schedule, by the day of the latest exit.
	Exits(ctx context.Context) ([]Day, error)
	// DueBy gives, for each quarantine, what will be due there at a time, in
	// Last the latest exit time among it.
	DueBy(ctx context.Context, at time.Time) ([]Count, error)
}

// Insides is the part of the store that keeps what is in messages.
type Insides interface {
	// NotLooked gives messages with content that nobody looked into, newest
	// first.
	NotLooked(ctx context.Context, limit int) ([]mail.MID, error)
	// SetInside notes what was found, where nobody else did.
	SetInside(ctx context.Context, found []Inside) error
}

// Contents keeps content, compressed and encrypted.
type Contents interface {
	// Put reads content to io.EOF; it is durable when err is nil.
	Put(ctx context.Context, content io.Reader) (ContentID, int64, mail.Hash, error)
	// Open gives content. errs.Damaged, on Open or Read, when it fails its check.
	Open(ctx context.Context, id ContentID) (io.ReadCloser, error)
	// Delete removes content; one that does not exist is no error.
	Delete(ctx context.Context, id ContentID) error
}

// Sender takes up a release whose intent is durable. *queue.Queue is one.
type Sender interface {
	Enqueue(mid mail.MID)
}

// Copier sends copies of held messages; nil says that the copy is in a durable
// queue. It must not change the record.
type Copier interface {
	Copy(ctx context.Context, r *Record, content io.Reader, to []mail.Address) error
}

// Log is what is written into mail_logs; *logs.Mail implements it.
type Log interface {
	Mapped(mid mail.MID, gateway string, gatewayMID mail.MID)
	Quarantined(mid mail.MID, quarantine, reason string)
	ReleasedFrom(mid mail.MID, quarantine, cause string, seconds int64, stripped bool)
	ReleasedFromAll(mid mail.MID, stripped bool)
	DeletedFrom(mid mail.MID, quarantine, cause string, seconds int64)
	DeletedFromAll(mid mail.MID)
	Restored(mid mail.MID, quarantine string)
	NewReason(mid mail.MID, quarantine, reason string)
	ScannedAgain(mid mail.MID, found string)
	Moved(mid mail.MID, from, to string)
	Decided(p mail.Principal, mid mail.MID, what, quarantine string) // by hand
	ReleaseFate(mid mail.MID, rid mail.RID, gateway string, there mail.MID, fate, host, code, reply string)
	ReleaseRescanned(mid mail.MID, rid mail.RID, gateway string, there mail.MID, found string)
	ReleaseEnded(mid mail.MID, well, delivered bool)
	Fault(component, text string)
}

// Audit writes who did what. Log lines are about messages; this is about people.
type Audit interface {
	Record(p mail.Principal, what, result string)
}
