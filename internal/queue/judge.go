package queue

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/stats"
)

// verdict is what the processor made of one message.
type verdict struct {
	r         Routing
	poisonous bool
	err       error
}

// judge gives one message to the processor. False: it is not to be judged now.
func (q *Queue) judge(e *entry, j job) (v verdict, ok bool) {
	e.mu.Lock()
	it, ok := q.begin(e, j)
	if !ok {
		e.mu.Unlock()
		return v, false
	}
	e.judging = true
	e.mu.Unlock()
	var damaged error
	v.r, v.poisonous, v.err = q.process(it, q.opener(e.mid, it.Size, func(err error) { damaged = err }))
	if damaged != nil {
		v.err = damaged
	}
	return v, true
}

// judged carries out a verdict.
func (q *Queue) judged(e *entry, j job, v verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.judging = false
	err := v.err
	if err == nil {
		err = q.route(e, j, v.r)
	}
	switch {
	case v.poisonous:
		q.poisoned(e, j, err)
	case errs.Is(err, errs.Damaged):
		e.setAside(q, err)
	case err != nil:
		q.retry(e, j, err)
	default:
		q.mu.Lock()
		if !e.gone {
			q.schedule(e.item)
		}
		q.takeCopies(v.r.Copies)
		q.takeCopies(v.r.Parts)
		q.mu.Unlock()
		q.takeNew(v.r.New)
	}
}

// begin loads the message and applies the poison rule: in a re-run the attempt
// is on stable storage before the processor sees the message.
func (q *Queue) begin(e *entry, j job) (*Item, bool) {
	if e.gone {
		return nil, false
	}
	if err := e.fill(q); err != nil {
		switch errs.KindOf(err) {
		case errs.NotFound: // deleted while it waited
		case errs.Damaged:
			e.setAside(q, err)
		default:
			q.log.Fault("queue", "loading MID "+e.mid.String()+": "+err.Error())
			q.postponeWork(j)
		}
		return nil, false
	}
	if e.item.State != Work {
		return nil, false
	}
	if !j.rerun {
		return e.item, true
	}
	if e.item.Tries >= maxTries {
		q.park(e, j, "its judgement was cut off "+fmt.Sprint(e.item.Tries)+" times")
		return nil, false
	}
	e.item.Tries++
	if q.apply(Update{Save: []*Item{e.item}, Durable: true}) != nil {
		e.item.Tries--
		q.postponeWork(j)
		return nil, false
	}
	return e.item, true
}

// process calls the processor; a panic becomes an error.
func (q *Queue) process(it *Item, open Opener) (r Routing, poisonous bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Fault("queue", fmt.Sprintf("judging MID %d: panic: %v%s", it.MID, p, culprit()))
			poisonous, err = true, errs.New(errs.Internal, "internal fault while judging")
		}
	}()
	r, err = q.opt.Processor.Process(q.ctx, it, open)
	if poisonous = errors.As(err, new(poison)); poisonous && q.ctx.Err() == nil {
		q.log.Fault("queue", fmt.Sprintf("judging MID %d: %v", it.MID, err))
	}
	return r, poisonous, err
}

// poisoned counts a panic or what is as bad, and holds the message after the
// last one.
func (q *Queue) poisoned(e *entry, j job, err error) {
	if !j.rerun { // otherwise begin has counted it
		e.item.Tries++
	}
	if e.item.Tries >= maxTries {
		why := fmt.Sprintf("its judgement failed %d times", e.item.Tries)
		var harm poison
		if errors.As(err, &harm) {
			why += ": " + errs.Public(harm.error)
		}
		q.park(e, j, why)
		return
	}
	q.apply(Update{Save: []*Item{e.item}, Durable: true})
	q.postponeWork(job{mid: j.mid, failed: j.failed})
}

// retry keeps a message whose judgement gave an error. The process lived, so
// the try does not count as cut off.
func (q *Queue) retry(e *entry, j job, err error) {
	if q.ctx.Err() == nil && j.failed == 0 { // said once, not at each try
		q.log.Fault("queue", "judging MID "+e.mid.String()+": "+err.Error())
	}
	if j.rerun {
		e.item.Tries--
		q.apply(Update{Save: []*Item{e.item}})
	}
	q.postponeWork(job{mid: j.mid, failed: j.failed})
}

// park sends a poisonous message where the processor wants such ones, unseen;
// or holds it.
func (q *Queue) park(e *entry, j job, why string) {
	p, ok := q.opt.Processor.(Parker)
	if !ok {
		q.hold(e, why)
		return
	}
	r, ok := p.Park(e.item.Clone(), why)
	if !ok || len(r.Placements) == 0 {
		q.hold(e, why)
		return
	}
	if err := q.route(e, j, r); err != nil {
		q.postponeWork(j)
		return
	}
	q.log.Fault("queue", "MID "+e.mid.String()+" is quarantined unseen: "+why)
	q.mu.Lock()
	if !e.gone {
		q.schedule(e.item)
	}
	q.mu.Unlock()
}

