package logs

// CPQRenewalBegun: the successor of this appliance's CPQ certificate was made;
// peers are told its pin.
func (m *Mail) CPQRenewalBegun(pin, expires string) {
	m.begin(info).s("CPQ certificate renewal begun: new pin ").t(pin).s(" expires ").t(expires).put()
}

// CPQRenewalChanged: the peers trust the successor, which is shown from now on.
func (m *Mail) CPQRenewalChanged(pin string) {
	m.begin(info).s("CPQ certificate changed: ").t(pin).s(" is in use; the old one stays valid").put()
}

// CPQRenewalDone: the old certificate is removed.
func (m *Mail) CPQRenewalDone(pin string) {
	m.begin(info).s("CPQ certificate renewed: ").t(pin).s(" is the only one").put()
}

// PeerPins: a peer told us, provenly, which CPQ certificates it has.
func (m *Mail) PeerPins(name, serial, pins string) {
	m.begin(info).s("CPQ peer ").t(name).s(" (").t(serial).s(") is trusted by pin ").t(pins).put()
}

// PeerMoved: a manager told its gateway, provenly, where it takes mail now.
func (m *Mail) PeerMoved(name, serial, addr string) {
	m.begin(info).s("CPQ peer ").t(name).s(" (").t(serial).s(") takes mail at ").t(addr).put()
}

// CertificateLoaded: changed files of a certificate are in use.
func (m *Mail) CertificateLoaded(name, expires string) {
	m.begin(info).s("Certificate ").t(name).s(" was read anew: expires ").t(expires).put()
}
