package queue

import (
	"context"
	"sync"
	"time"
)

// deferredWrites is what has yet to reach stable storage.
type deferredWrites struct {
	signal chan struct{} // capacity 1: something was applied unsynced, or failed

	mu     sync.Mutex
	failed []Update // of messages that left: tried again until they are in
}

// Completions are synced at once on an idle machine, so that a kill repeats
// nothing. Under load they wait a little, and mostly for nothing: the next
// message that is accepted takes them to the disk with its own flush. On a slow
// disk the wait is syncShare times what the last flush took, so that completions
// never take more than a fifth of its time.
const (
	syncGap   = time.Millisecond
	syncShare = 4
)

// retryGap is the time between two tries of writes that failed.
const retryGap = time.Second

// apply changes the store. Unsynced changes are synced soon after.
func (q *Queue) apply(u Update) error {
	err := q.opt.Store.Apply(q.ctx, u)
	if err != nil {
		q.log.Fault("queue", "writing the queue: "+err.Error())
		return err
	}
	if !u.Durable {
		q.later.poke()
	}
	return nil
}

func (d *deferredWrites) poke() {
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

// postpone keeps an update that must be in the store before the message is
// looked at again. It holds back nothing else.
func (q *Queue) postpone(u Update) {
	q.later.mu.Lock()
	q.later.failed = append(q.later.failed, u)
	q.later.mu.Unlock()
	q.later.poke()
}

// writeLoop syncs completions and repeats failed writes.
func (q *Queue) writeLoop() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	var last time.Time
	for gap := syncGap; ; last = time.Now() {
		select {
		case <-q.later.signal:
		case <-q.ctx.Done():
			return
		}
		if time.Since(last) < gap+10*syncGap {
			pause.Reset(gap)
			select {
			case <-pause.C:
			case <-q.ctx.Done():
				return
			}
		}
		gap = q.syncCompletions()
	}
}

// syncCompletions makes one round and gives the time to the next at least.
func (q *Queue) syncCompletions() time.Duration {
	if q.repeatFailed(q.ctx) > 0 {
		q.later.poke()
		return retryGap
	}
	began := time.Now()
	if err := q.opt.Store.Apply(q.ctx, Update{Durable: true}); err != nil && q.ctx.Err() == nil {
		q.log.Fault("queue", "syncing the queue: "+err.Error())
		q.later.poke()
		return retryGap
	}
	return max(syncGap, syncShare*time.Since(began))
}

// repeatFailed tries the failed writes again, in order, and gives how many are left.
func (q *Queue) repeatFailed(ctx context.Context) int {
	d := &q.later
	d.mu.Lock()
	list := d.failed
	d.mu.Unlock()
	n := 0
	for n < len(list) && q.opt.Store.Apply(ctx, list[n]) == nil {
		n++
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = d.failed[n:]
	return len(d.failed)
}

// flush writes at the end what only memory knows: failed writes, and
// judgements, so that they need not be repeated.
func (q *Queue) flush() error {
	ctx := context.Background()
	q.repeatFailed(ctx)
	q.mu.Lock()
	var save []*Item
	for _, e := range q.live {
		if e.refs == 0 && e.dirty && !e.gone {
			save = append(save, e.item)
			e.dirty = false
		}
	}
	q.mu.Unlock()
	return q.opt.Store.Apply(ctx, Update{Save: save, Durable: true})
}
