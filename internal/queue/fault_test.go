package queue

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// A processor that panics on one message: three tries, then it is held whole
// and reported; the others flow. The operator can try again.
func TestPanicInProcessor(t *testing.T) {
	bad := true
	s := &script{process: func(it *Item, _ Opener) (Routing, error) {
		if it.MID == 2 && bad {
			panic("poison")
		}
		return Routing{}, nil
	}}
	bubble(t, s, nil, func(r *rig) {
		r.start()
		for i := range 5 {
			r.accept(mail.MID(i+1), "a.example")
		}
		rest(time.Hour)
		if len(r.list()) != 4 || len(r.q.Held()) != 1 || r.q.WorkCount() != 0 {
			t.Errorf("delivered %v, held %v, work %d", r.list(), r.q.Held(), r.q.WorkCount())
		}
		if it := r.store.get(2); it == nil || it.State != Held || it.Tries != 3 {
			t.Errorf("%+v", it)
		}
		if len(r.log.said()) != 4 || !strings.Contains(r.log.said()[0], "poison (at lazaret/internal/queue.TestPanicInProcessor") {
			t.Errorf("faults %q", r.log.faults)
		}
		bad = false
		r.stop()
		r.restart()
		r.start()
		rest(time.Hour)
		if len(r.list()) != 4 || len(r.q.Held()) != 1 {
			t.Error("a restart forgot that it is held")
		}
		if err := r.q.RetryHeld(context.Background(), 2); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(r.list()) != 5 || len(r.q.Held()) != 0 {
			t.Errorf("not delivered after RetryHeld: %v", r.list())
		}
	})
}

// A message that kills the process each time it is judged is held after three
// re-runs; the attempt is on stable storage before each. The innocent ones
// that were judged beside it are not dragged along.
func TestMessageThatKillsTheProcess(t *testing.T) {
	killed := errors.New("the process is dead")
	s := &script{}
	opt := func(o *Options) { o.Workers = 4 }
	bubble(t, s, opt, func(r *rig) {
		for i := range 8 {
			it := r.item(mail.MID(i+1), "a.example")
			r.store.items[it.MID] = it
			r.store.body[it.MID] = []byte("x")
		}
		deaths, lives := 0, 0
		for ; lives < 20 && (r.store.left() > 1 || deaths == 0 || r.store.items[3].State != Held); lives++ {
			dead := false
			s.process = func(it *Item, _ Opener) (Routing, error) {
				if it.MID == 3 && !dead {
					if want := min(deaths+1, 3); r.store.get(3).Tries != want {
						t.Errorf("death %d: %d tries in the store", deaths+1, r.store.get(3).Tries)
					}
					dead = true
					deaths++
					r.store.mu.Lock()
					r.store.fail = killed // nothing of this life is written any more
					r.store.mu.Unlock()
				}
				return Routing{}, nil
			}
			if err := r.q.Recover(context.Background()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- r.q.Run(ctx) }()
			rest(time.Minute)
			cancel()
			<-done
			r.store.fail = nil
			r.restart()
		}
		if deaths != 3 {
			t.Errorf("it killed %d times", deaths)
		}
		if it := r.store.get(3); it == nil || it.State != Held || r.store.left() != 1 {
			t.Errorf("after %d lives: %+v", lives, r.store.items)
		}
	})
}

// A message that makes its judgement panic goes where the processor parks such
// ones, with the reason; what it has no place for is held.
func TestParked(t *testing.T) {
	s := &parker{why: map[mail.MID]string{}, script: script{process: func(it *Item, _ Opener) (Routing, error) {
		if it.MID < 3 {
			panic("poison")
		}
		return Routing{}, nil
	}}}
	bubble(t, &s.script, func(o *Options) { o.Processor = s }, func(r *rig) {
		r.start()
		for mid := range mail.MID(3) {
			r.accept(mid+1, "a.example")
		}
		rest(time.Hour)
		if s.why[1] != "its judgement failed 3 times" || r.store.get(1) != nil || len(r.list()) != 2 {
			t.Errorf("%q, in the store %+v, delivered %v", s.why, r.store.get(1), r.list())
		}
		if held := r.store.get(2); held == nil || held.State != Held {
			t.Errorf("%+v", held)
		}
		if r.q.WorkCount() != 0 {
			t.Errorf("%d in the work queue", r.q.WorkCount())
		}
	})
}

