package admin

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"lazaret/internal/quarantine"
)

// Marks around what rules found, in the content that quarantine show prints.
const (
	markStart = ">>>"
	markEnd   = "<<<"
)

// showMatches lists what rules found, exactly (reference 3.5).
func showMatches(c *Call, m *quarantine.Message) {
	for _, q := range m.Quarantines {
		for i, f := range q.Matched {
			if i == 0 {
				c.Printf("%-14s %s\n", "Matched:", Plain(q.Name))
			}
			c.Printf("%-14s %s, in %s: %s%s%s\n", "", Plain(f.Rule), Plain(f.Part), markStart, Plain(f.Text), markEnd)
		}
	}
}

// markMatches puts marks around what rules found, wherever it stands in the
// content: a blank in it may be a line end there. It marks too much rather than
// too little; what was found in decoded text may not be there at all.
func markMatches(content []byte, m *quarantine.Message) []byte {
	var texts []string
	for _, q := range m.Quarantines {
		for _, f := range q.Matched {
			if words := strings.Fields(f.Text); len(words) > 0 && !strings.HasPrefix(words[0], "***") {
				for i := range words {
					words[i] = regexp.QuoteMeta(words[i])
				}
				texts = append(texts, strings.Join(words, `\s+`))
			}
		}
	}
	if len(texts) == 0 {
		return content
	}
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) }) // the longest of several at one place
	re, err := regexp.Compile("(?i)" + strings.Join(texts, "|"))
	if err != nil {
		return content
	}
	return re.ReplaceAllFunc(content, func(b []byte) []byte {
		return bytes.Join([][]byte{[]byte(markStart), b, []byte(markEnd)}, nil)
	})
}
