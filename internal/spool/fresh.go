package spool

import (
	"sync"

	"lazaret/internal/mail"
)

// fresh keeps contents that came in just now: most are judged and delivered a
// moment later, and need not be looked for in the engine twice. What does not
// leave soon gives way to what comes.
type fresh struct {
	mu   sync.Mutex
	by   map[mail.MID][]byte
	line []mail.MID // in the order they came; some have left
	size int
}

// Bounds of what is kept. Of longer contents the search is a small part.
const (
	maxFresh    = 4 << 20  // octets together
	maxFreshOne = 16 << 10 // octets of one
	maxLine     = 4096     // contents
)

// put keeps a content, which nobody changes any more.
func (f *fresh) put(mid mail.MID, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = make(map[mail.MID][]byte)
	}
	n := 0
	for n < len(f.line) {
		old, there := f.by[f.line[n]]
		if there && f.size+len(b) <= maxFresh && len(f.line)-n < maxLine {
			break
		}
		f.size -= len(old)
		delete(f.by, f.line[n])
		n++
	}
	f.line = append(f.line[n:], mid)
	f.by[mid] = b
	f.size += len(b)
}

// get gives a content, or nil.
func (f *fresh) get(mid mail.MID) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.by[mid]
}

// drop forgets a content.
func (f *fresh) drop(mid mail.MID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size -= len(f.by[mid])
	delete(f.by, mid)
}
