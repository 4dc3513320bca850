package store

import (
	"context"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

// answerWait is how long whoever brings mail or decides about it waits for an
// answer: the disk may be dead, or the server, and a session that does nothing
// costs others their place (rule Q-3 and its cap).
const answerWait = 30 * time.Second

// noAnswer is what those hear who have waited so long.
func noAnswer() error {
	return errs.New(errs.Temporary, "the database does not answer: whether the change was made will show")
}

// ask is submit for somebody who waits. run must leave nothing behind that the
// caller looks at when there is an error: it may still be running.
//
// A change that was not begun when its answer was given is not made. One that
// was under way may be made later, and does no harm then: mail that was refused
// comes again, and its key is known; of a release the queue hears by TakeOver.
func (s *Store) ask(ctx context.Context, j *job) error {
	t := time.NewTimer(s.opt.wait)
	defer t.Stop()
	return s.submit(ctx, j, t.C)
}

// askTo is ask for a change that is to be durable.
func (s *Store) askTo(ctx context.Context, run func(*tx) error) error {
	return s.ask(ctx, &job{run: run, durable: true, done: make(chan struct{})})
}

// refused reports whether the caller of a job has had its answer before the job
// was begun. Then its content is nobody's.
func (s *Store) refused(j *job) bool {
	if !j.over.Load() {
		return false
	}
	if j.add != nil {
		s.removeLater([]quarantine.ContentID{j.add.r.Content})
	}
	return true
}

// late does what is to be done in the caller's place when a job was carried out
// behind its answer.
func (s *Store) late(j *job) {
	s.removeLater(j.garbage)
	s.toIndex()
	if j.err != nil || len(j.intents) == 0 {
		return
	}
	l := &s.w.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = append(l.late, j.intents...)
}

// removeLater is remove for the writer, which waits for no other store.
func (s *Store) removeLater(list []quarantine.ContentID) {
	if len(list) > 0 {
		s.wg.Go(func() { s.remove(list) })
	}
}
