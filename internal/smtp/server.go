// Package smtp is the wire: replies, the command parser, the transfer of
// message content, the server loop and the client. RFC 5321 with PIPELINING
// (2920), SIZE (1870), 8BITMIME (6152), ENHANCEDSTATUSCODES (2034), STARTTLS
// (3207), CHUNKING and BINARYMIME (3030), SMTPUTF8 (6531), DSN (3461) REQUIRETLS
// (8689) and AUTH (4954).
//
// It is not a listener and not a courier: it opens no socket, knows no policy
// and writes no log. A Session decides, the loop speaks.
//
// It promises: only CR LF ends a line of content; a bare CR, a bare LF or a NUL
// never gets through in either direction; one message in is one message out;
// every input has a limit of size and of time.
package smtp

import (
	"context"
	"crypto/tls"
	"io"
	"strconv"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// HelloCommand is HELO or EHLO.
type HelloCommand struct {
	Extended bool                 // EHLO
	Domain   string               // as given: printable, without blanks, hostile
	TLS      *tls.ConnectionState // nil before STARTTLS
}

// MailCommand is MAIL FROM with its parameters.
type MailCommand struct {
	mail.Params
	From mail.Address
	Size int64 // of SIZE=, 0 when not given
}

// RcptCommand is RCPT TO with its parameters.
type RcptCommand struct {
	mail.RcptParams
	To mail.Address
}

// Session decides. One Session serves one connection, from one goroutine. A
// method returns the reply that the loop writes; a reply with code 421 also
// ends the connection. A reply without a status gets the general one of its class.
//
// The context of a call stays alive during shutdown for the grace time of
// Timeouts, so that a message in hand can be finished.
type Session interface {
	Hello(ctx context.Context, c HelloCommand) Reply
	Mail(ctx context.Context, c MailCommand) Reply
	Rcpt(ctx context.Context, c RcptCommand) Reply

	// Data takes the content: lines ended by CR LF, dots removed. io.EOF says
	// that it is complete. Any other error says that it is broken or refused
	// and must not be kept: then the reply returned is not used, a
	// *RefusedError in the error's chain has the one that is. A positive reply
	// before io.EOF was read counts as a fault of the Session and becomes 451.
	Data(ctx context.Context, content io.Reader) Reply

	// Reset ends the open transaction: RSET, a new EHLO, STARTTLS, or the end
	// of the connection. Not called after Data.
	Reset(ctx context.Context)
}

// DataStarter is a Session that is asked before the 354 is given. A zero
// reply lets the content come; any other is sent instead and ends the transaction.
type DataStarter interface {
	DataStart(ctx context.Context) Reply
}

// Observer is a Session that is told what log lines need. Texts are raw and hostile.
type Observer interface {
	TLSDone(state tls.ConnectionState)
	TLSFailed(err error)
	UnknownCommand(line string)
	BadSyntax(line string)
}

// Hurried is a Session that knows when its place is wanted by others: then the
// limits of ServerConfig.Stress hold, also for a wait that began before.
type Hurried interface {
	Stressed() bool
}

// RefusedError is given by the content reader when the content itself is
// refused: too big, a bare line end, a line too long.
type RefusedError struct{ Reply Reply }

// Error gives the reply as one line.
func (e *RefusedError) Error() string { return "content refused: " + e.Reply.String() }

// Extension is a further verb of the form "VERB <octets> [args]" with exactly
// that many octets behind the line. It needs a session greeted by EHLO with no
// transaction open.
type Extension struct {
	Verb     string // upper case
	Keyword  string // line of the EHLO reply, such as "XCPQ 1"
	NeedTLS  bool   // unknown and unannounced before TLS
	MaxArgs  int    // octets of args
	MaxBlock int64
	Handle   func(ctx context.Context, sess Session, args string, block io.Reader) Reply
}

// Newlines says what happens to content with a bare CR, a bare LF or a NUL.
type Newlines uint8

// The choices; the zero value is the safe one.
const (
	Reject    Newlines = iota // the message is refused with 550 5.6.11
	Normalise                 // each bare CR or LF becomes CR LF, each NUL a blank
)

// Timeouts of a server. Zero fields get the defaults.
type Timeouts struct {
	Command  time.Duration // for one whole command line: 5 minutes, RFC 5321 section 4.5.3.2.7
	Data     time.Duration // without any content arriving: 5 minutes
	Write    time.Duration // for the peer to take our replies: 5 minutes
	TLS      time.Duration // for the handshake: 1 minute
	Shutdown time.Duration // for a transaction in hand when the server stops: 5 seconds
	Greeting time.Duration // wait before the greeting, to catch early talkers: 0, a look without waiting
}

// ErrorLimits bound what one connection may do wrong (register B10).
type ErrorLimits struct {
	Soft  int           // from here each error reply waits: 10
	Delay time.Duration // that long: 1 second
	Hard  int           // 421 and close: 20
	Junk  int           // commands without any mail: each further one counts as an error: 100
}

// Stress is how much patience is left when the places run out (register B9).
// Zero fields get the defaults.
type Stress struct {
	Command time.Duration // for one whole command line: 10 seconds
	Data    time.Duration // without any content arriving: 20 seconds
	Hard    int           // errors: 1
}

// ServerConfig says how a server speaks. The zero value of each field is safe;
// Hostname is required.
type ServerConfig struct {
	Hostname string
	Greeting string // text behind the host name in the 220 banner: "ESMTP"

	// Refuse, when it is not zero, is said in place of the 220; then nothing
	// but QUIT is understood (RFC 5321 section 3.1).
	Refuse Reply

	TLS     *tls.Config // nil: STARTTLS is not offered
	TLSOnly bool        // before TLS nothing but EHLO, NOOP, QUIT, STARTTLS (RFC 3207 section 4)

	Auth bool // AUTH PLAIN and LOGIN inside TLS; the Session is an Authenticator

	MaxSize       int64 // octets of content, 0: no limit, SIZE is announced as 0
	MaxRecipients int   // of one message: 1000
	MaxLine       int   // octets of one line of content with CR LF: 64 KiB; RFC 5321 asks for 1000 at least

	BareNewlines   Newlines
	BareLFCommands bool // a bare LF may end a command; never set for CPQ
	LoosePaths     bool // MAIL FROM:a@b without angle brackets, and blanks behind the colon

	Timeouts    Timeouts
	MinRate     int // octets a second of content, averaged from DATA on: 500
	ErrorLimits ErrorLimits
	Stress      Stress
	Extensions  []Extension
}

// Server serves connections; it holds no state of any of them. One is cheap to
// make: a listener has one for each mail flow policy.
type Server struct {
	cfg      ServerConfig
	commands map[string]*command
	plain    []string // EHLO keywords before TLS
	secure   []string // and after
}

// End says how a connection ended.
type End uint8

// The ends.
const (
	EndQuit      End = iota // the peer said QUIT
	EndLost                 // the peer closed or the connection broke
	EndTimeout              // the peer was too slow
	EndErrors               // too many errors
	EndShutdown             // the context was cancelled
	EndTLSFailed            // the handshake failed; Observer was told
	EndRefused              // early talker, bare LF, lost synchronisation
	EndClosed               // the Session said 421
)

var endNames = [...]string{"quit", "lost", "timeout", "too many errors", "shutdown", "TLS failed", "refused", "closed"}

// String names the end.
func (e End) String() string {
	if int(e) < len(endNames) {
		return endNames[e]
	}
	return "end(" + strconv.Itoa(int(e)) + ")"
}

func orDuration(v *time.Duration, d time.Duration) {
	if *v <= 0 {
		*v = d
	}
}

func orInt(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

// NewServer checks the configuration and fills in the defaults.
func NewServer(cfg ServerConfig) (*Server, error) {
	if _, err := mail.ParseDomain(cfg.Hostname); err != nil {
		return nil, errs.Context(err, "smtp server: hostname %q", cfg.Hostname)
	}
	if cfg.TLSOnly && cfg.TLS == nil {
		return nil, errs.New(errs.Invalid, "smtp server: TLS only, but no TLS configuration")
	}
	if cfg.Auth && cfg.TLS == nil {
		return nil, errs.New(errs.Invalid, "smtp server: AUTH needs TLS")
	}
	if cfg.MaxSize < 0 {
		return nil, errs.New(errs.Invalid, "smtp server: maximum message size is negative")
	}
	if cfg.Greeting == "" {
		cfg.Greeting = "ESMTP"
	}
	t := &cfg.Timeouts
	orDuration(&t.Command, 5*time.Minute)
	orDuration(&t.Data, 5*time.Minute)
	orDuration(&t.Write, 5*time.Minute)
	orDuration(&t.TLS, time.Minute)
	orDuration(&t.Shutdown, 5*time.Second)
	l := &cfg.ErrorLimits
	orInt(&l.Soft, 10)
	orDuration(&l.Delay, time.Second)
	orInt(&l.Hard, 20)
	orInt(&l.Junk, 100)
	orDuration(&cfg.Stress.Command, 10*time.Second)
	orDuration(&cfg.Stress.Data, 20*time.Second)
	orInt(&cfg.Stress.Hard, 1)
	orInt(&cfg.MaxRecipients, 1000)
	orInt(&cfg.MaxLine, 64<<10)
	orInt(&cfg.MinRate, 500)
	s := &Server{cfg: cfg}
	return s, s.prepare()
}
