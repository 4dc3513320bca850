package adminssh

import (
	"fmt"
	"strings"
)

// maxOffered is how many words are shown where several would do.
const maxOffered = 100

// Complete implements console.Completer.
func (t *terminal) Complete(words func(line string) []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.words = words
	t.line.AutoCompleteCallback = nil
	if words != nil {
		t.line.AutoCompleteCallback = t.tab
	}
}

// tab answers the tab key: it types what is certain, and shows what is possible
// when nothing is. The editor calls it for every key.
func (t *terminal) tab(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	t.mu.Lock()
	words, editor := t.words, t.line
	t.mu.Unlock()
	before := line[:pos]
	offered := words(before)
	start := strings.LastIndexByte(before, ' ') + 1
	for _, w := range offered { // a quoted word has blanks of its own
		if i := strings.LastIndexByte(before, '"'); i >= 0 && i < start && strings.HasPrefix(w, before[i:]) {
			start = i
		}
	}
	typed := before[start:]
	common := commonPrefix(offered)
	if len(offered) == 1 {
		common += " "
	}
	if len(common) <= len(typed) {
		if len(offered) > 1 {
			fmt.Fprintf(editor, "%s\n", strings.Join(offered[:min(len(offered), maxOffered)], "  "))
		}
		return line, pos, true
	}
	before = before[:start] + common
	return before + line[pos:], len(before), true
}

// commonPrefix gives how all words begin; they differ in no case.
func commonPrefix(words []string) string {
	if len(words) == 0 {
		return ""
	}
	p := words[0]
	for _, w := range words[1:] {
		n := 0
		for _, r := range p { // whole characters
			size := len(string(r))
			if !strings.HasPrefix(w, p[:n+size]) {
				break
			}
			n += size
		}
		p = p[:n]
	}
	return p
}
