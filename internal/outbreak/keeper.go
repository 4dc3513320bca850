package outbreak

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/errs"
)

// DefaultPoll is how often a source is asked (reference 2.6).
const DefaultPoll = 5 * time.Minute

// Settings say where the feed is and who may sign it.
type Settings struct {
	Source string // an absolute path or an HTTPS URL; empty: there are no rules
	Feed   string // the name that it must have
	Keys   []Key
	CAFile string // roots for the server of Source; empty: those of the system
	Poll   time.Duration
}

// same reports whether other settings are the same.
func (s Settings) same(o Settings) bool {
	if s.Source != o.Source || s.Feed != o.Feed || s.CAFile != o.CAFile || s.Poll != o.Poll || len(s.Keys) != len(o.Keys) {
		return false
	}
	for i := range s.Keys {
		if s.Keys[i].String() != o.Keys[i].String() {
			return false
		}
	}
	return true
}

// Store keeps the last good feed, signed as it came. Nil and no error: none.
type Store interface {
	Load() ([]byte, error)
	Save(feed []byte) error
}

// Options of a Keeper. All but Store and OnUpdate are needed.
type Options struct {
	Store    Store // nil: nothing is kept
	Compile  Compile
	Client   func(caFile string) *http.Client
	Now      func() time.Time
	Info     func(text string) // a line of the log
	Warn     func(text string)
	OnUpdate func() // other rules are in force; called with nothing locked
}

// Keeper has the rules in force, and gets new ones. Safe for concurrent use.
type Keeper struct {
	opt  Options
	set  atomic.Pointer[Set]
	wake chan struct{} // capacity 1: ask the source now

	busy sync.Mutex // one update at a time; guards last
	last fetched

	mu     sync.Mutex
	conf   Settings
	status Status
}

// Status is what an administrator is shown.
type Status struct {
	Settings Settings
	Feed     Feed      // in force; without rules when there is none
	Asked    time.Time // when the source was asked last
	Good     time.Time // when it last gave what could be believed
	Trouble  string    // why not; empty: it did
}

// NewKeeper makes a keeper without rules.
func NewKeeper(o Options) *Keeper {
	return &Keeper{opt: o, wake: make(chan struct{}, 1)}
}

// Set gives the rules in force.
func (k *Keeper) Set() *Set { return k.set.Load() }

// Status says how things are.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	s.Settings, s.Feed = k.conf, k.Set().Feed()
	return s
}

