package logs

import (
	"net/netip"

	"lazaret/internal/mail"
)

// SenderRejected: the envelope sender was not taken, and why.
func (m *Mail) SenderRejected(icid mail.ICID, from mail.Address, why string) {
	m.begin(info).icid(icid).s(" Address: ").path(from).s(" sender rejected, ").t(why).put()
}

// ICIDTooLong: the connection was closed to make room for others.
func (m *Mail) ICIDTooLong(icid mail.ICID, remote netip.Addr) {
	m.begin(info).icid(icid).s(" disconnected address ").s(remote.String()).s(", exceeded allowable connection time").put()
}

// ReputationFailed: a DNS list or a source of scores gives no answers.
func (m *Mail) ReputationFailed(source, cause string) {
	m.begin(warning).s("Reputation: ").t(source).s(": ").t(cause).s("; connections are judged without it").put()
}
