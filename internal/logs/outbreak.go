package logs

import "lazaret/internal/mail"

// Outbreak: whether an outbreak rule holds the message (reference 5.5).
func (m *Mail) Outbreak(mid mail.MID, positive bool) {
	word := "negative"
	if positive {
		word = "positive"
	}
	m.begin(info).mid(mid).s(" Outbreak Filters: verdict ").s(word).put()
}

// ThreatLevel: what the rule says of the message; behind a positive verdict.
func (m *Mail) ThreatLevel(mid mail.MID, level int, category, kind string) {
	m.begin(info).mid(mid).s(" Threat Level=").n(uint64(level)).s(" Category=").t(category).s(" Type=").t(kind).put()
}

// OutbreakTooBig: the message was not held against outbreak rules (reference
// 5.5).
func (m *Mail) OutbreakTooBig(mid mail.MID, size, limit int64) {
	m.begin(info).mid(mid).s(" was too big (").n(uint64(size)).s("/").n(uint64(limit)).s(") for scanning by VOF").put()
}

// NewReason: another rule holds a message (reference 5.6).
func (m *Mail) NewReason(mid mail.MID, quarantine, reason string) {
	m.begin(info).mid(mid).s(" quarantine ").q(quarantine, '"').s(" new reason (").t(reason).s(")").put()
}
