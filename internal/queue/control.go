package queue

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// AllHosts is the name that suspends, resumes or tries every destination.
const AllHosts = "ALL"

// suspendName gives the form in which a name is kept: lower case, "" for all.
func suspendName(n string) string {
	if strings.EqualFold(n, AllHosts) {
		return ""
	}
	return strings.ToLower(n)
}

// SuspendDelivery begins nothing new for the destinations named, also ones not
// yet known. What is with a courier is finished.
func (q *Queue) SuspendDelivery(names ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range names {
		q.suspended[suspendName(n)] = true
	}
	q.log.Suspended(strings.Join(q.suspendedNames(), ", "))
	for d, h := range q.hosts {
		if q.suspended[""] || q.suspended[d.Name] {
			h.move(Suspended)
			h.wakeIdle()
		}
	}
}

// ResumeDelivery undoes SuspendDelivery for the names; AllHosts undoes all. It
// gives the names that were suspended.
func (q *Queue) ResumeDelivery(names ...string) (resumed []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range names {
		n = suspendName(n)
		if n == "" {
			resumed = append(resumed, q.suspendedNames()...)
			clear(q.suspended)
		} else if q.suspended[n] {
			resumed = append(resumed, n)
			delete(q.suspended, n)
		}
	}
	for d, h := range q.hosts {
		if h.state == Suspended && !q.suspended[""] && !q.suspended[d.Name] {
			h.move(Unknown)
			h.failures = 0
			q.kick(h)
		}
	}
	return resumed
}

// Suspended gives the names that are suspended, in the form that
// Options.Suspended takes: AllHosts first.
func (q *Queue) Suspended() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.suspendedNames()
}

func (q *Queue) suspendedNames() []string {
	var out []string
	for n := range q.suspended {
		if n == "" {
			n = AllHosts
		}
		out = append(out, n)
	}
	slices.Sort(out) // capitals come first
	return out
}

// DeliverNow makes everything for the destination due, or for all with
// AllHosts, and forgets that it was down. It gives the number of messages.
func (q *Queue) DeliverNow(name string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, n := strings.EqualFold(name, AllHosts), 0
	for d, h := range q.hosts {
		if !all && !strings.EqualFold(d.Name, name) {
			continue
		}
		n += h.wait.len()
		h.wait.edit(func(s *slot) bool {
			s.next = forced
			return true
		})
		if h.state == Down {
			h.move(Unknown)
		}
		h.failures = 0
		q.kick(h)
	}
	return n
}

// Reload asks for the settings of all destinations again.
func (q *Queue) Reload() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for d, h := range q.hosts {
		h.set = q.opt.Settings(d).normal(d)
		q.kick(h)
	}
}

// Held gives the messages that were set aside whole under the poison rule.
func (q *Queue) Held() []mail.MID {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.work.held)
}

// RetryHeld puts a held message back into the work queue, its tries forgotten.
func (q *Queue) RetryHeld(ctx context.Context, mid mail.MID) error {
	q.mu.Lock()
	i := slices.Index(q.work.held, mid)
	if i < 0 {
		q.mu.Unlock()
		return errs.New(errs.NotFound, "no message %d is held", mid)
	}
	q.work.held = slices.Delete(q.work.held, i, i+1)
	e := q.acquire(mid)
	q.mu.Unlock()
	defer q.release(e)
	e.mu.Lock()
	err := e.fill(q)
	if err == nil {
		e.item.Tries = 0
		if e.item.State, err = e.item.State.To(Work); err == nil {
			err = q.opt.Store.Apply(ctx, Update{Save: []*Item{e.item}, Durable: true})
		}
	}
	if err != nil {
		e.item = nil
	}
	e.mu.Unlock()
	if err != nil {
		q.mu.Lock()
		q.work.held = append(q.work.held, mid)
		q.mu.Unlock()
		return errs.Context(err, "taking up MID %d again", mid)
	}
	q.Enqueue(mid)
	return nil
}
