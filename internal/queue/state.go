package queue

import "lazaret/internal/errs"

// MessageState is where a message stands. Values are stored: only append.
type MessageState uint8

// The states of a message.
const (
	Receiving MessageState = iota // content is coming in; nothing is promised yet
	Work                          // accepted, waits for judgement
	Routed                        // judged: each recipient has a destination
	Done                          // left the queue
	Held                          // set aside whole: it killed its worker too often
	Corrupt                       // set aside damaged
	numMessageStates
)

var messageNames = [numMessageStates]string{"receiving", "work", "routed", "done", "held", "corrupt"}

// messageMoves are the only moves of a message.
var messageMoves = [numMessageStates][]MessageState{
	Receiving: {Work, Done}, // done: refused or broken off before the promise
	Work:      {Routed, Done, Held, Corrupt},
	Routed:    {Done, Corrupt},
	Held:      {Work, Done, Corrupt}, // work: an operator tries again
	Done:      {},
	Corrupt:   {},
}

// String gives the state's name.
func (s MessageState) String() string { return name(messageNames[:], int(s)) }

// To gives the next state, or an error when the table has no such move.
func (s MessageState) To(next MessageState) (MessageState, error) {
	if int(s) < len(messageMoves) {
		for _, m := range messageMoves[s] {
			if m == next {
				return next, nil
			}
		}
	}
	return s, errs.New(errs.Conflict, "a message that is %s cannot become %s", s, next)
}

// RecipientState is where one recipient stands. Values are stored: only append.
type RecipientState uint8

// The states of a recipient.
const (
	Pending   RecipientState = iota // not tried
	Active                          // with a courier
	Deferred                        // tried, waits for its next time
	Delivered                       // custody passed on
	Bounced                         // failed for good
	Deleted                         // by an operator
	numRecipientStates
)

var recipientNames = [numRecipientStates]string{"pending", "active", "deferred", "delivered", "bounced", "deleted"}

// recipientMoves are the only moves of a recipient.
var recipientMoves = [numRecipientStates][]RecipientState{
	Pending:   {Active, Bounced, Deleted}, // bounced: expired behind a host that is down
	Active:    {Pending, Deferred, Delivered, Bounced, Deleted},
	Deferred:  {Active, Bounced, Deleted},
	Delivered: {},
	Bounced:   {},
	Deleted:   {},
}

// String gives the state's name.
func (s RecipientState) String() string { return name(recipientNames[:], int(s)) }

// Final reports whether nothing more happens to the recipient.
func (s RecipientState) Final() bool { return s == Delivered || s == Bounced || s == Deleted }

// To gives the next state, or an error when the table has no such move.
func (s RecipientState) To(next RecipientState) (RecipientState, error) {
	if int(s) < len(recipientMoves) {
		for _, m := range recipientMoves[s] {
			if m == next {
				return next, nil
			}
		}
	}
	return s, errs.New(errs.Conflict, "a recipient that is %s cannot become %s", s, next)
}

// HostState is what is known of a destination.
type HostState uint8

// The states of a destination.
const (
	Unknown   HostState = iota // not tried since start, resume or delivernow
	Up                         // the last attempt reached it
	Down                       // the last attempt failed; one probe at a time
	Suspended                  // by an operator: nothing new is begun
	numHostStates
)

var hostNames = [numHostStates]string{"unknown", "up", "down", "suspended"}

// hostMoves are the only moves of a destination. What a run reports about a
// suspended destination changes nothing.
var hostMoves = [numHostStates][]HostState{
	Unknown:   {Up, Down, Suspended},
	Up:        {Down, Unknown, Suspended},
	Down:      {Up, Unknown, Suspended},
	Suspended: {Unknown},
}

// String gives the state's name.
func (s HostState) String() string { return name(hostNames[:], int(s)) }

// To gives the next state, or an error when the table has no such move.
func (s HostState) To(next HostState) (HostState, error) {
	if int(s) < len(hostMoves) {
		for _, m := range hostMoves[s] {
			if m == next {
				return next, nil
			}
		}
	}
	return s, errs.New(errs.Conflict, "a destination that is %s cannot become %s", s, next)
}

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "invalid"
}
