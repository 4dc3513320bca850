package spool

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
)

// group makes the commits of sessions: those that come while a flush is under
// way wait for its end and then go into the engine as one batch, with one flush
// for all. So the engine's work for a commit, and the hand-overs between
// goroutines around a flush, are shared, and nobody waits by the clock.
type group struct {
	mu      sync.Mutex
	waiting []*order
	running bool // a goroutine takes what waits
}

// order is one commit that somebody waits for.
type order struct {
	b        *pebble.Batch
	undo     func() error
	done     chan error // capacity 1
	timer    *time.Timer
	answered atomic.Bool // whoever sets it first has the last word
}

// maxGroup is how many octets of batches go into the engine at once, about: far
// below its write buffer.
const maxGroup = 4 << 20

// patience is how long a client waits for the answer to its message; then it
// hears 4xx (rule Q-3 and its cap). It would wait ten minutes (RFC 5321 section
// 4.5.3.2.6), but a session that does nothing costs others their place.
const patience = 30 * time.Second

// bounded is commit for those whom somebody waits for. It owns the batch. When
// the disk takes longer than wait the answer is an error, and what came
// of the batch after all is undone as soon as the disk goes on: who heard 4xx
// sends again. A crash in between may keep it: then it is there twice, as SMTP
// allows.
//
// Batches with sync are written in the order they come in, abandoned ones too.
func (s *Spool) bounded(b *pebble.Batch, sync bool, wait time.Duration, undo func() error) (err error, abandoned bool) {
	o := s.order(b, undo, wait)
	if sync {
		s.enter(o)
	} else { // a piece of a long content does not wait for anybody's flush
		go func() { s.carryOut(o, s.apply(o.b, false)) }()
	}
	select {
	case err := <-o.done:
		s.orders.Put(o)
		return err, false
	case <-s.died:
	case <-o.timer.C:
	}
	if !o.answered.CompareAndSwap(false, true) {
		return <-o.done, false // just in time
	}
	if e := s.dead.Load(); e != nil {
		return *e, true
	}
	if err := s.opt.Disk.Ready(); err != nil {
		return err, true
	}
	return errs.New(errs.Temporary, "the storage does not answer"), true
}

// order makes an order or takes one that was answered in time.
func (s *Spool) order(b *pebble.Batch, undo func() error, wait time.Duration) *order {
	o, ok := s.orders.Get().(*order)
	if !ok {
		o = &order{done: make(chan error, 1), timer: time.NewTimer(wait)}
	} else {
		o.timer.Reset(wait)
		o.answered.Store(false)
	}
	o.b, o.undo = b, undo
	return o
}

// enter puts an order into the line.
func (s *Spool) enter(o *order) {
	g := &s.group
	g.mu.Lock()
	g.waiting = append(g.waiting, o)
	start := !g.running
	g.running = true
	g.mu.Unlock()
	if start {
		go s.commitGroups()
	}
}

// commitGroups takes what waits until nothing does.
func (s *Spool) commitGroups() {
	g := &s.group
	var orders []*order
	for {
		runtime.Gosched() // sessions that are about to commit: one flush for them too
		g.mu.Lock()
		orders = g.take(orders[:0])
		if len(orders) == 0 {
			g.running = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		s.commitGroup(orders)
		clear(orders)
	}
}

// take gives what goes into the engine next. group.mu is held.
func (g *group) take(orders []*order) []*order {
	size, n := 0, 0
	for n < len(g.waiting) && (n == 0 || size+g.waiting[n].b.Len() <= maxGroup) {
		size += g.waiting[n].b.Len()
		n++
	}
	orders = append(orders, g.waiting[:n]...)
	left := copy(g.waiting, g.waiting[n:])
	clear(g.waiting[left:])
	g.waiting = g.waiting[:left]
	return orders
}

// commitGroup writes orders with one flush.
func (s *Spool) commitGroup(orders []*order) {
	if len(orders) == 1 {
		s.carryOut(orders[0], s.apply(orders[0].b, true))
		return
	}
	size := 0
	for _, o := range orders {
		size += o.b.Len()
	}
	all := s.db.NewBatchWithSize(size)
	var err error
	for _, o := range orders {
		if err = all.Apply(o.b, nil); err != nil {
			err = errs.Wrap(errs.Internal, err, "joining commits")
			break
		}
	}
	if err == nil {
		err = s.apply(all, true)
	}
	all.Close()
	for _, o := range orders {
		s.carryOut(o, err)
	}
}

// carryOut answers an order, or undoes it when nobody waits any more.
func (s *Spool) carryOut(o *order, err error) {
	o.b.Close()
	o.b = nil
	if o.answered.CompareAndSwap(false, true) {
		o.timer.Stop()
		o.done <- err // o is the other side's from here on
		return
	}
	go func() {
		if err == nil {
			err = o.undo()
		}
		if err != nil && s.dead.Load() == nil {
			s.opt.Log.Fault("spool", "a message that was refused late: "+err.Error())
		}
	}()
}
