package smtp

// phase is where a session stands, RFC 5321 section 4.1.4. Whether the
// connection is encrypted is kept beside it.
type phase uint8

const (
	connected phase = iota // nothing said yet, or just after STARTTLS
	greeted                // HELO or EHLO was accepted
	inMail                 // MAIL was accepted
	inRcpt                 // at least one RCPT was accepted
	inData                 // 354 was given
	inChunks               // BDAT was given and the message is not complete
	closing                // nothing more is read
	numPhases
)

var phaseNames = [numPhases]string{"connected", "greeted", "mail", "rcpt", "data", "chunks", "closing"}

func (p phase) String() string { return phaseNames[p] }

// event is what moves a session from phase to phase.
type event uint8

const (
	evNone  event = iota // NOOP and its like: legal while commands are read, moves nothing
	evHello              // HELO or EHLO accepted
	evTLS                // STARTTLS done: all is forgotten, RFC 3207 section 4.2
	evAuth               // AUTH, RFC 4954: outside a transaction only
	evMail
	evRcpt
	evData  // content is coming
	evChunk // content is coming in chunks, RFC 3030
	evDone  // content was taken or refused
	evReset // RSET
	evClose
	numEvents
)

// never marks a pair that must not happen.
const never = numPhases

// transitions is the whole state machine: where each event leads.
var transitions = [numPhases][numEvents]phase{
	//          none       hello    tls        auth     mail    rcpt    data    chunk     done     reset      close
	connected: {connected, greeted, never, never, never, never, never, never, never, connected, closing},
	greeted:   {greeted, greeted, connected, greeted, inMail, never, never, never, never, greeted, closing},
	inMail:    {inMail, greeted, never, never, never, inRcpt, never, never, never, greeted, closing},
	inRcpt:    {inRcpt, greeted, never, never, never, inRcpt, inData, inChunks, never, greeted, closing},
	inData:    {never, never, never, never, never, never, never, never, greeted, never, closing},
	inChunks:  {inChunks, greeted, never, never, never, never, never, inChunks, greeted, greeted, closing},
	closing:   {never, never, never, never, never, never, never, never, never, never, never},
}

// transition gives the next phase, and whether the event is legal at all.
func transition(p phase, e event) (phase, bool) {
	next := transitions[p][e]
	return next, next != never
}