// An error of the processor that says that the message did harm counts like a
// panic, also over a restart (register A7).
func TestSEC_A7_PoisonByError(t *testing.T) {
	tries := 0
	s := &parker{why: map[mail.MID]string{}, script: script{process: func(it *Item, _ Opener) (Routing, error) {
		if it.MID == 1 {
			tries++
			return Routing{}, errs.Context(Poison(errs.New(errs.Invalid, "its reader died")), "judging")
		}
		return Routing{}, nil
	}}}
	bubble(t, &s.script, func(o *Options) { o.Processor = s }, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		r.accept(3, "a.example")
		rest(7 * time.Second)
		if it := r.store.get(1); tries != 2 || it == nil || it.Tries != 2 {
			t.Errorf("%d tries, in the store %+v", tries, it)
		}
		if len(r.list()) != 1 {
			t.Errorf("the other one waits: %v", r.list())
		}
		r.stop()
		r.restart()
		r.start()
		rest(time.Hour)
		if tries != 3 || s.why[1] != "its judgement failed 3 times: its reader died" || r.store.get(1) != nil {
			t.Errorf("%d tries, parked for %q, in the store %+v", tries, s.why, r.store.get(1))
		}
	})
}

type parker struct {
	script
	mu  sync.Mutex
	why map[mail.MID]string
}

// Park implements Parker for all but message 2.
func (p *parker) Park(it *Item, why string) (Routing, bool) {
	p.mu.Lock()
	p.why[it.MID] = why
	p.mu.Unlock()
	return Routing{Dest: func(Recipient) Dest { return Dest{Name: CPQHost} }, Placements: []mail.Placement{{Quarantine: "Policy", Reason: why}}}, it.MID != 2
}

// An error of the processor keeps the message and tries again with back-off;
// it costs no try.
func TestProcessorError(t *testing.T) {
	var at []time.Time
	s := &script{process: func(it *Item, _ Opener) (Routing, error) {
		if at = append(at, time.Now()); len(at) < 10 {
			return Routing{}, errs.New(errs.Temporary, "engine is away")
		}
		return Routing{}, nil
	}}
	bubble(t, s, nil, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		rest(time.Minute)
		if r.q.WorkCount() != 1 {
			t.Error("left the work queue")
		}
		rest(time.Hour)
		if len(r.list()) != 1 || at[1].Sub(at[0]) != 5*time.Second || at[9].Sub(at[8]) != 40*time.Second {
			t.Errorf("judged at %v", at)
		}
		if len(r.log.said()) != 1 {
			t.Errorf("faults %q", r.log.faults)
		}
	})
}

// A courier that panics loses its connection, not the mail and not the others.
func TestPanicInCourier(t *testing.T) {
	s := &script{}
	var good atomic.Bool
	s.deliver = func(d Dest, t *Task) []Outcome {
		if t.Item.MID == 1 && !good.Load() {
			panic("broken")
		}
		return t.all(Outcome{State: Delivered})
	}
	bubble(t, s, nil, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		r.accept(2, "b.example")
		r.accept(3, "a.example")
		rest(30 * time.Minute)
		if it := r.store.get(1); it == nil || it.Recipients[0].Attempts < 4 || it.Recipients[0].State != Deferred {
			t.Errorf("%+v", it)
		}
		if r.store.left() != 1 || len(r.log.said()) < 4 {
			t.Errorf("%d left, faults %q", r.store.left(), r.log.faults)
		}
		good.Store(true)
		rest(time.Hour)
		if r.store.left() != 0 {
			t.Error("not delivered when the fault was gone")
		}
	})
}

