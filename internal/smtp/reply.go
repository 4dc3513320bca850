package smtp

import (
	"errors"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

// Limits of one reply, RFC 5321 section 4.5.3.1.5 and register B3.
const (
	maxReplyText  = 480 // octets of text kept of one line: 512 with code, status and CRLF
	maxReplyLines = 100
)

// Reply is one reply of a server: what a verb of ours returns, and what a peer
// said to us. The text may be hostile when it came from a peer; it is printable
// ASCII in any case.
type Reply struct {
	Code   int
	Status string   // enhanced status code such as 2.1.0, or "" (RFC 3463)
	Text   []string // one or more lines, without the status
}

// NewReply makes a reply. Without a text the line has only the codes.
func NewReply(code int, status string, text ...string) Reply {
	return Reply{Code: code, Status: status, Text: text}
}

// IsZero reports whether r is no reply at all.
func (r Reply) IsZero() bool { return r.Code == 0 }

// Positive reports a 2xx reply.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 300 }

// Temporary reports a 4xx reply.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent reports a 5xx reply.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// String gives the reply as one line: code, status, all text.
func (r Reply) String() string {
	return strings.TrimRight(strconv.Itoa(r.Code)+" "+r.Message(), " ")
}

// Message gives status and text as one line, without the code.
func (r Reply) Message() string {
	text := strings.Join(r.Text, " ")
	if r.Status == "" {
		return text
	}
	return strings.TrimRight(r.Status+" "+text, " ")
}

// Err gives nil for a positive or intermediate reply, else a *ReplyError.
func (r Reply) Err() error {
	if r.Code >= 200 && r.Code < 400 {
		return nil
	}
	return &ReplyError{Reply: r}
}

// ReplyError is a negative reply as an error. Its kind (errs.KindOf) is
// Temporary for 4xx and Invalid for 5xx.
type ReplyError struct{ Reply Reply }

// Error gives the reply as one line.
func (e *ReplyError) Error() string { return e.Reply.String() }

// Unwrap gives the kind.
func (e *ReplyError) Unwrap() error {
	kind := errs.Invalid
	if e.Reply.Temporary() {
		kind = errs.Temporary
	}
	return &errs.Error{Kind: kind, Text: e.Reply.String()}
}

// ErrorReply says what a peer is told about err: never its cause, and in doubt
// a temporary failure, so that the peer keeps the mail (promise P3). A
// *ReplyError in the chain is passed on as it stands.
func ErrorReply(err error) Reply {
	var known *ReplyError
	if errors.As(err, &known) {
		return known.Reply
	}
	text := errs.Public(err)
	switch errs.KindOf(err) {
	case errs.Invalid:
		return NewReply(554, "5.6.0", text)
	case errs.Denied:
		return NewReply(550, "5.7.1", text)
	case errs.NotFound:
		return NewReply(550, "5.1.1", text)
	case errs.Conflict:
		return NewReply(451, "4.5.0", text)
	case errs.Full:
		return NewReply(452, "4.3.1", text)
	case errs.Closed:
		return NewReply(451, "4.3.2", text)
	}
	return NewReply(451, "4.3.0", text)
}

// appendReply writes r in wire form. Whatever is not printable ASCII becomes a
// question mark, so that no text can end a line or start another reply.
func appendReply(b []byte, r Reply) []byte {
	lines := r.Text
	if len(lines) == 0 {
		lines = []string{""}
	}
	if len(lines) > maxReplyLines {
		lines = lines[:maxReplyLines]
	}
	for i, text := range lines {
		b = strconv.AppendInt(b, int64(r.Code), 10)
		if i < len(lines)-1 {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if r.Status != "" {
			b = append(b, r.Status...)
			b = append(b, ' ')
		}
		b = appendPrintable(b, text, maxReplyText)
		b = append(b, '\r', '\n')
	}
	return b
}

// appendPrintable appends at most limit bytes of s, with a question mark for
// each byte that is not printable ASCII.
func appendPrintable[T string | []byte](b []byte, s T, limit int) []byte {
	if len(s) > limit {
		s = s[:limit]
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < 32 || c > 126 {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}
