package gateway

import (
	"context"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// lookAround looks at released mail of which nothing was heard: behind a host
// that is down nothing is tried, and so nothing is noted.
func (r *reports) lookAround(ctx context.Context) error {
	now := r.g.Steady()
	var due []mail.ActionKey
	r.mu.Lock()
	for k, t := range r.open {
		if !t.news && !now.Before(t.look) {
			t.wait = min(2*t.wait, maxLook)
			t.look = now.Add(t.wait)
			due = append(due, k)
		}
	}
	r.mu.Unlock()
	for _, k := range due {
		if ctx.Err() != nil {
			return nil
		}
		if err := r.lookAt(k, now); err != nil {
			return err
		}
	}
	return nil
}

func (r *reports) lookAt(k mail.ActionKey, now time.Time) error {
	a, err := r.g.spool.Account(k)
	if errs.Is(err, errs.NotFound) {
		r.forget(k)
		return nil
	}
	if err != nil || a.Final() {
		return damageOnly(err)
	}
	it, err := r.g.queue.Look(a.MID)
	switch {
	case err == nil && it.Release != nil && it.Release.Action == k:
		return r.observe(k, it, now)
	case err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Damaged):
		return err
	}
	return r.missing(k, a)
}

// damageOnly leaves out what is told elsewhere.
func damageOnly(err error) error {
	if errs.Is(err, errs.Damaged) {
		return nil
	}
	return err
}

// observe notes why a message waits, if that is news or the next try that was
// told of is over.
func (r *reports) observe(k mail.ActionKey, it *queue.Item, now time.Time) error {
	why, next, tried := it.Release.Step, time.Time{}, false // that it was scanned again is told also when nothing was tried since
	for i := range it.Recipients {
		if to := &it.Recipients[i]; !to.State.Final() && to.Reply != "" {
			why, tried = why+to.Reply+"\n", true
			if to.Next.After(next) {
				next = to.Next
			}
		}
	}
	r.mu.Lock()
	t := r.open[k]
	news := t != nil && why != "" && (why != t.seen || tried && t.next.Before(now))
	if news {
		t.seen, t.next = why, next
	}
	r.mu.Unlock()
	if !news {
		return nil
	}
	err := r.g.spool.Observe(it)
	r.track(k, err == nil)
	return err
}

// missing says that a message is not in the queue though its account is open:
// it was set aside, and an administrator has to look.
func (r *reports) missing(k mail.ActionKey, a *spool.Account) error {
	list, err := r.g.spool.Aside()
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.MID != a.MID {
			continue
		}
		r.mu.Lock()
		t := r.open[k]
		news := t != nil && t.aside == ""
		if news {
			t.aside = "set aside at the gateway: " + x.Cause
		}
		r.mu.Unlock()
		if !news {
			return nil
		}
		err := r.g.spool.Observe(&queue.Item{MID: a.MID, Recipients: a.Recipients,
			Release: &queue.Release{Action: a.Action, ManagerMID: a.ManagerMID, Step: a.Step}})
		r.track(k, err == nil)
		return err
	}
	return nil // it has just ended
}
