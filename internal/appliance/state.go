package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"slices"
	"sync"

	"lazaret/internal/disk"
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

	Signatures map[string]string `json:"signatures,omitempty"` // by serial

	Alarms map[string]alarm `json:"certificate_alarms,omitempty"`
}

// State is what an appliance remembers over a restart beside configuration and
// mail: connection numbers, what is suspended, the lifetime counters. One small
// file, replaced whole; each replacement is durable before it counts.
type State struct {
	path string
	disk disk.FS

	mu    sync.Mutex
	file  saved
	given numbers
	fault func(component, text string) // nil: nowhere to say it
}

// OpenState reads the file at path, or starts anew where there is none.
func OpenState(path string) (*State, error) {
	s := &State{path: path, disk: disk.OS{}, file: saved{Version: 1}}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Wrap(errs.Internal, err, "reading %s", path)
	}
	if err == nil {
		if err = unseal(&b); err == nil {
			err = json.Unmarshal(b, &s.file)
		}
		if err != nil {
			return nil, errs.Wrap(errs.Damaged, err, "%s is damaged: put it back from a backup, or remove it (then counters begin at 0, connection numbers at 1, and nothing is suspended)", path)
		}
	}
	if s.file.Version != 1 {
		return nil, errs.New(errs.Invalid, "%s has version %d, made by a newer program", path, s.file.Version)
	}
	s.given = numbers{icid: s.file.ICID, dcid: s.file.DCID}
	return s, nil
}

// SuspendedListeners gives the names that stay closed at start.
func (s *State) SuspendedListeners() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.file.Listeners)
}

// SetSuspendedListeners keeps the names, durably when nil is returned.
func (s *State) SetSuspendedListeners(names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Listeners = slices.Clone(names)
	return s.write()
}

// SuspendedDelivery gives the destinations that stay suspended; "*" is all.
func (s *State) SuspendedDelivery() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.file.Delivery)
}

// SetSuspendedDelivery keeps the destinations, durably when nil is returned.
func (s *State) SetSuspendedDelivery(domains []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Delivery = slices.Clone(domains)
	return s.write()
}

// RestoreCounters gives the set its lifetime counters back.
func (s *State) RestoreCounters(set *stats.Set) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.file.Counters) == 0 {
		return nil
	}
	return errs.Wrap(errs.Damaged, set.Restore(s.file.Counters), "counters in %s", s.path)
}

// SaveCounters keeps the lifetime counters.
func (s *State) SaveCounters(set *stats.Set) error {
	b, err := set.Save()
	if err != nil {
		return errs.Wrap(errs.Internal, err, "counters")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Counters = b
	return s.write()
}

// seal adds a check: a flipped digit would be another counter, or open a
// listener that was suspended.
func seal(b []byte) []byte {
	return fmt.Appendf(b, "\ncrc32c %08x\n", crc32.Checksum(b, castagnoli))
}

// unseal checks and removes the check. Files of old have none.
func unseal(b *[]byte) error {
	body, sum, found := bytes.Cut(*b, []byte("\n"))
	if !found {
		return nil
	}
	if want := fmt.Sprintf("crc32c %08x\n", crc32.Checksum(body, castagnoli)); string(sum) != want {
		return errs.New(errs.Damaged, "its check fails")
	}
	*b = body
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// write replaces the file; the caller holds mu.
func (s *State) write() error {
	b, err := json.Marshal(&s.file)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "writing %s", s.path)
	}
	return disk.Replace(s.disk, s.path, seal(b), 0o600)
}
