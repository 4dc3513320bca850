package queue

import (
	"slices"
	"time"

	"lazaret/internal/mail"
)

// workQueue holds the messages that wait for judgement. Queue.mu guards it.
type workQueue struct {
	fresh    fifo // accepted in this life
	old      fifo // found at start: judged under the poison rule
	suspects fifo // found at start, and a judgement of theirs was cut off
	again    slots
	held     []mail.MID
	busy     int  // being judged
	keeping  int  // of these: verdicts that are written beside the judges
	turn     bool // old mail is next
	timer    *time.Timer
}

// maxTries is how many judgements of one message may be cut off or panic
// before it is held (register A7).
const maxTries = 3

// recovered takes up a message found at start.
func (w *workQueue) recovered(it *Item) {
	if it.Tries > 0 {
		w.suspects.push(it.MID)
		return
	}
	w.old.push(it.MID)
}

func (w *workQueue) len() int {
	return w.fresh.len() + w.old.len() + w.suspects.len() + w.again.len() + w.busy
}

// all gives the messages that wait, in no order.
func (w *workQueue) all() []mail.MID {
	out := slices.Concat(w.fresh.all(), w.old.all(), w.suspects.all())
	for _, s := range w.again.s {
		out = append(out, s.mid)
	}
	return out
}

func (w *workQueue) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// job is one judgement to make.
type job struct {
	mid    mail.MID
	rerun  bool   // found at start: note the attempt first
	failed uint32 // failures of the processor so far
}

// takeWork gives the next job of an ordinary judge: fresh mail and old mail in
// turn, so that a long work queue found at start does not hold up new mail.
func (q *Queue) takeWork() (job, bool) {
	w := &q.work
	if w.again.len() > 0 && w.again.s[0].next <= q.now().UnixNano() {
		s := w.again.pop()
		q.armWork()
		return job{mid: s.mid, failed: s.rcpts}, true
	}
	w.turn = !w.turn
	if w.old.len() > 0 && (w.fresh.len() == 0 || w.turn) {
		return job{mid: w.old.pop(), rerun: true}, true
	}
	if w.fresh.len() > 0 {
		return job{mid: w.fresh.pop()}, true
	}
	return job{}, false
}

// judgeLoop is one judge.
func (q *Queue) judgeLoop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closing {
		j, ok := q.takeWork()
		if !ok {
			q.wake.Wait()
			continue
		}
		q.do(j)
	}
}

// judgeSuspects takes the suspects one after the other: were they judged side
// by side, the one that kills the process would drag the innocent ones along.
func (q *Queue) judgeSuspects() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closing && q.work.suspects.len() > 0 {
		q.do(job{mid: q.work.suspects.pop(), rerun: true})
	}
}

// maxKeeping is how many verdicts are being written beside the judges.
const maxKeeping = 64

// do makes one judgement. Queue.mu is held before and after.
//
// What has to be on stable storage before the message goes on is not waited for
// here: few judges, each behind a flush, would let few messages share it, and a
// slow disk would leave the processors idle.
func (q *Queue) do(j job) {
	q.work.busy++
	e := q.acquire(j.mid)
	q.mu.Unlock()
	v, ok := q.judge(e, j)
	if ok && !j.rerun && v.err == nil && !v.r.plain() {
		q.mu.Lock()
		if q.work.keeping < maxKeeping {
			q.work.keeping++
			q.wg.Go(func() { // the group is not over: this judge is of it
				q.finish(e, j, v)
				q.work.keeping--
				q.mu.Unlock()
			})
			return
		}
		q.mu.Unlock()
	}
	if ok {
		q.finish(e, j, v)
		return
	}
	q.release(e)
	q.mu.Lock()
	q.work.busy--
}

// finish carries out a verdict and lets go of the message. Queue.mu is held when
// it returns.
func (q *Queue) finish(e *entry, j job, v verdict) {
	q.judged(e, j, v)
	q.release(e)
	q.mu.Lock()
	q.work.busy--
}

// postponeWork puts a message back into the work queue, with back-off.
func (q *Queue) postponeWork(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait := 5 * time.Second << min(j.failed, 3) // 5 s to 40 s: an engine that is back finds its mail within a minute
	q.work.again.push(slot{mid: j.mid, next: q.now().Add(wait).UnixNano(), rcpts: j.failed + 1})
	q.armWork()
}

// armWork sets the timer for the next message that is to be judged again.
func (q *Queue) armWork() {
	w := &q.work
	if w.again.len() == 0 || q.closing {
		return
	}
	d := max(time.Unix(0, w.again.s[0].next).Sub(q.now()), 0)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, q.wake.Broadcast)
		return
	}
	w.timer.Reset(d)
}
