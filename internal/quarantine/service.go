package quarantine

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// How long what is finished is remembered.
const (
	// History is how long the record of a released or deleted message is kept
	// after its content is gone, so that search can show what became of it.
	History = 30 * day
	// KeyMemory is how long a message key is known after its record is gone, so
	// that a gateway which comes back late does not bring the message again.
	KeyMemory = 400 * day
)

// Options plug a service together. Store, Contents, Sender, Log and Audit are required.
type Options struct {
	Store interface {
		Store
		Calendar
		Pool
		Outlook
		Insides
	}
	Contents    Contents
	Sender      Sender
	Copier      Copier   // nil: no copies can be sent
	Examiner    Examiner // nil: nothing is scanned again
	Log         Log
	Audit       Audit
	Settings    []Settings
	Rules       Rules
	Own         string            // serial of this appliance: mail with its keys was not received from anybody
	Alert       func(text string) // tells the administrators; nil: the log only
	Clock       func() time.Time
	Elapsed     func() time.Duration // since some moment, whatever the clock does; nil: the system's
	ExpireEvery time.Duration        // pause between two looks for what is due; 0: 10 s
	RipenEvery  time.Duration        // and for what cannot be taken back any more; 0: 1 s
}

// Service is the quarantines of one appliance. Safe for concurrent use.
type Service struct {
	opt      Options
	now      func() time.Time
	settings atomic.Pointer[map[string]Settings]
	order    atomic.Pointer[[]string]
	ruled    atomic.Pointer[Rules]
	pool     pool
	watch    watch
	scanning sync.Map // mail.MID of what is being scanned again
}

// New makes a service; Run makes it act on time.
func New(opt Options) (*Service, error) {
	if opt.Store == nil || opt.Contents == nil || opt.Sender == nil || opt.Log == nil || opt.Audit == nil {
		return nil, errs.New(errs.Internal, "quarantine needs a store, contents, a sender, a log and an audit log")
	}
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Elapsed == nil {
		start := time.Now()
		opt.Elapsed = func() time.Duration { return time.Since(start) }
	}
	if opt.ExpireEvery <= 0 {
		opt.ExpireEvery = 10 * time.Second
	}
	if opt.RipenEvery <= 0 {
		opt.RipenEvery = time.Second
	}
	if opt.Alert == nil {
		opt.Alert = func(text string) { opt.Log.Fault("quarantine", text) }
	}
	s := &Service{opt: opt, now: opt.Clock, pool: pool{wake: make(chan struct{}, 1)}}
	return s, s.Configure(opt.Settings, opt.Rules)
}

// Configure changes the quarantines. A new retention holds for messages that
// come in from now on (reference 1.6), new rules for what is decided from now
// on. What a quarantine holds that is not among all any more leaves by its
// default action.
func (s *Service) Configure(all []Settings, rules Rules) error {
	if err := Check(all); err != nil {
		return err
	}
	if err := rules.Check(); err != nil {
		return err
	}
	set := make(map[string]Settings, len(all))
	names := make([]string, len(all))
	for i, q := range all {
		q.Users, q.Roles, q.Former = slices.Clone(q.Users), slices.Clone(q.Roles), slices.Clone(q.Former)
		set[q.Name], names[i] = q, q.Name
		for _, n := range q.Former {
			set[n] = q
		}
	}
	if before := s.settings.Load(); before != nil {
		if err := s.retire(*before, set); err != nil {
			return err
		}
	}
	s.settings.Store(&set)
	s.order.Store(&names)
	s.ruled.Store(&rules)
	return s.rename(context.Background(), all)
}

// rules gives those in force.
func (s *Service) rules() Rules { return *s.ruled.Load() }

// PoolLimit gives how many bytes of content all quarantines may hold; 0: as much
// as the disk.
func (s *Service) PoolLimit() int64 { return s.rules().Pool }

