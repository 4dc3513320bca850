package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"lazaret/e2e/history"
)

// batch is how many messages go round together.
const batch = 4

// circle kills the appliances at each step of the way of a release: asked,
// leaving, waiting, at octets of the dialogue in which the gateway takes it, while
// it is scanned again, at each command of its delivery, at octets of the dialogue
// in which that is reported. Then every message has arrived once, and the record
// of its release says so. A trial is one batch of messages and one kill, of one
// side or both.
func circle(ctx context.Context, c Config, trials int) (*Result, error) {
	e, err := newEngine()
	if err != nil {
		return nil, err
	}
	defer e.close()
	e.arm(false)
	c.Back = true
	c.Edit = func(_ *World, xml string) string {
		return strings.Replace(xml, "<antivirus>", "<antivirus><clamd>"+e.addr+"</clamd>", 1)
	}
	w, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer w.Kill()
	r := &Result{Name: "release", Trials: trials}
	t := &circuit{w: w, e: e, r: r, reached: map[string]int{}}
	if err := t.probe(ctx); err != nil {
		return nil, err
	}
	for i := range trials {
		if err := t.turn(ctx, i); err != nil {
			return nil, fmt.Errorf("trial %d, %s: %w", i, circleSteps[i%len(circleSteps)].name, err)
		}
	}
	if r.Report, err = w.Finish(ctx, 3*time.Minute); err != nil {
		return nil, err
	}
	for _, s := range circleSteps {
		r.note("killed when %s: %d times", s.name, t.reached[s.name])
	}
	if r.Report.Released < batch*trials/2 {
		r.fail("only %d releases were confirmed: the run proves little", r.Report.Released)
	}
	return r, nil
}

// circuit is a run of circle.
type circuit struct {
	w            *World
	e            *engine
	r            *Result
	n            int
	back, report int64 // octets of the dialogues of a batch
	reached      map[string]int
}

// circleStep is where a kill comes. arm is called when all is held, and gives
// what tells that the step is reached; heal undoes what stands still.
type circleStep struct {
	name string
	side string // who can be killed there: gateway, manager, or both in turn
	arm  func(t *circuit, ctx context.Context, round int) (hit <-chan struct{}, heal func())
}

var circleSteps = []circleStep{
	{"asked", "manager", func(t *circuit, ctx context.Context, _ int) (<-chan struct{}, func()) {
		return after(ctx, between(time.Millisecond, 60*time.Millisecond)), nil
	}},
	{"leaving", "manager", func(t *circuit, ctx context.Context, _ int) (<-chan struct{}, func()) {
		return after(ctx, between(60*time.Millisecond, 1500*time.Millisecond)), nil // it leaves after a second
	}},
	{"waiting", "", func(t *circuit, ctx context.Context, _ int) (<-chan struct{}, func()) {
		t.w.Back.Set(Down)
		p := t.poll(ctx, "state releasing", batch)
		return p.found, func() { p.stop(); t.w.Back.Set(Up) }
	}},
	{"being taken", "", func(t *circuit, _ context.Context, round int) (<-chan struct{}, func()) {
		t.w.Back.breakAll()
		return t.w.Back.HoldAt(1 + (int64(round)*997)%t.back), t.w.Back.breakAll
	}},
	{"scanned again", "gateway", func(t *circuit, _ context.Context, _ int) (<-chan struct{}, func()) {
		t.e.arm(true)
		return t.e.first(), func() { t.e.arm(false) }
	}},
	{"delivered", "gateway", func(t *circuit, _ context.Context, round int) (<-chan struct{}, func()) {
		events := []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", "."}
		return t.w.Sinks["a.example"].holdOnce(events[round%len(events)])
	}},
	{"reported", "", func(t *circuit, _ context.Context, round int) (<-chan struct{}, func()) {
		t.w.Link.breakAll()
		return t.w.Link.HoldAt(1 + (int64(round)*997)%t.report), t.w.Link.breakAll
	}},
}

// turn takes one batch round with a kill at a step.
func (t *circuit) turn(ctx context.Context, i int) error {
	s := circleSteps[i%len(circleSteps)]
	from, err := t.hold(ctx)
	if err != nil {
		return err
	}
	hit, heal := s.arm(t, ctx, i/len(circleSteps))
	asked := make(chan error, 1)
	go func() { asked <- t.release(ctx, from) }()
	proven := t.poll(ctx, "sender "+from+" state released state failed", batch)
	select {
	case <-hit:
		t.kill(s, i)
	case <-proven.found: // the dialogue was shorter
	case <-time.After(2 * time.Minute): // whatever stands still is judged below
	case <-ctx.Done():
	}
	proven.stop()
	if heal != nil {
		heal()
	}
	if err := <-asked; err != nil {
		return err
	}
	return t.proven(ctx, from)
}

