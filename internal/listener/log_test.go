package listener

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"lazaret/internal/logs"
)

// logBuffer keeps mail_logs lines without stamp and level.
type logBuffer struct {
	mu   sync.Mutex
	b    strings.Builder
	mail *logs.Mail
}

func newLogBuffer(*testing.T) *logBuffer {
	l := &logBuffer{}
	l.mail = logs.NewMail(l, nil)
	return l
}

func (l *logBuffer) WriteLine(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const stamp = len("Mon Apr  7 09:15:00 2025 ")
	_, text, _ := strings.Cut(string(line[stamp:]), ": ")
	l.b.WriteString(text)
}

func (l *logBuffer) lines() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// of gives the lines of one connection: those of others come between them, as
// sessions run side by side.
func (l *logBuffer) of(icid int) string {
	var b strings.Builder
	for line := range strings.Lines(l.lines()) {
		if strings.Contains(line, fmt.Sprintf("ICID %d ", icid)) {
			b.WriteString(line)
		}
	}
	return b.String()
}
