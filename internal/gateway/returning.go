package gateway

import (
	"sync"

	"lazaret/internal/mail"
)

// returning are the releases that are being taken at this moment, by message.
// The zero value is ready. Safe for concurrent use.
type returning struct {
	mu  sync.Mutex
	all map[mail.Key]map[mail.ActionKey]int
}

// enter counts a release until the function that it gives is called.
func (r *returning) enter(k mail.Key, a mail.ActionKey) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[mail.Key]map[mail.ActionKey]int{}
	}
	if r.all[k] == nil {
		r.all[k] = map[mail.ActionKey]int{}
	}
	r.all[k][a]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.all[k][a]--; r.all[k][a] == 0 {
			delete(r.all[k], a)
		}
		if len(r.all[k]) == 0 {
			delete(r.all, k)
		}
	}
}

// count gives how many other actions about the message are under way.
func (r *returning) count(k mail.Key, but mail.ActionKey) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.all[k])
	if r.all[k][but] > 0 {
		n--
	}
	return n
}
