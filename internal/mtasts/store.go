package mtasts

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// file is the form of the cache on disk. Only what is added may change without
// a new version.
type file struct {
	Version  int          `json:"version"`
	Policies []savedEntry `json:"policies"`
}

type savedEntry struct {
	Domain  string    `json:"domain"`
	ID      string    `json:"id"`
	Mode    Mode      `json:"mode"`
	MX      []string  `json:"mx,omitempty"`
	MaxAge  int64     `json:"max_age"` // seconds
	Fetched time.Time `json:"fetched"`
	Expires time.Time `json:"expires"`
}

const fileVersion = 1

// load takes over what the store has. One entry that makes no sense is left out.
func (c *Cache) load() {
	b, err := c.opt.Store.Load()
	var f file
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &f)
		if err == nil && f.Version != fileVersion {
			err = errs.New(errs.Invalid, "version %d is not known", f.Version)
		}
	}
	if err != nil {
		c.opt.Warn("MTA-STS: the policies kept cannot be read and are looked for again: " + err.Error())
		return
	}
	for _, s := range f.Policies {
		if e, ok := s.entry(); ok && len(c.kept) < maxDomains {
			c.kept[s.Domain] = e
		}
	}
}

func (s savedEntry) entry() (entry, bool) {
	e := entry{id: s.ID, fetched: s.Fetched, expires: s.Expires, policy: Policy{Mode: s.Mode, MaxAge: time.Duration(s.MaxAge) * time.Second}}
	domain, err := mail.ParseDomain(s.Domain)
	good := err == nil && domain == s.Domain && s.MaxAge >= 0 && s.MaxAge <= int64(MaxAge/time.Second) && len(s.ID) <= maxID
	return e, good && e.policy.patterns(s.MX) == nil && e.policy.check() == nil
}

// saveLoop writes the cache a while after it changed: a policy lost by a crash
// is found again at the next delivery.
func (c *Cache) saveLoop() {
	pause := time.NewTimer(saveGap)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-c.ctx.Done():
			return // Close saves the rest
		}
		select {
		case <-c.dirty:
		case <-c.ctx.Done():
			return
		}
		if err := c.save(); err != nil {
			c.opt.Warn("MTA-STS: the policies cannot be saved: " + err.Error())
		}
		pause.Reset(saveGap)
	}
}

func (c *Cache) save() error {
	c.mu.Lock()
	f := file{Version: fileVersion, Policies: make([]savedEntry, 0, len(c.kept))}
	for d, e := range c.kept {
		f.Policies = append(f.Policies, savedEntry{
			Domain: d, ID: e.id, Mode: e.policy.Mode, MX: e.policy.MX, MaxAge: int64(e.policy.MaxAge / time.Second), Fetched: e.fetched.UTC(), Expires: e.expires.UTC(),
		})
	}
	c.mu.Unlock()
	slices.SortFunc(f.Policies, func(a, b savedEntry) int { return strings.Compare(a.Domain, b.Domain) })
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return errs.Wrap(errs.Internal, err, "MTA-STS policies")
	}
	return errs.Context(c.opt.Store.Save(append(b, '\n')), "MTA-STS policies")
}
