package config

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
)

// Subscriber takes part in a commit. Prepare builds what the new configuration
// needs and may refuse; it must not change anything. Apply puts it in force
// and cannot fail any more.
type Subscriber interface {
	Prepare(next *Config) error
	Apply(next *Config)
}

// Store keeps the committed configuration and the pending one. The pending
// changes are shared by all administrators of an appliance: what one changed,
// another sees, commits or clears; the audit log says who did what.
type Store struct {
	path  string
	disk  disk.FS
	audit *logs.Audit
	now   func() time.Time

	commit      sync.Mutex // one commit or change at a time: a change made beside a commit would undo it
	mu          sync.RWMutex
	current     *Config // never changed once here
	pending     *Config // nil: nothing is pending
	subscribers []Subscriber
}

// NewStore keeps the configuration c that was loaded from path.
func NewStore(path string, c *Config, audit *logs.Audit, clock func() time.Time) *Store {
	if clock == nil {
		clock = time.Now
	}
	return &Store{path: path, disk: disk.OS{}, audit: audit, now: clock, current: c}
}

// Subscribe adds one that takes part in commits; to be called before the first.
func (s *Store) Subscribe(sub Subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = append(s.subscribers, sub)
}

// Committed gives the configuration in force. It must not be changed.
func (s *Store) Committed() *Config {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current
}

// Pending gives what a commit would put in force, and whether that differs.
func (s *Store) Pending() (*Config, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.pending == nil {
		return s.current, false
	}
	return s.pending, true
}

// Change makes a pending change: f gets a copy of the pending configuration to
// change. What f refuses or what is not valid then changes nothing.
func (s *Store) Change(p mail.Principal, what string, f func(*Config) error) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.pending
	if from == nil {
		from = s.current
	}
	next := from.Clone()
	err := f(next)
	if err == nil {
		err = s.fixed(next)
	}
	if err == nil {
		next, err = next.settled()
	}
	if err != nil {
		s.audit.Record(p, "change "+what, "refused: "+errs.Public(err))
		return err
	}
	s.pending = next
	if bytes.Equal(next.Text(false), s.current.Text(false)) {
		s.pending = nil
	}
	s.audit.Record(p, "change "+what, "pending")
	return nil
}

// fixed refuses changes of what names the appliance.
func (s *Store) fixed(next *Config) error {
	if next.Role != s.current.Role || next.Serial != s.current.Serial {
		return errs.New(errs.Invalid, "role and serial number of an appliance cannot be changed")
	}
	return nil
}

// ErrNothing is what Commit gives when nothing is pending.
var ErrNothing = errs.New(errs.Conflict, "There is no data to commit.")

// Commit puts the pending configuration in force: checked by all subscribers,
// on stable storage, then applied. It gives the time. An error changes nothing;
// the changes stay pending.
func (s *Store) Commit(p mail.Principal, comment string) (time.Time, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	next, subs, err := s.prepare()
	if err == nil {
		err = s.save(next)
	}
	if err != nil {
		s.audit.Record(p, "commit changes: "+comment, "refused: "+errs.Public(err))
		return time.Time{}, err
	}
	s.mu.Lock()
	s.current, s.pending = next, nil
	s.mu.Unlock()
	for _, sub := range subs {
		sub.Apply(next)
	}
	s.audit.Record(p, "commit changes: "+comment, "ok")
	return s.now(), nil
}

// save puts the text of next on stable storage. After an error the file has
// what is in force, as far as the disk lets us see to it.
func (s *Store) save(next *Config) error {
	err := disk.Replace(s.disk, s.path, next.Text(false), 0o600)
	if disk.Unsure(err) { // the next start must not find what was refused
		if e := disk.Replace(s.disk, s.path, s.Committed().Text(false), 0o600); e != nil {
			return errs.Wrap(errs.Internal, errors.Join(err, e), "the changes are not in force, but %s may have them already", s.path)
		}
	}
	return err
}

func (s *Store) prepare() (*Config, []Subscriber, error) {
	s.mu.RLock()
	next, subs := s.pending, s.subscribers
	s.mu.RUnlock()
	if next == nil {
		return nil, nil, ErrNothing
	}
	for _, sub := range subs {
		if err := sub.Prepare(next); err != nil {
			return nil, nil, err
		}
	}
	return next, subs, nil
}

// Update changes and commits in one step, for what the program itself must
// write, such as a pairing. Changes that others have pending stay pending and
// get the same change.
func (s *Store) Update(p mail.Principal, what string, f func(*Config) error) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.RLock()
	next, waiting, subs := s.current.Clone(), s.pending, s.subscribers
	s.mu.RUnlock()
	next, err := apply(next, f)
	var rebased *Config
	if err == nil && waiting != nil {
		rebased, err = apply(waiting.Clone(), f)
	}
	for _, sub := range subs {
		if err == nil {
			err = sub.Prepare(next)
		}
	}
	if err == nil {
		err = s.save(next)
	}
	if err != nil {
		s.audit.Record(p, what, "refused: "+errs.Public(err))
		return err
	}
	s.mu.Lock()
	s.current, s.pending = next, rebased
	s.mu.Unlock()
	for _, sub := range subs {
		sub.Apply(next)
	}
	s.audit.Record(p, what, "ok")
	return nil
}

func apply(c *Config, f func(*Config) error) (*Config, error) {
	if err := f(c); err != nil {
		return nil, err
	}
	return c.settled()
}

// settled checks c and gives it as the next start will read it, so that what
// is in force and what is on disk never differ.
func (c *Config) settled() (*Config, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	return Parse(c.Text(false))
}

// Clear drops what is pending and reports whether there was anything.
func (s *Store) Clear(p mail.Principal) bool {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	had := s.pending != nil
	s.pending = nil
	if had {
		s.audit.Record(p, "clear changes", "ok")
	}
	return had
}
