package queue

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lazaret/internal/mail"
)

// No window, wherever it begins, holds more than the limit; what is left is
// never negative; a clock that jumps makes it slower, not faster.
func TestRateIsExact(t *testing.T) {
	set := Settings{RateLimit: 100, RateWindow: 10 * time.Minute}
	var r rate
	rng := rand.New(rand.NewSource(1))
	type took struct {
		at time.Time
		n  int
	}
	var all []took
	now := time.Unix(1_000_000, 0)
	total := 0
	for range 20000 {
		now = now.Add(time.Duration(rng.Intn(5000)) * time.Millisecond)
		n := min(rng.Intn(8), r.left(set, now))
		r.take(set, now, n)
		if rng.Intn(10) == 0 && n > 0 {
			r.giveBack(n)
			n = 0
		}
		all = append(all, took{now, n})
		total += n
		in := 0
		for i := len(all) - 1; i >= 0 && now.Sub(all[i].at) < set.RateWindow; i-- {
			in += all[i].n
		}
		if in > set.RateLimit {
			t.Fatalf("%d in the window that ends at %v", in, now)
		}
	}
	// Sixty of sixty-one slots are the window: at least so much goes through.
	if span := now.Sub(all[0].at); total < int(span/set.RateWindow)*90 {
		t.Errorf("%d in %v", total, span)
	}
	r.take(set, now, r.left(set, now))
	if r.left(set, now.Add(-time.Hour)) != 0 {
		t.Error("a clock that went back an hour lets more through")
	}
	if at := r.next(now.Add(-time.Hour)); at.Sub(now.Add(-time.Hour)) > 11*time.Minute {
		t.Errorf("and stands still for %v", at.Sub(now.Add(-time.Hour)))
	}
	r.giveBack(1000)
	if r.sum != 0 {
		t.Errorf("sum %d", r.sum)
	}
}

// recipient_limit in recipient_minutes: messages wait for their turn without
// costing attempts, one with many recipients goes in parts, and a host without
// a limit is not held up.
func TestRateLimit(t *testing.T) {
	s := &script{}
	opt := func(o *Options) {
		o.Settings = func(d Dest) Settings {
			set := DefaultSettings(d)
			if d.Name == "slow.example" {
				set.RateLimit, set.RateWindow = 10, time.Minute
			}
			return set
		}
	}
	bubble(t, s, opt, func(r *rig) {
		start := time.Now()
		r.start()
		to := make([]string, 25)
		for i := range to {
			to[i] = "slow.example"
		}
		r.accept(1, to...)
		for i := range 10 {
			r.accept(mail.MID(i+2), "slow.example")
			r.accept(mail.MID(i+20), "fast.example")
		}
		rest(time.Second)
		if n := len(r.list()); n != 20 {
			t.Errorf("%d after a second, want ten to each", n)
		}
		for i := range 3 {
			rest(62 * time.Second)
			want := 20 + 10*(i+1)
			if i == 2 {
				want = 45
			}
			if n := len(r.list()); n != want {
				t.Errorf("%d after %v, want %d", n, time.Since(start), want)
			}
		}
		synctest.Wait()
		if n := r.q.Gauges().ActiveRecipients; n != 0 {
			t.Errorf("%d recipients left", n)
		}
		for mid, it := range r.store.items {
			for _, rc := range it.Recipients {
				if rc.Attempts > 1 {
					t.Errorf("MID %d RID %d: %d attempts", mid, rc.RID, rc.Attempts)
				}
			}
		}
	})
}

// A connection that could not be made uses nothing up.
func TestRateCountsAttemptsOnly(t *testing.T) {
	var works atomic.Bool
	s := &script{}
	s.run = func(ctx context.Context, d Dest, f *Feed) {
		if !works.Load() {
			if _, ok := f.Next(ctx); ok {
				f.Down(fmt.Errorf("no route"))
			}
			return
		}
		for {
			task, ok := f.Next(ctx)
			if !ok {
				return
			}
			s.note(d, task)
			task.Done(task.all(Outcome{State: Delivered, Code: 250}))
		}
	}
	opt := func(o *Options) {
		o.Settings = func(d Dest) Settings {
			set := DefaultSettings(d)
			set.RateLimit, set.RateWindow, set.FirstRetry, set.LongestWait = 3, time.Hour, time.Second, time.Second
			return set
		}
	}
	bubble(t, s, opt, func(r *rig) {
		r.start()
		for i := range 3 {
			r.accept(mail.MID(i+1), "a.example")
		}
		rest(time.Minute)
		works.Store(true)
		rest(time.Minute)
		if n := len(r.list()); n != 3 {
			t.Errorf("%d delivered", n)
		}
	})
}

// Possibly delivered is not tried again soon, and each time later.
func TestPossibleDelivery(t *testing.T) {
	s := &script{deliver: func(_ Dest, t *Task) []Outcome {
		return t.all(Outcome{State: Deferred, Reply: "timeout", Possible: true})
	}}
	bubble(t, s, nil, func(r *rig) {
		start := time.Now()
		r.start()
		r.accept(1, "a.example")
		rest(73 * time.Hour)
		var hours []int
		for _, at := range s.at {
			hours = append(hours, int(at.Sub(start).Round(time.Hour)/time.Hour))
		}
		if !slices.Equal(hours, []int{0, 1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 66}) {
			t.Errorf("tried after %v hours", hours)
		}
	})
}

// Register A4: two thousand destinations that say nothing hold their share of
// the connections; one that takes mail gets its mail at once all the same.
func TestSEC_A4_SilentHostsLeaveRoom(t *testing.T) {
	s := &script{}
	s.run = func(ctx context.Context, d Dest, f *Feed) {
		for {
			task, ok := f.Next(ctx)
			if !ok {
				return
			}
			if d.Name != "good.example" {
				time.Sleep(5 * time.Minute) // as long as a greeting may take
				f.Down(fmt.Errorf("silent"))
				return
			}
			s.note(d, task)
			task.Done(task.all(Outcome{State: Delivered, Code: 250}))
		}
	}
	bubble(t, s, func(o *Options) { o.MaxConnections = 100 }, func(r *rig) {
		r.start()
		r.accept(1, "good.example")
		rest(time.Minute) // and its connection is closed
		for i := range 2000 {
			r.accept(mail.MID(i+10), fmt.Sprintf("d%d.example", i))
		}
		rest(time.Second)
		if n := r.q.Gauges().ConnectionsOut; n != 75 {
			t.Errorf("%d connections to silent hosts", n)
		}
		for i := range 20 {
			start := time.Now()
			r.accept(mail.MID(20000+i), "good.example")
			rest(time.Second)
			if n := len(r.list()); n != i+2 {
				t.Fatalf("%d delivered %v after message %d", n, time.Since(start), i)
			}
			rest(20 * time.Second)
		}
	})
}