// Damaged records and contents are set aside and reported, wherever they are
// met, and the counts stay right.
func TestDamagedIsSetAside(t *testing.T) {
	s := &script{deliver: func(_ Dest, t *Task) []Outcome {
		c, err := t.Open()
		if err == nil {
			_, err = io.ReadAll(c)
		}
		if err != nil {
			return t.all(Outcome{State: Deferred, Reply: err.Error()})
		}
		return t.all(Outcome{State: Delivered})
	}}
	s.process = func(it *Item, open Opener) (Routing, error) {
		if it.MID == 5 {
			if c, err := open(); err == nil {
				_, err = io.ReadAll(c)
				return Routing{}, err
			}
		}
		return Routing{}, nil
	}
	bubble(t, s, func(o *Options) { o.Suspended = []string{AllHosts}; o.MaxLoaded = 1 }, func(r *rig) {
		r.store.damaged[5] = true
		r.start()
		for i := range 6 {
			r.accept(mail.MID(i+1), "a.example", "b.example")
			synctest.Wait()
		}
		r.store.broken[2], r.store.damaged[4] = true, true
		r.q.ResumeDelivery(AllHosts)
		rest(time.Minute)
		if r.store.left() != 0 {
			t.Errorf("left %v", r.store.items)
		}
		for _, mid := range []mail.MID{2, 4, 5} {
			if r.store.aside[mid] == "" {
				t.Errorf("MID %d is not set aside", mid)
			}
		}
		if len(r.store.removed) != 3 || len(r.list()) < 6 {
			t.Errorf("delivered %v", r.store.removed)
		}
		for _, d := range r.q.Destinations() {
			if d.Active != 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}

// While the store cannot write, a delivered message is not delivered again;
// when it can, the result is written.
func TestStoreFails(t *testing.T) {
	bubble(t, &script{}, nil, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		r.store.mu.Lock()
		r.store.fail = errors.New("disk full")
		r.store.mu.Unlock()
		rest(time.Hour)
		if n := len(r.list()); n != 1 {
			t.Errorf("delivered %d times", n)
		}
		r.store.mu.Lock()
		r.store.fail = nil
		r.store.mu.Unlock()
		rest(2 * time.Second)
		if r.store.get(1) != nil {
			t.Error("the result was forgotten")
		}
	})
}

// Copies are stored with the judgement in one durable update, go their own
// way, and come once even when the process dies right after.
func TestCopiesPlacementsAndDrop(t *testing.T) {
	s := &script{}
	s.process = func(it *Item, _ Opener) (Routing, error) {
		switch it.MID {
		case 1:
			c := it.Clone()
			c.MID, c.State = 101, Routed
			c.Recipients[0].Dest = Dest{Name: CPQHost}
			c.Placements = []mail.Placement{{Quarantine: "Policy"}}
			return Routing{Copies: []Copy{{Of: 1, Item: c}}, Prepend: []byte("X-A: 1\r\n")}, nil
		case 2:
			return Routing{Placements: []mail.Placement{{Quarantine: "Policy"}},
				Dest: func(Recipient) Dest { return Dest{Name: CPQHost} }}, nil
		}
		return Routing{Drop: true}, nil
	}
	bubble(t, s, func(o *Options) { o.Suspended = []string{AllHosts} }, func(r *rig) {
		r.start()
		for i := range 3 {
			r.accept(mail.MID(i+1), "a.example")
		}
		synctest.Wait()
		r.stop()
		r.restart()
		r.q.opt.Processor = &script{process: func(it *Item, _ Opener) (Routing, error) {
			t.Errorf("MID %d is judged twice", it.MID)
			return Routing{}, nil
		}}
		r.start()
		r.q.ResumeDelivery(AllHosts)
		synctest.Wait()
		got := strings.Join(r.list(), ", ")
		for _, want := range []string{"1 a.example 0", "2 the.cpq.host 0", "101 the.cpq.host 0"} {
			if strings.Count(got, want) != 1 {
				t.Errorf("%s not delivered once: %s", want, got)
			}
		}
		if len(r.list()) != 3 || r.store.left() != 0 {
			t.Errorf("delivered %s, left %v", got, r.store.items)
		}
	})
}

// Tasks a run does not settle go back without costing an attempt, and not in a
// tight loop.
func TestUnsettledGoesBack(t *testing.T) {
	var n atomic.Int32
	s := &script{run: func(ctx context.Context, _ Dest, f *Feed) {
		if t, ok := f.Next(ctx); ok {
			if n.Add(1) == 10 {
				t.Done(t.all(Outcome{State: Delivered}))
				t.Done(nil) // a second time means nothing
			}
		}
	}}
	bubble(t, s, nil, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		rest(44 * time.Second)
		if n.Load() != 9 {
			t.Errorf("%d runs in 44 s", n.Load())
		}
		rest(10 * time.Second)
		if n.Load() != 10 || r.store.get(1) != nil {
			t.Errorf("%d runs", n.Load())
		}
	})
}
