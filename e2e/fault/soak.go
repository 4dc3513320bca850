package fault

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"
)

// Soak is half of the maximum load for a time, with a random fault every
// minute. What the processes use has to stay flat.
type Soak struct {
	Duration time.Duration
	Every    time.Duration // between two faults; 0: a minute
	Most     int           // messages a second at most: the whole history is judged in memory; 0: 150
	Say      func(format string, args ...any)
}

// Run soaks.
func (s Soak) Run(ctx context.Context, c Config) (*Result, error) {
	if s.Every <= 0 {
		s.Every = time.Minute
	}
	if s.Most <= 0 {
		s.Most = 150
	}
	w, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer w.Kill()
	r := &Result{Name: "soak"}
	full := s.maximum(ctx, w)
	rate := min(full/2, float64(s.Most))
	const sessions = 50
	load := w.Begin(&Load{Sessions: sessions, Pause: time.Duration(2 * sessions / rate * float64(time.Second))})
	op := w.Operate(time.Second)
	watch := w.watch(ctx, 20*time.Second)
	s.Say("full load %.0f messages a second, soaking with %.0f", full, rate)
	faults, turn := randomFaults(), 0
	for end := time.Now().Add(s.Duration); time.Now().Before(end) && ctx.Err() == nil; {
		rest(ctx, s.Every)
		if turn%len(faults) == 0 { // each once before any comes again
			rand.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		}
		f := faults[turn%len(faults)]
		turn++
		r.Trials++
		began := time.Now()
		if err := f.do(ctx, w); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		s.Say("%s (%v); %d acknowledged, %d refused, %d unknown", f.name, time.Since(began).Round(time.Millisecond), load.Acked.Load(), load.Refused.Load(), load.Maybe.Load())
	}
	load.End()
	op.End()
	watch.end(r)
	if r.Report, err = w.Finish(ctx, 10*time.Minute); err != nil {
		return nil, err
	}
	r.note("%v at %.0f messages a second of %.0f, %d faults", s.Duration, rate, full, r.Trials)
	return r, nil
}

// maximum measures what the machine does now without a pause.
func (s Soak) maximum(ctx context.Context, w *World) float64 {
	load := w.Begin(&Load{Sessions: 50})
	rest(ctx, 3*time.Second)
	before := load.Acked.Load()
	began := time.Now()
	rest(ctx, 10*time.Second)
	rate := float64(load.Acked.Load()-before) / time.Since(began).Seconds()
	load.End()
	return max(rate, 2)
}

type namedFault struct {
	name string
	do   func(ctx context.Context, w *World) error
}

// randomFaults are those of the matrix that fit into a running world. Kills are
// the rarer part, so that lives are long enough to show a leak.
func randomFaults() []namedFault {
	link := func(m Mode) func(context.Context, *World) error {
		return func(ctx context.Context, w *World) error {
			w.Injected(fmt.Sprint("link ", m))
			w.Link.Set(m)
			rest(ctx, between(time.Second, 20*time.Second))
			w.Link.Set(Up)
			return nil
		}
	}
	sink := func(note string, b Behaviour) func(context.Context, *World) error {
		return func(ctx context.Context, w *World) error {
			w.Injected("a.example: " + note)
			w.Sinks["a.example"].Behave(b)
			rest(ctx, between(time.Second, 20*time.Second))
			w.Sinks["a.example"].Behave(nil)
			return nil
		}
	}
	kill := func(pick func(w *World) []*Process) func(context.Context, *World) error {
		return func(ctx context.Context, w *World) error {
			for _, p := range pick(w) {
				w.KillNow(p)
			}
			return w.Heal(ctx)
		}
	}
	return []namedFault{
		{"kill -9 gateway", kill(func(w *World) []*Process { return []*Process{w.Gateway} })},
		{"kill -9 manager", kill(func(w *World) []*Process { return []*Process{w.Manager} })},
		{"kill -9 both", kill(func(w *World) []*Process { return []*Process{w.Gateway, w.Manager} })},
		{"link down", link(Down)}, {"link half open", link(HalfOpen)}, {"link one way", link(OneWay)},
		{"drop after the dot", sink("drop after the dot", sometimes(3, ".", Act{End: true}))},
		{"250 then reset", sink("250 then reset", sometimes(3, ".", Act{Reply: "250 2.0.0 ok\r\n", Reset: true}))},
		{"4xx after the dot", sink("4xx after the dot", sometimes(2, ".", Act{Reply: "451 4.3.0 later\r\n"}))},
		{"closes at connect", sink("closes at connect", sometimes(2, "connect", Act{End: true}))},
		{"slow replies", sink("slow replies", sometimes(2, "MAIL", Act{Wait: 500 * time.Millisecond}))},
		{"frozen gateway", frozen(func(w *World) *Process { return w.Gateway })},
		{"frozen manager", frozen(func(w *World) *Process { return w.Manager })},
		{"suspend and resume", suspendResume},
		{"configuration reload", reload},
		{"cut in the CPQ dialogue", func(ctx context.Context, w *World) error {
			w.Injected("cut in the dialogue")
			w.Link.breakAll()
			w.Link.CutAt(1 + rand.Int64N(10000))
			return nil
		}},
	}
}

