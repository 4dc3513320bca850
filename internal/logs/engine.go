package logs

import "lazaret/internal/mail"

// Split: a part of the message goes on under a number of its own (reference
// 5.4).
func (m *Mail) Split(of, now mail.MID, policy, table string) {
	m.begin(info).mid(of).s(" was split creating ").mid(now).s(" due to a per-recipient policy ").t(policy).s(" in the ").t(table).s(" table").put()
}

// InterimVerdict: what one antivirus engine says (reference 5.5).
func (m *Mail) InterimVerdict(mid mail.MID, scan mail.Scan) {
	word := map[mail.Verdict]string{mail.Clean: "CLEAN", mail.Repaired: "REPAIRED", mail.Encrypted: "ENCRYPTED", mail.Unscannable: "UNSCANNABLE", mail.Infected: "VIRAL"}[scan.Verdict]
	if word == "" {
		word = "UNSCANNED"
	}
	l := m.begin(info).mid(mid).s(" interim AV verdict using ").t(scan.Engine).s(" ").s(word)
	if scan.Cached {
		l = l.s(" (cached)")
	}
	l.put()
}

// Antivirus: the verdict that counts (reference 5.5). What no engine has
// finished with has a line of our own.
// released tells of mail that came back from Outbreak, where a virus is
// expected to be found on the way out.
func (m *Mail) Antivirus(mid mail.MID, scan mail.Scan, released bool) {
	l := m.begin(info).mid(mid).s(" antivirus ")
	switch scan.Verdict {
	case mail.Clean:
		l = l.s("negative")
	case mail.Infected:
		l = l.s("positive ").q(scan.Name, '\'')
		if released {
			l = l.s(" (released from Outbreak)")
		}
	case mail.Encrypted:
		l = l.s("encrypted")
	case mail.Unscannable:
		l = l.s("unscannable ").q(scan.Name, '\'')
	case mail.Repaired:
		l = l.s("repaired ").q(scan.Name, '\'')
	default:
		l = l.s("unscanned ").q(scan.Name, '\'')
	}
	l.put()
}

// SenderAuth: what SPF, DKIM, DMARC and ARC say of the sender. The line is
// ours; its order is that of the checks.
func (m *Mail) SenderAuth(mid mail.MID, a mail.SenderAuth) {
	l := m.begin(info).mid(mid).s(" SPF: ").t(a.SPF).s(" DKIM:")
	if len(a.DKIM) == 0 {
		l = l.s(" none")
	}
	for _, d := range a.DKIM {
		l = l.s(" ").t(d)
	}
	l = l.s(" DMARC: ").t(a.DMARC)
	if a.Author != "" {
		l = l.s(" (from domain ").t(a.Author)
		if a.Policy != "" {
			l = l.s(", policy ").t(a.Policy)
		}
		l = l.s(")")
	}
	if a.ARC != "" {
		l = l.s(" ARC: ").t(a.ARC)
	}
	l.put()
}

// Antispam: what the anti-spam engine says (reference 5.5). What it did not
// finish with has a line of our own.
func (m *Mail) Antispam(mid mail.MID, s mail.Spam) {
	l := m.begin(info).mid(mid).s(" using engine: ").t(s.Engine)
	if s.Verdict == mail.SpamUnknown {
		l.s(" spam unknown ").q(s.Reason, '\'').put()
		return
	}
	l.s(" spam ").s(s.Verdict.String()).put()
}

// FileAnalysis: what the analyser says of attachments (reference 5.5 for what is
// malicious; the other words are our own).
func (m *Mail) FileAnalysis(mid mail.MID, a mail.Analysis) {
	word := map[mail.FileVerdict]string{mail.FileClean: "CLEAN", mail.FilePending: "PENDING", mail.FileUnscannable: "UNSCANNABLE", mail.FileUnscanned: "UNSCANNED", mail.FileMalicious: "MALWARE"}[a.Verdict]
	l := m.begin(info).mid(mid).s(" AMP file reputation verdict : ").s(word)
	if a.Name != "" {
		l = l.s(" ").q(a.Name, '\'')
	}
	l.put()
}

// DLPViolation: a DLP policy is violated (reference 5.4).
func (m *Mail) DLPViolation(mid mail.MID, severity string, risk int, policy string) {
	m.begin(info).mid(mid).s(" DLP violation. Severity: ").t(severity).s(" (Risk Factor: ").n(uint64(risk)).s("). DLP policy match: ").q(policy, '\'').s(".").put()
}
