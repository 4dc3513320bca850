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

// do makes one judgement. Queue.mu is held before and after.
func (q *Queue) do(j job) {
	q.work.busy++
	e := q.acquire(j.mid)
	q.mu.Unlock()
	q.judge(e, j)
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
