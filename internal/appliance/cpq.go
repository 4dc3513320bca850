package appliance

import (
	"crypto/tls"

	"lazaret/internal/certs"
	"lazaret/internal/errs"
)

// peers gives who may be at the other end of a CPQ connection, by the
// configuration in force: managers on a gateway, gateways on a manager.
func (a *Appliance) peers() []certs.Peer {
	c := a.Config.Committed()
	var all []certs.Peer
	add := func(serial, name string, pins []string) {
		p := certs.Peer{ID: serial, Name: name}
		for _, text := range pins {
			if pin, err := certs.ParsePin(text); err == nil { // checked when it was loaded
				p.Pins = append(p.Pins, pin)
			}
		}
		all = append(all, p)
	}
	for _, m := range c.CPQ.Managers {
		add(m.Serial, m.Name, m.Pins)
	}
	for _, g := range c.Appliances {
		add(g.Serial, g.Name, g.Pins)
	}
	return all
}

// PeerOf gives the serial of the client behind a CPQ connection.
func (a *Appliance) PeerOf(state tls.ConnectionState) (string, error) {
	p, err := a.check.PeerOf(state, "client")
	return p.ID, err
}

// StillPeer refuses, for now, a peer whose pairing was ended while its
// connection is open.
func (a *Appliance) StillPeer(serial string) error {
	for _, p := range a.peers() {
		if p.ID == serial {
			return nil
		}
	}
	return errs.New(errs.Temporary, "this appliance is not paired with %s any more", serial)
}

// ClientTLS gives the TLS of a connection to the peer with that serial and to
// nobody else.
func (a *Appliance) ClientTLS(serial string) *tls.Config {
	check := a.check
	check.Own = func(func(certs.Pin) bool) (tls.Certificate, error) { return a.CPQ.Pick(a.CPQ.TrustedBy(serial)), nil }
	check.Peers = func() []certs.Peer {
		for _, p := range a.peers() {
			if p.ID == serial {
				return []certs.Peer{p}
			}
		}
		return nil
	}
	return check.Client()
}