// setting gives the settings of a quarantine; those of Unclassified for one
// that does not exist any more.
func (s *Service) setting(name string) (Settings, bool) {
	set := *s.settings.Load()
	q, ok := set[name]
	if !ok {
		q = set[Unclassified]
	}
	return q, ok
}

// named gives the name that a quarantine has now, for one that it had.
func (s *Service) named(name string) string {
	if q, ok := s.setting(name); ok { // an empty name is none
		return q.Name
	}
	return name
}

// may gives what a principal may see and work in. A quarantine that is not
// configured any more is open to those with the right to all.
func (s *Service) may(p mail.Principal) func(string) bool {
	if auth.Can(p.Role, auth.QuarantineAll) {
		return func(string) bool { return true }
	}
	set := *s.settings.Load()
	return func(name string) bool {
		q, ok := set[name]
		return ok && q.may(p)
	}
}

// guard refuses a principal who has no business here at all.
func (s *Service) guard(p mail.Principal) error {
	if !auth.Can(p.Role, auth.Quarantine) {
		return errs.New(errs.Denied, "role %q may not work with quarantines", p.Role)
	}
	return nil
}

// checkName refuses a quarantine that the principal cannot see: to them it does
// not exist.
func (s *Service) checkName(p mail.Principal, name string) error {
	if _, ok := s.setting(name); (!ok && !auth.Can(p.Role, auth.QuarantineAll)) || !s.may(p)(name) {
		return errs.New(errs.NotFound, "there is no quarantine %q", clip(name))
	}
	return nil
}

// Show gives one message.
func (s *Service) Show(ctx context.Context, p mail.Principal, mid mail.MID) (*Message, error) {
	_, m, err := s.visible(ctx, p, mid)
	return m, err
}

func (s *Service) visible(ctx context.Context, p mail.Principal, mid mail.MID) (*Record, *Message, error) {
	if err := s.guard(p); err != nil {
		return nil, nil, err
	}
	list, err := s.opt.Store.Load(ctx, []mail.MID{mid})
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 1 {
		if m, ok := view(list[0], s.may(p)); ok {
			return list[0], m, nil
		}
	}
	return nil, nil, errs.New(errs.NotFound, "there is no message %s in the quarantine", mid)
}

// Content gives the content of one message, as received by the gateway.
func (s *Service) Content(ctx context.Context, p mail.Principal, mid mail.MID) (io.ReadCloser, error) {
	r, m, err := s.visible(ctx, p, mid)
	if err != nil {
		return nil, err
	}
	if !r.State.HasContent() {
		return nil, errs.New(errs.NotFound, "message %s is %s: its content is not kept any more", mid, m.State)
	}
	c, err := s.opt.Contents.Open(ctx, r.Content)
	if errs.Is(err, errs.NotFound) { // it left between the two looks, or is lost
		return nil, errs.Wrap(errs.NotFound, err, "message %s: its content is not kept any more", mid)
	}
	if err == nil {
		s.opt.Audit.Record(p, "quarantine read MID "+mid.String(), "ok")
	}
	return c, err
}

// Listed is one quarantine as listed.
type Listed struct {
	Settings
	Messages int64     `json:"messages"`
	Bytes    int64     `json:"bytes"`
	Last     time.Time `json:"last"` // newest entry; zero when empty
	Gone     bool      `json:"gone"` // not configured any more, but not empty
}

// Quarantines gives those the principal may see, in the order of the
// configuration, with what they hold.
func (s *Service) Quarantines(ctx context.Context, p mail.Principal) ([]Listed, error) {
	if err := s.guard(p); err != nil {
		return nil, err
	}
	counts, err := s.opt.Store.Counts(ctx)
	if err != nil {
		return nil, err
	}
	by := make(map[string]Count, len(counts))
	for _, c := range counts {
		by[c.Quarantine] = c
	}
	may := s.may(p)
	var out []Listed
	for _, n := range *s.order.Load() {
		if c := by[n]; may(n) {
			q, _ := s.setting(n)
			out = append(out, Listed{Settings: q, Messages: c.Messages, Bytes: c.Bytes, Last: c.Last})
		}
		delete(by, n)
	}
	for _, c := range counts {
		if _, left := by[c.Quarantine]; left && c.Messages > 0 && may(c.Quarantine) {
			q, _ := s.setting(c.Quarantine)
			q.Name = c.Quarantine
			out = append(out, Listed{Settings: q, Messages: c.Messages, Bytes: c.Bytes, Last: c.Last, Gone: true})
		}
	}
	return out, nil
}

