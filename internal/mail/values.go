package mail

import (
	"net/netip"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// Origin says where a message came from, for the Received line, the filters and the log.
type Origin struct {
	ICID        ICID       `json:"icid"`
	Listener    string     `json:"listener"`
	Interface   string     `json:"interface"`
	RemoteIP    netip.Addr `json:"remote_ip"`
	RemoteHost  string     `json:"remote_host"` // reverse DNS name, "unknown" without one
	Helo        string     `json:"helo"`
	Protocol    string     `json:"protocol"` // SMTP, ESMTP, ESMTPS, CPQ; RFC 3848 and 6531
	SenderGroup string     `json:"sender_group"`
	Policy      string     `json:"policy"`         // mail flow policy
	Relay       bool       `json:"relay"`          // accepted as relay: outbound
	User        string     `json:"user,omitempty"` // who logged in with AUTH
}

// Envelope is who a message is from and for, and how it is to travel.
type Envelope struct {
	Params
	From Address
	To   []Address
	Rcpt []RcptParams // for each of To, or nil when nobody asked for anything
}

// RcptParams gives what was asked for recipient i.
func (e *Envelope) RcptParams(i int) RcptParams {
	if i < len(e.Rcpt) {
		return e.Rcpt[i]
	}
	return RcptParams{}
}

// Header is one header line to be added on top of a message. Only NewHeader
// makes one, so that no hostile text can end it (register B5).
type Header struct {
	name, value string
}

// NewHeader makes a header line. The name is RFC 5322 printable ASCII without
// a colon, at most 76 bytes; the value has no CR, LF or NUL and at most 900 bytes.
func NewHeader(name, value string) (Header, error) {
	if name == "" || len(name) > 76 {
		return Header{}, errs.New(errs.Invalid, "header name has 1 to 76 characters")
	}
	for i := 0; i < len(name); i++ {
		if name[i] <= 32 || name[i] >= 127 || name[i] == ':' {
			return Header{}, errs.New(errs.Invalid, "header name %q has a forbidden character", clip(name))
		}
	}
	if len(value) > 900 {
		return Header{}, errs.New(errs.Invalid, "header value is longer than 900 bytes")
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		return Header{}, errs.New(errs.Invalid, "header value has a line end or NUL")
	}
	return Header{name: name, value: value}, nil
}

// Name is the field name.
func (h Header) Name() string { return h.name }

// Value is the field body.
func (h Header) Value() string { return h.value }

// String gives the line with CRLF.
func (h Header) String() string { return h.name + ": " + h.value + "\r\n" }

// Placement asks for a message to be put into a quarantine.
type Placement struct {
	Quarantine string `json:"quarantine"`
	Reason     string `json:"reason"` // as in mail_logs: "message filter:name"

	Matched []Matched     `json:"matched,omitempty"` // what the rules found that led there
	Keep    time.Duration `json:"keep,omitempty"`    // whole seconds that it stays there at most, as its mail policy says; 0: as the quarantine says
}

// Matched is one text that a rule found: what an administrator wants to see of
// a message that is held (reference 3.5). It is shown, and decides nothing. All
// of it is hostile, valid UTF-8, without control characters.
type Matched struct {
	Rule string `json:"rule"` // with its filter: hold_offers: body-contains("free")
	Part string `json:"part"` // body, the name of an attachment, or of a header field
	Text string `json:"text"` // as it stands there; of numbers that identify, the last four characters
}

// Limits of what is kept of matches: bytes, and how many of one message.
const (
	MaxMatched     = 40
	MaxMatchedText = 160
)

// Disposition is what the pipeline decides about one message. It decides only;
// the queue routes and the roles act (idea 1 of the architecture).
type Disposition struct {
	Drop       bool        // final drop: nothing is delivered or quarantined
	DropReason string      // for "Message aborted MID n ...": Dropped by filter 'x'
	Quarantine []Placement // one per flagged quarantine, in order, no name twice
	Copies     []Placement // duplicate-quarantine: a copy into each, at once
	CopiedBy   []string    // for each of Copies, the name of the filter
	Headers    []Header    // to be added on top, the first on top of all
	Notes      []string    // log-entry texts, in order
	Extras     []Extras    // changes of the message itself
	Unforge    bool        // fields of the header that claim to be ours go
	Bounce     bool        // with Drop: the sender is told that nobody gets it
	Bcc        []Bcc       // copies of the message as it came, to others
	Fields     []FieldEdit // changes of fields of the header, in order
	EditedBy   string      // the action and filter that Fields and Extras are of, the last one
	Skip       Skip        // stages that the message does not go through

	Actions // what else is done
}

// Bcc is a copy for somebody that the sender did not name.
type Bcc struct {
	To      Address
	From    Address // the envelope sender of the copy; null: that of the message
	Subject string  // in place of its own, one line; empty: its own
	Host    string  // where it goes, as Route.Host
	Scan    bool    // it goes through all stages, as a message of its own
	By      string  // name of the filter
}

// FieldEdit is a change of all header fields of a name, in any case.
type FieldEdit struct {
	Name   string
	Change func(value string) (string, bool) // gives the new value of an unfolded one, and whether it is another; nil: the field goes
}

// Skip names stages that are left out.
type Skip struct{ Spam, Virus, Outbreak bool }

// Role is what an administrator may do, reference 1.7.
type Role string

// The roles.
const (
	Administrator    Role = "Administrator"
	EmailAdmin       Role = "Email Administrator"
	Operator         Role = "Operator"
	ReadOnlyOperator Role = "Read-Only Operator"
	Guest            Role = "Guest"
	HelpDesk         Role = "Help Desk"
	Technician       Role = "Technician"
	CommandClient    Role = "Command Client" // the manager's key on a gateway: few commands only
)

// Principal is who asks for something. Every domain call has one.
type Principal struct {
	Name string // user name, or "system"
	Role Role
	From string // address it came from, or "local"
	Via  string // ssh, socket, cpq, system
}

// System is the principal of what the program does by itself, such as expiry.
func System() Principal {
	return Principal{Name: "system", Role: Administrator, From: "local", Via: "system"}
}