func (t *circuit) kill(s circleStep, i int) {
	t.reached[s.name]++
	who := s.side
	if who == "" {
		who = []string{"gateway", "manager", "both"}[i/len(circleSteps)%3]
	}
	if who != "gateway" {
		t.w.KillNow(t.w.Manager)
	}
	if who != "manager" {
		t.w.KillNow(t.w.Gateway)
	}
}

// hold sends a batch and waits until the manager has it.
func (t *circuit) hold(ctx context.Context) (from string, err error) {
	t.n++
	from = fmt.Sprintf("c%d@client.example", t.n)
	c, err := dial(t.w.SMTP)
	if err != nil {
		return from, err
	}
	defer func() { _ = c.Close() }()
	rng := rand.New(rand.NewPCG(uint64(t.n), 1))
	for j := range batch {
		key := fmt.Sprintf("l97s%dn%d", t.n, j)
		text := bytes.Replace(content(key, history.Hold, 300+rng.IntN(3000), rng), []byte("\r\nSubject:"), []byte("\r\n"+poisonMark+"\r\nSubject:"), 1)
		to := []string{fmt.Sprintf("u%d@a.example", j), "v@b.example"}
		if j == 0 {
			to = append(to, "nobody@b.example")
		}
		e, _, _ := c.send(&Mail{Key: key, From: from, To: to, Class: history.Hold, Content: text})
		e.Appliance = t.w.Gateway.Host
		t.w.H.Add(e)
		if e.What != history.Acked {
			return from, fmt.Errorf("a message was not taken: %s", e.Reply)
		}
	}
	return from, until(ctx, "all is held", func() (bool, error) {
		found, err := t.w.search(ctx, "sender "+from+" state held")
		return len(found) == batch, err
	})
}

// release asks for it. What the manager did not confirm stays a try.
func (t *circuit) release(ctx context.Context, from string) error {
	found, err := t.w.search(ctx, "sender "+from+" state held")
	if err != nil {
		return nil // it was killed: asked again later
	}
	o := &Operator{w: t.w}
	o.decide(ctx, "release", history.Released, found)
	return nil
}

// proven heals, asks again for what is still held, and waits until the record
// of each release has come to an end.
func (t *circuit) proven(ctx context.Context, from string) error {
	w := t.w
	return until(ctx, "each release is proven", func() (bool, error) {
		if err := w.Heal(ctx); err != nil {
			return false, err
		}
		if err := t.release(ctx, from); err != nil {
			return false, err
		}
		for _, p := range []*Process{w.Manager, w.Gateway} {
			if _, _, err := p.CLI(ctx, "delivernow all"); err != nil {
				return false, err
			}
		}
		over, err := w.search(ctx, "sender "+from+" state released state failed")
		return len(over) == batch, err
	})
}

// probe takes one batch round without a kill, which says how long the dialogues are.
func (t *circuit) probe(ctx context.Context) error {
	if out, code, err := t.w.Manager.CLI(ctx, "quarantineconfig rules undo_release 1s; commit circle Y"); err != nil || code != 0 {
		return fmt.Errorf("undo_release: status %d: %w %s", code, err, out)
	}
	from, err := t.hold(ctx)
	if err != nil {
		return err
	}
	t.w.Link.breakAll()
	if err := errors.Join(t.release(ctx, from), t.proven(ctx, from)); err != nil {
		return err
	}
	t.w.Link.breakAll()
	t.w.Back.breakAll()
	rest(ctx, 100*time.Millisecond)
	t.back, t.report = max(t.w.Back.Longest(), 3000), max(t.w.Link.Last(), 3000)
	t.r.note("the gateway takes a release in %d octets both ways, reports it in %d", t.back, t.report)
	return nil
}

// after gives a channel that is closed after some time.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		rest(ctx, d)
		close(c)
	}()
	return c
}

// poller asks the manager again and again.
type poller struct {
	found  chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// poll closes found when the manager finds n messages.
func (t *circuit) poll(ctx context.Context, conditions string, n int) *poller {
	ctx, cancel := context.WithCancel(ctx)
	p := &poller{found: make(chan struct{}), cancel: cancel}
	p.wg.Go(func() {
		for ; ctx.Err() == nil; rest(ctx, 50*time.Millisecond) {
			if all, err := t.w.search(ctx, conditions); err == nil && len(all) >= n {
				close(p.found)
				return
			}
		}
	})
	return p
}

func (p *poller) stop() {
	p.cancel()
	p.wg.Wait()
}
