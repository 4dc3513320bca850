package quarantine

import "lazaret/internal/errs"

// MembershipState is where one message stands in one quarantine. Values are
// stored: only append.
type MembershipState uint8

// The states of a membership.
const (
	In       MembershipState = iota // held
	Released                        // let go from here
	Deleted                         // will never be delivered
	Moved                           // in another quarantine now
	numMembershipStates
)

var membershipNames = [numMembershipStates]string{"held", "released", "deleted", "moved"}

// membershipMoves are the only moves of a membership. What was decided comes
// back by undo alone, and only while its time lasts; what was moved away, or
// let go, may be moved in again.
var membershipMoves = [numMembershipStates][]MembershipState{
	In:       {Released, Deleted, Moved},
	Released: {In},
	Deleted:  {In},
	Moved:    {In},
}

// String gives the state's name.
func (s MembershipState) String() string { return name(membershipNames[:], int(s)) }

// To gives the next state, or an error when the table has no such move.
func (s MembershipState) To(next MembershipState) (MembershipState, error) {
	if int(s) < len(membershipMoves) {
		for _, m := range membershipMoves[s] {
			if m == next {
				return next, nil
			}
		}
	}
	return s, errs.New(errs.Conflict, "a message that is %s in a quarantine cannot become %s there", s, next)
}

// State is where a message stands as a whole. Values are stored: only append.
type State uint8

// The states of a message. Shadow is entered by nothing: a gateway keeps its copies
// in the spool (docs/decisions/outbreak-copies.md). Its number stays taken.
const (
	Held      State = iota // in at least one quarantine
	Leaving                // release decided, undo still open
	Releasing              // durable intent; a gateway has yet to take it
	Gone                   // released, and nothing more is expected of it
	Binned                 // delete decided, undo still open
	Removed                // deleted: content is gone
	Shadow                 // a gateway's copy of what the manager holds
	Failed                 // refused for good, by the gateway or behind it; content is kept
	Sent                   // the gateway has it; that it was delivered is not proven yet
	numStates
)

var stateNames = [numStates]string{"held", "leaving", "releasing", "released", "binned", "deleted", "shadow", "failed", "taken"}

// moves are the only moves of a message.
var moves = [numStates][]State{
	Held:      {Leaving, Releasing, Binned, Removed},
	Leaving:   {Held, Failed, Releasing},     // back: undo
	Releasing: {Sent, Gone, Failed, Removed}, // removed: an operator deleted its recipients from the queue
	Gone:      {},
	Binned:    {Held, Failed, Removed}, // back: undo
	Removed:   {},
	Shadow:    {Held, Removed},
	Failed:    {Leaving, Releasing, Binned, Removed},
	Sent:      {Gone, Failed},
}

// String gives the state's name.
func (s State) String() string { return name(stateNames[:], int(s)) }

// ParseState reads a name that String gives.
func ParseState(text string) (State, error) {
	for i, n := range stateNames {
		if n == text {
			return State(i), nil
		}
	}
	return 0, errs.New(errs.Invalid, "%q is not a state of a message", clip(text))
}

// To gives the next state, or an error when the table has no such move.
func (s State) To(next State) (State, error) {
	if int(s) < len(moves) {
		for _, m := range moves[s] {
			if m == next {
				return next, nil
			}
		}
	}
	return s, errs.New(errs.Conflict, "a message that is %s cannot become %s", s, next)
}

// Final reports whether nothing more happens to the message: only its record is
// kept for a while.
func (s State) Final() bool { return s == Gone || s == Removed }

// Open reports whether what was decided about the message can still be taken
// back. To lists such a message is gone.
func (s State) Open() bool { return s == Leaving || s == Binned }

// HasContent reports whether the content of a message in this state is kept.
func (s State) HasContent() bool { return !s.Final() }

// DeliveryState is where a release stands for one recipient. Values are stored.
type DeliveryState uint8

// The states of a release for one recipient.
const (
	Queued       DeliveryState = iota // waits for the gateway
	Taken                             // the gateway has it and answers for it
	FailedThere                       // refused for good, or deleted from the queue
	Waiting                           // the gateway has tried, or will, and tries again
	Aside                             // an administrator of the gateway has to look
	Accepted                          // a server has taken it
	Bounced                           // refused for good by a server, or too old
	DeletedThere                      // by an administrator of the gateway
	Discarded                         // the gateway is configured to throw it away
	LostSight                         // it left the gateway, and how is not known
	HeldAgain                         // in a quarantine once more, by what scanning it again gave; a message of its own now
	numDeliveryStates
)

var deliveryNames = [numDeliveryStates]string{"queued", "taken", "failed", "waiting", "aside", "accepted", "bounced", "deleted", "discarded", "unknown", "held"}

// Settled reports whether nothing more is expected.
func (s DeliveryState) Settled() bool {
	return s == FailedThere || s >= Accepted && s < numDeliveryStates
}

// Reached reports whether the recipient has it, or is not to have it by this
// message: another release leaves them out.
func (s DeliveryState) Reached() bool { return s == Accepted || s == Discarded || s == HeldAgain }

// Lost reports whether it will not come to the recipient by this release.
func (s DeliveryState) Lost() bool { return s.Settled() && !s.Reached() }

// String gives the state's name.
func (s DeliveryState) String() string { return name(deliveryNames[:], int(s)) }

// Cause is why a message left a quarantine, in the words of the log.
type Cause string

// The causes, reference 2.7.
const (
	Manual    Cause = "manual"
	Expired   Cause = "expired"
	QueueFull Cause = "queue full"

	RuleUpdate Cause = "rule update"   // ours: no outbreak rule holds it any more
	Analysed   Cause = "analysis over" // ours: the analyser has said all it has to say of its attachments
	FoundClean Cause = "found clean"   // our own: scanned again, and nothing was found
)

func name(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return "invalid"
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
