package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// A plain message passes with no write but its removal, and that is synced.
func TestPassThrough(t *testing.T) {
	bubble(t, &script{}, nil, func(r *rig) {
		r.start()
		r.accept(2, "c.example")
		synctest.Wait()
		if r.store.loads != 0 || r.store.saves != 0 {
			t.Errorf("a plain message: %d loads, %d saves", r.store.loads, r.store.saves)
		}
		r.got, r.log.finished = nil, nil
		r.accept(1, "a.example", "b.example", "a.example")
		synctest.Wait()
		got := r.list()
		slices.Sort(got)
		equal(t, got, []string{"1 a.example 0", "1 a.example 2", "1 b.example 1"})
		rest(time.Second)
		synctest.Wait()
		if r.store.left() != 0 || len(r.store.removed) != 2 || r.store.durable == 0 {
			t.Errorf("left %d, removed %v, syncs %d", r.store.left(), r.store.removed, r.store.durable)
		}
		if len(r.log.finished) != 1 || len(r.log.said()) != 0 {
			t.Errorf("finished %v faults %q", r.log.finished, r.log.faults)
		}
	})
}

// Attempts follow the bounce profile of reference 8.4 until time is up.
func TestRetrySchedule(t *testing.T) {
	var bounced []Recipient
	s := &script{deliver: func(_ Dest, t *Task) []Outcome {
		return t.all(Outcome{State: Deferred, Code: 450, Reply: "later"})
	}}
	opt := func(o *Options) {
		o.Notify = func(_ context.Context, _ *Item, r []Event) (Notice, error) {
			for _, e := range r {
				if e.Kind == Failed && e.Expired {
					bounced = append(bounced, e.Recipient)
				}
			}
			return Notice{}, nil
		}
	}
	bubble(t, s, opt, func(r *rig) {
		r.start()
		begin := time.Now()
		r.accept(1, "a.example")
		rest(80 * time.Hour)
		want := []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183}
		for i, m := range want {
			if got := r.at[i].Sub(begin); got != m*time.Minute {
				t.Errorf("attempt %d after %v, want %v", i+1, got, m*time.Minute)
			}
		}
		last := r.at[len(r.at)-1].Sub(begin)
		if last > 72*time.Hour || last < 70*time.Hour || len(r.at) > 101 {
			t.Errorf("%d attempts, the last after %v", len(r.at), last)
		}
		if said := r.log.written(); len(said) == 0 || said[0] != "Pending MID 1 [0] "+begin.Add(time.Minute).UTC().Format(time.TimeOnly) {
			t.Errorf("the first wait is not in the log: %q", said)
		}
		if len(bounced) != 1 || bounced[0].Reply != "later" || r.store.get(1) != nil {
			t.Errorf("bounced %v", bounced)
		}
	})
}

// The count ends a message when it comes before the time; a hook that fails keeps it.
func TestMaxRetriesAndFailingBounce(t *testing.T) {
	fails := 2
	s := &script{deliver: func(_ Dest, t *Task) []Outcome { return t.all(Outcome{State: Deferred, Reply: "no"}) }}
	opt := func(o *Options) {
		o.Settings = func(d Dest) Settings { s := DefaultSettings(d); s.MaxRetries = 3; return s }
		o.Notify = func(context.Context, *Item, []Event) (Notice, error) {
			if fails--; fails >= 0 {
				return Notice{}, errors.New("no room")
			}
			return Notice{}, nil
		}
	}
	bubble(t, s, opt, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		rest(time.Hour)
		if n := len(r.list()); n != 6 { // 1 + 3 retries, and one for each failure of the hook
			t.Errorf("%d attempts", n)
		}
		if r.store.get(1) != nil {
			t.Error("still queued")
		}
	})
}

// Quarantined mail neither expires nor bounces, whatever settings and couriers
// say; only a release that its gateway refuses for good ends, and tells nobody.
func TestQuarantineHostsNeverGiveUp(t *testing.T) {
	for host, refusal := range map[string]RecipientState{CPQHost: Bounced, CPQReleaseHost: Deferred} {
		tries := 0
		s := &script{
			process: func(*Item, Opener) (Routing, error) {
				return Routing{Dest: func(Recipient) Dest { return Dest{host, "L"} }}, nil
			},
			deliver: func(_ Dest, t *Task) []Outcome {
				if tries++; tries > 12000 {
					return t.all(Outcome{State: Delivered, Receipt: "77"})
				}
				return t.all(Outcome{State: refusal, Code: 550, Reply: "never"})
			}}
		opt := func(o *Options) {
			o.Settings = func(Dest) Settings { return Settings{MaxRetries: 1, MaxTime: time.Minute, LongestWait: time.Minute} }
			o.Notify = func(context.Context, *Item, []Event) (Notice, error) { t.Error("bounced"); return Notice{}, nil }
		}
		bubble(t, s, opt, func(r *rig) {
			r.start()
			r.accept(1, "a.example")
			rest(9 * 24 * time.Hour)
			if r.store.get(1) != nil || len(r.store.receipts) != 1 || r.store.receipts[0].Remote != "77" {
				t.Errorf("%s: after %d tries: %v", host, tries, r.store.receipts)
			}
			if d := r.q.Destinations(); d[0].HardBounced != 0 || d[0].SoftBounced != 12000 || d[0].Active != 0 {
				t.Errorf("%+v", d[0])
			}
		})
	}
}

