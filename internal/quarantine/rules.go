package quarantine

import (
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// Rules hold for all quarantines of an appliance together. The zero value lets
// a decision be final at once.
type Rules struct {
	UndoRelease time.Duration // a release leaves after this; until then it can be taken back
	DeleteRest  time.Duration // what is deleted rests in the bin for this
	Pool        int64         // bytes of content that all quarantines may hold; 0: as much as the disk
	Text        int64         // bytes of decoded text of each message that can be searched; 0: none

	FalsePositives mail.Address // who hears of a false positive of an outbreak rule; null: nobody
	Suspicious     mail.Address // who hears that something is suspicious; null: nobody

	KeepTaken time.Duration // what a gateway took is kept for this at most, until delivery is proven, so that it can be released again
}

// DefaultRules are those of a new appliance.
func DefaultRules() Rules {
	return Rules{UndoRelease: 30 * time.Second, DeleteRest: 7 * day, Pool: 20 << 30, KeepTaken: 5 * day}
}

// Limits of rules.
const (
	MaxUndoRelease = 24 * time.Hour // longer, and people wait for mail that was let go
	MaxDeleteRest  = 366 * day
	MaxKeepTaken   = History  // records of what was released are kept as long
	MinPool        = 64 << 20 // smaller, and one large message empties it
)

// Check finds what is wrong with rules.
func (r Rules) Check() error {
	if r.UndoRelease < 0 || r.UndoRelease > MaxUndoRelease || r.UndoRelease%time.Second != 0 {
		return errs.New(errs.Invalid, "the time to take back a release is whole seconds, up to 24 hours")
	}
	if r.DeleteRest < 0 || r.DeleteRest > MaxDeleteRest || r.DeleteRest%time.Second != 0 {
		return errs.New(errs.Invalid, "the time in the bin is whole seconds, up to 366 days")
	}
	if r.KeepTaken < 0 || r.KeepTaken > MaxKeepTaken || r.KeepTaken%time.Second != 0 {
		return errs.New(errs.Invalid, "the time that what was released is kept for proof is whole seconds, up to 30 days")
	}
	if r.Text < 0 || r.Text > message.MaxText {
		return errs.New(errs.Invalid, "the text of a message that can be searched is at most %d KiB", message.MaxText>>10)
	}
	if r.Pool != 0 && r.Pool < MinPool {
		return errs.New(errs.Invalid, "the pool of all quarantines is smaller than %d MiB", MinPool>>20)
	}
	return nil
}

// wait is how long a decision can be taken back.
func (r Rules) wait(deleted bool) time.Duration {
	if deleted {
		return r.DeleteRest
	}
	return r.UndoRelease
}
