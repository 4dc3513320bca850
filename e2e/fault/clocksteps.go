package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lazaret/e2e/history"
)

// clockSteps puts the wall clock of one appliance, or of both, to another time
// and back, under load and beside mail that a host refuses for the time being:
// nothing expires, nothing bounces, nothing is tried before its time, and
// everything goes on. In every third trial the appliance is killed and started
// while its clock is wrong. A trial is one step and the way back.
func clockSteps(ctx context.Context, c Config, trials int) (*Result, error) {
	binary, err := stepping(ctx, filepath.Join(c.Dir, "..", "clock"))
	if err != nil {
		return nil, err
	}
	const interval = 5 * time.Second
	c.Binary, c.Clock, c.Domains = binary, true, []string{"a.example", "b.example", "later.example"}
	c.Edit = func(_ *World, xml string) string {
		xml = strings.ReplaceAll(xml, "<first_retry>1<", fmt.Sprintf("<first_retry>%d<", interval/time.Second))
		return strings.ReplaceAll(xml, "<longest_interval>3<", fmt.Sprintf("<longest_interval>%d<", interval/time.Second))
	}
	w, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer w.Kill()
	r := &Result{Name: "F13", Trials: trials}
	tries := &tries{last: map[string]time.Time{}}
	w.Sinks["later.example"].Behave(tries.note)
	const waiting = 30
	if err := w.sendWaiting(waiting); err != nil {
		return nil, err
	}
	load := w.Begin(&Load{Sessions: 10, Pause: 200 * time.Millisecond})
	op := w.Operate(time.Second)
	steps := []time.Duration{87600 * time.Hour, -24 * time.Hour, time.Hour, -time.Hour, 24 * time.Hour, -time.Second}
	for i := range trials {
		step := steps[i%len(steps)]
		targets := [][]*Process{{w.Gateway, w.Manager}, {w.Gateway}, {w.Manager}}[(i/len(steps)+i)%3]
		for _, d := range []time.Duration{step, 0} {
			w.Injected(fmt.Sprintf("clock at %+v", d))
			for _, p := range targets {
				if err := p.SetClock(ctx, d); err != nil {
					return nil, err
				}
			}
			if i%3 == 2 && d != 0 {
				tries.forget()
				for _, p := range targets {
					w.KillNow(p)
				}
				if err := w.Heal(ctx); err != nil {
					return nil, err
				}
			}
			rest(ctx, 11*time.Second) // the quarantines look at what is due every ten
			if err := w.goesOn(ctx, tries, waiting); err != nil {
				r.fail("clock %+v from the true one: %v", d, err)
			}
		}
	}
	load.End()
	op.End()
	if n := tries.earlyOnes(interval / 2); n > 0 {
		r.fail("%d times mail was tried again before half of its time", n)
	}
	w.Sinks["later.example"].Behave(nil)
	if r.Report, err = w.Finish(ctx, 3*time.Minute); err != nil {
		return nil, err
	}
	r.note("%d tries of %d messages that waited, the least time between two of one was %v", tries.n, waiting, tries.least.Round(time.Millisecond))
	return r, nil
}

// sendWaiting gives the gateway mail for the host that says "later".
func (w *World) sendWaiting(n int) error {
	c, err := dial(w.SMTP)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		key := fmt.Sprintf("l99s0n%d", i)
		e, _, _ := c.send(&Mail{Key: key, From: "w@client.example", To: []string{fmt.Sprintf("w%d@later.example", i)}, Class: history.Clean, Content: content(key, history.Clean, 500, rng)})
		e.Appliance = w.Gateway.Host
		w.H.Add(e)
		if e.What != history.Acked {
			return fmt.Errorf("mail that is to wait was not taken: %s", e.Reply)
		}
	}
	return nil
}

// goesOn waits until ordinary mail has arrived and each waiting message was
// tried once more.
func (w *World) goesOn(ctx context.Context, t *tries, waiting int) error {
	before := w.Sinks["a.example"].Count.Load()
	t.mu.Lock()
	t.round = map[string]bool{}
	t.mu.Unlock()
	for end := time.Now().Add(2 * time.Minute); ; rest(ctx, 50*time.Millisecond) {
		t.mu.Lock()
		tried := len(t.round)
		t.mu.Unlock()
		clean := w.Sinks["a.example"].Count.Load() > before
		if tried == waiting && clean || ctx.Err() != nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("in two minutes %d of %d waiting messages were tried, ordinary mail arrived: %v", tried, waiting, clean)
		}
	}
}

// tries are the attempts to give mail to a host that says "later".
type tries struct {
	mu    sync.Mutex
	n     int
	last  map[string]time.Time // by recipient
	gaps  []time.Duration
	round map[string]bool
	least time.Duration
}

func (t *tries) note(event, args string) Act {
	if event != "RCPT" {
		return Act{}
	}
	to, now := path(args), time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	if last, ok := t.last[to]; ok {
		gap := now.Sub(last)
		t.gaps = append(t.gaps, gap)
		if t.least == 0 || gap < t.least {
			t.least = gap
		}
	}
	t.last[to] = now
	if t.round != nil {
		t.round[to] = true
	}
	return Act{Reply: "450 4.2.1 later\r\n"}
}

// forget starts anew: a killed process does not know of its last try.
func (t *tries) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.last)
}

func (t *tries) earlyOnes(least time.Duration) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.gaps {
		if g < least {
			n++
		}
	}
	return n
}
