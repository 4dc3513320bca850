package disk

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"lazaret/internal/errs"
)

// Log hears of changes in how a disk is; *logs.Mail implements it.
type Log interface {
	// DiskSlow: an operation on what is kept there takes longer than d.
	DiskSlow(what, operation string, d time.Duration)
	// DiskWell: the operations of DiskSlow are through, after d.
	DiskWell(what string, d time.Duration)
	// DiskFull: there is no room; no mail is taken.
	DiskFull(what, operation string)
	// DiskRoom: there is room again, after d.
	DiskRoom(what string, d time.Duration)
}

const (
	// SlowAfter is when an operation counts as slow.
	SlowAfter = 2 * time.Second
	// StalledAfter is when nothing new is begun because one does not end.
	StalledAfter = 10 * time.Second
	// quiet is how long no second line about a slow disk comes after one.
	quiet = time.Minute
	// retryRoom is how often a full disk is tried again.
	retryRoom = 250 * time.Millisecond
)

// Watch knows how the disk under one store is. The zero value and nil are not
// usable; make it with NewWatch. Safe for concurrent use.
type Watch struct {
	what string
	log  Log

	mu      sync.Mutex
	patient bool          // a full disk is waited for
	stop    chan struct{} // closed: nothing is waited for any more
	stopped bool
	slow    map[*Operation]struct{} // take longer than SlowAfter
	since   time.Time               // began the oldest of slow
	slowAt  time.Time               // began the first of this slowness
	told    time.Time               // the last line about it
	untold  bool                    // the present slowness was not told
	slowN   uint64
	full    int // operations that wait for room
	fullAt  time.Time
	fullOp  string
	low     bool // below the floor
	lowAt   time.Time
}

// NewWatch makes a watch for what is kept there ("spool"). log may be nil.
func NewWatch(what string, log Log) *Watch {
	if log == nil {
		log = deaf{}
	}
	return &Watch{what: what, log: log, stop: make(chan struct{}), slow: make(map[*Operation]struct{})}
}

type deaf struct{}

func (deaf) DiskSlow(string, string, time.Duration) {}
func (deaf) DiskWell(string, time.Duration)         {}
func (deaf) DiskFull(string, string)                {}
func (deaf) DiskRoom(string, time.Duration)         {}

// Operation is one operation of the disk under way.
type Operation struct {
	w     *Watch
	name  string
	began time.Time
	timer *time.Timer
	ended bool        // guarded by w.mu
	again *time.Timer // guarded by w.mu: tells of what was not told at first
}

// Begin notes that an operation begins, to be ended with End. name is such as
// "sync of 000007.log".
func (w *Watch) Begin(verb, path string) *Operation {
	o := &Operation{w: w, name: verb + " of " + path, began: time.Now()}
	o.timer = time.AfterFunc(SlowAfter, o.late)
	return o
}

// late is called when the operation has not ended in time.
func (o *Operation) late() {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.ended { // just now
		return
	}
	w.slow[o] = struct{}{}
	w.slowN++
	if len(w.slow) > 1 {
		return
	}
	w.since, w.slowAt = o.began, o.began
	if now := time.Now(); w.told.IsZero() || now.Sub(w.told) >= quiet {
		w.told, w.untold = now, false
		w.log.DiskSlow(w.what, o.name, SlowAfter)
	} else {
		w.untold = true // unless it becomes a stall
		o.again = time.AfterFunc(StalledAfter-SlowAfter, o.stalled)
	}
}

// stalled tells of a slow disk all the same, so soon after the last time.
func (o *Operation) stalled() {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !o.ended && w.untold {
		w.told, w.untold = time.Now(), false
		w.log.DiskSlow(w.what, o.name, StalledAfter)
	}
}

// End notes that the operation is over, well or not.
func (o *Operation) End() {
	w := o.w
	if o.timer.Stop() {
		return // the common case
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o.ended = true
	if o.again != nil {
		o.again.Stop()
	}
	if _, late := w.slow[o]; !late {
		return
	}
	delete(w.slow, o)
	if len(w.slow) == 0 {
		if !w.untold {
			w.told = time.Now()
			w.log.DiskWell(w.what, time.Since(w.slowAt))
		}
		return
	}
	w.since = time.Now()
	for other := range w.slow {
		if other.began.Before(w.since) {
			w.since = other.began
		}
	}
}

// IsFull reports whether err says that there is no room: bytes, inodes or quota.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Patient says that from now on a full disk is waited for. Before, while a
// store opens, it is an error like any other: somebody stands there and reads it.
func (w *Watch) Patient() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.patient = true
}

func (w *Watch) isPatient() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.patient
}

// Stop ends all waiting: what waits for room fails now.
func (w *Watch) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		close(w.stop)
	}
}

// retry runs f until it gives something else than a full disk.
func (w *Watch) retry(verb, path string, f func() error) error {
	return w.again(f(), verb, path, f)
}

// again is retry after a first try that gave err.
func (w *Watch) again(err error, verb, path string, f func() error) error {
	if err == nil || !IsFull(err) || !w.beginFull(verb+" of "+path) {
		return err
	}
	defer w.endFull()
	t := time.NewTicker(retryRoom)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-w.stop:
			return err
		}
		if err = f(); err == nil || !IsFull(err) {
			return err
		}
	}
}

func (w *Watch) beginFull(operation string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.patient || w.stopped {
		return false
	}
	if w.full++; w.full == 1 {
		w.fullAt, w.fullOp = time.Now(), operation
		w.log.DiskFull(w.what, operation)
	}
	return true
}

func (w *Watch) endFull() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full--; w.full == 0 && !w.stopped {
		w.log.DiskRoom(w.what, time.Since(w.fullAt))
	}
}

// Floor tells the watch whether there is less room than must stay free; the
// first of a kind is logged.
func (w *Watch) Floor(low bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if low == w.low {
		return
	}
	if w.low = low; low {
		w.lowAt = time.Now()
		w.log.DiskFull(w.what, "")
	} else {
		w.log.DiskRoom(w.what, time.Since(w.lowAt))
	}
}

// Ready says whether anything new may be begun: errs.Full while the disk is
// full, errs.Temporary while it does not answer.
func (w *Watch) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full > 0 {
		return errs.New(errs.Full, "insufficient system storage")
	}
	if len(w.slow) > 0 && time.Since(w.since) >= StalledAfter {
		return errs.New(errs.Temporary, "the storage does not answer")
	}
	return nil
}

// State says in a sentence what is wrong; empty when nothing is.
func (w *Watch) State() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.full > 0:
		return fmt.Sprintf("%s: the disk is full for %s (%s); mail is refused until there is room", w.what, age(w.fullAt), w.fullOp)
	case len(w.slow) > 0 && time.Since(w.since) >= StalledAfter:
		return fmt.Sprintf("%s: the disk has not answered for %s; mail is refused for now", w.what, age(w.since))
	case len(w.slow) > 0:
		return fmt.Sprintf("%s: the disk is slow, %s under way", w.what, age(w.since))
	case w.low:
		return fmt.Sprintf("%s: too little free space for %s; mail is refused until there is more", w.what, age(w.lowAt))
	case w.slowN > 0 && time.Since(w.told) < 10*quiet:
		return fmt.Sprintf("%s: the disk was slow %s ago", w.what, age(w.told))
	}
	return ""
}

func age(t time.Time) time.Duration { return time.Since(t).Round(time.Second) }
