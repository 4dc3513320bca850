package queue

import (
	"context"
	"fmt"
	"io"
	"time"

	"lazaret/internal/errs"
)

// Feed hands the tasks of one destination to one run of its courier.
type Feed struct {
	q      *Queue
	h      *host
	began  time.Time
	probe  bool // the only run at a destination that is down
	proven bool // the destination was up when the run began

	ready chan struct{} // capacity 1
	timer *time.Timer   // of the run's own goroutine

	// Guarded by Queue.mu.
	started bool
	waiting bool // stands in host.idle
	given   bool // slot was handed over while waiting
	slot    slot
	taken   int // tasks given to the courier
	settled int
	over    bool // Down was called

	tasks map[*Task]struct{} // not settled; guarded by Queue.mu
}

// spawn begins a run when a permit is free; otherwise h waits for one.
func (q *Queue) spawn(h *host, probe bool) bool {
	proven := h.state == Up
	if q.runs >= q.opt.MaxConnections || !proven && q.unproven >= q.mostUnproven() {
		q.blocked.add(h, proven)
		return false
	}
	q.runs++
	if !proven {
		q.unproven++
	}
	h.starting++
	f := &Feed{q: q, h: h, began: q.now(), probe: probe, proven: proven, ready: make(chan struct{}, 1), tasks: make(map[*Task]struct{})}
	h.feeds[f] = struct{}{}
	q.wg.Go(f.run)
	return true
}

