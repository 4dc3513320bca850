package appliance

import (
	"slices"
	"strings"
	"time"

	"lazaret/internal/certs"
	"lazaret/internal/errs"
	"lazaret/internal/peer"
)

// Statement is what this appliance tells the peer with that serial about
// itself, signed. cpq is where a manager takes quarantined mail.
func (a *Appliance) Statement(to, cpq string) (peer.Signed, error) {
	c := a.Config.Committed()
	s := peer.Statement{From: c.Serial, To: to, Name: c.Hostname, CPQ: cpq, Steps: a.CPQ.Steps()}
	for _, p := range a.CPQ.Pairs() {
		s.Certs = append(s.Certs, peer.Certificate{Pin: p.Pin().String(), NotAfter: p.Leaf.NotAfter.UTC()})
	}
	for _, pin := range a.pinsOf(to) {
		s.Trusts = append(s.Trusts, pin.String())
	}
	return peer.Seal(s, a.CPQ)
}

// pinsOf gives the pins of a peer that count now.
func (a *Appliance) pinsOf(serial string) []certs.Pin {
	for _, p := range a.peers() {
		if p.ID == serial {
			return p.Pins
		}
	}
	return nil
}

// OpenStatement gives what a paired peer says of itself, once it is proven.
func (a *Appliance) OpenStatement(s peer.Signed, from string) (peer.Statement, error) {
	pins := a.pinsOf(from)
	if len(pins) == 0 {
		return peer.Statement{}, errs.New(errs.Denied, "this appliance is not paired with %s", from)
	}
	return s.Open(from, a.Config.Committed().Serial, pins)
}

// Heard keeps what a peer's statement means for our own certificates and for
// the alarms about its.
func (a *Appliance) Heard(s peer.Statement) error {
	if err := a.CPQ.Hear(s.From, s.Trusts, s.Steps); err != nil {
		return err
	}
	a.PeerExpires(s.From, s.Name, s.Certs[0].Pin, s.Certs[0].NotAfter)
	return nil
}

// PeerSerials gives whom this appliance is paired with.
func (a *Appliance) PeerSerials() (all []string) {
	for _, p := range a.peers() {
		all = append(all, p.ID)
	}
	return all
}

// AdvanceRenewal takes the next step of a renewal of our CPQ certificate when
// it is time, and reports whether there was one: then the peers have to hear.
func (a *Appliance) AdvanceRenewal(now bool) bool {
	step, err := a.CPQ.Advance(a.PeerSerials(), now)
	if err != nil {
		a.Alert(AlertCPQ, "CPQ certificate: "+err.Error())
		return false
	}
	a.logStep(step)
	return step != certs.NoStep
}

func (a *Appliance) logStep(step certs.Step) {
	pairs := a.CPQ.Pairs()
	switch newest := pairs[len(pairs)-1]; step {
	case certs.Began:
		a.Log.CPQRenewalBegun(newest.Pin().String(), newest.Leaf.NotAfter.UTC().Format(day))
	case certs.Changed:
		a.Log.CPQRenewalChanged(pairs[0].Pin().String())
	case certs.Retired:
		a.Log.CPQRenewalDone(pairs[0].Pin().String())
	}
}

// BeginRenewal makes a new CPQ certificate now.
func (a *Appliance) BeginRenewal() error {
	if err := a.CPQ.Begin(); err != nil {
		return err
	}
	a.logStep(certs.Began)
	return nil
}

// RetireRenewal ends a renewal now instead of after the overlap.
func (a *Appliance) RetireRenewal() error {
	peers := a.PeerSerials()
	p := a.CPQ.Progress(peers)
	switch {
	case p.Old == nil && p.Next == nil:
		return errs.New(errs.Conflict, "The CPQ certificate is not being renewed")
	case len(p.Waiting) > 0:
		return errs.New(errs.Conflict, "These peers do not trust the new certificate yet: %s", strings.Join(a.peerNames(p.Waiting), ", "))
	}
	if p.Next != nil && !a.AdvanceRenewal(true) {
		return errs.New(errs.Temporary, "The new CPQ certificate could not be put in use; mail_logs has the cause")
	}
	if !a.AdvanceRenewal(true) {
		return errs.New(errs.Temporary, "The old CPQ certificate could not be removed; mail_logs has the cause")
	}
	return nil
}

func (a *Appliance) peerNames(serials []string) (names []string) {
	for _, p := range a.peers() {
		if slices.Contains(serials, p.ID) {
			names = append(names, p.Name)
		}
	}
	return names
}

// LinkLines says how our CPQ certificate stands, for cpqconfig and certconfig.
func (a *Appliance) LinkLines() []string {
	p := a.CPQ.Progress(a.PeerSerials())
	line := func(what string, c certs.Pair) string {
		return what + c.Pin().String() + ", valid to " + c.Leaf.NotAfter.UTC().Format(day)
	}
	lines := []string{line("CPQ certificate: ", p.Current)}
	if p.Next != nil {
		lines = append(lines, line("  Next, not in use yet: ", *p.Next))
	}
	if p.Old != nil {
		lines = append(lines, line("  Before, until "+p.Since.Add(certs.Overlap).UTC().Format(day)+": ", *p.Old))
	}
	if len(p.Waiting) > 0 {
		lines = append(lines, "  Does not trust the newest yet: "+strings.Join(a.peerNames(p.Waiting), ", "))
	}
	a.met.mu.Lock()
	defer a.met.mu.Unlock()
	for _, peer := range a.peers() {
		text := "Peer " + peer.Name + " (" + peer.ID + "): "
		for i, pin := range peer.Pins {
			if i > 0 {
				text += " or "
			}
			text += pin.String()
		}
		if m, ok := a.met.last[peer.ID]; ok {
			text += ", valid to " + m.end.UTC().Format(day)
		}
		lines = append(lines, text)
	}
	return lines
}

// CPQPins gives the pins that a new peer is told.
func (a *Appliance) CPQPins() (pins []string) {
	for _, p := range a.CPQ.Pins() {
		pins = append(pins, p.String())
	}
	return pins
}

// ExchangeEvery is how often the sides tell each other what is new without
// being asked to.
const ExchangeEvery = 5 * time.Minute

// SamePins reports whether a peer's certificates are those on record.
func SamePins(have []string, s peer.Statement) bool { return slices.Equal(have, s.Pins()) }
