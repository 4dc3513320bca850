package scan

import (
	"strings"

	"lazaret/internal/mail"
)

// meaning says what an answer of clamd to INSTREAM means, without the number
// of the session in front. Only the one text that says so is clean.
func meaning(text string) (mail.Verdict, string) {
	if text == "stream: OK" {
		return mail.Clean, ""
	}
	if name, ok := strings.CutSuffix(text, " ERROR"); ok {
		name = printable(strings.TrimPrefix(name, "stream: "))
		if strings.Contains(name, "size limit exceeded") {
			return mail.Unscannable, "larger than the scanner takes"
		}
		return mail.Unscanned, "the scanner failed: " + name
	}
	name, found := strings.CutSuffix(text, " FOUND")
	name, stream := strings.CutPrefix(name, "stream: ")
	if !found || !stream || name == "" {
		return mail.Unscanned, "the scanner's answer is not understood: " + printable(text)
	}
	name = printable(name)
	switch {
	case strings.HasPrefix(name, "Heuristics.Limits.Exceeded"):
		return mail.Unscannable, name
	case strings.HasPrefix(name, "Heuristics.Encrypted."):
		return mail.Encrypted, name
	}
	return mail.Infected, name
}
