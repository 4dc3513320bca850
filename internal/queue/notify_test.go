package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// reporter makes a report of each call, as a gateway does.
type reporter struct {
	r *rig

	mu    sync.Mutex
	next  mail.MID
	calls []string
	done  int
	fail  error
}

func (p *reporter) notify(_ context.Context, it *Item, events []Event) (Notice, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return Notice{}, p.fail
	}
	call := fmt.Sprintf("MID %d", it.MID)
	for _, e := range events {
		call += fmt.Sprintf(" %d:%s:%s", e.Kind, e.Recipient.Address, e.Recipient.State)
	}
	p.calls = append(p.calls, call)
	p.next++
	out := p.r.item(100+p.next, "sender.example")
	out.State, out.From = Routed, mail.Address{}
	out.Recipients[0].Dest = Dest{Name: "sender.example"}
	return Notice{New: []Made{{Item: out, Content: []byte("report")}}, Done: func() { p.done++ }}, nil
}

func (p *reporter) told() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.calls...)
}

// fate delivers by domain.
func fates(domains map[string]Outcome) func(Dest, *Task) []Outcome {
	return func(d Dest, t *Task) []Outcome {
		if o, ok := domains[d.Name]; ok {
			return t.all(o)
		}
		return t.all(Outcome{State: Delivered, Code: 250})
	}
}

func withReporter(p *reporter, more func(*Options)) func(*Options) {
	return func(o *Options) {
		o.Notify = p.notify
		if more != nil {
			more(o)
		}
	}
}

// The report of a failure and the end of the message are one durable update;
// all recipients that failed in one moment are in one report, and the report
// is delivered like any mail.
func TestReportIsOneBatch(t *testing.T) {
	var p reporter
	s := &script{deliver: fates(map[string]Outcome{"bad.example": {State: Bounced, Code: 550, Status: "5.1.1", Reply: "5.1.1 nobody", Remote: "mx.bad.example"}})}
	bubble(t, s, withReporter(&p, nil), func(r *rig) {
		p.r = r
		batches := 0
		r.store.applied = func(u Update) {
			if len(u.New) > 0 {
				batches++
				if !u.Durable || len(u.Remove) != 1 || u.Remove[0] != 1 {
					t.Errorf("the report is not in the durable batch of the end: %+v", u)
				}
			}
		}
		r.start()
		r.accept(1, "bad.example", "bad.example")
		rest(time.Second)
		equal(t, p.told(), []string{"MID 1 0:u@bad.example:bounced 0:u@bad.example:bounced"})
		if batches != 1 || p.done != 1 || r.store.left() != 0 || r.store.twice != 0 {
			t.Errorf("%d batches, %d done, %d left", batches, p.done, r.store.left())
		}
		equal(t, r.list(), []string{"1 bad.example 0", "1 bad.example 1", "101 sender.example 0"})
		if d := r.q.Destinations(); len(r.log.said()) != 0 || d[0].HardBounced+d[1].HardBounced != 2 {
			t.Errorf("%q %+v", r.log.said(), d)
		}
	})
}

// A write that fails leaves neither report nor end: the recipient stays, is
// tried again, and there is one report at last. So does a notifier that fails.
func TestReportSurvivesFailedWrites(t *testing.T) {
	var p reporter
	s := &script{deliver: fates(map[string]Outcome{"bad.example": {State: Bounced, Code: 550, Reply: "no"}})}
	bubble(t, s, withReporter(&p, nil), func(r *rig) {
		p.r = r
		p.fail = errors.New("no room")
		r.start()
		r.accept(1, "bad.example")
		rest(30 * time.Second)
		p.mu.Lock()
		p.fail = nil
		p.mu.Unlock()
		r.store.mu.Lock()
		r.store.fail = errs.New(errs.Temporary, "disk")
		r.store.mu.Unlock()
		rest(time.Minute)
		if r.store.get(1) == nil || len(r.store.made) != 0 {
			t.Error("the message ended without a report")
		}
		r.store.mu.Lock()
		r.store.fail = nil
		r.store.mu.Unlock()
		rest(3 * time.Minute)
		if len(r.store.made) != 1 || r.store.left() != 0 || p.done != 1 {
			t.Errorf("made %v, %d left, %d done", r.store.made, r.store.left(), p.done)
		}
	})
}

// A delay is told when it is due, as often as the profile says and not again
// after a restart; whether the host answers 4xx or cannot be reached at all.
func TestDelayNotices(t *testing.T) {
	for _, down := range []bool{false, true} {
		var p reporter
		s := &script{deliver: fates(map[string]Outcome{"slow.example": {State: Deferred, Code: 451, Reply: "later"}})}
		if down {
			s.run = func(ctx context.Context, d Dest, f *Feed) {
				if _, ok := f.Next(ctx); ok && d.Name == "slow.example" {
					f.Down(errors.New("no route"))
				}
			}
		}
		opt := withReporter(&p, func(o *Options) {
			o.Settings = func(d Dest) Settings {
				s := DefaultSettings(d)
				s.WarnAfter, s.Warnings = 2*time.Hour, 2
				return s
			}
		})
		bubble(t, s, opt, func(r *rig) {
			p.r = r
			r.start()
			r.accept(1, "slow.example")
			rest(110 * time.Minute)
			if got := p.told(); len(got) != 0 {
				t.Errorf("down %v: told too early: %q", down, got)
			}
			rest(80 * time.Minute)
			state := "deferred"
			if down {
				state = "pending"
			}
			one := "MID 1 1:u@slow.example:" + state
			equal(t, p.told(), []string{one})
			if it := r.store.get(1); it == nil || it.Recipients[0].Warned != 1 {
				t.Errorf("the count is not in the store: %+v", it)
			}
			r.stop()
			r.restart()
			r.start()
			rest(45 * time.Minute)
			equal(t, p.told(), []string{one})
			rest(24 * time.Hour)
			equal(t, p.told(), []string{one, one})
		})
	}
}

