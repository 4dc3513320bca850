package access

import (
	"net/netip"
	"strings"
	"time"
)

// TLSMode says what a policy wants of STARTTLS.
type TLSMode uint8

// The modes.
const (
	TLSPreferred TLSMode = iota // offered
	TLSOff                      // not offered
	TLSRequired                 // nothing else is taken before it
)

// Newlines says what happens to a bare CR, LF or NUL in content.
type Newlines uint8

// The modes; nothing is ever passed on as it came (register B1).
const (
	RejectBare Newlines = iota
	NormaliseBare
)

// AuthMode says what a policy wants of SMTP AUTH.
type AuthMode uint8

// The modes.
const (
	AuthOff       AuthMode = iota // not offered
	AuthPreferred                 // offered
	AuthRequired                  // nothing is taken without it
)

// Policy is a mail flow policy: an action with its limits. A limit of zero was
// not given and stands for the default.
type Policy struct {
	Name   string // without the dollar sign
	Action Action
	Params Params
}

// Params are the parameters between the braces. The names of the original are
// nowhere published for certain; ours are those in paramTable.
type Params struct {
	MaxMessageSize int64 // bytes
	MaxRecipients  int   // a message
	MaxMessages    int   // a session
	MaxConcurrency int   // connections at a time from one address

	// Recipients accepted in an hour from one client, and what the next is told.
	HourlyRecipients int
	HourlyCode       int
	HourlyText       string
	Bits4, Bits6     int // how many bits of an address make one client

	InvalidRecipients int    // in an hour from one client: then it is cut off
	InvalidText       string // what it is told

	// Recipients accepted for one envelope sender in so many minutes.
	SenderRecipients int
	SenderMinutes    int
	SenderCode       int
	SenderText       string

	TLS          TLSMode
	Auth         AuthMode
	VerifySender OnOff // the domain of the envelope sender must exist
	SpamCheck    OffOn // for the engines to ask; the zero value is on
	VirusCheck   OffOn
	BareNewlines Newlines
	Banner       string // text of the greeting, of the refusal for REJECT
	BannerCode   int    // of the refusal
}

// OnOff is a switch whose zero value is off, OffOn one whose zero value is on.
type (
	OnOff bool
	OffOn bool
)

// On reports whether the switch is on.
func (s OnOff) On() bool { return bool(s) }

// On reports whether the switch is on.
func (s OffOn) On() bool { return !bool(s) }

// The limits where a policy gives none. Rates of an hour have no limit then.
const (
	DefaultMessageSize = 50 << 20
	DefaultRecipients  = 1000 // register B10
	DefaultMessages    = 10000
	DefaultConcurrency = 300
	defaultBits4       = 32
	defaultBits6       = 64 // a host has a whole network to itself
	defaultMinutes     = 60
)

// MessageSize is the limit of one message in bytes.
func (p *Policy) MessageSize() int64 { return or(p.Params.MaxMessageSize, DefaultMessageSize) }

// Recipients is the limit of recipients of one message.
func (p *Policy) Recipients() int { return or(p.Params.MaxRecipients, DefaultRecipients) }

// Messages is the limit of messages of one session.
func (p *Policy) Messages() int { return or(p.Params.MaxMessages, DefaultMessages) }

// Concurrency is the limit of connections at a time from one address.
func (p *Policy) Concurrency() int { return or(p.Params.MaxConcurrency, DefaultConcurrency) }

// Client gives what is counted as one client: the network of an address.
func (p *Policy) Client(ip netip.Addr) netip.Prefix {
	bits := or(p.Params.Bits6, defaultBits6)
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		bits = or(p.Params.Bits4, defaultBits4)
	}
	net, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: all of them are one client
	}
	return net
}

// Hourly is the limit of recipients accepted in an hour from one client, 0
// without one, and what is said to the next.
func (p *Policy) Hourly() (int, Response) {
	return p.Params.HourlyRecipients, Response{or(p.Params.HourlyCode, 452), orText(p.Params.HourlyText, "too many recipients received this hour")}
}

// Invalid is the limit of recipients refused in an hour to one client, 0
// without one, and what is said when it is reached. The connection ends with it.
func (p *Policy) Invalid() (int, Response) {
	return p.Params.InvalidRecipients, Response{421, orText(p.Params.InvalidText, "too many invalid recipients")}
}

// Sender is the limit of recipients accepted for one envelope sender, 0 without
// one, the time for which it holds, and what is said to the next.
func (p *Policy) Sender() (int, time.Duration, Response) {
	return p.Params.SenderRecipients, time.Duration(or(p.Params.SenderMinutes, defaultMinutes)) * time.Minute,
		Response{or(p.Params.SenderCode, 452), orText(p.Params.SenderText, "too many recipients from this sender")}
}

// Refusal is what is said in place of a greeting under REJECT.
func (p *Policy) Refusal() Response {
	return Response{or(p.Params.BannerCode, 554), orText(p.Params.Banner, "access denied")}
}

func orText(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}

func or[T int | int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// String gives the parameters as they stand between the braces, on one line.
func (p *Params) String() string {
	var pairs []string
	for _, e := range paramTable() {
		if v := e.get(p); v != "" {
			pairs = append(pairs, e.name+" = "+v)
		}
	}
	return strings.Join(pairs, ", ")
}

// appendTo writes the definition as it stands in a HAT.
func (p *Policy) appendTo(b *strings.Builder) {
	b.WriteString("$" + p.Name + "\n  " + p.Action.String() + " {")
	given := false
	for _, e := range paramTable() {
		if v := e.get(&p.Params); v != "" {
			b.WriteString("\n    " + e.name + " = " + v)
			given = true
		}
	}
	if given {
		b.WriteString("\n  ")
	}
	b.WriteString("}\n")
}
