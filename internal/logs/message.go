package logs

import "lazaret/internal/mail"

// MatchedPolicy: the mail policy for all recipients; table is inbound or outbound.
func (m *Mail) MatchedPolicy(mid mail.MID, policy, table string) {
	m.begin(info).mid(mid).s(" matched all recipients for per-recipient policy ").t(policy).s(" in the ").t(table).s(" table").put()
}

// QueuedForDelivery: judged, and on its way.
func (m *Mail) QueuedForDelivery(mid mail.MID) {
	m.begin(info).mid(mid).s(" queued for delivery").put()
}

// Aborted: the message ends here without delivery, and why.
func (m *Mail) Aborted(mid mail.MID, reason string) {
	m.begin(info).s("Message aborted ").mid(mid).s(" ").t(reason).put()
}

// Finished: all recipients are settled.
func (m *Mail) Finished(mid mail.MID, done bool) {
	word := " done"
	if !done {
		word = " aborted"
	}
	m.begin(info).s("Message finished ").mid(mid).s(word).put()
}

// Rewritten: the message goes on under a new number, and who made it so.
func (m *Mail) Rewritten(old, now mail.MID, by string) {
	m.begin(info).mid(old).s(" rewritten to ").mid(now).s(" by ").t(by).put()
}

// Generated: a message was made out of another, by "bcc filter 'name'" and the like.
func (m *Mail) Generated(now, from mail.MID, by string) {
	m.begin(info).mid(now).s(" was generated based on ").mid(from).s(" by ").t(by).put()
}

// GeneratedBounce: a report to the sender was made.
func (m *Mail) GeneratedBounce(now, of mail.MID) {
	m.begin(info).mid(now).s(" was generated for bounce of ").mid(of).put()
}

// DoubleBounce: a recipient of a message without a sender failed; nobody is told.
func (m *Mail) DoubleBounce(mid mail.MID, rid mail.RID, status, reason string) {
	m.begin(info).s("Double bounce: ").mid(mid).s(" to RID ").n(uint64(rid)).s(" - ").t(status).s(" - ").t(reason).put()
}

// AlertSent: administrators are told by mail.
func (m *Mail) AlertSent(class, level, to, subject string) {
	m.begin(info).s("A ").t(class).s("/").t(level).s(" alert was sent to ").t(to).s(" with subject ").q(subject, '"').put()
}

// CustomEntry: what a filter's log-entry says.
func (m *Mail) CustomEntry(mid mail.MID, text string) {
	m.begin(info).mid(mid).s(" Custom Log Entry: ").t(text).put()
}

// Enqueued: the message is for a quarantine at the manager.
func (m *Mail) Enqueued(mid mail.MID, quarantine, reason string) {
	m.begin(info).mid(mid).s(" enqueued for transfer to centralized quarantine ").q(quarantine, '"').s(" (").t(reason).s(")").put()
}

// Mapped: the manager's own number of a message and the gateway's, in one line.
func (m *Mail) Mapped(mid mail.MID, gateway string, gatewayMID mail.MID) {
	m.begin(info).mid(mid).s(" (").mid(gatewayMID).s(" of ").t(gateway).s(") received for centralized quarantine").put()
}

// Quarantined: the message is in the quarantine.
func (m *Mail) Quarantined(mid mail.MID, quarantine, reason string) {
	m.begin(info).mid(mid).s(" quarantined to ").q(quarantine, '"').s(" (").t(reason).s(")").put()
}

// ReleasedFrom: it left one quarantine by release; the cause is manual,
// expired or queue full, seconds is how long it was there.
func (m *Mail) ReleasedFrom(mid mail.MID, quarantine, cause string, seconds int64, stripped bool) {
	m.left(mid, released(stripped)+" from quarantine ", quarantine, cause, seconds)
}

func released(stripped bool) string {
	if stripped {
		return " released (attachments stripped)"
	}
	return " released"
}

// DeletedFrom: it left one quarantine by deletion.
func (m *Mail) DeletedFrom(mid mail.MID, quarantine, cause string, seconds int64) {
	m.left(mid, " deleted from quarantine ", quarantine, cause, seconds)
}

func (m *Mail) left(mid mail.MID, how, quarantine, cause string, seconds int64) {
	m.begin(info).mid(mid).s(how).q(quarantine, '"').s(" (").t(cause).s(") t=").n(uint64(max(seconds, 0))).put()
}

// ReleasedFromAll: it was released everywhere and goes home.
func (m *Mail) ReleasedFromAll(mid mail.MID, stripped bool) {
	m.begin(info).mid(mid).s(released(stripped)).s(" from all quarantines").put()
}

// DeletedFromAll: it is gone.
func (m *Mail) DeletedFromAll(mid mail.MID) {
	m.begin(info).mid(mid).s(" deleted from all quarantines").put()
}

// Restored: what was decided was taken back, and the message is held again.
func (m *Mail) Restored(mid mail.MID, quarantine string) {
	m.begin(info).mid(mid).s(" returned to quarantine ").q(quarantine, '"').s(" (undo)").put()
}

// ScannedAgain: what the engines say now of a message that is held.
func (m *Mail) ScannedAgain(mid mail.MID, found string) {
	m.begin(info).mid(mid).s(" scanned again in quarantine: ").t(found).put()
}

// Moved: it is in another quarantine now.
func (m *Mail) Moved(mid mail.MID, from, to string) {
	m.begin(info).mid(mid).s(" moved from quarantine ").q(from, '"').s(" to quarantine ").q(to, '"').put()
}

// Decided: who decided about a message by hand, and from where. The lines
// above keep their known end, so this is a line of its own (clients section 0).
func (m *Mail) Decided(p mail.Principal, mid mail.MID, what, quarantine string) {
	m.begin(info).s("User ").t(p.Name).s(" from ").t(p.From).s(": ").t(what).s(" ").mid(mid).s(" in quarantine ").q(quarantine, '"').put()
}

// ReleaseFate: what a gateway said became of a release for one recipient, in a
// word; there is its number at the gateway, host and reply are those of the
// server behind it. A line of ours.
func (m *Mail) ReleaseFate(mid mail.MID, rid mail.RID, gateway string, there mail.MID, fate, host, code, reply string) {
	l := m.begin(info).s("Release of ").mid(mid).s(" to RID ").n(uint64(rid)).s(": ").t(fate).s(" at ").t(gateway).s(" as ").mid(there)
	if host != "" {
		l = l.s(" by ").t(host)
	}
	l.s(" (").q(code, '\'').s(", ").q(reply, '\'').s(")").put()
}

// ReleaseRescanned: what a gateway found when it scanned a released message
// again, for one recipient. A line of ours.
func (m *Mail) ReleaseRescanned(mid mail.MID, rid mail.RID, gateway string, there mail.MID, found string) {
	m.begin(info).s("Release of ").mid(mid).s(" to RID ").n(uint64(rid)).s(": rescanned at ").t(gateway).s(" as ").mid(there).s(" (").q(found, '\'').s(")").put()
}

// ReleaseEnded: it is known what became of a release, for all recipients. Proven
// is what servers have taken for everybody; what was thrown away or held again by
// its gateway has ended well, and is not delivered. A line of ours.
func (m *Mail) ReleaseEnded(mid mail.MID, well, delivered bool) {
	word := " failed: it can be released again"
	switch {
	case well && delivered:
		word = " proven"
	case well:
		word = " ended, and not all of it was delivered"
	}
	m.begin(info).s("Release of ").mid(mid).s(word).put()
}
