package logs

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"lazaret/internal/mail"
)

// collect keeps lines.
type collect struct{ b []byte }

func (c *collect) WriteLine(line []byte) { c.b = append(c.b, line...) }

func at(stamp string) func() time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", stamp)
	if err != nil {
		panic(err)
	}
	return func() time.Time { return t }
}

var (
	here  = netip.MustParseAddr("10.10.20.1")
	there = netip.MustParseAddr("10.10.10.1")
	v6    = netip.MustParseAddr("2001:db8::7")
	ann   = mail.Address{Local: "ann", Domain: "example.com"}
	admin = mail.Principal{Name: "admin", Role: mail.Administrator, From: "192.0.2.9", Via: "ssh"}
)

// golden is one line of the catalogue: what it proves, the text after the
// frame, and the call that makes it.
type golden struct {
	method, proves, want string
	call                 func(m *Mail)
}

var catalogue = []golden{
	// The seed, character for character.
	{"NewICID", "the seed's CPQ line (its page breaks it in two)",
		"Info: New CPQ ICID 12345 interface Management (10.10.10.1) address 10.10.20.1 reverse dns host unknown verified no",
		func(m *Mail) { m.NewICID("CPQ", 12345, "Management", there, here, "unknown", "no") }},
	{"NewDCID", "the seed: the custom port stands at the end, for grep \"port 7025\"",
		"Info: New SMTP DCID 12345 interface 10.10.20.1 address 10.10.10.1 port 7025",
		func(m *Mail) { m.NewDCID(12345, here, there, 7025) }},
	{"DCIDTLSSuccess", "the seed: the destination's name behind the cipher",
		"Info: DCID 12345 TLS success protocol TLSv1 cipher RC4-SHA the.cpq.host",
		func(m *Mail) { m.DCIDTLSSuccess(12345, "TLSv1", "RC4-SHA", "the.cpq.host") }},
	{"DeliveryStart", "the seed: capitals here ...",
		"Info: Delivery start DCID 12345 MID 23456 to RID [0] to Centralized Policy Quarantine",
		func(m *Mail) { m.DeliveryStart(12345, 23456, []mail.RID{0}, true) }},
	{"MessageDone", "the seed: ... and none here",
		"Info: Message done DCID 12345 MID 23456 to RID [0] (centralized policy quarantine)",
		func(m *Mail) { m.MessageDone(12345, 23456, []mail.RID{0}, true) }},
	{"SMTPAuth", "as the original writes it; a name from outside is escaped",
		`Info: SMTP Auth: (ICID 12345) succeeded for user: ann\x0d\x0aInfo: using AUTH mechanism: PLAIN with profile: local`,
		func(m *Mail) { m.SMTPAuth(12345, true, "ann\r\nInfo:", "PLAIN", "local") }},
	{"SMTPAuth", "and a login that failed",
		"Info: SMTP Auth: (ICID 12345) failed for user: ann using AUTH mechanism: LOGIN with profile: local",
		func(m *Mail) { m.SMTPAuth(12345, false, "ann", "LOGIN", "local") }},
	{"DCIDClose", "the seed", "Info: DCID 12345 close", func(m *Mail) { m.DCIDClose(12345) }},
	{"DCIDTLSFailed", "the seed: the cause stands behind verify error:",
		"Info: DCID 123456 TLS failed: verify error: no certificate from server",
		func(m *Mail) { m.DCIDTLSFailed(123456, "verify error: no certificate from server") }},
	{"DCIDTLSRequired", "the seed",
		"Info: DCID 123456 TLS was required but could not be successfully negotiated",
		func(m *Mail) { m.DCIDTLSRequired(123456) }},
	{"DCIDTLSVerified", "what proved the name", "Info: DCID 5 TLS verified: DANE, TLSA 3 1 1 of mx.example.com",
		func(m *Mail) { m.DCIDTLSVerified(5, "DANE, TLSA 3 1 1 of mx.example.com") }},
	{"TLSRequiredFailed", "one warning for a domain, not one for each host", "Warning: TLS to example.com is required and failed: no \\x07 TLSA record matches",
		func(m *Mail) { m.TLSRequiredFailed("example.com", "no \x07 TLSA record matches") }},

	// Reference 5.2, incoming connections.
	{"NewICID", "SMTP, with a verified name",
		"Info: New SMTP ICID 282 interface IncomingMail (10.10.20.1) address 2001:db8::7 reverse dns host mail.example.com verified yes",
		func(m *Mail) { m.NewICID("SMTP", 282, "IncomingMail", here, v6, "mail.example.com", "yes") }},
	{"HAT", "group, entry and score", "Info: ICID 282 RELAY SG RELAYLIST match 10.2.2.0/24 SBRS rfc1918",
		func(m *Mail) { m.HAT(282, "RELAY", "RELAYLIST", "10.2.2.0/24", "rfc1918") }},
	{"HAT", "a refused connection has no ICID", "Info: ICID 0 TCPREFUSE SG BLACKLIST match 10.2.2.2 SBRS None",
		func(m *Mail) { m.HAT(0, "TCPREFUSE", "BLACKLIST", "10.2.2.2", "None") }},
	{"ICIDTLSSuccess", "crypto/tls says TLS 1.3, the field TLSv1.3", "Info: ICID 282 TLS success protocol TLSv1.3 cipher TLS_AES_128_GCM_SHA256",
		func(m *Mail) { m.ICIDTLSSuccess(282, "TLS 1.3", "TLS_AES_128_GCM_SHA256") }},
	{"ICIDTLSFailed", "the accepting side names the cause too", "Info: ICID 282 TLS failed: no certificate from client",
		func(m *Mail) { m.ICIDTLSFailed(282, "no certificate from client") }},
	{"ICIDTLSRequired", "the policy demands TLS", "Info: ICID 282 TLS was required but remote host did not initiate it",
		func(m *Mail) { m.ICIDTLSRequired(282) }},
	{"ICIDLost", "nothing follows the word", "Info: ICID 282 lost", func(m *Mail) { m.ICIDLost(282) }},
	{"ICIDClose", "nothing follows the word", "Info: ICID 282 close", func(m *Mail) { m.ICIDClose(282) }},
	{"ICIDIdle", "the address without a port", "Info: ICID 282 disconnected address 10.10.10.1, no messages injected within timeout period",
		func(m *Mail) { m.ICIDIdle(282, there) }},
	{"ReceivingFailed", "two capitals", "Info: ICID 282 Receiving Failed: Message loop", func(m *Mail) { m.ReceivingFailed(282, "Message loop") }},
	{"SenderRejected", "the address with its brackets", "Info: ICID 282 Address: <ann@example.com> sender rejected, envelope sender domain does not exist",
		func(m *Mail) { m.SenderRejected(282, ann, "envelope sender domain does not exist") }},
	{"ICIDTooLong", "the address without a port", "Info: ICID 282 disconnected address 10.10.10.1, exceeded allowable connection time",
		func(m *Mail) { m.ICIDTooLong(282, there) }},
	{"ReputationFailed", "a warning: mail goes on", "Warning: Reputation: DNS list zone.example: no name server answered; connections are judged without it",
		func(m *Mail) { m.ReputationFailed("DNS list zone.example", "no name server answered") }},
	{"UnknownCommand", "the client's own text, harmless", `Info: ICID 282 Unknown command: \x1b[2JGET / HTTP/1.1`,
		func(m *Mail) { m.UnknownCommand(282, "\x1b[2JGET / HTTP/1.1") }},
	{"BadSyntax", "at most 200 bytes of it", "Info: ICID 282 Bad syntax for command: " + strings.Repeat("A", 200) + "...",
		func(m *Mail) { m.BadSyntax(282, strings.Repeat("A", 5000)) }},

	// Reference 5.3, receipt.
	{"Start", "a message made inside has ICID 0", "Info: Start MID 6 ICID 0", func(m *Mail) { m.Start(6, 0) }},
	{"From", "the address in angle brackets", "Info: MID 6 ICID 5 From: <ann@example.com>", func(m *Mail) { m.From(6, 5, ann) }},
	{"From", "the null path", "Info: MID 6 ICID 5 From: <>", func(m *Mail) { m.From(6, 5, mail.Address{}) }},
	{"To", "the recipient's number", "Info: MID 6 ICID 5 RID 0 To: <ann@example.com>", func(m *Mail) { m.To(6, 5, 0, ann) }},
	{"ToRejected", "no number when refused", "Info: MID 6 ICID 5 To: <ann@example.com> Rejected by RAT", func(m *Mail) { m.ToRejected(6, 5, ann, "RAT") }},
	{"MessageID", "single quotes; one inside is escaped", `Info: MID 6 Message-ID '<it\'s@host>'`, func(m *Mail) { m.MessageID(6, "<it's@host>") }},
	{"Subject", "double quotes (clients section 5); one inside is escaped", `Info: MID 6 Subject "say \"hello\""`, func(m *Mail) { m.Subject(6, `say "hello"`) }},
	{"Subject", "letters beyond ASCII stay", `Info: MID 6 Subject "Grüße aus Köln"`, func(m *Mail) { m.Subject(6, "Grüße aus Köln") }},
	{"Ready", "size and sender again", "Info: MID 6 ready 24663 bytes from <ann@example.com>", func(m *Mail) { m.Ready(6, 24663, ann) }},
	{"ReceivingAborted", "the one abort that is not a decision", "Info: Message aborted MID 6 Receiving aborted", func(m *Mail) { m.ReceivingAborted(6) }},

	// Reference 5.4, judgement.
	{"MatchedPolicy", "readers cut the policy's name out of this", "Info: MID 6 matched all recipients for per-recipient policy DEFAULT in the inbound table",
		func(m *Mail) { m.MatchedPolicy(6, "DEFAULT", "inbound") }},
	{"QueuedForDelivery", "nothing follows", "Info: MID 6 queued for delivery", func(m *Mail) { m.QueuedForDelivery(6) }},
	{"Aborted", "the filter's name in single quotes comes with the reason", "Info: Message aborted MID 6 Dropped by filter 'x'",
		func(m *Mail) { m.Aborted(6, "Dropped by filter 'x'") }},
	{"Finished", "the line ends behind the word: a reader demands it", "Info: Message finished MID 6 done", func(m *Mail) { m.Finished(6, true) }},
	{"Finished", "likewise", "Info: Message finished MID 6 aborted", func(m *Mail) { m.Finished(6, false) }},
	{"SenderAuth", "all checks on one line", "Info: MID 6 SPF: softfail DKIM: fail pass DMARC: fail (from domain partner.example, policy reject) ARC: pass",
		func(m *Mail) {
			m.SenderAuth(6, mail.SenderAuth{SPF: "softfail", DKIM: []string{"fail", "pass"}, DMARC: "fail", Author: "partner.example", Policy: "reject", ARC: "pass"})
		}},
	{"SenderAuth", "no signature, no author", "Info: MID 6 SPF: none DKIM: none DMARC: permerror", func(m *Mail) { m.SenderAuth(6, mail.SenderAuth{SPF: "none", DMARC: "permerror"}) }},
	{"Antispam", "the engine's word", "Info: MID 6 using engine: Rspamd spam positive", func(m *Mail) { m.Antispam(6, mail.Spam{Engine: "Rspamd", Verdict: mail.SpamPositive}) }},
	{"DLPViolation", "5.4", "Info: MID 111 DLP violation. Severity: LOW (Risk Factor: 15). DLP policy match: 'name'.", func(m *Mail) { m.DLPViolation(111, "LOW", 15, "name") }},
	{"FileAnalysis", "5.5, and our own: the name", "Info: MID 6 AMP file reputation verdict : MALWARE 'Bad'", func(m *Mail) { m.FileAnalysis(6, mail.Analysis{Verdict: mail.FileMalicious, Name: "Bad"}) }},
	{"FileAnalysis", "our own: it goes on", "Info: MID 6 AMP file reputation verdict : PENDING", func(m *Mail) { m.FileAnalysis(6, mail.Analysis{Verdict: mail.FilePending}) }},
	{"Antispam", "our own: no finished answer", "Info: MID 6 using engine: Rspamd spam unknown 'it is away'", func(m *Mail) { m.Antispam(6, mail.Spam{Engine: "Rspamd", Reason: "it is away"}) }},
	{"Outbreak", "a rule holds it", "Info: MID 6 Outbreak Filters: verdict positive", func(m *Mail) { m.Outbreak(6, true) }},
	{"Outbreak negative", "none does", "Info: MID 6 Outbreak Filters: verdict negative", func(m *Mail) { m.Outbreak(6, false) }},
	{"ThreatLevel", "what the rule says", "Info: MID 6 Threat Level=4 Category=Phish Type=Password", func(m *Mail) { m.ThreatLevel(6, 4, "Phish", "Password") }},
	{"OutbreakTooBig", "size and limit", "Info: MID 6 was too big (455698/120000) for scanning by VOF", func(m *Mail) { m.OutbreakTooBig(6, 455698, 120000) }},
	{"NewReason", "another rule holds it", "Info: MID 482 quarantine \"Outbreak\" new reason (VOF rule:OUTBREAK_0000232)", func(m *Mail) { m.NewReason(482, "Outbreak", "VOF rule:OUTBREAK_0000232") }},
	{"Split", "the part has a number of its own", "Info: MID 58 was split creating MID 60 due to a per-recipient policy Sales in the inbound table", func(m *Mail) { m.Split(58, 60, "Sales", "inbound") }},
	{"InterimVerdict", "one engine's word", "Info: MID 6 interim AV verdict using ClamAV VIRAL", func(m *Mail) { m.InterimVerdict(6, mail.Scan{Verdict: mail.Infected, Engine: "ClamAV"}) }},
	{"InterimVerdict-cached", "known from the same content", "Info: MID 6 interim AV verdict using ClamAV CLEAN (cached)", func(m *Mail) { m.InterimVerdict(6, mail.Scan{Verdict: mail.Clean, Engine: "ClamAV", Cached: true}) }},
	{"InterimVerdict unscanned", "no finished answer is no verdict", "Info: MID 6 interim AV verdict using ClamAV UNSCANNED", func(m *Mail) { m.InterimVerdict(6, mail.Scan{Engine: "ClamAV"}) }},
	{"Antivirus", "clean", "Info: MID 6 antivirus negative", func(m *Mail) { m.Antivirus(6, mail.Scan{Verdict: mail.Clean}, false) }},
	{"Antivirus positive", "the name is the engine's, in quotes", "Info: MID 6 antivirus positive 'EICAR-AV-Test'", func(m *Mail) { m.Antivirus(6, mail.Scan{Verdict: mail.Infected, Name: "EICAR-AV-Test"}, false) }},
	{"Antivirus released", "found on the way out of Outbreak", "Info: MID 6 antivirus positive 'W32/Name' (released from Outbreak)", func(m *Mail) { m.Antivirus(6, mail.Scan{Verdict: mail.Infected, Name: "W32/Name"}, true) }},
	{"Antivirus encrypted", "", "Info: MID 6 antivirus encrypted", func(m *Mail) { m.Antivirus(6, mail.Scan{Verdict: mail.Encrypted, Name: "x"}, false) }},
	{"Antivirus unscannable", "why", "Info: MID 6 antivirus unscannable 'too deep'", func(m *Mail) { m.Antivirus(6, mail.Scan{Verdict: mail.Unscannable, Name: "too deep"}, false) }},
	{"Antivirus repaired", "what was taken out", "Info: MID 6 antivirus repaired 'W32/Name'", func(m *Mail) { m.Antivirus(6, mail.Scan{Verdict: mail.Repaired, Name: "W32/Name"}, false) }},
	{"Antivirus unscanned", "our own: no engine has finished", "Info: MID 6 antivirus unscanned 'the scanner does not answer'", func(m *Mail) { m.Antivirus(6, mail.Scan{Name: "the scanner does not answer"}, false) }},
	{"Rewritten", "old number, new number, cause", "Info: MID 501 rewritten to MID 533 by Policy Quarantine", func(m *Mail) { m.Rewritten(501, 533, "Policy Quarantine") }},
	{"Generated", "with \"was\"", "Info: MID 14 was generated based on MID 13 by bcc filter 'copy'", func(m *Mail) { m.Generated(14, 13, "bcc filter 'copy'") }},
	{"GeneratedBounce", "of reference 5.4", "Info: MID 515 was generated for bounce of MID 511", func(m *Mail) { m.GeneratedBounce(515, 511) }},
	{"DoubleBounce", "of reference 5.8", "Info: Double bounce: MID 6 to RID 0 - 5.1.0 - 550 no\\x0asuch user", func(m *Mail) { m.DoubleBounce(6, 0, "5.1.0", "550 no\nsuch user") }},
	{"AlertSent", "of reference 5.10", `Info: A System/Warning alert was sent to ops@example.com with subject "Warning <System> gw1.example.com: disk"`, func(m *Mail) {
		m.AlertSent("System", "Warning", "ops@example.com", "Warning <System> gw1.example.com: disk")
	}},
	{"CustomEntry", "a filter's own words", "Info: MID 6 Custom Log Entry: seen", func(m *Mail) { m.CustomEntry(6, "seen") }},

	// Reference 5.6, quarantine, and clients section 3.
	{"Enqueued", "the one line by which a public consumer knows a transfer", `Info: MID 6 enqueued for transfer to centralized quarantine "Policy" (message filter:hold)`,
		func(m *Mail) { m.Enqueued(6, "Policy", "message filter:hold") }},
	{"Mapped", "both numbers, the manager's in front of a bracket", "Info: MID 44 (MID 501 of gw1) received for centralized quarantine",
		func(m *Mail) { m.Mapped(44, "gw1", 501) }},
	{"Quarantined", "name in double quotes, reason in brackets", `Info: MID 482 quarantined to "Policy" (message filter:policy_violation)`,
		func(m *Mail) { m.Quarantined(482, "Policy", "message filter:policy_violation") }},
	{"ReleasedFrom", "cause and seconds", `Info: MID 483 released from quarantine "Policy" (manual) t=69`, func(m *Mail) { m.ReleasedFrom(483, "Policy", "manual", 69, false) }},
	{"ReleasedFrom", "stripped on the way", `Info: MID 483 released (attachments stripped) from quarantine "Outbreak" (queue full) t=190`, func(m *Mail) { m.ReleasedFrom(483, "Outbreak", "queue full", 190, true) }},
	{"DeletedFrom", "likewise", `Info: MID 484 deleted from quarantine "Virus" (expired) t=2592003`, func(m *Mail) { m.DeletedFrom(484, "Virus", "expired", 2592003) }},
	{"ReleasedFromAll", "one line for all", "Info: MID 483 released from all quarantines", func(m *Mail) { m.ReleasedFromAll(483, false) }},
	{"ReleasedFromAll", "stripped on the way", "Info: MID 483 released (attachments stripped) from all quarantines", func(m *Mail) { m.ReleasedFromAll(483, true) }},
	{"DeletedFromAll", "one line for all", "Info: MID 484 deleted from all quarantines", func(m *Mail) { m.DeletedFromAll(484) }},
	{"ScannedAgain", "our own: held mail, judged anew", `Info: MID 44 scanned again in quarantine: infected Worm`, func(m *Mail) { m.ScannedAgain(44, "infected Worm") }},
	{"Restored", "undo has a line of its own", `Info: MID 44 returned to quarantine "Policy" (undo)`, func(m *Mail) { m.Restored(44, "Policy") }},
	{"Moved", "both quarantines", `Info: MID 44 moved from quarantine "Policy" to quarantine "Legal"`, func(m *Mail) { m.Moved(44, "Policy", "Legal") }},
	{"Decided", "who did it, on a line of its own", `Info: User admin from 192.0.2.9: released MID 44 in quarantine "Policy"`,
		func(m *Mail) { m.Decided(admin, 44, "released", "Policy") }},

	{"ReleaseFate", "what a server behind the gateway said, escaped", `Info: Release of MID 44 to RID 1: accepted at gw1.example.com as MID 533 by mx1.example.org ('250', '2.0.0 it\'s \x1b[31m ok')`,
		func(m *Mail) {
			m.ReleaseFate(44, 1, "gw1.example.com", 533, "accepted", "mx1.example.org", "250", "2.0.0 it's \x1b[31m ok")
		}},
	{"ReleaseFate", "nobody answered", `Info: Release of MID 44 to RID 0: waiting at gw1.example.com as MID 533 ('000', 'connection refused')`,
		func(m *Mail) {
			m.ReleaseFate(44, 0, "gw1.example.com", 533, "waiting", "", "000", "connection refused")
		}},
	{"ReleaseRescanned", "what its gateway found, escaped", `Info: Release of MID 44 to RID 0: rescanned at gw1.example.com as MID 533 ('infected W\x1b[31m, held again in Virus')`,
		func(m *Mail) {
			m.ReleaseRescanned(44, 0, "gw1.example.com", 533, "infected W\x1b[31m, held again in Virus")
		}},
	{"ReleaseEnded", "delivery is proven", "Info: Release of MID 44 proven", func(m *Mail) { m.ReleaseEnded(44, true, true) }},
	{"ReleaseEnded", "held again, or thrown away", "Info: Release of MID 44 ended, and not all of it was delivered", func(m *Mail) { m.ReleaseEnded(44, true, false) }},
	{"ReleaseEnded", "or not", "Info: Release of MID 44 failed: it can be released again", func(m *Mail) { m.ReleaseEnded(44, false, false) }},

	// Reference 5.8, delivery.
	{"DCIDTLSSuccess", "no blank at the end without a name", "Info: DCID 8 TLS success protocol TLSv1.2 cipher ECDHE-RSA-AES256-SHA384",
		func(m *Mail) { m.DCIDTLSSuccess(8, "TLS 1.2", "ECDHE-RSA-AES256-SHA384", "") }},
	{"DeliveryStart", "the list as [0, 1], and nothing behind it", "Info: Delivery start DCID 8 MID 6 to RID [0, 1]", func(m *Mail) { m.DeliveryStart(8, 6, []mail.RID{0, 1}, false) }},
	{"MessageDone", "likewise", "Info: Message done DCID 8 MID 6 to RID [0]", func(m *Mail) { m.MessageDone(8, 6, []mail.RID{0}, false) }},
	{"Response", "two blanks behind ok: stay two", "Info: MID 501 RID [0] Response 'ok:  Message 44 accepted'",
		func(m *Mail) { m.Response(501, []mail.RID{0}, "ok:  Message 44 accepted") }},
	{"Bounced", "code and lines of the reply as a pair", "Info: Bounced: DCID 8 MID 6 to RID 0 - 5.1.0 - Unknown address error ('550', ['<x>... Relaying denied'])",
		func(m *Mail) {
			m.Bounced(8, 6, 0, "5.1.0", "Unknown address error", "550", []string{"<x>... Relaying denied"})
		}},
	{"Delayed", "several lines", "Info: Delayed: DCID 8 MID 6 to RID 1 - 4.1.0 - Unknown address error ('466', ['Mailbox', 'temporarily full.'])",
		func(m *Mail) {
			m.Delayed(8, 6, 1, "4.1.0", "Unknown address error", "466", []string{"Mailbox", "temporarily full."})
		}},
	{"Pending", "the time as in the frame, day padded", "Info: MID 6 to RID [0] pending till Tue Apr  8 10:15:41 2025",
		func(m *Mail) { m.Pending(6, []mail.RID{0}, time.Date(2025, 4, 8, 10, 15, 41, 0, time.UTC)) }},
	{"PossibleDelivery", "the outcome is not known", "Info: Possible Delivery: DCID 8 MID 6 to RID [0]", func(m *Mail) { m.PossibleDelivery(8, 6, []mail.RID{0}) }},
	{"ConnectionError", "wanted for a CPQ port that is blocked",
		"Info: Connection Error: DCID 8 domain: the.cpq.host IP: 10.10.10.1 port: 7025 details: timeout interface: 10.10.20.1 reason: connection timed out",
		func(m *Mail) {
			m.ConnectionError(8, "the.cpq.host", there, 7025, "timeout", here, "connection timed out")
		}},
	{"Deleted", "deleterecipients", "Info: Deleted: MID 3 to [0]", func(m *Mail) { m.Deleted(3, []mail.RID{0}) }},
	{"Suspended", "suspenddel", "Info: Deliveries are currently suspended [example.com]", func(m *Mail) { m.Suspended("example.com") }},

	// The link's and other certificates.
	{"CPQRenewalBegun", "the pin that peers are told", "Info: CPQ certificate renewal begun: new pin sha256/AAAA expires 2 Jan 2036",
		func(m *Mail) { m.CPQRenewalBegun("sha256/AAAA", "2 Jan 2036") }},
	{"CPQRenewalChanged", "two are valid", "Info: CPQ certificate changed: sha256/AAAA is in use; the old one stays valid", func(m *Mail) { m.CPQRenewalChanged("sha256/AAAA") }},
	{"CPQRenewalDone", "one is valid", "Info: CPQ certificate renewed: sha256/AAAA is the only one", func(m *Mail) { m.CPQRenewalDone("sha256/AAAA") }},
	{"PeerPins", "whom we trust from now on", "Info: CPQ peer gw1.example.com (GATEWAY0001) is trusted by pin sha256/AAAA, sha256/BBBB",
		func(m *Mail) { m.PeerPins("gw1.example.com", "GATEWAY0001", "sha256/AAAA, sha256/BBBB") }},
	{"PeerMoved", "where quarantined mail goes from now on", "Info: CPQ peer sma1.example.com (MANAGER0001) takes mail at 192.0.2.1:7026",
		func(m *Mail) { m.PeerMoved("sma1.example.com", "MANAGER0001", "192.0.2.1:7026") }},
	{"CertificateLoaded", "a hot reload", "Info: Certificate mx was read anew: expires 2 Jan 2036", func(m *Mail) { m.CertificateLoaded("mx", "2 Jan 2036") }},

	// Ours.
	{"Info", "words for people", "Info: Listener IncomingMail resumed", func(m *Mail) { m.Info("Listener IncomingMail resumed") }},
	{"DiskSlow", "what, where, how long", "Warning: Disk is slow: spool: sync of 000007.log takes longer than 2s",
		func(m *Mail) { m.DiskSlow("spool", "sync of 000007.log", 2*time.Second) }},
	{"DiskWell", "rounded", "Info: Disk is no longer slow: spool: it took 1m3.1s", func(m *Mail) { m.DiskWell("spool", 63120*time.Millisecond) }},
	{"DiskFull", "an operation waits", "Warning: Disk is full: spool: no room for write of 000007.log; mail is refused until there is room",
		func(m *Mail) { m.DiskFull("spool", "write of 000007.log") }},
	{"DiskFull", "below the floor", "Warning: Disk is full: spool: too little free space; mail is refused until there is room",
		func(m *Mail) { m.DiskFull("spool", "") }},
	{"CutOff", "what is known of it", "Warning: The last run did not end in good order: process 7; it was killed, or the machine stopped", func(m *Mail) {
		m.CutOff("process 7; it was killed, or the machine stopped")
	}},
	{"Ends", "as it was told", "Info: Ends with status 0: terminated signal received", func(m *Mail) { m.Ends("terminated signal received", 0) }},
	{"Ends", "by a failure: loud, with the status", "Critical: Ends with status 75: the spool cannot be written: input/output error", func(m *Mail) {
		m.Ends("the spool cannot be written: input/output error", 75)
	}},
	{"DiskRoom", "rounded", "Info: Disk has room again: spool: after 2.5s", func(m *Mail) { m.DiskRoom("spool", 2510*time.Millisecond) }},
	{"Warning", "the level", "Warning: disk is nearly full", func(m *Mail) { m.Warning("disk is nearly full") }},
	{"Fault", "the seed's application fault, with its cause", "Critical: An application fault occurred: command client: gw1: no answer within 15s",
		func(m *Mail) { m.Fault("command client", "gw1: no answer within 15s") }},
}

