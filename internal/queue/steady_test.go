package queue

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Small corrections are followed, steps are not.
func TestSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var step atomic.Int64
		now := Steady(func() time.Time { return time.Now().Round(0).Add(time.Duration(step.Load())) })
		began := time.Now()
		for _, c := range []struct{ step, want time.Duration }{
			{0, 0}, {-time.Second, -time.Second}, {50 * time.Second, 50 * time.Second}, {100 * time.Second, 100 * time.Second},
			{time.Hour, 100 * time.Second}, {-24 * time.Hour, 100 * time.Second}, {87600 * time.Hour, 100 * time.Second}, {110 * time.Second, 110 * time.Second},
		} {
			time.Sleep(time.Second)
			step.Store(int64(c.step))
			if got := now().Sub(began.Round(0)) - time.Since(began); got != c.want {
				t.Errorf("behind a step to %v the clock is off by %v, not %v", c.step, got, c.want)
			}
		}
	})
}

// Fault F13: whatever the clock is set to, mail is tried in its intervals, none
// fails for good, and a year of the true time later it does.
func TestF13_Schedule(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour, 87600 * time.Hour, -87600 * time.Hour} {
		s := &script{deliver: func(_ Dest, t *Task) []Outcome { return t.all(Outcome{State: Deferred, Code: 450, Reply: "later"}) }}
		var wall atomic.Int64
		bubble(t, s, func(o *Options) {
			o.Clock = Steady(func() time.Time { return time.Now().Round(0).Add(time.Duration(wall.Load())) })
		}, func(r *rig) {
			r.start()
			r.accept(1, "a.example")
			rest(10 * time.Hour) // tried once an hour by now
			before := len(r.list())
			wall.Store(int64(step))
			r.accept(2, "b.example")
			rest(10 * time.Hour)
			first, second := 0, 0
			for _, l := range r.list()[before:] {
				if l == "1 a.example 0" {
					first++
				} else {
					second++
				}
			}
			if first != 10 || second < 14 || second > 16 {
				t.Errorf("behind a step of %v the old message was tried %d times, the new one %d times", step, first, second)
			}
			rest(100 * time.Hour)
			if r.store.left() != 0 {
				t.Errorf("behind a step of %v %d messages never end", step, r.store.left())
			}
		})
	}
}

// The same with a start in between. Set back: nothing waits for the old time to
// come again. Set ahead: for an hour nothing is too old.
func TestF13_Restart(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour, 87600 * time.Hour, -87600 * time.Hour} {
		s := &script{deliver: func(_ Dest, t *Task) []Outcome { return t.all(Outcome{State: Deferred, Code: 450, Reply: "later"}) }}
		var wall atomic.Int64
		clock := func() time.Time { return time.Now().Round(0).Add(time.Duration(wall.Load())) }
		bubble(t, s, func(o *Options) { o.Clock = Steady(clock) }, func(r *rig) {
			r.start()
			r.accept(1, "a.example")
			rest(10*time.Hour + time.Minute)
			r.stop()
			before := len(r.list())
			wall.Store(int64(step))
			r.opt.Clock = Steady(clock)
			r.restart()
			r.start()
			rest(59 * time.Minute)
			if n := len(r.list()) - before; n < 1 || n > 2 {
				t.Errorf("behind a start and a step of %v it was tried %d times", step, n)
			}
			if r.store.left() != 1 {
				t.Errorf("behind a start and a step of %v it failed", step)
			}
		})
	}
}
