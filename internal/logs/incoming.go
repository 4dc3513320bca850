package logs

import (
	"net/netip"
	"strings"

	"lazaret/internal/mail"
)

// NewICID: a connection came in. The protocol is SMTP or CPQ, verified is yes,
// no or unknown.
func (m *Mail) NewICID(protocol string, icid mail.ICID, iface string, local, remote netip.Addr, host, verified string) {
	m.begin(info).s("New ").t(protocol).s(" ").icid(icid).s(" interface ").t(iface).s(" (").s(local.String()).s(") address ").
		s(remote.String()).s(" reverse dns host ").t(host).s(" verified ").t(verified).put()
}

// HAT: what the host access table decided.
func (m *Mail) HAT(icid mail.ICID, action, group, match, sbrs string) {
	m.begin(info).icid(icid).s(" ").t(action).s(" SG ").t(group).s(" match ").t(match).s(" SBRS ").t(sbrs).put()
}

// ICIDTLSSuccess: the client and we speak TLS.
func (m *Mail) ICIDTLSSuccess(icid mail.ICID, protocol, cipher string) {
	m.begin(info).icid(icid).s(" TLS success protocol ").t(tlsName(protocol)).s(" cipher ").t(cipher).put()
}

// ICIDTLSFailed: the handshake failed, and why.
func (m *Mail) ICIDTLSFailed(icid mail.ICID, cause string) {
	m.begin(info).icid(icid).s(" TLS failed: ").t(cause).put()
}

// ICIDTLSRequired: the policy asks for TLS and the client did not start it.
func (m *Mail) ICIDTLSRequired(icid mail.ICID) {
	m.begin(info).icid(icid).s(" TLS was required but remote host did not initiate it").put()
}

// SMTPAuth: a client logged in, or failed to; the mechanism and the list of users
// it was looked for in. The password is not among what is given here.
func (m *Mail) SMTPAuth(icid mail.ICID, ok bool, user, mechanism, profile string) {
	how := "failed"
	if ok {
		how = "succeeded"
	}
	m.begin(info).s("SMTP Auth: (").icid(icid).s(") ").s(how).s(" for user: ").t(clip(user)).s(" using AUTH mechanism: ").
		t(mechanism).s(" with profile: ").t(profile).put()
}

// ICIDLost: the connection broke.
func (m *Mail) ICIDLost(icid mail.ICID) { m.begin(info).icid(icid).s(" lost").put() }

// ICIDClose: the connection is closed.
func (m *Mail) ICIDClose(icid mail.ICID) { m.begin(info).icid(icid).s(" close").put() }

// ICIDIdle: the client said nothing of use for too long.
func (m *Mail) ICIDIdle(icid mail.ICID, remote netip.Addr) {
	m.begin(info).icid(icid).s(" disconnected address ").s(remote.String()).s(", no messages injected within timeout period").put()
}

// ReceivingFailed: a message or connection was refused, and why.
func (m *Mail) ReceivingFailed(icid mail.ICID, reason string) {
	m.begin(info).icid(icid).s(" Receiving Failed: ").t(reason).put()
}

// UnknownCommand: the client said something that is no command.
func (m *Mail) UnknownCommand(icid mail.ICID, text string) {
	m.begin(info).icid(icid).s(" Unknown command: ").t(clip(text)).put()
}

// BadSyntax: the client said a command wrongly.
func (m *Mail) BadSyntax(icid mail.ICID, text string) {
	m.begin(info).icid(icid).s(" Bad syntax for command: ").t(clip(text)).put()
}

// Start: a message begins. A message made inside has ICID 0.
func (m *Mail) Start(mid mail.MID, icid mail.ICID) {
	m.begin(info).s("Start ").mid(mid).s(" ").icid(icid).put()
}

// From: the envelope sender.
func (m *Mail) From(mid mail.MID, icid mail.ICID, from mail.Address) {
	m.begin(info).mid(mid).s(" ").icid(icid).s(" From: ").path(from).put()
}

// To: one envelope recipient that was accepted.
func (m *Mail) To(mid mail.MID, icid mail.ICID, rid mail.RID, to mail.Address) {
	m.begin(info).mid(mid).s(" ").icid(icid).s(" RID ").n(uint64(rid)).s(" To: ").path(to).put()
}

// ToRejected: one that was not, and what rejected it, such as RAT.
func (m *Mail) ToRejected(mid mail.MID, icid mail.ICID, to mail.Address, by string) {
	m.begin(info).mid(mid).s(" ").icid(icid).s(" To: ").path(to).s(" Rejected by ").t(by).put()
}

// MessageID: the message's own identifier.
func (m *Mail) MessageID(mid mail.MID, id string) {
	m.begin(info).mid(mid).s(" Message-ID ").q(id, '\'').put()
}

// Subject: in double quotes, as the programs read it (clients section 5).
func (m *Mail) Subject(mid mail.MID, text string) {
	m.begin(info).mid(mid).s(" Subject ").q(text, '"').put()
}

// Ready: the message is whole and safe.
func (m *Mail) Ready(mid mail.MID, size int64, from mail.Address) {
	m.begin(info).mid(mid).s(" ready ").n(uint64(max(size, 0))).s(" bytes from ").path(from).put()
}

// ReceivingAborted: the message did not become whole.
func (m *Mail) ReceivingAborted(mid mail.MID) { m.Aborted(mid, "Receiving aborted") }

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

// tlsName writes a version as the field does: TLSv1.3.
func tlsName(version string) string {
	if rest, ok := strings.CutPrefix(version, "TLS "); ok {
		return "TLSv" + rest
	}
	return version
}