// The profile of a message, such as its listener's, may be shorter or longer
// than the destination's.
func TestProfileOfAMessage(t *testing.T) {
	var p reporter
	s := &script{run: func(ctx context.Context, d Dest, f *Feed) {
		if _, ok := f.Next(ctx); ok && d.Name == "slow.example" {
			f.Down(errors.New("no route"))
		}
	}}
	opt := withReporter(&p, func(o *Options) {
		o.Settings = func(d Dest) Settings {
			s := DefaultSettings(d)
			s.Warnings, s.MaxTime, s.ShortestTime = 0, 10*time.Hour, 2*time.Hour
			return s
		}
		o.Profile = func(it *Item, _ Dest, s Settings) Settings {
			s.MaxTime = time.Duration(it.Size) * time.Hour
			return s
		}
	})
	bubble(t, s, opt, func(r *rig) {
		p.r = r
		r.start()
		r.accept(1, "slow.example") // size 3
		rest(150 * time.Minute)
		if len(p.told()) != 0 {
			t.Error("expired by another profile")
		}
		rest(100 * time.Minute)
		equal(t, p.told(), []string{"MID 1 0:u@slow.example:bounced"})
	})
}

// Success is told only when it was asked for, and not when the next host will.
func TestRelayedIsToldOnRequest(t *testing.T) {
	var p reporter
	s := &script{deliver: fates(map[string]Outcome{"passed.example": {State: Delivered, Code: 250, Passed: true}})}
	bubble(t, s, withReporter(&p, nil), func(r *rig) {
		p.r = r
		r.start()
		for i, d := range []string{"plain.example", "asked.example", "passed.example"} {
			it := r.item(mail.MID(i+1), d)
			if i > 0 {
				it.Recipients[0].Notify = mail.NotifySuccess
			}
			r.store.items[it.MID] = it.Clone()
			r.q.Add(it)
		}
		rest(time.Second)
		equal(t, p.told(), []string{"MID 2 2:u@asked.example:delivered"})
	})
}

// An administrator bounces what waits: routed, not judged yet, and what is
// with a courier at the moment; never quarantined mail.
func TestBounceByHand(t *testing.T) {
	var p reporter
	var hold chan struct{} // of the bubble
	s := &script{
		process: func(it *Item, _ Opener) (Routing, error) {
			if it.MID == 3 {
				return Routing{Dest: func(Recipient) Dest { return Dest{Name: CPQHost} }}, nil
			}
			return Routing{}, nil
		},
		deliver: func(d Dest, task *Task) []Outcome {
			if d.Name == "busy.example" {
				<-hold
			}
			return task.all(Outcome{State: Deferred, Code: 451, Reply: "later"})
		}}
	bubble(t, s, withReporter(&p, nil), func(r *rig) {
		p.r, hold = r, make(chan struct{})
		r.start()
		r.accept(1, "slow.example", "other.example", "slow.example")
		r.accept(2, "busy.example")
		r.accept(3, "held.example")
		synctest.Wait()
		if _, _, _, err := r.q.Bounce(t.Context(), Match{Host: CPQHost}); !errs.Is(err, errs.Denied) {
			t.Errorf("quarantined mail: %v", err)
		}
		m, n, busy, err := r.q.Bounce(t.Context(), Match{Host: "slow.example"})
		if m != 1 || n != 2 || busy != 0 || err != nil {
			t.Errorf("%d messages, %d recipients, %d busy, %v", m, n, busy, err)
		}
		synctest.Wait()
		equal(t, p.told(), []string{"MID 1 0:u@slow.example:bounced 0:u@slow.example:bounced"})
		if m, n, _, err = r.q.Bounce(t.Context(), Match{All: true}); m != 3 || n != 3 || err != nil { // 1, 2 and the report itself
			t.Errorf("%d messages, %d recipients, %v", m, n, err)
		}
		close(hold)
		rest(time.Second)
		if got := p.told(); len(got) != 4 || got[3] != "MID 2 0:u@busy.example:bounced" {
			t.Errorf("%q", got)
		}
		for _, d := range r.q.Destinations() {
			if d.Active != 0 && d.Dest.Name != CPQHost && d.Dest.Name != "sender.example" || d.Dest.Name == "slow.example" && d.HardBounced != 2 {
				t.Errorf("%+v", d)
			}
		}
		if r.store.get(3) == nil || r.store.get(1) != nil || r.store.get(2) != nil {
			t.Error("the wrong messages are gone")
		}
	})
}