// Every line that the catalogue can write has its text fixed here.
func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range catalogue {
		var c collect
		g.call(NewMail(&c, at("2025-04-07 09:15:00")))
		if want := "Mon Apr  7 09:15:00 2025 " + g.want + "\n"; string(c.b) != want {
			t.Errorf("%s (%s)\ngot  %swant %s", g.method, g.proves, c.b, want)
		}
		seen[g.method] = true
	}
	typ := reflect.TypeFor[*Mail]()
	for i := range typ.NumMethod() {
		if name := typ.Method(i).Name; !seen[name] {
			t.Errorf("%s has no golden line", name)
		}
	}
}

// The frame: day padded with a blank, a new stamp when the second changes, and
// the buffer of one line leaves nothing in the next.
func TestFrame(t *testing.T) {
	now := time.Date(2013, 9, 13, 15, 8, 2, 0, time.UTC)
	var c collect
	m := NewMail(&c, func() time.Time { return now })
	m.Subject(23456, strings.Repeat("long ", 50))
	c.b = c.b[:0]
	m.DCIDClose(12345)
	now = now.Add(5 * time.Second)
	m.DCIDClose(12345)
	if want := "Fri Sep 13 15:08:02 2013 Info: DCID 12345 close\nFri Sep 13 15:08:07 2013 Info: DCID 12345 close\n"; string(c.b) != want {
		t.Errorf("got %q", c.b)
	}
}

