package delivery

import (
	"net/netip"
	"strings"

	"lazaret/internal/errs"
)

// TLSMode says what a destination demands of TLS, reference 8.1.
type TLSMode uint8

// The modes.
const (
	TLSNone            TLSMode = iota // never asked for
	TLSPreferred                      // used when it works, without checking who answers
	TLSRequired                       // nothing is sent without it
	TLSPreferredVerify                // checked, and used when the check succeeds
	TLSRequiredVerify                 // nothing is sent to a host that did not prove its name
)

var tlsModeNames = [...]string{"none", "preferred", "required", "preferred-verify", "required-verify"}

// String gives the name that ParseTLSMode reads.
func (m TLSMode) String() string { return tlsModeNames[m] }

// ParseTLSMode reads none, preferred, required, preferred-verify or required-verify.
func ParseTLSMode(s string) (TLSMode, error) {
	for i, name := range tlsModeNames {
		if s == name {
			return TLSMode(i), nil
		}
	}
	return 0, errs.New(errs.Invalid, "%q is not a TLS mode: one of %s", clip(s), strings.Join(tlsModeNames[:], ", "))
}

// Required reports whether mail waits rather than leave without TLS.
func (m TLSMode) Required() bool { return m == TLSRequired || m == TLSRequiredVerify }

// Verify reports whether the certificate's chain and name are checked.
func (m TLSMode) Verify() bool { return m == TLSPreferredVerify || m == TLSRequiredVerify }

// IPOrder says which addresses of a host are tried, and in which order.
type IPOrder uint8

// The orders.
const (
	PreferIPv4 IPOrder = iota
	PreferIPv6
	OnlyIPv4
	OnlyIPv6
)

var ipOrderNames = [...]string{"prefer-ipv4", "prefer-ipv6", "ipv4-only", "ipv6-only"}

// String gives the name that ParseIPOrder reads.
func (o IPOrder) String() string { return ipOrderNames[o] }

// ParseIPOrder reads prefer-ipv4, prefer-ipv6, ipv4-only or ipv6-only; nothing
// is prefer-ipv4.
func ParseIPOrder(s string) (IPOrder, error) {
	for i, name := range ipOrderNames {
		if s == name || s == "" && i == 0 {
			return IPOrder(i), nil
		}
	}
	return 0, errs.New(errs.Invalid, "%q is not an order of addresses: one of %s", clip(s), strings.Join(ipOrderNames[:], ", "))
}

// sort gives the addresses that may be tried, in order.
func (o IPOrder) sort(addrs []netip.Addr) []netip.Addr {
	var four, six []netip.Addr
	for _, a := range addrs {
		if a.Unmap().Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	switch o {
	case PreferIPv6:
		return append(six, four...)
	case OnlyIPv4:
		return four
	case OnlyIPv6:
		return six
	}
	return append(four, six...)
}

// Control is what the destination controls say of one domain, as far as the
// courier is concerned; concurrency and rate are the queue's. The zero value is
// safe to use: no TLS, the default number of messages.
type Control struct {
	TLS      TLSMode
	IP       IPOrder
	Messages int  // messages per connection; 0 is DefaultMessages
	DANE     bool // TLSA records of the hosts are obeyed, unless TLS is none
	MTASTS   bool // so is the policy of the domain
}

// DefaultMessages is max_messages_per_connection of reference 8.1.
const DefaultMessages = 50

func (c Control) messages() int {
	if c.Messages <= 0 {
		return DefaultMessages
	}
	return c.Messages
}

// Lane splits a destination into links that share no connection: by the
// interface that mail leaves from, and by whether it demands REQUIRETLS. Its
// text is the lane of a queue.Dest and stands in stored messages.
type Lane struct {
	Interface  string // empty: the default
	RequireTLS bool   // RFC 8689
}

const requireTLSLane = "+requiretls"

// String gives the text that ParseLane reads.
func (l Lane) String() string {
	if l.RequireTLS {
		return l.Interface + requireTLSLane
	}
	return l.Interface
}

// ParseLane reads a lane. An unknown interface is the matter of who dials.
func ParseLane(s string) Lane {
	name, strict := strings.CutSuffix(s, requireTLSLane)
	return Lane{Interface: name, RequireTLS: strict}
}