// sometimes does it to one of n events of a name.
func sometimes(n int, event string, a Act) Behaviour {
	return func(e, _ string) Act {
		if e == event && rand.IntN(n) == 0 {
			return a
		}
		return Act{}
	}
}

func frozen(pick func(*World) *Process) func(context.Context, *World) error {
	return func(ctx context.Context, w *World) error {
		p := pick(w)
		w.Injected("frozen: " + p.Host)
		p.Signal(syscall.SIGSTOP)
		rest(ctx, between(time.Second, 10*time.Second))
		p.Signal(syscall.SIGCONT)
		return nil
	}
}

// suspendResume stops receiving and delivery, as an administrator would.
func suspendResume(ctx context.Context, w *World) error {
	w.Injected("suspend and resume")
	for _, line := range []string{"suspendlistener all 1", "suspenddel ALL", "resumedel ALL", "resumelistener all"} {
		if out, code, err := w.Gateway.CLI(ctx, line); err != nil || code != 0 {
			return fmt.Errorf("%s: status %d, %v %s", line, code, err, out)
		}
		rest(ctx, between(10*time.Millisecond, time.Second))
	}
	return nil
}

// reload changes the gateway's configuration and commits, without a change of
// what it does.
func reload(ctx context.Context, w *World) error {
	w.Injected("configuration reload")
	for _, state := range []string{"inactive", "active"} {
		line := "filters set note_it " + state + "; commit soak Y"
		if out, code, err := w.Gateway.CLI(ctx, line); err != nil || code != 0 {
			return fmt.Errorf("%s: status %d, %v %s", line, code, err, out)
		}
	}
	return nil
}

// usage is one look at a process.
type usage struct {
	life                              int
	at                                time.Time
	goroutines, resident, open, spool float64
}

// watcher looks at both processes now and then.
type watcher struct {
	w      *World
	cancel context.CancelFunc
	done   chan struct{}
	seen   map[string][]usage
}

func (w *World) watch(ctx context.Context, every time.Duration) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	v := &watcher{w: w, cancel: cancel, done: make(chan struct{}), seen: map[string][]usage{}}
	go func() {
		defer close(v.done)
		for ctx.Err() == nil {
			rest(ctx, every)
			for _, p := range []*Process{w.Gateway, w.Manager} {
				life := p.Lives
				out, code, err := p.CLI(ctx, "diagnostic")
				if err != nil || code != 0 || p.Lives != life {
					continue // it is being killed
				}
				v.seen[p.Role] = append(v.seen[p.Role], usage{life, time.Now(), float64(gauge(out, "Goroutines")), float64(gauge(out, "Resident (KB)")),
					float64(gauge(out, "Open files")), float64(files(filepath.Join(p.Dir, "spool")))})
			}
		}
	}()
	return v
}

func files(dir string) (n int) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil // what vanishes under the walk is gone
	})
	return n
}

// end fits a line to each figure within each long life and notes the steepest.
func (v *watcher) end(r *Result) {
	v.cancel()
	<-v.done
	for role, all := range v.seen {
		for _, f := range []struct {
			name string
			of   func(usage) float64
		}{
			{"goroutines", func(u usage) float64 { return u.goroutines }},
			{"resident KB", func(u usage) float64 { return u.resident }},
			{"open files", func(u usage) float64 { return u.open }},
			{"files of the spool", func(u usage) float64 { return u.spool }},
		} {
			r.note("%s %s: %s", role, f.name, trend(all, f.of))
		}
	}
}

// warm is left out of each life: buffers and caches fill.
const warm = 2 * time.Minute

// trend describes how a figure went: least, mean and most of all, and the slope
// of the longest life.
func trend(all []usage, of func(usage) float64) string {
	lives := map[int][]usage{}
	low, high, sum := of(all[0]), of(all[0]), 0.0
	for _, u := range all {
		x := of(u)
		low, high, sum = min(low, x), max(high, x), sum+x
		lives[u.life] = append(lives[u.life], u)
	}
	var longest []usage
	for _, l := range lives {
		for len(l) > 0 && l[0].at.Before(all[0].at.Add(warm)) {
			l = l[1:]
		}
		if len(l) > 1 && (len(longest) < 2 || l[len(l)-1].at.Sub(l[0].at) > longest[len(longest)-1].at.Sub(longest[0].at)) {
			longest = l
		}
	}
	text := fmt.Sprintf("%.0f to %.0f, mean %.0f in %d looks and %d lives", low, high, sum/float64(len(all)), len(all), len(lives))
	if len(longest) < 3 {
		return text
	}
	return text + fmt.Sprintf("; longest life %v: %+.2f a minute", longest[len(longest)-1].at.Sub(longest[0].at).Round(time.Second), slope(longest, of))
}

// slope is that of the line of least squares, in units a minute.
func slope(l []usage, of func(usage) float64) float64 {
	var sx, sy, sxx, sxy float64
	for _, u := range l {
		x, y := u.at.Sub(l[0].at).Minutes(), of(u)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	n := float64(len(l))
	if d := n*sxx - sx*sx; d != 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}
