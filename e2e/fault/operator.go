package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"lazaret/e2e/history"
)

// held is one line of quarantine search --json.
type held struct {
	MID        uint64   `json:"mid"`
	OriginMID  uint64   `json:"esa_mid"`
	Gateway    string   `json:"gateway"`
	Sender     string   `json:"sender"`
	Recipients []string `json:"recipients"`
	MessageID  string   `json:"message_id"`
	SHA256     string   `json:"sha256"`
	Size       int64    `json:"size"`
	State      string   `json:"state"`
	Received   time.Time
	Release    []struct{ State string }

	Quarantines []struct{ Name, Reason string }
}

func (m *held) key() string {
	key, _, _ := strings.Cut(strings.Trim(m.MessageID, "<>"), "@")
	return key
}

// ours tells our clients' mail from the samples of the demonstration.
func (m *held) ours() bool { return strings.HasSuffix(m.MessageID, "@client.example>") }

// search asks the manager.
func (w *World) search(ctx context.Context, conditions string) ([]held, error) {
	out, code, err := w.Manager.CLI(ctx, "quarantine search "+conditions+" --json")
	if err != nil || code != 0 {
		return nil, fmt.Errorf("search: status %d: %w %s", code, err, out)
	}
	var all []held
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		if line == "" {
			continue
		}
		var m held
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return all, fmt.Errorf("search: %q: %w", line, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// Operator releases and deletes at random, and leaves a part alone.
type Operator struct {
	w       *World
	decided map[uint64]bool
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// Operate starts an operator.
func (w *World) Operate(pause time.Duration) *Operator {
	ctx, cancel := context.WithCancel(context.Background())
	o := &Operator{w: w, decided: map[uint64]bool{}, cancel: cancel}
	o.wg.Go(func() {
		for ctx.Err() == nil {
			o.round(context.WithoutCancel(ctx))
			rest(ctx, pause)
		}
	})
	return o
}

// End waits until the decision in hand is made.
func (o *Operator) End() {
	o.cancel()
	o.wg.Wait()
}

func (o *Operator) round(ctx context.Context) {
	found, err := o.w.search(ctx, "state held --limit 100")
	if err != nil {
		return // the manager is down: later
	}
	var release, remove []held
	for _, m := range found {
		if o.decided[m.MID] || !m.ours() {
			continue
		}
		o.decided[m.MID] = true
		switch p := rand.IntN(10); {
		case p < 5:
			release = append(release, m)
		case p < 8:
			remove = append(remove, m)
		}
	}
	o.decide(ctx, "release", history.Released, release)
	o.decide(ctx, "delete", history.Deleted, remove)
}

// decide runs one line for several messages. What is not confirmed stays a try.
func (o *Operator) decide(ctx context.Context, verb, what string, list []held) {
	if len(list) == 0 {
		return
	}
	line := "quarantine " + verb
	for i := range list {
		line += fmt.Sprintf(" %d", list[i].MID)
		o.w.H.Add(history.Event{Who: history.Operator, What: history.Tried, Key: list[i].key(), MID: list[i].MID, Note: what})
	}
	_, code, err := o.w.Manager.CLI(ctx, line)
	if err != nil || code != 0 {
		return
	}
	for i := range list {
		o.w.H.Add(history.Event{Who: history.Operator, What: what, Key: list[i].key(), MID: list[i].MID})
	}
}