// A line costs no memory of its own.
func TestLinesDoNotAllocate(t *testing.T) {
	m := Discard()
	rids := []mail.RID{0}
	n := testing.AllocsPerRun(200, func() {
		m.Start(6, 5)
		m.From(6, 5, ann)
		m.Subject(6, "a subject")
		m.DeliveryStart(8, 6, rids, true)
	})
	if n > 0 {
		t.Errorf("%v allocations for four lines", n)
	}
}

func TestAuditLine(t *testing.T) {
	var c collect
	NewAudit(&c, at("2025-04-17 09:15:00")).Record(admin, "release MID 44\nforged", "ok")
	if want := "Thu Apr 17 09:15:00 2025 Info: User admin role Administrator from 192.0.2.9 via ssh: release MID 44\\x0aforged: ok\n"; string(c.b) != want {
		t.Errorf("got %q", c.b)
	}
}

// FuzzHostileText calls every line with the same hostile text in every place
// that takes text: it stays one line, printable, in UTF-8, of bounded length
// (register E7).
func FuzzHostileText(f *testing.F) {
	for _, s := range []string{"a", "x\r\nMon Apr  7 09:15:00 2025 Info: MID 1 released from all quarantines", "\x00\x1b[2J\x7f", "\u2028\u2029\u0085",
		"exe.\u202egpj", "\u2066a\u2069\u200f\u061c\ufeff", "\xff\xc3", "'\"\\", strings.Repeat("ü", 2000), strings.Repeat("\x00", 4000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var c collect
		m := reflect.ValueOf(NewMail(&c, at("2025-04-07 09:15:00")))
		for i := range m.NumMethod() {
			c.b = c.b[:0]
			m.Method(i).Call(hostileArguments(m.Method(i).Type(), s))
			checkLine(t, m.Type().Method(i).Name, c.b)
		}
		c.b = c.b[:0]
		NewAudit(&c, at("2025-04-07 09:15:00")).Record(mail.Principal{Name: s, Role: mail.Role(s), From: s, Via: s}, s, s)
		checkLine(t, "Audit", c.b)
	})
}