// run is one run of the courier and what follows it, whatever happened.
func (f *Feed) run() {
	q := f.q
	cause := f.guarded()
	q.mu.Lock()
	rest := make([]*Task, 0, len(f.tasks))
	for t := range f.tasks {
		rest = append(rest, t)
	}
	q.mu.Unlock()
	for _, t := range rest {
		if cause != "" {
			t.Done(t.all(Outcome{State: Deferred, Status: "4.3.0", Reply: "internal fault"}))
		} else {
			t.giveBack()
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	f.start()
	if f.given { // handed over in the moment the run ended
		f.h.wait.push(f.slot)
	}
	delete(f.h.feeds, f)
	q.runs--
	if !f.proven {
		q.unproven--
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	q.unblock()
	q.kick(f.h)
}

// guarded calls the courier; a panic ends this run and nothing else.
func (f *Feed) guarded() (fault string) {
	defer func() {
		if p := recover(); p != nil {
			fault = fmt.Sprintf("courier for %s: panic: %v%s", f.h.dest, p, culprit())
			f.q.log.Fault("queue", fault)
			f.Down(errs.New(errs.Internal, "internal fault in the courier"))
		}
	}()
	f.q.opt.Courier(f.h.dest).Run(f.q.ctx, f.h.dest, f)
	return ""
}

// blocked are the destinations with due messages that found no free permit.
type blocked struct{ proven, other []*host }

func (b *blocked) any() bool { return len(b.proven)+len(b.other) > 0 }

func (b *blocked) add(h *host, proven bool) {
	switch {
	case h.blocked:
		return
	case proven:
		b.proven = append(b.proven, h)
	default:
		b.other = append(b.other, h)
	}
	h.blocked = true
}

// mostUnproven is how many runs there may be at destinations that are not known
// to be up. Thousands of domains whose name servers or hosts say nothing must
// not hold all permits: a quarter is for those that take mail (register A4).
func (q *Queue) mostUnproven() int { return max(1, q.opt.MaxConnections*3/4) }

// wanted reports whether others wait for the permit that f holds.
func (q *Queue) wanted(f *Feed) bool {
	return q.runs >= q.opt.MaxConnections && q.blocked.any() ||
		!f.proven && q.unproven >= q.mostUnproven() && len(q.blocked.other) > 0
}

// unblock gives free permits to destinations that wait for one, in turn.
func (q *Queue) unblock() {
	for len(q.blocked.proven) > 0 && q.runs < q.opt.MaxConnections {
		q.kick(first(&q.blocked.proven))
	}
	for len(q.blocked.other) > 0 && q.runs < q.opt.MaxConnections && q.unproven < q.mostUnproven() {
		q.kick(first(&q.blocked.other))
	}
}

func first(list *[]*host) *host {
	h := (*list)[0]
	*list = (*list)[1:]
	h.blocked = false
	return h
}

// SetMaxConnections changes how many runs all destinations may have together.
// Those beyond a lower number end in their own time.
func (q *Queue) SetMaxConnections(n int) {
	if n <= 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.opt.MaxConnections = n
	q.unblock()
}

func (f *Feed) start() {
	if !f.started {
		f.started = true
		f.h.starting--
	}
}

func (f *Feed) signal() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// Next gives the next due task. When there is none it waits the destination's
// idle time, so that the connection can be used again. False: end the
// connection in good order and return.
func (f *Feed) Next(ctx context.Context) (*Task, bool) {
	for {
		s, ok := f.take(ctx)
		if !ok {
			return nil, false
		}
		if t := f.q.load(f, s); t != nil {
			return t, true
		}
	}
}

// take gets a slot, waiting for one if it must.
func (f *Feed) take(ctx context.Context) (slot, bool) {
	q, h := f.q, f.h
	q.mu.Lock()
	defer q.mu.Unlock()
	f.start()
	waited := false
	for {
		if f.given {
			f.given = false
			f.taken++
			return f.slot, true
		}
		if q.closing || f.over || h.state == Suspended || ctx.Err() != nil || h.state == Down && !f.probe {
			return slot{}, false
		}
		now := q.now()
		mayTake := h.state != Down || f.taken == 0 // a probe is one message
		if mayTake && h.rate.left(h.set, now) > 0 && h.wait.len() > 0 && h.wait.s[0].next <= now.UnixNano() {
			f.taken++
			return h.wait.pop(), true
		}
		if waited || len(f.tasks) == 0 && q.wanted(f) {
			return slot{}, false // idle long enough, or others need the permit
		}
		if mayTake {
			q.arm(h, now)
		}
		waited = f.sleep(ctx)
	}
}

// sleep waits in the idle list; true when the idle time ran out. Queue.mu is
// held on entry and on return, not between.
func (f *Feed) sleep(ctx context.Context) (ranOut bool) {
	q, h := f.q, f.h
	if h.set.Idle == 0 {
		return true
	}
	f.waiting = true
	h.idle = append(h.idle, f)
	if f.timer == nil {
		f.timer = time.NewTimer(h.set.Idle)
	} else {
		f.timer.Reset(h.set.Idle)
	}
	q.mu.Unlock()
	select {
	case <-f.ready:
	case <-ctx.Done():
	case <-f.timer.C:
		ranOut = true
	}
	q.mu.Lock()
	if f.waiting {
		f.waiting = false
		for i, o := range h.idle {
			if o == f {
				h.idle = append(h.idle[:i], h.idle[i+1:]...)
				break
			}
		}
	}
	select { // a signal that came with the timeout says nothing later
	case <-f.ready:
	default:
	}
	return ranOut
}

// Down reports that the connection could not be made or is lost. The
// destination is down until a probe gets through, unless other runs reached it
// since this one began: then it only gets fewer connections. Tasks of this run
// that are not settled go back and have cost no attempt. Next gives nothing
// any more.
func (f *Feed) Down(err error) {
	q := f.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.over {
		return
	}
	f.over = true
	q.failed(f.h, f.began, err, q.now())
}

// Task is one message for some of its recipients, in the hands of a courier.
type Task struct {
	Item       *Item       // not to be changed; look at Recipients below, not at those of Item
	Recipients []Recipient // those to deliver to now
	Open       func() (io.ReadCloser, error)

	feed    *Feed
	entry   *entry
	slot    slot
	before  []RecipientState // to give back
	damaged error            // seen while reading; guarded by entry.mu
}

// all makes the same outcome for each recipient.
func (t *Task) all(o Outcome) []Outcome {
	out := make([]Outcome, len(t.Recipients))
	for i := range out {
		out[i] = o
	}
	return out
}

// Done settles the task: one outcome for each of Recipients, in their order; a
// missing one counts as Deferred. The results are in the store when it
// returns, and on stable storage shortly after. A second call does nothing.
func (t *Task) Done(outcomes []Outcome) {
	f := t.feed
	f.q.mu.Lock()
	_, mine := f.tasks[t]
	if mine {
		delete(f.tasks, t)
		f.settled++
	}
	f.q.mu.Unlock()
	if mine {
		f.q.settle(t, outcomes)
	}
}

// giveBack returns the task to the schedule as it was.
func (t *Task) giveBack() {
	f := t.feed
	f.q.mu.Lock()
	_, mine := f.tasks[t]
	delete(f.tasks, t)
	f.q.mu.Unlock()
	if mine {
		f.q.giveBack(t)
	}
}
