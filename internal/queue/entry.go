package queue

import (
	"io"
	"sync"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// entry is one message in memory. Everybody who uses it holds a reference; one
// that nobody uses stays only while it knows more than the store (dirty), or
// waits fresh for its judgement, and while MaxLoaded allows.
type entry struct {
	mid mail.MID

	mu    sync.Mutex
	item  *Item            // nil: not loaded
	dirty bool             // the judgement is not in the store
	gone  bool             // removed or set aside
	aside bool             // of these: set aside
	drop  []RecipientState // Deleted or Bounced: what an operator made of recipients while they were active or judged

	judging bool // the processor reads item: nobody changes it

	refs   int // guarded by Queue.mu
	weight int // guarded by Queue.mu: what it counts in Queue.kept while refs is 0
}

// acquire gives the entry of a message, with a reference.
func (q *Queue) acquire(mid mail.MID) *entry {
	e := q.live[mid]
	if e == nil {
		e = &entry{mid: mid}
		q.live[mid] = e
	}
	e.refs++
	q.kept -= e.weight
	e.weight = 0
	return e
}

// keep lets an entry stay in memory while nobody uses it. Queue.mu is held.
func (q *Queue) keep(e *entry) {
	e.weight = 1 + len(e.item.Recipients)/8
	q.kept += e.weight
}

// release drops a reference. Queue.mu is not held, entry.mu is not held.
func (q *Queue) release(e *entry) {
	q.mu.Lock()
	// With the last reference nobody else touches dirty, item and gone.
	if e.refs == 1 && e.dirty && !e.gone && q.kept >= q.opt.MaxLoaded {
		q.mu.Unlock()
		e.mu.Lock()
		if e.dirty && !e.gone && q.apply(Update{Save: []*Item{e.item}}) == nil {
			e.dirty = false
		}
		e.mu.Unlock()
		q.mu.Lock()
	}
	e.refs--
	if e.refs == 0 {
		if e.dirty && !e.gone {
			q.keep(e)
		} else {
			delete(q.live, e.mid)
		}
	}
	q.mu.Unlock()
}

// fill loads the item when it is not in memory. entry.mu is held.
func (e *entry) fill(q *Queue) error {
	if e.item != nil {
		return nil
	}
	it, err := q.opt.Store.Load(q.ctx, e.mid)
	if err != nil {
		return err
	}
	for i := range it.Recipients {
		// A crash left it with a courier: the attempt counts, it is due.
		if r := &it.Recipients[i]; r.State == Active {
			r.State = Deferred
		}
	}
	e.item = it
	return nil
}

// setAside takes a damaged message out. entry.mu is held.
func (e *entry) setAside(q *Queue, cause error) {
	e.gone, e.aside = true, true
	q.log.Fault("queue", "MID "+e.mid.String()+" is set aside: "+cause.Error())
	if err := q.opt.Store.SetAside(q.ctx, e.mid, cause); err != nil {
		q.log.Fault("queue", "setting aside MID "+e.mid.String()+": "+err.Error())
	}
}

// opener gives the content and reports damage to note.
func (q *Queue) opener(mid mail.MID, size int64, note func(error)) Opener {
	return func() (io.ReadCloser, error) {
		r, err := q.open(mid, size)
		if err != nil {
			if errs.Is(err, errs.Damaged) {
				note(err)
			}
			return nil, err
		}
		return &watched{r: r, note: note}, nil
	}
}

// open asks a store that can for the content alone: the record is here.
func (q *Queue) open(mid mail.MID, size int64) (io.ReadCloser, error) {
	if q.sized != nil {
		return q.sized.OpenSized(q.ctx, mid, size)
	}
	return q.opt.Store.Open(q.ctx, mid)
}

// watched passes a content through and notes damage.
type watched struct {
	r    io.ReadCloser
	note func(error)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF && errs.Is(err, errs.Damaged) {
		w.note(err)
	}
	return n, err
}

// WriteTo hands the whole content over without a buffer in between when the
// store can.
func (w *watched) WriteTo(dst io.Writer) (int64, error) {
	n, err := io.Copy(dst, w.r)
	if err != nil && errs.Is(err, errs.Damaged) {
		w.note(err)
	}
	return n, err
}

func (w *watched) Close() error { return w.r.Close() }