// Of appliances that share a store one acts on time, and any of them makes
// room, one at a time. Two at once would do no harm (the record's version puts
// them in order), but for room: they would make too much.
const (
	turnKeeper = "keeper"
	keeperFor  = time.Minute // how long until another takes the place of one that is gone
	turnRoom   = "room"
	roomFor    = 10 * time.Second
)

// keeper reports whether this appliance is the one that acts on time.
func (s *Service) keeper(ctx context.Context) bool {
	mine, err := s.opt.Store.Turn(ctx, turnKeeper, keeperFor)
	s.trouble("asking whose turn it is", err)
	return mine
}

// roomEvery is the least pause between two looks at how full the pool is. With
// one for each message these took a tenth of the manager's time.
const roomEvery = 100 * time.Millisecond

// Run applies default actions to what is due, carries out what can no longer
// be taken back, and forgets what is old, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	back := make(chan struct{})
	go func() {
		defer close(back)
		s.lookBack(ctx)
	}()
	defer func() { <-back }()
	ripe, due, rested := time.NewTimer(0), time.NewTimer(0), time.NewTimer(0)
	defer ripe.Stop()
	defer due.Stop()
	defer rested.Stop()
	var wake chan struct{} // nil: it was looked at the pool just now
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rested.C:
			wake = s.pool.wake
		case <-wake:
			_, err := s.MakeRoom(ctx)
			s.trouble("making room", err)
			wake = nil
			rested.Reset(roomEvery)
		case <-ripe.C:
			if s.keeper(ctx) {
				_, err := s.Ripen(ctx)
				s.trouble("carrying out decisions", err)
			}
			ripe.Reset(s.opt.RipenEvery)
		case <-due.C:
			s.onTime(ctx)
			due.Reset(s.opt.ExpireEvery)
		}
	}
}

// onTime does what is due. An appliance whose turn it is not only looks at the
// clock, so that a jump of it is known when its turn comes.
func (s *Service) onTime(ctx context.Context) {
	if s.keeper(ctx) {
		_, err := s.ExpireDue(ctx)
		s.trouble("expiry", err)
		s.trouble("renaming", s.rename(ctx, slices.Collect(maps.Values(*s.settings.Load())))) // what came in beside a commit
		_, err = s.ClearRetired(ctx)
		s.trouble("clearing quarantines that were deleted", err)
		_, err = s.LetGo(ctx)
		s.trouble("letting go what was released", err)
		s.trouble("forgetting old records", s.forget(ctx))
	} else {
		_, err := s.look(ctx, false)
		s.trouble("looking at the clock", err)
	}
	_, err := s.MakeRoom(ctx) // a changed limit, or an alert that is due
	s.trouble("making room", err)
}

func (s *Service) trouble(doing string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		s.opt.Log.Fault("quarantine", doing+": "+err.Error())
	}
}

// forget removes old records and keys, unless the clock that makes them old
// is in doubt: without its key a deposit that comes again would be a new one.
func (s *Service) forget(ctx context.Context) error {
	if c := s.Clock(); c.Doubt || c.Blocked {
		return nil
	}
	const some = 1000
	for {
		now := s.now()
		n, err := s.opt.Store.Forget(ctx, now.Add(-History), now.Add(-KeyMemory), some)
		if err != nil || n < some {
			return err
		}
	}
}
