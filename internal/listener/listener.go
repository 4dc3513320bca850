// Package listener takes connections: sockets, TLS, suspend and resume, and
// the session handlers for SMTP and CPQ, which ask access for decisions and
// hand messages to a sink.
//
// It is not the wire (that is smtp) and not the store (that is the sink that
// the role plugs in): it says 250 when the sink has said nil, and not before.
//
// It promises that a listener never takes more connections than its limits,
// that every connection ends with a line in mail_logs, that CPQ hears nobody
// whom the sink does not know by his certificate, and that after Close no
// goroutine and no socket is left.
package listener

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/cpq"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/stats"
)

// Protocol is what a listener speaks.
type Protocol string

// The protocols.
const (
	SMTP Protocol = "SMTP"
	CPQ  Protocol = "CPQ"
)

// CPQName is the name of the hidden listener, as in the seed.
const CPQName = "cpq_listener"

// Message is one message on its way to a sink.
type Message struct {
	MID      mail.MID // the number that the log lines already bear
	Envelope mail.Envelope
	Origin   mail.Origin
	Size     int64 // announced by SIZE=, 0 when not

	// Content is as received, without dots. io.EOF says that it is complete
	// and was taken down in the log as ready; after any other error nothing
	// may be kept.
	Content io.Reader

	// Header knows Subject, Message-ID and so on once Content gave io.EOF.
	Header *message.HeaderScanner

	// Peer and Metadata are those of CPQ. Size and hash of the metadata are
	// those of the content, or Content ends in an error.
	Peer     string
	Metadata cpq.Metadata
}

// Sink takes messages. Receive and Take are durable when they give no error.
// The sink makes the Received line: it has Origin, Envelope and MID for
// message.Received and knows the host's name and the time.
type Sink interface {
	NextMID() mail.MID

	// Ready says whether a message of that size (0: not known) can be taken
	// now; asked at MAIL when SIZE= is given, and before the content.
	Ready(size int64) error

	Receive(ctx context.Context, m *Message) error
}

// CPQSink takes deposits and releases.
type CPQSink interface {
	NextMID() mail.MID
	Ready(size int64) error

	// Peer says who is behind a connection, by its pinned certificate; for a
	// gateway that is its serial.
	Peer(state tls.ConnectionState) (string, error)

	// Accept looks at metadata before any content: whether this peer may say
	// this at all.
	Accept(ctx context.Context, peer string, m cpq.Metadata) error

	// Take gives the number that the message has here. For a repeat it is the
	// number of the first time, and MID remains unused.
	Take(ctx context.Context, m *Message) (mail.MID, error)
}

// ReportSink is what a CPQSink may have as well: it takes reports of a gateway
// about releases, each about a message that this gateway accepted. They are
// durable when there is no error.
type ReportSink interface {
	Report(ctx context.Context, peer string, list []cpq.Report) error
}

// VerdictSink is what a CPQSink may have as well: it takes what a gateway says of
// messages that it deposited and outbreak rules hold. It is durable when there is
// no error; gone are the places in the list of messages that are not held by
// rules any more.
type VerdictSink interface {
	Verdicts(ctx context.Context, peer string, list []cpq.Verdict) (gone []int, err error)
}

// Examiner is what a CPQSink may have as well: it has its engines look at the
// content, which it reads to its end and does not keep.
type Examiner interface {
	Examine(ctx context.Context, m *Message) (mail.Finding, error)
}

// PeerGate is what a CPQSink may have as well: it bounds the connections of
// one peer at a time. Leave follows each Enter that gave no error.
type PeerGate interface {
	Enter(peer string) error
	Leave(peer string)
}

// Options are what the listeners of one appliance share.
type Options struct {
	Hostname string
	Log      *logs.Mail
	Stats    *stats.Set
	Resolver dns.Resolver
	NextICID func() mail.ICID
	Sink     Sink    // for SMTP; nil where there is no SMTP listener
	CPQSink  CPQSink // for CPQ; nil where there is no CPQ listener
	Logins   Logins  // for AUTH; nil: no policy offers it
	Clock    func() time.Time

	// Reputation is asked about clients where the HAT needs it. nil: nobody is.
	Reputation Reputation

	// Passes are the marks of this gateway: what bears more than ten of them goes
	// round and is refused (register B7). nil: none are counted.
	Passes *message.Passes

	// Listen opens a socket. nil: a TCP socket with that backlog.
	Listen func(ctx context.Context, addr netip.AddrPort, backlog int) (net.Listener, error)

	LookupTimeout time.Duration // for all that is asked about a client, or about a sender; 0: 5 s
}

