package delivery

import (
	"strings"
	"sync"
)

// logLines keeps the lines of mail_logs without date and level.
type logLines struct {
	mu      sync.Mutex
	lines   []string
	changed chan struct{}
}

// WriteLine is logs.Lines.
func (l *logLines) WriteLine(line []byte) {
	text := strings.TrimSuffix(string(line), "\n")[len("Mon Jan _2 15:04:05 2006 "):]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.TrimPrefix(text, "Info: "))
	if l.changed != nil {
		close(l.changed)
	}
	l.changed = make(chan struct{})
}

func (l *logLines) look() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return strings.Join(l.lines, "\n"), l.changed
}

func (l *logLines) String() string {
	s, _ := l.look()
	return s
}
