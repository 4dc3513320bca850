package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lazaret/e2e/history"
)

// gauge reads a number of status.
func gauge(text, name string) int {
	m := regexp.MustCompile(regexp.QuoteMeta(name) + `\s+([\d,]+)`).FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
	if err != nil {
		return -1
	}
	return n
}

// Waiting gives how much an appliance has yet to judge or deliver.
func (w *World) Waiting(ctx context.Context, p *Process) (int, error) {
	out, code, err := p.CLI(ctx, "status detail")
	if err != nil || code != 0 {
		return 0, fmt.Errorf("status of %s: %d, %w", p.Host, code, err)
	}
	return gauge(out, "Active Recipients") + gauge(out, "Messages In Work Queue"), nil
}

// Drain waits until nothing moves any more: both queues are empty.
func (w *World) Drain(ctx context.Context, within time.Duration) error {
	deadline := time.Now().Add(within)
	empty := 0
	for {
		total := 0
		for _, p := range []*Process{w.Gateway, w.Manager} {
			n, err := w.Waiting(ctx, p)
			if err != nil {
				return err
			}
			if n > 0 {
				_, _, _ = p.CLI(ctx, "delivernow all")
			}
			total += n
		}
		if total == 0 {
			if empty++; empty == 3 { // a release passes from one queue to the other
				return nil
			}
		} else {
			empty = 0
		}
		if time.Now().After(deadline) {
			return nil // what is left is in the history as queued
		}
		rest(ctx, 200*time.Millisecond)
	}
}

// Finish ends the run: heal, drain, note what is there, end in good order, judge.
func (w *World) Finish(ctx context.Context, within time.Duration) (*history.Report, error) {
	w.Link.Set(Up)
	if w.Back != nil {
		w.Back.Set(Up)
	}
	for _, s := range w.Sinks {
		s.Behave(nil)
	}
	err := w.Heal(ctx)
	if err == nil {
		err = w.Drain(ctx, within)
	}
	if err == nil {
		err = w.collect(ctx)
	}
	err = errors.Join(err, w.Gateway.Stop(), w.Manager.Stop())
	for _, s := range w.Sinks {
		s.Close()
	}
	if err = errors.Join(err, w.H.Close()); err != nil {
		return nil, err
	}
	return w.judge()
}

func (w *World) judge() (*history.Report, error) {
	h := &history.History{Logs: map[string]*history.Log{}}
	for _, p := range []*Process{w.Gateway, w.Manager} {
		l, err := history.ReadLogs(p.Host, p.Dir)
		if err != nil {
			return nil, err
		}
		h.Logs[p.Host] = l
	}
	f, err := os.Open(w.events)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if h.Events, err = history.Read(f); err != nil {
		return nil, err
	}
	return history.Check(h), nil
}

var subjectKey = regexp.MustCompile(`(?:plain|HOLDME|COPYME|DROPME) (l\d+s\d+n\d+)`)

// undelivered notes what the gateway keeps because it failed for good.
func (w *World) undelivered() {
	reports, _ := filepath.Glob(filepath.Join(w.Gateway.Dir, "undelivered", "*.txt"))
	for _, name := range reports {
		text, err := os.ReadFile(name)
		content, cerr := os.ReadFile(strings.TrimSuffix(name, ".txt") + ".eml")
		if err != nil || cerr != nil {
			continue // then it counts as lost
		}
		e := history.Event{Who: history.Gateway, What: history.Undelivered, Appliance: w.Gateway.Host}
		e.Key, e.Hash, _, e.Size = identify(content)
		for line := range strings.Lines(string(text)) {
			if to, ok := strings.CutPrefix(strings.TrimSpace(line), "To: <"); ok {
				e.To = append(e.To, strings.TrimSuffix(to, ">"))
			}
		}
		w.H.Add(e)
	}
}

// collect notes what the appliances have in the end.
func (w *World) collect(ctx context.Context) error {
	conditions := "" // search without a state leaves out what is deleted
	for _, state := range []string{"held", "leaving", "releasing", "released", "binned", "deleted", "failed", "taken"} {
		conditions += " state " + state
	}
	all, err := w.search(ctx, conditions)
	if err != nil {
		return err
	}
	for i := range all {
		m := &all[i]
		if !m.ours() {
			continue
		}
		taken := 0
		for _, r := range m.Release {
			if r.State != "queued" && r.State != "failed" {
				taken++ // by the gateway, whatever became of it there
			}
		}
		if m.State == "taken" { // and it has yet to say so
			m.State = history.Released
		}
		w.H.Add(history.Event{At: m.Received, Who: history.Manager, What: history.Holds, Key: m.key(), Appliance: w.Manager.Host, MID: m.MID, Origin: m.Gateway, OriginMID: m.OriginMID,
			State: m.State, Hash: m.SHA256, Size: m.Size, From: m.Sender, To: m.Recipients, Taken: taken})
	}
	w.undelivered()
	for _, q := range []struct {
		p    *Process
		line string
		what string
	}{{w.Gateway, "showrecipients all", history.Queued}, {w.Manager, "showrecipients all", history.Queued}} {
		out, _, err := q.p.CLI(ctx, q.line)
		if err != nil {
			return err
		}
		for _, m := range subjectKey.FindAllStringSubmatch(out, -1) {
			w.H.Add(history.Event{Who: history.Gateway, What: q.what, Appliance: q.p.Host, Key: m[1]})
		}
	}
	return nil
}
