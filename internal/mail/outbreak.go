package mail

import "strings"

// outbreakRule is what stands in front of the rule in a reason (reference 5.6).
const outbreakRule = "VOF rule:"

// OutbreakReason says in a quarantine which outbreak rule holds a message.
func OutbreakReason(rule string) string { return outbreakRule + rule }

// OutbreakRule gives the rule in a reason, empty when the reason is another, or
// not that alone.
func OutbreakRule(reason string) string {
	id, ok := strings.CutPrefix(reason, outbreakRule)
	if !ok || strings.ContainsAny(id, " ;()") {
		return ""
	}
	return id
}

// foundRule stands in front of the rule in a Finding.
const foundRule = "outbreak rule "

// FoundRule says in a Finding which outbreak rule holds a message.
func FoundRule(rule string) string { return foundRule + rule }

// Rule gives the outbreak rule that holds the message by the words of a finding;
// empty when they name none.
func (f Finding) Rule() string {
	for part := range strings.SplitSeq(f.Text, ", ") {
		if id, ok := strings.CutPrefix(part, foundRule); ok && !f.Harmless {
			return OutbreakRule(OutbreakReason(id))
		}
	}
	return ""
}