// Reputation says what others say of an address; *reputation.Service does.
type Reputation interface {
	Ask(ctx context.Context, ip netip.Addr, n access.Needs) (listed map[string]bool, score access.Score)
}

// Settings are one listener's.
type Settings struct {
	Name       string
	Protocol   Protocol
	Interface  string // name, for the log line
	Addr       netip.AddrPort
	Backlog    int // listen_queue_size; 0: 50
	Kind       access.Kind
	HAT        *access.HAT
	RAT        *access.RAT // nil takes every recipient; private listeners have none
	TLS        *tls.Config // nil: no STARTTLS; CPQ must have one
	MaxClients int         // connections at a time; 0: 5000

	// Of SMTP, over all policies: a policy may set less. 0: what policies say.
	MaxSize       int64
	MaxRecipients int
	Normalise     bool // bare CR, LF and NUL, also where a policy says nothing

	// ASCIIHeaders refuses a header in UTF-8 without SMTPUTF8: RFC 5322 section
	// 2.2 allows none, but much of the world's mail has it.
	ASCIIHeaders bool

	// StrictPaths refuses MAIL FROM:a@b without angle brackets, as RFC 5321
	// section 3.3 would have it; probes and old scanners send that (clients 2.4).
	StrictPaths bool

	Timeouts Timeouts
}

// Timeouts of the sessions; zero fields get the defaults of smtp.
type Timeouts struct {
	Command time.Duration
	Data    time.Duration
	Close   time.Duration // for a transaction in hand at shutdown
	Stress  time.Duration // for one whole command when the places run out; twice that for content. 0: 10 s
}

// Limits and defaults.
const (
	DefaultBacklog    = 50 // as in the seed
	maxBacklog        = 65535
	DefaultMaxClients = 5000
	maxReceived       = 100 // register B7
	maxPasses         = 10  // marks of our own; reinjection by a scanner or a list makes one or two
	maxNameLen        = 32
	cpqRecipients     = 100_000
)

// Check reports what is wrong with the settings, and fills in defaults.
func (s *Settings) Check() error {
	bad := func(format string, args ...any) error {
		return errs.New(errs.Invalid, "listener %q: "+format, append([]any{s.Name}, args...)...)
	}
	if s.Backlog == 0 {
		s.Backlog = DefaultBacklog
	}
	if s.MaxClients == 0 {
		s.MaxClients = DefaultMaxClients
	}
	switch {
	case !validName(s.Name):
		return bad("a name has 1 to %d letters, digits, blanks, - and _", maxNameLen)
	case s.Protocol != SMTP && s.Protocol != CPQ:
		return bad("protocol %q is not known: it is SMTP or CPQ", s.Protocol)
	case !s.Addr.Addr().IsValid():
		return bad("the interface has no address")
	case s.Backlog < 1 || s.Backlog > maxBacklog:
		return bad("listen_queue_size is from 1 to %d", maxBacklog)
	case s.MaxClients < 1 || s.MaxSize < 0 || s.MaxRecipients < 0:
		return bad("a limit is negative")
	case s.Kind != access.Public && s.Kind != access.Private:
		return bad("type %q is not known: it is public or private", s.Kind)
	case s.HAT == nil:
		return bad("there is no HAT")
	case s.Kind == access.Public && s.RAT == nil:
		return bad("a public listener has a RAT") // nil would take mail for the whole world
	case s.Protocol == CPQ && s.TLS == nil:
		return bad("CPQ needs TLS")
	}
	return nil
}

func validName(s string) bool {
	if s == "" || len(s) > maxNameLen || strings.TrimSpace(s) != s {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != ' ' {
			return false
		}
	}
	return true
}
