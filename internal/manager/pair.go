package manager

import (
	"net"
	"net/netip"
	"strings"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/errs"
	"lazaret/internal/peer"
)

// reachedAt is where gateways reach us. An "any" address of ours becomes the
// one that connections leave from.
func (m *Manager) reachedAt() (netip.AddrPort, error) {
	at := cpqAddress(m.Config.Committed())
	if !at.Addr().IsUnspecified() {
		return at, nil
	}
	ip, err := outgoing()
	return netip.AddrPortFrom(ip, at.Port()), err
}

// pairRequest says to a gateway who we are.
func (m *Manager) pairRequest() (peer.PairRequest, error) {
	c := m.Config.Committed()
	at, err := m.reachedAt()
	if err != nil {
		return peer.PairRequest{}, err
	}
	return peer.PairRequest{
		Version: peer.Version, Records: m.records, Serial: c.Serial, Name: c.Hostname, CPQ: at.String(),
		Pins: m.CPQPins(), Key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(m.clientKey.PublicKey()))),
	}, nil
}

// outgoing gives the local address that packets leave from by default.
// Connecting a UDP socket sends nothing; it only makes the system choose.
func outgoing() (netip.Addr, error) {
	c, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}, errs.New(errs.Invalid, "the CPQ listener is on any address and this machine has no default route: give its interface an address")
	}
	local, ok := c.LocalAddr().(*net.UDPAddr)
	if err := c.Close(); err != nil || !ok {
		return netip.Addr{}, errs.Wrap(errs.Internal, err, "finding our own address")
	}
	ip, _ := netip.AddrFromSlice(local.IP)
	return ip.Unmap(), nil
}
