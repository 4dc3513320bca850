package peer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/certs"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
)

// ExchangeCommand is the hidden command by which manager and gateway tell each
// other what has become of their CPQ certificates and addresses.
const ExchangeCommand = "cpqexchange"

// Certificate is a CPQ certificate as its owner tells it.
type Certificate struct {
	Pin      string    `json:"pin"`
	NotAfter time.Time `json:"not_after"`
}

// Statement is what one side says of itself to the other.
type Statement struct {
	Version int    `json:"version"`
	From    string `json:"from"` // serial of who says it
	To      string `json:"to"`   // and of whom it is said to
	Name    string `json:"name"` // host name of who says it
	// CPQ is where a manager takes quarantined mail: IP:port. Empty on a
	// gateway, which is asked with LocateCommand.
	CPQ    string        `json:"cpq,omitempty"`
	Certs  []Certificate `json:"certs"`  // of who says it, the one in use first
	Trusts []string      `json:"trusts"` // pins of the other that count here now
	Steps  uint64        `json:"steps"`  // of the renewals of who says it: never goes back
}

// Signed is a statement on its way: signed with the keys of the CPQ
// certificates, so that the SSH login alone, or the SSH host key alone, moves no
// pin.
type Signed struct {
	Statement  []byte            `json:"statement"`
	Signatures []certs.Signature `json:"signatures"`
}

// Signer signs with all keys of CPQ certificates that count.
type Signer interface {
	Sign(statement []byte) ([]certs.Signature, error)
}

// Seal signs a statement.
func Seal(s Statement, with Signer) (Signed, error) {
	s.Version = Version
	b, err := json.Marshal(s)
	if err != nil {
		return Signed{}, errs.Wrap(errs.Internal, err, "encoding a statement")
	}
	sigs, err := with.Sign(b)
	return Signed{Statement: b, Signatures: sigs}, err
}

// Open checks who signed a statement, and that it is from and to the serials
// given, and gives it.
func (s Signed) Open(from, to string, pins []certs.Pin) (Statement, error) {
	if err := certs.VerifySigned(s.Statement, s.Signatures, pins); err != nil {
		return Statement{}, err
	}
	var st Statement
	if err := decode(s.Statement, &st); err != nil {
		return Statement{}, errs.Context(err, "statement")
	}
	switch {
	case st.Version != Version:
		return Statement{}, errs.New(errs.Invalid, "statement version %d is not known; this is version %d", st.Version, Version)
	case st.From != from || st.To != to:
		return Statement{}, errs.New(errs.Denied, "the statement is from %q to %q", logs.Escape(clip(st.From)), logs.Escape(clip(st.To)))
	case len(st.Trusts) > maxPins:
		return Statement{}, errs.New(errs.Invalid, "the statement trusts more than %d pins", maxPins)
	}
	if err := checkIdentity(st.From, st.Name, st.Pins()); err != nil {
		return Statement{}, errs.Context(err, "statement")
	}
	if len(st.Certs) > 2 {
		return Statement{}, errs.New(errs.Invalid, "the statement names %d certificates; two count at most", len(st.Certs))
	}
	if a, err := netip.ParseAddrPort(st.CPQ); st.CPQ != "" && (err != nil || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().Zone() != "") {
		return Statement{}, errs.New(errs.Invalid, "the CPQ address of the statement is not an IP address and a port")
	}
	return st, nil
}

// Pins gives the pins of the certificates.
func (s Statement) Pins() []string {
	pins := make([]string, len(s.Certs))
	for i, c := range s.Certs {
		pins[i] = c.Pin
	}
	return pins
}

// Encode gives a signed statement as the one word of a command line.
func (s Signed) Encode() (string, error) {
	b, err := json.Marshal(s)
	return base64.RawURLEncoding.EncodeToString(b), errs.Wrap(errs.Internal, err, "encoding a statement")
}

// DecodeSigned reads what Encode gives; who signed it is not checked.
func DecodeSigned(word string) (s Signed, err error) {
	if len(word) > maxAnswer {
		return s, errs.New(errs.Invalid, "the statement is longer than %d bytes", maxAnswer)
	}
	b, err := base64.RawURLEncoding.DecodeString(word)
	if err != nil {
		return s, errs.Wrap(errs.Invalid, err, "the statement is not in base64")
	}
	return s, errs.Context(decode(b, &s), "statement")
}

// Exchange tells g a statement and gives what g says, as it came.
func (c *Client) Exchange(ctx context.Context, g Gateway, s Signed) (Signed, error) {
	word, err := s.Encode()
	if err != nil {
		return Signed{}, err
	}
	fault := func(text string) { c.o.Fault(component, g.Name+": "+text) }
	answer, err := supervise(ctx, c.o.Timeout, fault, func(ctx context.Context) (Signed, error) {
		out, _, err := c.ask(ctx, g, ExchangeCommand+" "+word)
		if err != nil {
			return Signed{}, err
		}
		var s Signed
		return s, decode(bytes.TrimSpace(out), &s)
	})
	return answer, errs.Context(err, "exchanging CPQ certificates with %s", g.Name)
}

// ask runs a command on a gateway, which must have the pinned host key.
func (c *Client) ask(ctx context.Context, g Gateway, line string) ([]byte, netip.Addr, error) {
	return c.askUpTo(ctx, g, line, maxAnswer)
}

// askUpTo is ask for an answer of up to most bytes.
func (c *Client) askUpTo(ctx context.Context, g Gateway, line string, most int) ([]byte, netip.Addr, error) {
	pinned, _, _, _, err := ssh.ParseAuthorizedKey([]byte(g.HostKey))
	if err != nil {
		return nil, netip.Addr{}, errs.Wrap(errs.Invalid, err, "the pinned host key of %s is not a key", g.Name)
	}
	out, ip, err := ask(ctx, c.o.Dial, question{
		addr: g.Addr, user: g.User, auth: ssh.PublicKeys(c.o.Key), line: line, most: most,
		types: algorithms(pinned.Type()),
		trust: func(key ssh.PublicKey) error { return samePin(g.Addr, pinned, key) },
	})
	at, _ := netip.AddrFromSlice(ip)
	return out, at.Unmap(), err
}