// hold takes a poisonous message out of the line and keeps it whole.
func (q *Queue) hold(e *entry, why string) {
	next, err := e.item.State.To(Held)
	if err != nil {
		return
	}
	e.item.State = next
	if q.apply(Update{Save: []*Item{e.item}, Durable: true}) != nil {
		e.item.State = Work // at the next start it is found with all its tries
	}
	e.dirty = false
	q.log.Fault("queue", "MID "+e.mid.String()+" is held: "+why)
	q.mu.Lock()
	q.work.held = append(q.work.held, e.mid)
	q.mu.Unlock()
}

// route carries out what the processor decided. What has an effect outside the
// message (copies, drop), what a later judgement must not turn round
// (placements), and what ends a re-run is durable before anything is sent;
// the plain case is not written at all. entry.mu is held.
func (q *Queue) route(e *entry, j job, r Routing) error {
	if r.plain() && !j.rerun && e.item.Tries == 0 && e.drop == nil {
		assign(e.item, r)
		e.dirty = true
		return nil
	}
	it := e.item.Clone() // a failed write leaves the message as it was
	it.Tries = 0
	switch {
	case len(r.Parts) > 0:
		q.handOver(e, it, r.Parts)
	case r.Drop:
		for i := range it.Recipients {
			it.Recipients[i].State = Deleted
		}
	default:
		assign(it, r)
		for i := range e.drop {
			if e.drop[i] == Deleted && !it.Recipients[i].State.Final() {
				it.Recipients[i].State = Deleted
				q.stats.Add(stats.DeletedRecipients, 1)
			}
		}
	}
	u := Update{Save: []*Item{it}, Add: slices.Concat(r.Copies, r.Parts), New: r.New, Durable: true}
	if it.Final() {
		it.State = Done
		u.Save, u.Remove, u.Final = nil, []mail.MID{it.MID}, []*Item{it}
		u.Report = account(it, r)
	}
	if err := q.apply(u); err != nil {
		return err
	}
	e.item, e.dirty, e.gone = it, false, it.State == Done
	if r.Drop {
		q.stats.Add(stats.DroppedMessages, 1)
	}
	return nil
}

// plain reports whether nothing of a routing has to be durable before the
// message goes on.
func (r *Routing) plain() bool {
	return !r.Drop && len(r.Copies) == 0 && len(r.New) == 0 && len(r.Parts) == 0 && len(r.Placements) == 0
}

// handOver ends a message that goes on as its parts. Recipients that were
// deleted while it was judged are deleted there.
func (q *Queue) handOver(e *entry, it *Item, parts []Copy) {
	for i := range it.Recipients {
		rc := &it.Recipients[i]
		gone := rc.State.Final()
		if i < len(e.drop) && e.drop[i] == Deleted && !gone {
			gone = true
			q.stats.Add(stats.DeletedRecipients, 1)
		}
		rc.State = Deleted
		if !gone {
			continue
		}
		for _, p := range parts {
			for k := range p.Item.Recipients {
				if p.Item.Recipients[k].Address == rc.Address {
					p.Item.Recipients[k].State = Deleted
				}
			}
		}
	}
	for _, p := range parts {
		for k := range p.Item.Recipients {
			p.Item.Recipients[k].RID = mail.RID(k)
		}
	}
}

// note keeps with a message what is remembered of its judgement.
func note(it *Item, r Routing) {
	if r.Judged != nil {
		it.Judged = *r.Judged
	}
	if it.Release != nil {
		it.Release.Step = r.Step
	}
}

// account says what became of a released message that ended here: the account
// goes on with the message that it goes on as, or ends with what was decided.
func account(it *Item, r Routing) []*Item {
	if it.Release == nil {
		return nil
	}
	for _, p := range r.Parts {
		if p.Item.Release != nil {
			return []*Item{p.Item}
		}
	}
	if r.Drop {
		note(it, r)
		for i := range it.Recipients {
			if to := &it.Recipients[i]; to.State == Deleted {
				to.State, to.Code, to.Reply, to.Remote = Delivered, 0, r.Step, "" // discarded: nobody deleted it
			}
		}
	}
	return []*Item{it}
}

// assign gives each recipient its destination and the message what is added.
func assign(it *Item, r Routing) {
	it.State, _ = it.State.To(Routed)
	it.Placements = append(it.Placements, r.Placements...)
	it.Route = it.Route.With(r.Route)
	note(it, r)
	if len(r.Prepend) > 0 {
		it.Prepend = append(append(make([]byte, 0, len(r.Prepend)+len(it.Prepend)), r.Prepend...), it.Prepend...)
	}
	for i := range it.Recipients {
		rc := &it.Recipients[i]
		rc.RID = mail.RID(i)
		if rc.State.Final() {
			continue
		}
		if r.Dest != nil {
			rc.Dest = r.Dest(*rc)
		} else {
			rc.Dest = Dest{Name: rc.Address.Domain}
		}
	}
}

// takeCopies takes up the messages that route has stored. Queue.mu is held.
func (q *Queue) takeCopies(copies []Copy) {
	for _, c := range copies {
		if c.Item.State != Work {
			q.schedule(c.Item)
			continue
		}
		q.work.fresh.push(c.Item.MID)
		q.wake.Signal()
	}
}

// culprit names the place of a panic; to be called by the deferred function
// that recovers it.
func culprit() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf(" (at %s:%d)", f.Function, f.Line)
		}
		if !more {
			return ""
		}
	}
}