func TestRefusedReleaseEnds(t *testing.T) {
	s := &script{
		process: func(*Item, Opener) (Routing, error) {
			return Routing{Dest: func(Recipient) Dest { return Dest{CPQReleaseHost, "L"} }}, nil
		},
		deliver: func(_ Dest, t *Task) []Outcome {
			return t.all(Outcome{State: Bounced, Code: 550, Reply: "never"})
		}}
	opt := func(o *Options) {
		o.Notify = func(context.Context, *Item, []Event) (Notice, error) { t.Error("bounced"); return Notice{}, nil }
	}
	bubble(t, s, opt, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		synctest.Wait()
		if r.store.get(1) != nil || len(r.store.receipts) != 0 {
			t.Errorf("still there, or receipted: %v", r.store.receipts)
		}
	})
}

// A destination that is down gets one probe at a time with growing waits, costs
// its messages no attempt, and is drained oldest first when it comes back.
func TestDownProbeUp(t *testing.T) {
	var up atomic.Bool
	var probes []time.Duration
	begin := time.Time{}
	s := &script{}
	s.run = func(ctx context.Context, d Dest, f *Feed) {
		for {
			t, ok := f.Next(ctx)
			if !ok {
				return
			}
			if !up.Load() {
				probes = append(probes, time.Since(begin))
				f.Down(errors.New("connection refused"))
				return
			}
			s.note(d, t)
			t.Done(t.all(Outcome{State: Delivered}))
		}
	}
	bubble(t, s, func(o *Options) { o.Workers = 1; o.MaxLoaded = 3 }, func(r *rig) {
		begin = time.Now()
		r.start()
		var want []string
		for i := 1; i <= 20; i++ {
			r.accept(mail.MID(i), CPQHost)
			want = append(want, mail.MID(i).String()+" the.cpq.host 0")
			synctest.Wait()
		}
		d := r.q.Destinations()[0]
		if d.State != Down || d.Active != 20 || d.LastError != "connection refused" || d.OldestMID != 1 {
			t.Errorf("%+v", d)
		}
		rest(10 * time.Minute)
		if r.mostRuns(Dest{Name: CPQHost}) != 1 {
			t.Errorf("%d runs at once", r.mostRuns(Dest{Name: CPQHost}))
		}
		wait := []time.Duration{0, 5, 15, 35, 75, 135, 195} // 5, 10, 20, 40, 60, 60 apart
		for i, w := range wait {
			if probes[i] != w*time.Second {
				t.Errorf("probe %d at %v, want %v", i, probes[i], w*time.Second)
			}
		}
		if it := r.store.get(7); it != nil && it.Recipients[0].Attempts != 0 {
			t.Errorf("the host's failure cost the message %d attempts", it.Recipients[0].Attempts)
		}
		up.Store(true)
		rest(2 * time.Minute)
		got := r.list()
		if len(got) == 0 || got[0] != "1 the.cpq.host 0" {
			t.Errorf("the oldest is not drained first: %v", got)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("drained %v", got)
		}
		if d := r.q.Destinations()[0]; d.State != Up || d.Active != 0 || d.Delivered != 20 {
			t.Errorf("%+v", d)
		}
		if r.store.left() != 0 {
			t.Errorf("%d left", r.store.left())
		}
	})
}

// Mail behind a host that never answers still expires.
func TestExpireBehindDownHost(t *testing.T) {
	s := &script{run: func(ctx context.Context, d Dest, f *Feed) {
		if _, ok := f.Next(ctx); ok {
			f.Down(errors.New("no route"))
		}
	}}
	var mu sync.Mutex
	var why []string
	opt := func(o *Options) {
		o.Notify = func(_ context.Context, it *Item, r []Event) (Notice, error) {
			mu.Lock()
			defer mu.Unlock()
			why = append(why, fmt.Sprintf("%d %s %d", it.MID, r[0].Recipient.Reply, r[0].Kind))
			return Notice{}, nil
		}
	}
	bubble(t, s, opt, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		rest(time.Hour)
		r.accept(2, "a.example")
		rest(71*time.Hour + 90*time.Minute)
		synctest.Wait()
		slices.Sort(why)
		equal(t, why, []string{"1 no route 0", "1 no route 1", "2 no route 0", "2 no route 1"}) // each late once, then failed
		if len(r.log.lines) != 2 || !strings.Contains(r.log.lines[0], `RID 0 5.4.7 Delivery expired (message too old) 000 ["no route"]`) {
			t.Errorf("log %q", r.log.lines)
		}
		if d := r.q.Destinations()[0]; d.Active != 0 || d.HardBounced != 2 || d.State != Down {
			t.Errorf("%+v", d)
		}
	})
}

