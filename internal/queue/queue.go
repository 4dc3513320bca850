package queue

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/stats"
)

// Options plug a queue together. Store, Processor, Courier and Log are required.
type Options struct {
	Store     Store
	Processor Processor
	Courier   func(Dest) Courier
	Settings  func(Dest) Settings // nil: DefaultSettings; asked again for each new destination and by Reload
	Log       Log

	// Profile gives the bounce profile of one message at a destination, where
	// it is another than the destination's own. Nil: it never is.
	Profile func(*Item, Dest, Settings) Settings

	// Notify hears of what a sender may want to know, before it is recorded.
	// Nil: nobody does. See Notifier.
	Notify Notifier

	Stats          *stats.Set
	Clock          func() time.Time
	Random         func() float64 // 0 to 1, for jitter
	Workers        int            // judgements at once
	MaxConnections int            // runs of all destinations together
	MaxLoaded      int            // whole messages kept in memory while they wait; one with many recipients counts as several
	MaxHosts       int            // destinations remembered; busy ones beyond this still work
	Suspended      []string       // what Suspended gave in an earlier life
}

// Queue is the queue of one appliance. Make it with New, call Recover before
// the first Add, then Run.
type Queue struct {
	opt   Options
	now   func() time.Time
	log   Log
	stats *stats.Set

	mu        sync.Mutex
	hosts     map[Dest]*host
	live      map[mail.MID]*entry
	kept      int // weight of the entries in live that nobody uses now
	work      workQueue
	blocked   blocked // due, but MaxConnections runs are alive
	runs      int
	unproven  int             // of these, at destinations that were not up when they began
	suspended map[string]bool // names; "" is all
	closing   bool
	recovered bool
	running   bool
	seen      time.Time // the last moment that what was found at start tells of
	doubt     time.Time // nothing is too old before this

	wake   *sync.Cond // on mu: work for the judges
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // runs, judges, helpers

	later deferredWrites
	sized SizedStore // Options.Store, if it is one
}

// New makes a queue; nothing runs yet.
func New(opt Options) (*Queue, error) {
	if opt.Store == nil || opt.Processor == nil || opt.Courier == nil || opt.Log == nil {
		return nil, errs.New(errs.Internal, "queue needs a store, a processor, couriers and a log")
	}
	if opt.Settings == nil {
		opt.Settings = DefaultSettings
	}
	if opt.Stats == nil {
		opt.Stats = new(stats.Set)
	}
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Random == nil {
		opt.Random = rand.Float64
	}
	setDefault(&opt.Workers, max(4, runtime.GOMAXPROCS(0)))
	setDefault(&opt.MaxConnections, 1000)
	setDefault(&opt.MaxLoaded, 4096)
	setDefault(&opt.MaxHosts, 50000)
	q := &Queue{
		opt: opt, now: opt.Clock, log: opt.Log, stats: opt.Stats,
		hosts: make(map[Dest]*host), live: make(map[mail.MID]*entry),
		suspended: make(map[string]bool),
	}
	q.wake = sync.NewCond(&q.mu)
	q.sized, _ = opt.Store.(SizedStore)
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.later.signal = make(chan struct{}, 1)
	for _, n := range opt.Suspended {
		q.suspended[suspendName(n)] = true
	}
	return q, nil
}

func setDefault(v *int, def int) {
	if *v <= 0 {
		*v = def
	}
}

// Recover rebuilds the schedule from the store. It must return before the
// first Add: a message accepted meanwhile would be found twice. Run calls it
// when nobody did.
func (q *Queue) Recover(ctx context.Context) error {
	q.mu.Lock()
	done := q.recovered
	q.recovered = true
	q.mu.Unlock()
	if done {
		return nil
	}
	scan := q.opt.Store.Scan
	if lean, ok := q.opt.Store.(LeanScanner); ok {
		scan = lean.ScanLean
	}
	err := scan(ctx, func(it *Item) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.lastSeen(it)
		switch it.State {
		case Work:
			q.work.recovered(it)
		case Routed:
			q.schedule(it)
		case Held:
			q.work.held = append(q.work.held, it.MID)
		}
		return nil
	})
	q.mu.Lock()
	q.recovered = err == nil
	q.takenUp()
	q.mu.Unlock()
	return errs.Context(err, "reading the queue")
}

// Run works until ctx ends, then stops like Close.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.Recover(ctx); err != nil {
		return err
	}
	q.mu.Lock()
	if q.closing {
		q.mu.Unlock()
		return errs.New(errs.Closed, "the queue is closed")
	}
	q.running = true
	for range q.opt.Workers {
		q.wg.Go(q.judgeLoop)
	}
	q.wg.Go(q.judgeSuspects)
	q.wg.Go(q.writeLoop)
	for _, h := range q.hosts {
		q.kick(h)
	}
	q.mu.Unlock()
	<-ctx.Done()
	return q.Close()
}

// Close ends all runs and judgements and waits for them. What they did not
// settle stays in the store.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closing = true
	q.wake.Broadcast()
	for _, h := range q.hosts {
		h.stop()
	}
	q.work.stop()
	q.mu.Unlock()
	q.cancel()
	q.wg.Wait()
	return q.flush()
}

// Add takes up a message that is durable in the store, state Work. The queue
// owns the Item from here on.
func (q *Queue) Add(it *Item) {
	q.mu.Lock()
	if q.kept < q.opt.MaxLoaded {
		e := &entry{mid: it.MID, item: it}
		q.live[it.MID] = e
		q.keep(e)
	}
	q.work.fresh.push(it.MID)
	q.mu.Unlock()
	q.wake.Signal()
}

// Enqueue takes up a durable message by its number; it is loaded when its turn comes.
func (q *Queue) Enqueue(mid mail.MID) {
	q.mu.Lock()
	q.work.fresh.push(mid)
	q.mu.Unlock()
	q.wake.Signal()
}
