package appliance

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/stats"
)

// saved is the form of state.json.
type saved struct {
	Version   int             `json:"version"`
	ICID      uint64          `json:"icid"` // reserved up to here
	DCID      uint64          `json:"dcid"`
	Listeners []string        `json:"suspended_listeners,omitempty"`
	Delivery  []string        `json:"suspended_delivery,omitempty"` // "*" is all
	Counters  json.RawMessage `json:"counters,omitempty"`

	Alarms map[string]alarm `json:"certificate_alarms,omitempty"`
}

// State is what an appliance remembers over a restart beside configuration and
// mail: connection numbers, what is suspended, the lifetime counters. One small
// file, replaced whole; each replacement is durable before it counts.
type State struct {
	path string

	mu    sync.Mutex
	disk  saved
	given numbers
	fault func(component, text string) // nil: nowhere to say it
}

// OpenState reads the file at path, or starts anew where there is none.
func OpenState(path string) (*State, error) {
	s := &State{path: path, disk: saved{Version: 1}}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Wrap(errs.Internal, err, "reading %s", path)
	}
	if err == nil {
		if err := json.Unmarshal(b, &s.disk); err != nil {
			return nil, errs.Wrap(errs.Damaged, err, "%s is damaged", path)
		}
	}
	if s.disk.Version != 1 {
		return nil, errs.New(errs.Invalid, "%s has version %d, made by a newer program", path, s.disk.Version)
	}
	s.given = numbers{icid: s.disk.ICID, dcid: s.disk.DCID}
	return s, nil
}

// SuspendedListeners gives the names that stay closed at start.
func (s *State) SuspendedListeners() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.disk.Listeners)
}

// SetSuspendedListeners keeps the names, durably when nil is returned.
func (s *State) SetSuspendedListeners(names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk.Listeners = slices.Clone(names)
	return s.write()
}

// SuspendedDelivery gives the destinations that stay suspended; "*" is all.
func (s *State) SuspendedDelivery() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.disk.Delivery)
}

// SetSuspendedDelivery keeps the destinations, durably when nil is returned.
func (s *State) SetSuspendedDelivery(domains []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk.Delivery = slices.Clone(domains)
	return s.write()
}

// RestoreCounters gives the set its lifetime counters back.
func (s *State) RestoreCounters(set *stats.Set) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.disk.Counters) == 0 {
		return nil
	}
	return errs.Wrap(errs.Damaged, set.Restore(s.disk.Counters), "counters in %s", s.path)
}

// SaveCounters keeps the lifetime counters.
func (s *State) SaveCounters(set *stats.Set) error {
	b, err := set.Save()
	if err != nil {
		return errs.Wrap(errs.Internal, err, "counters")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk.Counters = b
	return s.write()
}

// write replaces the file; the caller holds mu.
func (s *State) write() error {
	b, err := json.Marshal(&s.disk)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "writing %s", s.path)
	}
	return config.WriteFile(s.path, b, 0o600)
}