func hostileArguments(typ reflect.Type, s string) []reflect.Value {
	args := make([]reflect.Value, typ.NumIn())
	for i := range args {
		switch in := typ.In(i); in {
		case reflect.TypeFor[mail.Address]():
			args[i] = reflect.ValueOf(mail.Address{Local: s, Domain: s})
		case reflect.TypeFor[mail.Principal]():
			args[i] = reflect.ValueOf(mail.Principal{Name: s, From: s})
		case reflect.TypeFor[[]string]():
			args[i] = reflect.ValueOf(make([]string, 100))
			for k := range 100 {
				args[i].Index(k).SetString(s)
			}
		case reflect.TypeFor[string]():
			args[i] = reflect.ValueOf(s)
		default:
			args[i] = reflect.Zero(in)
		}
	}
	return args
}

func checkLine(t *testing.T, name string, b []byte) {
	t.Helper()
	text, ended := strings.CutSuffix(string(b), "\n")
	if !ended || !strings.HasPrefix(text, "Mon Apr  7 09:15:00 2025 ") {
		t.Fatalf("%s: not one whole line: %q", name, b)
	}
	if !utf8.ValidString(text) || len(text) > 100<<10 {
		t.Fatalf("%s: %d bytes, valid UTF-8 %v", name, len(text), utf8.ValidString(text))
	}
	for _, r := range text {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Bidi_Control, r) {
			t.Fatalf("%s: %U in %q", name, r, text)
		}
	}
}
