package smtp

import (
	"io"
	"time"

	"lazaret/internal/mail"
)

// ClientTimeouts are the patience of a client, RFC 5321 section 4.5.3.2. Zero
// fields get the defaults.
type ClientTimeouts struct {
	Greeting  time.Duration // 5 minutes
	Command   time.Duration // EHLO, MAIL, RCPT, RSET, QUIT: 5 minutes
	TLS       time.Duration // the handshake: 1 minute
	DataStart time.Duration // for the 354: 2 minutes
	DataBlock time.Duration // for the peer to take one write: 3 minutes
	DataDone  time.Duration // for the reply to the final dot: 10 minutes
}

// ClientConfig says how a client behaves.
type ClientConfig struct {
	Timeouts ClientTimeouts
}

// Extensions is what an EHLO reply announced.
type Extensions struct {
	Pipelining  bool
	EightBit    bool
	StatusCodes bool
	StartTLS    bool
	Chunking    bool              // RFC 3030
	Binary      bool              // BINARYMIME, RFC 3030; of use with Chunking only
	UTF8        bool              // SMTPUTF8, RFC 6531
	DSN         bool              // RFC 3461
	RequireTLS  bool              // RFC 8689
	Size        int64             // 0: none or no limit
	HasSize     bool              // SIZE was announced
	Keywords    map[string]string // all of them, in upper case, with their parameters
}

// Block is an extension command with the octets behind it:
// VERB <octets> [args] CRLF octets.
type Block struct {
	Verb string
	Args string
	Data []byte
}

// Transaction is one message to be sent. Of its parameters those of DSN and
// REQUIRETLS are said to a peer that offers them, and to no other; a message
// that is Binary, UTF8 or has an address that is not ASCII goes to a peer that
// takes it or is refused in its place. EightBit is for the caller to decide: see
// Extensions.
type Transaction struct {
	mail.Params
	Before  []Block // sent first, in the same pipeline
	From    mail.Address
	To      []mail.Address
	Rcpt    []mail.RcptParams // for each of To, or nil
	Whole   bool              // all recipients or none: one refused, and the content stays here
	Size    int64             // of Prepend and Content; 0: not announced
	Prepend []byte            // whole header lines with CRLF
	Content io.Reader
}

// Result is what the peer said. Slots that were not reached are zero.
type Result struct {
	Before  []Reply
	Mail    Reply
	Rcpt    []Reply // one for each of To
	Data    Reply   // to the final dot, or to DATA when that was refused
	DotSent bool    // the final dot left: with an error, the outcome is unknown
}

// Recipient gives the reply that decides about recipient i: the first that is
// not positive on the way, else the one to the final dot.
func (r *Result) Recipient(i int) Reply {
	for _, b := range r.Before {
		if !b.Positive() {
			return b
		}
	}
	if !r.Mail.Positive() {
		return r.Mail
	}
	if i >= len(r.Rcpt) || !r.Rcpt[i].Positive() {
		if i < len(r.Rcpt) {
			return r.Rcpt[i]
		}
		return Reply{}
	}
	return r.Data
}