// Configure puts settings in force, with the feed that was kept if it is one by
// them: a start needs no network.
func (k *Keeper) Configure(s Settings) {
	k.busy.Lock()
	k.mu.Lock()
	same := s.same(k.conf)
	if k.conf = s; !same {
		k.status = Status{}
	}
	k.mu.Unlock()
	changed := !same && k.configure(s)
	k.busy.Unlock()
	if changed && k.opt.OnUpdate != nil {
		k.opt.OnUpdate()
	}
	if !same {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// configure reports whether other rules are in force.
func (k *Keeper) configure(s Settings) (changed bool) {
	k.last = fetched{}
	before := k.set.Swap(nil)
	if s.Source == "" {
		return before != nil
	}
	b, err := k.kept()
	if err == nil && b != nil {
		var set *Set
		if set, err = k.read(b, s); err == nil {
			k.set.Store(set)
			return true
		}
	}
	if err != nil {
		k.opt.Warn("the outbreak rules that were kept are not in force: " + err.Error())
	}
	return before != nil
}

func (k *Keeper) kept() ([]byte, error) {
	if k.opt.Store == nil {
		return nil, nil
	}
	return k.opt.Store.Load()
}

// read makes rules of a signed feed, if it is the one that was asked for.
func (k *Keeper) read(b []byte, s Settings) (*Set, error) {
	f, err := Read(b, s.Keys, k.opt.Compile)
	if err != nil {
		return nil, err
	}
	if f.Name != s.Feed {
		return nil, errs.New(errs.Denied, "the outbreak feed is %q, not %q", f.Name, s.Feed)
	}
	return NewSet(f, k.opt.Compile)
}

// floor is the serial below which nothing is believed: that of the feed that was
// kept last, whoever had signed it.
func (k *Keeper) floor(name string) (uint64, error) {
	b, err := k.kept()
	if err != nil || b == nil {
		return 0, err
	}
	_, text, err := split(b)
	if err != nil {
		return 0, because(err, "the outbreak feed that was kept")
	}
	f := new(Feed)
	if err := parseJSON(text, f); err != nil {
		return 0, because(err, "the outbreak feed that was kept")
	}
	if f.Name != name {
		return 0, nil
	}
	return f.Serial, nil
}

// maxAhead is how far the clock of who publishes may be ahead of ours.
const maxAhead = 24 * time.Hour

// Update asks the source now. changed: other rules are in force.
func (k *Keeper) Update(ctx context.Context) (changed bool, err error) {
	k.busy.Lock()
	changed, err = k.update(ctx)
	k.busy.Unlock()
	if changed && k.opt.OnUpdate != nil {
		k.opt.OnUpdate()
	}
	return changed, err
}

func (k *Keeper) update(ctx context.Context) (bool, error) {
	k.mu.Lock()
	s := k.conf
	k.mu.Unlock()
	if s.Source == "" {
		return false, errs.New(errs.NotFound, "there is no source of outbreak rules; outbreakconfig says where one is")
	}
	changed, err := k.take(ctx, s)
	k.note(ctx, err)
	return changed, err
}

// take gets a feed and puts it in force, when it is better than the one there is.
func (k *Keeper) take(ctx context.Context, s Settings) (bool, error) {
	b, now, err := k.fetch(ctx, s)
	if err != nil {
		return false, err
	}
	if b == nil {
		k.last = now
		return false, k.stale()
	}
	set, err := k.read(b, s)
	if err != nil {
		return false, err
	}
	f := set.Feed()
	if ahead := f.Published.Sub(k.opt.Now()); ahead > maxAhead {
		return false, errs.New(errs.Invalid, "the outbreak feed was published at %s, which is to come", f.Published.UTC().Format(time.RFC3339))
	}
	floor, err := k.floor(s.Feed)
	if err != nil {
		k.opt.Warn(err.Error()) // and is replaced: the new one has a good signature
	}
	if have := k.Set().Feed(); have.Serial > floor {
		floor = have.Serial
	}
	switch {
	case f.Serial < floor:
		return false, errs.New(errs.Denied, "the outbreak feed has serial %d, and %d was in force before: an old one is played again, or its publisher lost count", f.Serial, floor)
	case f.Serial == floor && k.Set() != nil:
		if !k.isKept(b) {
			return false, errs.New(errs.Denied, "there are two outbreak feeds with serial %d", f.Serial)
		}
		k.last = now
		return false, k.stale()
	}
	if k.opt.Store != nil {
		if err := k.opt.Store.Save(b); err != nil {
			return false, errs.Context(err, "keeping the outbreak feed")
		}
	}
	k.last = now
	k.set.Store(set)
	k.opt.Info("Outbreak rules updated: feed " + f.Name + " serial " + number(f.Serial) + ", " + number(uint64(len(f.Rules))) + " rules")
	return true, k.stale()
}

// isKept reports whether a feed says what the one that was kept says: only its
// signatures may be others.
func (k *Keeper) isKept(b []byte) bool {
	old, err := k.kept()
	if err != nil || old == nil {
		return k.opt.Store == nil
	}
	_, was, err := split(old)
	_, now, err2 := split(b)
	return err == nil && err2 == nil && string(was) == string(now)
}

// stale is the trouble of a feed that should have been followed by another: who
// holds new ones back does not go unseen.
func (k *Keeper) stale() error {
	if f := k.Set().Feed(); !f.Expires.IsZero() && k.opt.Now().After(f.Expires) {
		return errs.New(errs.Temporary, "the outbreak feed in force, serial %d, should have been followed by another one by %s", f.Serial, f.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// note keeps how asking went, and tells of what is new about it.
func (k *Keeper) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // we are going down
	}
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	k.mu.Lock()
	before := k.status.Trouble
	k.status.Asked, k.status.Trouble = k.opt.Now(), trouble
	if err == nil {
		k.status.Good = k.status.Asked
	}
	k.mu.Unlock()
	switch {
	case trouble != "" && trouble != before:
		k.opt.Warn("Outbreak rules not updated: " + strings.ReplaceAll(trouble, "\n", " "))
	case trouble == "" && before != "":
		k.opt.Info("Outbreak rules: the source is well again")
	}
}

// fetchTime bounds asking a source.
const fetchTime = time.Minute

// Run asks the source at once and then at its interval, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for {
		k.mu.Lock()
		s := k.conf
		k.mu.Unlock()
		wait := s.Poll
		if wait <= 0 {
			wait = DefaultPoll
		}
		t := time.NewTimer(wait)
		if s.Source != "" {
			asking, cancel := context.WithTimeout(ctx, fetchTime)
			_, _ = k.Update(asking) // it is noted
			cancel()
		}
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-k.wake:
			t.Stop()
		case <-t.C:
		}
	}
}