// Never more runs than the settings allow, in all never more than MaxConnections;
// those who wait for a permit get one.
func TestConcurrency(t *testing.T) {
	s := &script{}
	s.deliver = func(_ Dest, t *Task) []Outcome {
		time.Sleep(time.Second)
		return t.all(Outcome{State: Delivered})
	}
	opt := func(o *Options) {
		o.MaxConnections = 6
		o.Settings = func(d Dest) Settings { return Settings{Concurrency: 4, Idle: time.Second} }
	}
	bubble(t, s, opt, func(r *rig) {
		r.start()
		for i := range 40 {
			r.accept(mail.MID(i+1), []string{"a.example", "b.example", "c.example", "d.example"}[i%4])
		}
		for range 15 {
			synctest.Wait()
			if n := r.q.Gauges().ConnectionsOut; n > 6 {
				t.Errorf("%d connections", n)
			}
			rest(time.Second)
		}
		for _, d := range []string{"a.example", "b.example", "c.example", "d.example"} {
			if n := r.mostRuns(Dest{Name: d}); n > 4 || n == 0 {
				t.Errorf("%s had %d runs", d, n)
			}
		}
		if n := len(r.list()); n != 40 {
			t.Errorf("%d delivered in 15 s over 6 connections", n)
		}
	})
}

// One connection serves many messages and is kept for the idle time.
func TestConnectionReuse(t *testing.T) {
	bubble(t, &script{}, nil, func(r *rig) {
		r.start()
		for i := range 10 {
			r.accept(mail.MID(i+1), "a.example")
			rest(4 * time.Second)
		}
		if n := r.allRuns(Dest{Name: "a.example"}); n != 1 {
			t.Errorf("%d runs for ten messages 4 s apart", n)
		}
		rest(6 * time.Second)
		if n := r.q.Gauges().ConnectionsOut; n != 0 {
			t.Errorf("%d connections after the idle time", n)
		}
	})
}

// A loss on one of several connections does not mark the host down.
func TestOneLostConnectionIsNotDown(t *testing.T) {
	s := &script{}
	lost := false
	s.run = func(ctx context.Context, d Dest, f *Feed) {
		for {
			t, ok := f.Next(ctx)
			if !ok {
				return
			}
			time.Sleep(time.Second)
			if t.Item.MID == 4 && !lost {
				lost = true
				f.Down(errors.New("reset"))
				return
			}
			s.note(d, t)
			t.Done(t.all(Outcome{State: Delivered}))
		}
	}
	bubble(t, s, nil, func(r *rig) {
		r.start()
		for i := 1; i <= 3; i++ {
			r.accept(mail.MID(i), "a.example")
		}
		rest(500 * time.Millisecond)
		r.accept(4, "a.example")
		rest(1100 * time.Millisecond)
		if d := r.q.Destinations()[0]; d.State != Up || d.LastError != "reset" {
			t.Errorf("%+v", d)
		}
		rest(30 * time.Second)
		if len(r.list()) != 4 {
			t.Errorf("delivered %v", r.list())
		}
	})
}

// Suspension holds known and unknown hosts, survives a restart, and ends.
func TestSuspendResume(t *testing.T) {
	bubble(t, &script{}, nil, func(r *rig) {
		r.start()
		r.q.SuspendDelivery("B.example")
		r.accept(1, "a.example", "b.example")
		synctest.Wait()
		equal(t, r.list(), []string{"1 a.example 0"})
		r.stop()
		r.opt.Suspended = r.q.Suspended()
		equal(t, r.opt.Suspended, []string{"b.example"})
		r.restart()
		r.start()
		rest(time.Hour)
		if n := len(r.list()); n != 1 {
			t.Errorf("%d delivered while suspended", n)
		}
		if l := r.q.Lanes("b.example"); len(l) != 1 || !l[0].Suspended || l[0].Active != 1 {
			t.Errorf("%+v", l)
		}
		equal(t, r.q.ResumeDelivery("b.example"), []string{"b.example"})
		synctest.Wait()
		equal(t, r.list(), []string{"1 a.example 0", "1 b.example 1"})
		r.q.SuspendDelivery(AllHosts)
		r.accept(2, "c.example")
		synctest.Wait()
		if n := len(r.list()); n != 2 {
			t.Error("delivered while all is suspended")
		}
		equal(t, r.q.ResumeDelivery("all"), []string{AllHosts})
		synctest.Wait()
		if n := len(r.list()); n != 3 {
			t.Error("not resumed")
		}
	})
}

