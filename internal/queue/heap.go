package queue

import "lazaret/internal/mail"

// slot is what a waiting message costs in memory: one for each destination it
// waits for.
type slot struct {
	mid      mail.MID
	next     int64  // unix nanoseconds: due
	accepted uint32 // unix seconds
	rcpts    uint32 // recipients at this destination; in the work heap: failures
}

// forced is a slot's next when an operator wants it tried now: before all
// others, the oldest first, and whatever the recipients' own times say.
const forced = 0

// slots is a binary heap of slots, the one that is due first on top; among
// equals the oldest message. It is not container/heap because that would box
// each slot.
type slots struct{ s []slot }

func (h *slots) len() int { return len(h.s) }

func (h *slots) less(i, j int) bool {
	a, b := &h.s[i], &h.s[j]
	return a.next < b.next || a.next == b.next && a.mid < b.mid
}

func (h *slots) push(x slot) {
	h.s = append(h.s, x)
	for i := len(h.s) - 1; i > 0; {
		p := (i - 1) / 2
		if !h.less(i, p) {
			return
		}
		h.s[i], h.s[p] = h.s[p], h.s[i]
		i = p
	}
}

func (h *slots) pop() slot {
	top := h.s[0]
	n := len(h.s) - 1
	h.s[0] = h.s[n]
	h.s = h.s[:n]
	h.down(0)
	h.shrink()
	return top
}

func (h *slots) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h.s) {
			return
		}
		if c+1 < len(h.s) && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			return
		}
		h.s[i], h.s[c] = h.s[c], h.s[i]
		i = c
	}
}

// edit keeps the slots for which keep is true; keep may change them.
func (h *slots) edit(keep func(*slot) bool) {
	out := h.s[:0]
	for i := range h.s {
		if keep(&h.s[i]) {
			out = append(out, h.s[i])
		}
	}
	h.s = out
	for i := len(h.s)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	h.shrink()
}

// shrink gives memory back after a flood.
func (h *slots) shrink() {
	if cap(h.s) > 1024 && len(h.s) < cap(h.s)/4 {
		h.s = append(make([]slot, 0, cap(h.s)/2), h.s...)
	}
}

// fifo is a first-in first-out list of messages.
type fifo struct {
	s    []mail.MID
	head int
}

func (f *fifo) len() int { return len(f.s) - f.head }

func (f *fifo) push(m mail.MID) { f.s = append(f.s, m) }

func (f *fifo) pop() mail.MID {
	m := f.s[f.head]
	f.head++
	switch {
	case f.head == len(f.s):
		f.s, f.head = f.s[:0], 0
		if cap(f.s) > 4096 {
			f.s = nil
		}
	case f.head > 1024 && f.head > len(f.s)/2:
		n := copy(f.s, f.s[f.head:])
		f.s, f.head = f.s[:n], 0
	}
	return m
}

// all gives what waits, oldest first.
func (f *fifo) all() []mail.MID { return f.s[f.head:] }
