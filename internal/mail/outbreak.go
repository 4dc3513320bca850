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