// DeliverNow tries what waits for its time, also behind a host that is down.
func TestDeliverNow(t *testing.T) {
	s := &script{deliver: func(_ Dest, t *Task) []Outcome { return t.all(Outcome{State: Deferred}) }}
	bubble(t, s, nil, func(r *rig) {
		r.start()
		r.accept(1, "a.example")
		r.accept(2, "b.example")
		rest(time.Second)
		if n := r.q.DeliverNow("A.example"); n != 1 {
			t.Errorf("%d rescheduled", n)
		}
		synctest.Wait()
		if n := len(r.list()); n != 3 {
			t.Errorf("attempts %v", r.list())
		}
		if n := r.q.DeliverNow(AllHosts); n != 2 {
			t.Errorf("%d rescheduled", n)
		}
		synctest.Wait()
		if n := len(r.list()); n != 5 {
			t.Errorf("attempts %v", r.list())
		}
	})
}

// Deleting takes what waits, what is being judged and what is with a courier.
func TestDelete(t *testing.T) {
	var judge, send chan bool // made inside the bubble
	s := &script{
		process: func(it *Item, _ Opener) (Routing, error) {
			if it.MID == 3 {
				<-judge
			}
			return Routing{}, nil
		},
		deliver: func(d Dest, t *Task) []Outcome {
			if d.Name == "slow.example" {
				<-send
			}
			return t.all(Outcome{State: Deferred})
		}}
	bubble(t, s, nil, func(r *rig) {
		judge, send = make(chan bool), make(chan bool)
		r.start()
		r.accept(1, "a.example", "b.example")
		r.accept(2, "slow.example", "b.example")
		r.accept(3, "b.example", "c.example")
		synctest.Wait()
		var told []mail.MID
		m, n, err := r.q.Delete(context.Background(), Match{Host: "b.example"}, func(d Removed) { told = append(told, d.MID) })
		if err != nil || m != 3 || n != 3 || len(told) != 3 {
			t.Errorf("deleted %d messages, %d recipients, %v, told %v", m, n, err, told)
		}
		if l := r.q.Lanes("b.example"); l[0].Active != 0 {
			t.Errorf("%+v", l)
		}
		close(judge)
		synctest.Wait()
		if it := r.store.get(3); it == nil || it.Recipients[0].State != Deleted || it.Recipients[1].State.Final() {
			t.Errorf("MID 3: %+v", it)
		}
		m, n, _ = r.q.Delete(context.Background(), Match{Sender: "A@from.example"}, nil)
		if m != 3 || n != 3 {
			t.Errorf("deleted %d messages, %d recipients", m, n)
		}
		close(send)
		synctest.Wait()
		if r.store.left() != 0 {
			t.Errorf("left %v", r.store.items)
		}
		for _, d := range r.q.Destinations() {
			if d.Active != 0 || d.OldestMID != 0 {
				t.Errorf("%+v", d)
			}
		}
		before := len(r.list())
		rest(time.Hour)
		if len(r.list()) != before {
			t.Error("a deleted message was tried")
		}
	})
}

// Find gives each message once, oldest first, wherever it stands.
func TestFind(t *testing.T) {
	s := &script{deliver: func(_ Dest, t *Task) []Outcome { return t.all(Outcome{State: Deferred, Reply: "busy"}) },
		process: func(it *Item, _ Opener) (Routing, error) {
			if it.MID == 2 {
				return Routing{}, errs.New(errs.Temporary, "engine is away")
			}
			return Routing{}, nil
		}}
	bubble(t, s, nil, func(r *rig) {
		r.start()
		r.accept(1, "a.example", "b.example")
		r.accept(2, "b.example")
		r.accept(3, "a.example")
		synctest.Wait()
		find := func(m Match) (out []string) {
			if err := r.q.Find(context.Background(), m, func(it *Item) error {
				out = append(out, it.MID.String()+it.Recipients[0].Reply)
				return nil
			}); err != nil {
				t.Error(err)
			}
			return out
		}
		equal(t, find(Match{All: true}), []string{"1busy", "2", "3busy"})
		equal(t, find(Match{Host: "b.example"}), []string{"1busy", "2"})
		equal(t, find(Match{Sender: "a@from.example"}), []string{"1busy", "2", "3busy"})
		equal(t, find(Match{MID: 3}), []string{"3busy"})
		equal(t, find(Match{}), nil)
	})
}
