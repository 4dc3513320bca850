package access

import (
	"container/list"
	"sync"
	"time"
)

// Rates counts events of many clients, each in a window of its own that starts
// with its first event. What it says is exact: in a window no key gets more
// than its limit, and not fewer while its window is remembered. Memory has a
// bound: when there are too many keys, the one not asked about for the longest
// time is forgotten. Safe for concurrent use.
type Rates[K comparable] struct {
	most int

	mu    sync.Mutex
	keys  map[K]*list.Element
	order list.List // of *window[K]; front: asked about last
}

// window is the count of one key.
type window[K comparable] struct {
	key   K
	start time.Time
	ends  time.Time
	count int
}

// NewRates makes a table that remembers so many keys.
func NewRates[K comparable](most int) *Rates[K] {
	return &Rates[K]{most: max(most, 1), keys: map[K]*list.Element{}}
}

// Take counts one event of key if fewer than limit were counted in the window
// that is open, and reports whether it did.
func (r *Rates[K]) Take(key K, limit int, length time.Duration, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.at(key, length, now)
	if w.count >= limit {
		return false
	}
	w.count++
	return true
}

// Return takes back one event of key that Take counted and that did not happen
// after all.
func (r *Rates[K]) Return(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.keys[key]; ok {
		w := e.Value.(*window[K])
		w.count = max(w.count-1, 0)
	}
}

// Count gives what was counted for key in the window that is open.
func (r *Rates[K]) Count(key K, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.keys[key]; ok {
		if w := e.Value.(*window[K]); now.Before(w.ends) {
			return w.count
		}
	}
	return 0
}

// Len is the number of keys remembered.
func (r *Rates[K]) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys)
}

// at gives the open window of key, under the lock.
func (r *Rates[K]) at(key K, length time.Duration, now time.Time) *window[K] {
	e, ok := r.keys[key]
	if !ok {
		r.forget(now)
		w := &window[K]{key: key, start: now, ends: now.Add(length)}
		r.keys[key] = r.order.PushFront(w)
		return w
	}
	r.order.MoveToFront(e)
	w := e.Value.(*window[K])
	switch {
	case !now.Before(w.ends):
		*w = window[K]{key: key, start: now, ends: now.Add(length)}
	case now.Before(w.start): // the clock went back: what was counted counts, but not for longer
		w.start, w.ends = now, now.Add(length)
	}
	return w
}

// forget makes room for one more key, and drops windows that are over for so
// long that no step of the clock opens them again.
func (r *Rates[K]) forget(now time.Time) {
	const (
		each = 4 // nobody pays for a long walk
		long = 24 * time.Hour
	)
	for range each {
		e := r.order.Back()
		if e == nil {
			return
		}
		w := e.Value.(*window[K])
		if now.Before(w.ends.Add(long)) && len(r.keys) < r.most {
			return
		}
		r.order.Remove(e)
		delete(r.keys, w.key)
	}
}
