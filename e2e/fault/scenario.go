package fault

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"lazaret/e2e/history"
)

// Result is one proof: what was done how often, and what was seen.
type Result struct {
	Name   string
	Trials int
	Report *history.Report
	Notes  []string // figures that belong to it
	Failed []string // what must hold besides the checker's classes, and did not
}

// Violations counts everything that must not be.
func (r *Result) Violations() int {
	n := len(r.Failed)
	if r.Report != nil {
		n += len(r.Report.Violations)
	}
	return n
}

func (r *Result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *Result) fail(format string, args ...any) {
	r.Failed = append(r.Failed, fmt.Sprintf(format, args...))
}

// Write prints the proof, its table when there is one, and the line that
// docs/reliability.md is made from.
func (r *Result) Write(w io.Writer) error {
	if r.Report != nil {
		if err := r.Report.Write(w); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		_, _ = fmt.Fprintln(w, "note:", n)
	}
	for _, n := range r.Failed {
		_, _ = fmt.Fprintln(w, "failed:", n)
	}
	_, err := fmt.Fprintf(w, "proof: %s trials=%d violations=%d\n", r.Name, r.Trials, r.Violations())
	return err
}

// Scenario is one fault of the matrix.
type Scenario struct {
	Name  string
	About string
	Long  int // trials of the documented long run
	Short int // trials of the share that runs with every change
	Run   func(ctx context.Context, c Config, trials int) (*Result, error)
}

// Scenarios gives all, in the order of the matrix.
func Scenarios() []Scenario {
	return []Scenario{
		{"F1", "kill -9 of the gateway at any instant under load", 100, 4, killGateway},
		{"F2", "kill -9 of the manager while it takes in, releases and deletes", 50, 2, killManager},
		{"F3", "kill -9 of both, and again while they recover", 20, 1, killBoth},
		{"F10", "the link to the manager down, half open, one way, and cut at octets of the CPQ dialogue", 3000, 8, partition},
		{"F11", "the manager away while mail for it piles up (a trial is a message)", 100_000, 0, away},
		{"F13", "the clock of one side or both an hour, a day, ten years off, and back", 18, 0, clockSteps},
		{"F18", "a name server that does not answer, lies, loops, is slow", 20, 0, badNames},
		{"F19", "foreign hosts that misbehave, beside one that does not", 40, 2, hostile},
		{"F20", "messages that kill the gateway in their judgement (a trial is a message)", 20, 0, poison},
		{"F21", "mails of 45 MiB, several at once, in control groups of 512 and 256 MiB by turns", 4, 0, memory},
		{"release", "kill -9 at each step of the way of a release (a trial is a batch and a kill)", 105, 0, circle},
		{"F22", "suspend and resume, reload, stop and start under a hundred sessions", 8, 4, operations},
	}
}

func between(min, max time.Duration) time.Duration {
	return min + time.Duration(rand.Int64N(int64(max-min)))
}

// underLoad runs a number of trials in a world with clients and an operator,
// then heals, drains and judges.
func underLoad(ctx context.Context, name string, c Config, trials int, trial func(w *World, i int) error) (*Result, error) {
	return loaded(ctx, name, c, trials, 50, trial)
}

func loaded(ctx context.Context, name string, c Config, trials, sessions int, trial func(w *World, i int) error) (*Result, error) {
	w, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer w.Kill()
	r := &Result{Name: name, Trials: trials}
	load := w.Begin(&Load{Sessions: sessions, Pause: 150 * time.Millisecond})
	op := w.Operate(200 * time.Millisecond)
	for i := range trials {
		if err = trial(w, i); err != nil || ctx.Err() != nil {
			break
		}
	}
	load.End()
	op.End()
	if err != nil {
		return nil, err
	}
	if r.Report, err = w.Finish(ctx, 2*time.Minute); err != nil {
		return nil, err
	}
	slices.Sort(w.start)
	r.note("ready after a start: median %v, longest %v of %d", w.start[len(w.start)/2].Round(time.Millisecond), w.start[len(w.start)-1].Round(time.Millisecond), len(w.start))
	if r.Report.Acked < trials {
		r.fail("only %d messages were acknowledged: the run proves little", r.Report.Acked)
	}
	return r, nil
}

func killGateway(ctx context.Context, c Config, trials int) (*Result, error) {
	return underLoad(ctx, "F1", c, trials, func(w *World, _ int) error {
		rest(ctx, between(5*time.Millisecond, 500*time.Millisecond))
		w.KillNow(w.Gateway)
		return w.Heal(ctx)
	})
}

func killManager(ctx context.Context, c Config, trials int) (*Result, error) {
	return underLoad(ctx, "F2", c, trials, func(w *World, _ int) error {
		rest(ctx, between(5*time.Millisecond, 700*time.Millisecond))
		w.KillNow(w.Manager)
		if err := w.Heal(ctx); err != nil {
			return err
		}
		_, _, err := w.Gateway.CLI(ctx, "delivernow all") // or each trial would wait for the back-off
		return err
	})
}

// killBoth kills both, starts them, and kills them again before or soon after
// they are ready.
func killBoth(ctx context.Context, c Config, trials int) (*Result, error) {
	return underLoad(ctx, "F3", c, trials, func(w *World, _ int) error {
		rest(ctx, between(5*time.Millisecond, 500*time.Millisecond))
		w.KillNow(w.Gateway)
		w.KillNow(w.Manager)
		for range 2 {
			for _, p := range []*Process{w.Manager, w.Gateway} {
				p.startAndKill(between(time.Millisecond, 300*time.Millisecond))
				w.H.Add(history.Event{Who: history.Fault, What: history.Killed, Appliance: p.Host})
			}
		}
		if err := w.Heal(ctx); err != nil {
			return err
		}
		_, _, err := w.Gateway.CLI(ctx, "delivernow all")
		return err
	})
}
