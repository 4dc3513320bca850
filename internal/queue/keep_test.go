package queue

import (
	"context"
	"testing"
	"time"

	"lazaret/internal/mail"
)

// slowStore takes a while to make a verdict durable.
type slowStore struct {
	*memStore
	takes time.Duration
}

func (s slowStore) Apply(ctx context.Context, u Update) error {
	if u.Durable && len(u.Save) > 0 {
		time.Sleep(s.takes)
	}
	return s.memStore.Apply(ctx, u)
}

// Verdicts that have to be durable are written side by side: a disk that is slow to
// flush does not hold up the judges. More than so many wait for each other, and
// none is sent before its verdict is in the store.
func TestVerdictsAreWrittenSideBySide(t *testing.T) {
	const takes, all = time.Second, 3 * maxKeeping
	s := &script{process: func(*Item, Opener) (Routing, error) {
		return Routing{Dest: func(Recipient) Dest { return Dest{Name: CPQHost} }, Placements: []mail.Placement{{Quarantine: "Policy"}}}, nil
	}}
	bubble(t, s, func(o *Options) {
		o.Workers = 1
		o.Store = slowStore{o.Store.(*memStore), takes}
	}, func(r *rig) {
		s.deliver = func(_ Dest, task *Task) []Outcome {
			if it := r.store.get(task.Item.MID); it == nil || len(it.Placements) != 1 {
				t.Errorf("MID %d is sent, and what is in the store is %+v", task.Item.MID, it)
			}
			return task.all(Outcome{State: Delivered})
		}
		r.start()
		for i := range mail.MID(all) {
			r.accept(i+1, "a.example")
		}
		rest(takes / 2)
		if n := len(r.list()); n != 0 {
			t.Errorf("%d sent before the first verdict was written", n)
		}
		rest(takes)
		if n := len(r.list()); n < maxKeeping || n > maxKeeping+1 { // one by the judge itself
			t.Errorf("%d sent after the time of one write", n)
		}
		rest(10 * takes) // one behind the other they would take all of 192
		if n := len(r.list()); n != all || r.q.WorkCount() != 0 || r.store.left() != 0 {
			t.Errorf("%d sent, %d in the work queue, %d in the store", n, r.q.WorkCount(), r.store.left())
		}
	})
}
