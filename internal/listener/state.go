package listener

// State is where a listener stands.
type State uint8

// The states.
const (
	Offline   State = iota // not started, or closed for good
	Listening              // the socket is open
	Suspended              // the socket is closed by an operator's wish
	numStates
)

var stateNames = [numStates]string{"offline", "listening", "suspended"}

// String names the state.
func (s State) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return "unknown"
}

type event uint8

const (
	start   event = iota // the appliance comes up
	suspend              // an operator closes the listener
	resume               // and opens it again
	stop                 // the appliance goes down, or the listener is removed
	numEvents
)

// never marks a pair that must not happen.
const never = numStates

// transitions is the whole state machine. A listener that is suspended before
// the start stays so: the suspended state survives a restart.
var transitions = [numStates][numEvents]State{
	//          start      suspend    resume     stop
	Offline:   {Listening, Suspended, never, Offline},
	Listening: {never, Suspended, never, Offline},
	Suspended: {never, never, Listening, Offline},
}

// transition gives the next state, and whether the event is legal.
func transition(s State, e event) (State, bool) {
	next := transitions[s][e]
	return next, next != never
}
