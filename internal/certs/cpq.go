package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// Peer is somebody whose CPQ certificate is known.
type Peer struct {
	ID   string // serial
	Name string // for messages
	Pins []Pin  // one, or two while a certificate is being renewed
}

// Check holds what a CPQ connection is checked by.
type Check struct {
	// Own gives the certificate of ours to show to somebody who trusts the pins
	// that trusts says. A client does not know what the server trusts and asks
	// with nil, unless Own knows whom it is for.
	Own   func(trusts func(Pin) bool) (tls.Certificate, error)
	Peers func() []Peer    // who may be at the other end, asked at each handshake
	Clock func() time.Time // nil: time.Now
	// Seen is told of each peer's certificate that has a right pin, whatever
	// its dates; nil: nobody is.
	Seen func(p Peer, leaf *x509.Certificate)
}

func (c Check) now() time.Time {
	if c.Clock == nil {
		return time.Now()
	}
	return c.Clock()
}

// Server gives the TLS side of the accepting end.
func (c Check) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13,
		ClientAuth:             tls.RequestClientCert, // required and checked below, with a cause of ours
		SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			own, err := c.Own(hinted(hello.ServerName))
			return &own, err
		},
		VerifyConnection: func(s tls.ConnectionState) error { return c.verify(s, "client") },
	}
}

// Client gives the TLS side of the connecting end, for one connection. The
// server shows a certificate that the hint asks for: its pin counts to the end of
// the handshake, also when the peer retires that certificate meanwhile.
func (c Check) Client() *tls.Config {
	asked := c.Peers()
	now := c.Peers
	c.Peers = func() []Peer { return slices.Concat(now(), asked) }
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13,
		ServerName:             hint(asked),
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // there is no authority: VerifyConnection checks the pin
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own, err := c.Own(nil)
			return &own, err
		},
		VerifyConnection: func(s tls.ConnectionState) error { return c.verify(s, "server") },
	}
}

func (c Check) verify(s tls.ConnectionState, side string) error {
	_, err := c.PeerOf(s, side)
	return err
}

// PeerOf says who is at the other end: client or server. The error's text is
// the cause that the log line gives.
func (c Check) PeerOf(s tls.ConnectionState, side string) (Peer, error) {
	if s.Version < tls.VersionTLS13 {
		return Peer{}, errs.New(errs.Denied, "%s does not speak TLS 1.3", side)
	}
	if len(s.PeerCertificates) == 0 {
		return Peer{}, errs.New(errs.Denied, "no certificate from %s", side)
	}
	leaf := s.PeerCertificates[0]
	p, ok := find(c.Peers(), PinOf(leaf))
	if !ok {
		return Peer{}, errs.New(errs.Denied, "certificate of %s is not the pinned one", side)
	}
	if c.Seen != nil {
		c.Seen(p, leaf)
	}
	use := ServerUse
	if side == "client" {
		use = ClientUse
	}
	for _, err := range []error{InTime(leaf, c.now()), Strength(leaf), For(leaf, use)} {
		if err != nil {
			return p, errs.New(errs.Denied, "certificate of %s: %s", side, errs.Public(err))
		}
	}
	return p, nil
}

func find(peers []Peer, pin Pin) (Peer, bool) {
	for _, p := range peers {
		for _, q := range p.Pins {
			if q == pin {
				return p, true
			}
		}
	}
	return Peer{}, false
}

// hintEnd is the domain of a hint; RFC 2606 keeps it from being anybody's.
const hintEnd = ".cpq.invalid"

// hint says in the server name (SNI) which pins the client trusts, so that a
// server that is renewing its certificate can show one of those. It gives
// nothing away but halves of hashes of public keys, and decides nothing: what
// the server shows is checked as ever.
func hint(peers []Peer) string {
	var labels []string
	for _, p := range peers {
		for _, pin := range p.Pins {
			labels = append(labels, hex.EncodeToString(pin[:16]))
		}
	}
	if len(labels) == 0 || len(labels) > 4 { // a client connects to one peer, with one pin or two
		return ""
	}
	return strings.Join(labels, ".") + hintEnd
}

// hinted reads what hint gives; without one nothing is known to be trusted.
func hinted(name string) func(Pin) bool {
	list, ok := strings.CutSuffix(strings.ToLower(name), hintEnd)
	if !ok || len(list) > 4*33 {
		return nil
	}
	labels := strings.Split(list, ".")
	return func(p Pin) bool { return slices.Contains(labels, hex.EncodeToString(p[:16])) }
}

// Cause gives the reason of a failed handshake in words for a log line, as
// seen by the connecting side. What a peer says in an alert comes from a fixed
// list of crypto/tls and is no text of the peer's.
func Cause(err error) string {
	var ours *errs.Error
	var alert tls.AlertError
	var op *net.OpError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &ours) && ours.Kind == errs.Denied:
		return ours.Error()
	case errors.As(err, &verify):
		return verify.Error()
	case errors.As(err, &op) && op.Op == "remote error":
		return remote(op.Err.Error())
	case errors.As(err, &alert):
		return remote(alert.Error())
	case errors.As(err, &record):
		return "server does not speak TLS behind STARTTLS"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "server closed the connection during the handshake"
	case strings.Contains(err.Error(), "unsupported versions"), strings.Contains(err.Error(), "protocol version"):
		return "no certificate from server: it does not speak TLS 1.3"
	}
	return err.Error()
}

// ClientCause is Cause as seen by the accepting side.
func ClientCause(err error) string {
	var ours *errs.Error
	var alert tls.AlertError
	var op *net.OpError
	var record tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &ours) && ours.Kind == errs.Denied:
		return ours.Error()
	case errors.As(err, &op) && op.Op == "remote error":
		return byClient(op.Err.Error())
	case errors.As(err, &alert):
		return byClient(alert.Error())
	case errors.As(err, &record):
		return "client does not speak TLS behind STARTTLS"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "client closed the connection during the handshake"
	case strings.Contains(text, "offered only unsupported versions"):
		if strings.Contains(text, "303") { // TLS 1.2 was offered, and is not enough
			return "client does not speak TLS 1.3"
		}
		return "client does not speak TLS 1.2 or later"
	case strings.Contains(text, "no cipher suite supported by both"):
		return "client has no cipher in common with us"
	}
	return text
}

// byClient explains an alert of the client.
func byClient(text string) string {
	text = strings.TrimPrefix(text, "tls: ")
	if strings.Contains(text, "certificate") {
		return "client refused our certificate (" + text + ")"
	}
	return "client refused: " + text
}

// remote explains an alert of the server. One that has only anonymous or old
// ciphers to offer cannot show a certificate in TLS 1.3: that is the cause.
func remote(text string) string {
	text = strings.TrimPrefix(text, "tls: ")
	switch {
	case strings.Contains(text, "protocol version"):
		return "no certificate from server: it does not speak TLS 1.3 (" + text + ")"
	case strings.Contains(text, "handshake failure"), strings.Contains(text, "insufficient security"):
		return "no certificate from server: it has none to show, or no cipher in common with us (" + text + ")"
	case strings.Contains(text, "certificate"):
		return "server refused our certificate (" + text + ")"
	}
	return "server refused: " + text
}
