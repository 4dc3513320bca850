package queue

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lazaret/internal/mail"
)

// pipe is a courier that begins the next message before it settles the one at
// hand. A message takes it as long as took says.
func pipe(s *script, took func(mail.MID) time.Duration) func(context.Context, Dest, *Feed) {
	return func(ctx context.Context, d Dest, f *Feed) {
		t, ok := f.Next(ctx)
		for ok {
			next, more := f.More(ctx)
			time.Sleep(took(t.Item.MID)) // of the bubble's clock
			s.note(d, t)
			t.Done(t.all(Outcome{State: Delivered, Code: 250}))
			if t, ok = next, more; !ok {
				t, ok = f.Next(ctx)
			}
		}
	}
}

// At a host that answers at once a few runs carry all mail one behind the other;
// at a slow one everything that is due has a run of its own as before.
func TestBusyRunsTakeWhatComes(t *testing.T) {
	for _, c := range []struct {
		name        string
		took        time.Duration
		least, most int
	}{
		{"quick", 100 * time.Microsecond, 1, 10},
		{"slow", time.Minute, 20, 20},
	} {
		s := &script{}
		s.run = pipe(s, func(mail.MID) time.Duration { return c.took })
		bubble(t, s, func(o *Options) {
			o.Settings = func(Dest) Settings { return Settings{Concurrency: 20, Idle: time.Hour} }
		}, func(r *rig) {
			r.start()
			for i := range 30 { // the window opens by success
				r.accept(mail.MID(1000+i), "a.example")
				rest(10 * time.Millisecond)
			}
			rest(10 * time.Hour)
			r.mu.Lock()
			clear(r.most)
			r.mu.Unlock()
			for i := range 40 { // all at once
				r.accept(mail.MID(1+i), "a.example")
			}
			rest(10 * time.Hour)
			if r.store.left() != 0 {
				t.Errorf("%s: %d messages are left", c.name, r.store.left())
			}
			if n := r.mostRuns(Dest{Name: "a.example"}); n < c.least || n > c.most {
				t.Errorf("%s: %d runs at once", c.name, n)
			}
		})
	}
}

// A run that does not come back holds nobody up: what waits behind it is taken
// by another.
func TestStuckRunHoldsNobodyUp(t *testing.T) {
	s := &script{}
	s.run = pipe(s, func(mid mail.MID) time.Duration {
		if mid == 1 {
			return time.Hour
		}
		return 0
	})
	bubble(t, s, nil, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		synctest.Wait()
		began := time.Now()
		r.accept(2, "a.example")
		r.accept(3, "a.example")
		rest(time.Minute)
		got := r.list()
		slices.Sort(got)
		equal(t, got, []string{"2 a.example 0", "3 a.example 0"})
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, at := range r.at {
			if d := at.Sub(began); d > 3*soonPause {
				t.Errorf("had to wait %s", d)
			}
		}
	})
}

// More gives all that is due, nothing beyond the rate, and nothing once the
// destination is suspended.
func TestMore(t *testing.T) {
	more := func(name string, change func(*Options), prepare func(*rig), want int) {
		s := &script{}
		got := make(chan int, 10)
		s.run = func(ctx context.Context, d Dest, f *Feed) {
			first, ok := f.Next(ctx)
			if !ok {
				return
			}
			tasks := []*Task{first}
			time.Sleep(time.Second)
			for t, ok := f.More(ctx); ok; t, ok = f.More(ctx) {
				tasks = append(tasks, t)
			}
			got <- len(tasks)
			for _, t := range tasks {
				t.Done(t.all(Outcome{State: Delivered, Code: 250}))
			}
		}
		bubble(t, s, func(o *Options) {
			o.Settings = func(Dest) Settings { return Settings{Concurrency: 1} }
			if change != nil {
				change(o)
			}
		}, func(r *rig) {
			r.start()
			r.accept(1, "a.example")
			synctest.Wait()
			for i := range 3 {
				r.accept(mail.MID(2+i), "a.example")
			}
			synctest.Wait()
			if prepare != nil {
				prepare(r)
			}
			rest(2 * time.Second)
			if n := <-got; n != want {
				t.Errorf("%s: the first run had %d, want %d", name, n, want)
			}
			rest(10 * time.Hour)
		})
	}
	more("all that is due", nil, nil, 4)
	more("rate", func(o *Options) {
		o.Settings = func(Dest) Settings { return Settings{Concurrency: 1, RateLimit: 3, RateWindow: time.Minute} }
	}, nil, 3)
	more("suspended", nil, func(r *rig) { r.q.SuspendDelivery("a.example") }, 1)
}
