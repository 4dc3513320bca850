package gateway

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/outbreak"
	"lazaret/internal/quarantine"
	"lazaret/internal/spool"
)

// shadows judges again what a manager holds by outbreak rules, by the copies
// that the spool keeps, and tells the manager (reference 2.6). What the manager
// has taken stands in the copies; what rules say now is found out again after a
// start. Said again is no harm, so a crash of either side loses nothing.
type shadows struct {
	g    *Gateway
	open func(ctx context.Context) (judge, error) // connects to the manager
	wake chan struct{}                            // capacity 1: there are other rules
	near chan struct{}                            // capacity 1: the manager was heard of

	analysing bool // there are copies whose attachments are analysed

	mu      sync.Mutex
	waiting int    // copies of which the manager has yet to hear
	trouble string // why it has not
}

const (
	// maxShadowBytes is how much disk copies of what managers hold may take.
	maxShadowBytes = 2 << 30
	// maxShadowAge is when a copy goes whatever the manager says, or does not.
	maxShadowAge = 30 * 24 * time.Hour
	// askEvery is how often the manager is asked what it does not hold any more.
	askEvery = 10 * time.Minute
)

// judge is a connection to the manager; *delivery.Reports is one.
type judge interface {
	Judges() bool
	Judge(ctx context.Context, list []cpq.Verdict) ([]int, error)
	Close(ctx context.Context)
}

func newShadows(g *Gateway) *shadows {
	open := func(ctx context.Context) (judge, error) { return g.couriers.OpenReports(ctx) }
	return &shadows{g: g, open: open, wake: make(chan struct{}, 1), near: make(chan struct{}, 1)}
}

// poke says that there are other rules.
func (x *shadows) poke() { signal(x.wake) }

// judged is what rules say of a copy.
type judged struct {
	set  *outbreak.Set // by which
	rule *string       // nil: not yet
	err  error         // it is not known
	waits
}

// run judges and tells until ctx ends.
func (x *shadows) run(ctx context.Context) {
	ask, look := time.NewTicker(askEvery), time.NewTicker(analyseSoon)
	defer ask.Stop()
	defer look.Stop()
	known := map[mail.MID]*judged{}
	all, pause := true, time.Duration(0) // after a start all that is there is asked about
	var retry <-chan time.Time
	signal(x.wake)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ask.C:
			all = true
		case <-look.C:
			if !x.analysing || retry != nil {
				continue
			}
		case <-x.wake:
		case <-x.near: // a pause ends with the manager's absence
			if retry == nil {
				continue
			}
			pause = 0
		case <-retry:
		}
		retry = nil
		err := x.pass(ctx, known, all)
		x.note(err)
		switch {
		case err == nil:
			all, pause = false, 0
		case ctx.Err() == nil:
			pause = min(max(firstPause, 2*pause), maxPause)
			retry = time.After(pause)
		}
	}
}

func (x *shadows) note(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.trouble = ""
	if err != nil {
		x.trouble = errs.Public(err)
	} else {
		x.waiting = 0
	}
}

// pass looks at all copies once: judges what was not judged by the rules in
// force, and tells the manager what it does not know; with ask, of the others
// too, to hear which are gone.
func (x *shadows) pass(ctx context.Context, known map[mail.MID]*judged, ask bool) error {
	list, err := x.g.spool.Shadows(ctx)
	if err != nil {
		return err
	}
	forget(known, list)
	talk := &verdicts{x: x}
	defer talk.close(ctx)
	open := 0
	x.analysing = false
	for _, sh := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if x.g.Now().Sub(sh.At) > maxShadowAge {
			if err := x.g.spool.DropShadows([]spool.Shadow{sh}); err != nil {
				return err
			}
			continue
		}
		list, err := x.verdicts(ctx, known, sh)
		if err != nil {
			return err
		}
		for _, v := range list {
			if !v.yes && !ask {
				continue
			}
			if v.yes {
				open++
				x.mu.Lock()
				x.waiting = open
				x.mu.Unlock()
			}
			if err := talk.add(ctx, sh, v.Verdict); err != nil {
				return err
			}
		}
	}
	return talk.flush(ctx)
}

// forget drops what is known of copies that are gone.
func forget(known map[mail.MID]*judged, list []spool.Shadow) {
	if len(known) <= len(list) {
		return
	}
	there := make(map[mail.MID]bool, len(list))
	for _, sh := range list {
		there[sh.MID] = true
	}
	for mid := range known {
		if !there[mid] {
			delete(known, mid)
		}
	}
}

// news is a verdict, and whether the manager has yet to hear it.
type news struct {
	cpq.Verdict
	yes bool
}

// verdicts judges one copy by what it was held for.
func (x *shadows) verdicts(ctx context.Context, known map[mail.MID]*judged, sh spool.Shadow) (all []news, err error) {
	sent, found, err := x.g.spool.Sent(sh.Key)
	if err != nil && !errs.Is(err, errs.Damaged) {
		return nil, err
	}
	mid, bad := mail.ParseMID(sent.Remote)
	if err != nil || !found || bad != nil { // nothing is known of it, not even what it is called there
		return nil, x.g.spool.DropShadows([]spool.Shadow{sh})
	}
	j := known[sh.MID]
	if j == nil {
		j = &judged{}
		known[sh.MID] = j
	}
	if sh.Rule != "" {
		all = append(all, x.byRules(ctx, j, &sent, sh))
	}
	if slices.ContainsFunc(sent.Placements, func(p mail.Placement) bool { return mail.Analysing(p.Reason) }) {
		all = append(all, x.byAnalysis(ctx, j, &sent, sh))
	}
	for i := range all {
		all[i].Key, all[i].ManagerMID = sh.Key, mid
	}
	return all, ctx.Err()
}

