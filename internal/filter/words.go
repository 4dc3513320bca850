package filter

import "lazaret/internal/filter/match"

// ruleKind says what stands behind the word.
type ruleKind uint8

const (
	plainRule      ruleKind = iota // nothing
	textRule                       // == or != and a regular expression
	headerRule                     // ("Name"), then perhaps == or != and a regular expression
	bodyKind                       // ("regular expression"[, at least])
	numberRule                     // a comparison and a number
	addressRule                    // == or != and addresses
	randomRule                     // (n), a comparison and a number
	countRule                      // ("Name", ...), a comparison and a number
	dateRule                       // a comparison and a date
	dictionaryRule                 // ("dictionary"[, "Header"][, at least])
	loginRule                      // ("*Target"[, "sieve characters"])
	scoreRule                      // a comparison and a score
	zoneRule                       // ("zone")
	repeatsRule                    // ("subject", n[, "direction"])
)

// The costs of looking, by what must be read.
const (
	costEnvelope = 1
	costHeader   = 10
	costSender   = 50 // asks DNS
	costContent  = 100
)

// words is the table of rules.
var words = [...]struct {
	word string
	kind ruleKind
	cost int
	fold bool // case is of no meaning: domains
}{
	{"true", plainRule, 0, false},
	{"rcpt-count", numberRule, costEnvelope, false},
	{"body-size", numberRule, costEnvelope, false},
	{"workqueue-count", numberRule, costEnvelope, false},
	{"date", dateRule, costEnvelope, false},
	{"random", randomRule, costEnvelope, false},
	{"remote-ip", addressRule, costEnvelope, false},
	{"sendergroup", textRule, costEnvelope, false},
	{"recv-listener", textRule, costEnvelope, false},
	{"recv-int", textRule, costEnvelope, false},
	{"mail-from", textRule, costEnvelope, true},
	{"rcpt-to", textRule, costEnvelope + 1, true},
	{"subject", textRule, costHeader, false},
	{"header", headerRule, costHeader, false},
	{"addr-count", countRule, costHeader, false},
	{"smtp-auth-id-matches", loginRule, costHeader, false},
	{"spf-status", textRule, costSender, true},
	{"spf-passed", plainRule, costSender, true},
	{"dkim-authentication", textRule, costSender, true},
	{"dmarc-status", textRule, costSender, true},
	{"arc-status", textRule, costSender, true},
	{"message-tag", textRule, costEnvelope, false},
	{"header-repeats", repeatsRule, costHeader, false},
	{"reputation", scoreRule, costSender, false},
	{"no-reputation", plainRule, costSender, false},
	{"dnslist", zoneRule, costSender, false},
	{"subject-dictionary-match", dictionaryRule, costHeader, false},
	{"header-dictionary-match", dictionaryRule, costHeader, false},
	{"mail-from-dictionary-match", dictionaryRule, costEnvelope + 1, false},
	{"rcpt-to-dictionary-match", dictionaryRule, costEnvelope + 1, false},
	{"attachment-filename", textRule, costContent, false},
	{"attachment-type", textRule, costContent, true},
	{"attachment-mimetype", textRule, costContent, true},
	{"attachment-filetype", textRule, costContent, true},
	{"attachment-size", numberRule, costContent, false},
	{"attachment-protected", plainRule, costContent, false},
	{"attachment-unprotected", plainRule, costContent, false},
	{"attachment-corrupt", plainRule, costContent, false},
	{"attachment-finding", textRule, costContent, false},
	{"encrypted", plainRule, costContent, false},
	{"signed", plainRule, costContent, false},
	{"valid", plainRule, costContent, false},
	{"malformed-header", plainRule, costContent, false},
	{"duplicate_boundaries", plainRule, costContent, false},
	{"mime-finding", textRule, costContent, false},
	{"unscannable", plainRule, costContent, false},
	{"body-contains", bodyKind, costContent + 1, false},
	{"only-body-contains", bodyKind, costContent + 1, false},
	{"attachment-contains", bodyKind, costContent + 1, false},
	{"attachment-binary-contains", bodyKind, costContent + 1, false},
	{"every-attachment-contains", bodyKind, costContent + 1, false},
	{"dictionary-match", dictionaryRule, costContent + 1, false},
	{"body-dictionary-match", dictionaryRule, costContent + 1, false},
	{"attachment-dictionary-match", dictionaryRule, costContent + 1, false},
}

// inside are the rules that look into archives and documents; those about text
// do so too.
var inside = map[string]bool{
	"attachment-filename": true, "attachment-mimetype": true, "attachment-type": true, "attachment-filetype": true,
	"attachment-protected": true, "attachment-unprotected": true, "attachment-corrupt": true, "attachment-finding": true, "unscannable": true,
}

// looksInside reports whether the rule looks into archives and documents.
func (r *rule) looksInside() bool {
	return inside[r.word] || r.body != nil && r.body.Where != match.Body
}

// inBytes reports whether a number of the rule is of bytes, with K and M.
func inBytes(word string) bool { return word == "body-size" || word == "attachment-size" }
