package logs

import (
	"net/netip"
	"time"

	"lazaret/internal/mail"
)

// NewDCID: a delivery connection is open.
func (m *Mail) NewDCID(dcid mail.DCID, local, remote netip.Addr, port uint16) {
	m.begin(info).s("New SMTP ").dcid(dcid).s(" interface ").s(local.String()).s(" address ").s(remote.String()).s(" port ").n(uint64(port)).put()
}

// DCIDTLSSuccess: name is the destination, such as the.cpq.host, or nothing.
func (m *Mail) DCIDTLSSuccess(dcid mail.DCID, protocol, cipher, name string) {
	l := m.begin(info).dcid(dcid).s(" TLS success protocol ").t(tlsName(protocol)).s(" cipher ").t(cipher)
	if name != "" {
		l = l.s(" ").t(name)
	}
	l.put()
}

// DCIDTLSFailed: the handshake or the check of the peer failed, and why.
func (m *Mail) DCIDTLSFailed(dcid mail.DCID, cause string) {
	m.begin(info).dcid(dcid).s(" TLS failed: ").t(cause).put()
}

// DCIDTLSRequired: so nothing was sent.
func (m *Mail) DCIDTLSRequired(dcid mail.DCID) {
	m.begin(info).dcid(dcid).s(" TLS was required but could not be successfully negotiated").put()
}

// DCIDTLSVerified: the peer proved who it is, and by what.
func (m *Mail) DCIDTLSVerified(dcid mail.DCID, by string) {
	m.begin(info).dcid(dcid).s(" TLS verified: ").t(by).put()
}

// TLSRequiredFailed: no host of a domain met what is demanded of TLS, by the
// destination controls or by the domain itself. The mail waits.
func (m *Mail) TLSRequiredFailed(domain, why string) {
	m.begin(warning).s("TLS to ").t(domain).s(" is required and failed: ").t(why).put()
}

// DeliveryStart: a message begins on a connection.
func (m *Mail) DeliveryStart(dcid mail.DCID, mid mail.MID, rids []mail.RID, cpq bool) {
	l := m.begin(info).s("Delivery start ").dcid(dcid).s(" ").mid(mid).s(" to RID ").rids(rids)
	if cpq {
		l = l.s(" to Centralized Policy Quarantine")
	}
	l.put()
}

// MessageDone: the other side has taken it.
func (m *Mail) MessageDone(dcid mail.DCID, mid mail.MID, rids []mail.RID, cpq bool) {
	l := m.begin(info).s("Message done ").dcid(dcid).s(" ").mid(mid).s(" to RID ").rids(rids)
	if cpq {
		l = l.s(" (centralized policy quarantine)")
	}
	l.put()
}

// Response: what the other side said to it.
func (m *Mail) Response(mid mail.MID, rids []mail.RID, text string) {
	m.begin(info).mid(mid).s(" RID ").rids(rids).s(" Response ").q(text, '\'').put()
}

// Bounced: the recipient failed for good. Code has three digits, "000" without
// a reply; texts are the lines of the reply.
func (m *Mail) Bounced(dcid mail.DCID, mid mail.MID, rid mail.RID, status, reason, code string, texts []string) {
	m.failed("Bounced: ", dcid, mid, rid, status, reason, code, texts)
}

// Delayed: the recipient failed for now.
func (m *Mail) Delayed(dcid mail.DCID, mid mail.MID, rid mail.RID, status, reason, code string, texts []string) {
	m.failed("Delayed: ", dcid, mid, rid, status, reason, code, texts)
}

func (m *Mail) failed(word string, dcid mail.DCID, mid mail.MID, rid mail.RID, status, reason, code string, texts []string) {
	l := m.begin(info).s(word).dcid(dcid).s(" ").mid(mid).s(" to RID ").n(uint64(rid)).s(" - ").t(status).s(" - ").t(reason).
		s(" ('").t(code).s("', [")
	for i, text := range texts {
		if i == 10 {
			break // a reply of a hundred lines does not make a line of 50 KiB
		}
		if i > 0 {
			l = l.s(", ")
		}
		l = l.q(text, '\'')
	}
	l.s("])").put()
}

// Pending: the recipients are tried again, not before that time.
func (m *Mail) Pending(mid mail.MID, rids []mail.RID, until time.Time) {
	l := m.begin(info).mid(mid).s(" to RID ").rids(rids).s(" pending till ")
	l.b = until.AppendFormat(l.b, stampLayout[:len(stampLayout)-1])
	l.put()
}

// PossibleDelivery: the connection died after the final dot; the other side
// may have taken it.
func (m *Mail) PossibleDelivery(dcid mail.DCID, mid mail.MID, rids []mail.RID) {
	m.begin(info).s("Possible Delivery: ").dcid(dcid).s(" ").mid(mid).s(" to RID ").rids(rids).put()
}

// ConnectionError: no connection, or none of use.
func (m *Mail) ConnectionError(dcid mail.DCID, domain string, remote netip.Addr, port uint16, details string, local netip.Addr, reason string) {
	m.begin(info).s("Connection Error: ").dcid(dcid).s(" domain: ").t(domain).s(" IP: ").s(remote.String()).s(" port: ").n(uint64(port)).
		s(" details: ").t(details).s(" interface: ").s(local.String()).s(" reason: ").t(reason).put()
}

// Deleted: recipients taken out of the queue by hand.
func (m *Mail) Deleted(mid mail.MID, rids []mail.RID) {
	m.begin(info).s("Deleted: ").mid(mid).s(" to ").rids(rids).put()
}

// Suspended: deliveries to the domains rest, by hand.
func (m *Mail) Suspended(domains string) {
	m.begin(info).s("Deliveries are currently suspended [").t(domains).s("]").put()
}

// DCIDClose: the delivery connection is closed.
func (m *Mail) DCIDClose(dcid mail.DCID) { m.begin(info).dcid(dcid).s(" close").put() }