// byRules judges a copy by the outbreak rules in force, once for each.
func (x *shadows) byRules(ctx context.Context, j *judged, sent *spool.Sent, sh spool.Shadow) news {
	if set := x.g.threats.Set(); j.rule == nil || j.set != set {
		rule, err := x.g.judgeSent(ctx, sent, func() (io.ReadCloser, error) { return x.g.spool.OpenShadow(ctx, sh) })
		j.set, j.rule, j.err = set, &rule, err
	}
	switch {
	case j.err != nil: // it stays, as in a quarantine of our own
		return news{Verdict: cpq.Verdict{For: cpq.ForRules, Stand: cpq.NotKnown}}
	case *j.rule == "":
		return news{cpq.Verdict{For: cpq.ForRules, Stand: cpq.Cleared}, true}
	}
	return news{cpq.Verdict{For: cpq.ForRules, Stand: cpq.ByRule, Rule: *j.rule}, *j.rule != sh.Rule}
}

// byAnalysis asks the analyser about a copy, when it is time.
func (x *shadows) byAnalysis(ctx context.Context, j *judged, sent *spool.Sent, sh spool.Shadow) news {
	if !j.over && j.due(x.g.Now()) {
		done, err := x.g.analysedThere(ctx, sent, sh)
		j.over = done && err == nil
	}
	if !j.over {
		x.analysing = true
		return news{Verdict: cpq.Verdict{For: cpq.ForAnalysis, Stand: cpq.NotKnown}}
	}
	return news{cpq.Verdict{For: cpq.ForAnalysis, Stand: cpq.Cleared}, true}
}

// verdicts is what is on its way to the manager.
type verdicts struct {
	x    *shadows
	link judge
	of   []spool.Shadow
	list []cpq.Verdict
}

func (t *verdicts) add(ctx context.Context, sh spool.Shadow, v cpq.Verdict) error {
	t.of, t.list = append(t.of, sh), append(t.list, v)
	if len(t.list) < cpq.MaxVerdicts {
		return nil
	}
	return t.flush(ctx)
}

// flush tells what there is, and drops the copies of what the manager holds no
// more.
func (t *verdicts) flush(ctx context.Context) error {
	if len(t.list) == 0 {
		return nil
	}
	if t.link == nil {
		link, err := t.x.open(ctx)
		if err != nil {
			return err
		}
		t.link = link
	}
	if !t.link.Judges() {
		return errs.New(errs.Temporary, "the manager is too old to hear what outbreak rules say of what it holds")
	}
	gone, err := t.link.Judge(ctx, t.list)
	if errs.Is(err, errs.Denied) { // it would say the same again
		t.x.g.Log.Warning("CPQ: " + err.Error())
	} else if err != nil {
		return err
	}
	if err == nil {
		if err := t.said(gone); err != nil {
			return err
		}
	}
	t.of, t.list = t.of[:0], t.list[:0]
	return nil
}

// said notes what the manager has taken.
func (t *verdicts) said(gone []int) error {
	left := make(map[int]bool, len(gone))
	drop := make([]spool.Shadow, 0, len(gone))
	for _, i := range gone {
		left[i] = true
		drop = append(drop, t.of[i])
	}
	drop = slices.CompactFunc(drop, func(a, b spool.Shadow) bool { return a.MID == b.MID })
	for i, sh := range t.of {
		v := &t.list[i]
		switch {
		case left[i] && v.Stand == cpq.Cleared && v.For == cpq.ForAnalysis:
			t.x.g.Log.Info("MID " + sh.MID.String() + ": the analysis of its attachments is over: the manager was told")
		case left[i] && v.Stand == cpq.Cleared:
			t.x.g.Log.Info("MID " + sh.MID.String() + " is held by no outbreak rule any more: the manager was told")
		case left[i]:
		case v.Stand == cpq.ByRule && v.Rule != sh.Rule:
			t.x.g.Log.NewReason(sh.MID, quarantine.Outbreak, mail.OutbreakReason(v.Rule))
			sh.Rule = v.Rule
			if err := t.x.g.spool.SetShadow(sh); err != nil {
				return err
			}
		}
	}
	return t.x.g.spool.DropShadows(drop)
}

func (t *verdicts) close(ctx context.Context) {
	if t.link != nil {
		t.link.Close(ctx)
	}
}

// OutbreakCopies implements admin.Threats.
func (g *Gateway) OutbreakCopies() string {
	n, bytes := g.spool.ShadowUse()
	if n == 0 {
		return ""
	}
	g.shadows.mu.Lock()
	defer g.shadows.mu.Unlock()
	text := fmt.Sprintf("of messages that the manager holds: %d, %d KB", n, (bytes+1023)/1024)
	if g.shadows.waiting > 0 || g.shadows.trouble != "" {
		text += fmt.Sprintf("; verdicts that wait: %d", g.shadows.waiting)
	}
	if g.shadows.trouble != "" {
		text += ": " + g.shadows.trouble
	}
	return text
}
