// Package stats counts. One Set belongs to one appliance and is handed to the
// rooms that count; nothing here is global. The names are those of the status
// command and of the status page (reference 6.3, clients 4.1).
package stats

import (
	"encoding/json"
	"sync"
	"sync/atomic"
)

// Counter is one of the counted events.
type Counter uint8

// The counters of an appliance.
const (
	MessagesReceived Counter = iota
	RecipientsReceived
	GenBounceRecipients
	RejectedRecipients
	DroppedMessages
	SoftBouncedEvents
	HardBouncedDNS
	HardBounced5XX
	HardBouncedFilter
	HardBouncedExpired
	HardBouncedOther
	DeliveredRecipients
	DeletedRecipients
	GlobalUnsubHits
	BytesReceived
	ConnectionsIn
	ConnectionsOut
	numCounters
)

// Set holds the counters of one appliance; safe for concurrent use.
type Set struct {
	now  [numCounters]atomic.Uint64 // since start
	mu   sync.Mutex
	base [numCounters]uint64 // lifetime before this start
	mark [numCounters]uint64 // lifetime value at the last reset
}

// Add counts n events.
func (s *Set) Add(c Counter, n uint64) { s.now[c].Add(n) }

// Uptime gives the count since start.
func (s *Set) Uptime(c Counter) uint64 { return s.now[c].Load() }

// Lifetime gives the count since the appliance was made.
func (s *Set) Lifetime(c Counter) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base[c] + s.now[c].Load()
}

// SinceReset gives the count since the last counter reset.
func (s *Set) SinceReset(c Counter) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base[c] + s.now[c].Load() - s.mark[c]
}

// Reset starts the reset column anew.
func (s *Set) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mark {
		s.mark[c] = s.base[c] + s.now[c].Load()
	}
}

type saved struct {
	Lifetime []uint64 `json:"lifetime"`
	Mark     []uint64 `json:"mark"`
}

// Save gives the lifetime counters in a form that Restore reads.
func (s *Set) Save() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var v saved
	for c := range s.base {
		v.Lifetime = append(v.Lifetime, s.base[c]+s.now[c].Load())
		v.Mark = append(v.Mark, s.mark[c])
	}
	return json.Marshal(v)
}

// Restore takes what Save gave in an earlier life; to be called before counting.
func (s *Set) Restore(b []byte) error {
	var v saved
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.base[:], v.Lifetime)
	copy(s.mark[:], v.Mark)
	return nil
}
