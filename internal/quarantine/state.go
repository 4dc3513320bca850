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

// The states of a message. Shadow is entered by nothing yet; it has its number
// so that stored records need no change.
const (
	Held      State = iota // in at least one quarantine
	Leaving                // release decided, undo still open
	Releasing              // durable intent; a gateway has yet to take it
	Gone                   // released: a gateway has taken it
	Binned                 // delete decided, undo still open
	Removed                // deleted: content is gone
	Shadow                 // a gateway's copy of what the manager holds
	Failed                 // the gateway refused it for good; content is kept
	numStates
)

var stateNames = [numStates]string{"held", "leaving", "releasing", "released", "binned", "deleted", "shadow", "failed"}

// moves are the only moves of a message.
var moves = [numStates][]State{
	Held:      {Leaving, Releasing, Binned, Removed},
	Leaving:   {Held, Failed, Releasing}, // back: undo
	Releasing: {Gone, Failed, Removed},   // removed: an operator deleted its recipients from the queue
	Gone:      {},
	Binned:    {Held, Failed, Removed}, // back: undo
	Removed:   {},
	Shadow:    {Held, Removed},
	Failed:    {Leaving, Releasing, Binned, Removed},
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
	Queued      DeliveryState = iota // waits for the gateway
	Taken                            // the gateway has it and answers for it
	FailedThere                      // refused for good, or deleted from the queue
	numDeliveryStates
)

var deliveryNames = [numDeliveryStates]string{"queued", "taken", "failed"}

// String gives the state's name.
func (s DeliveryState) String() string { return name(deliveryNames[:], int(s)) }

// Cause is why a message left a quarantine, in the words of the log.
type Cause string

// The causes, reference 2.7.
const (
	Manual    Cause = "manual"
	Expired   Cause = "expired"
	QueueFull Cause = "queue full"
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
