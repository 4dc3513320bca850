package gateway

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// holder is a manager that holds messages by outbreak rules.
type holder struct {
	mu    sync.Mutex
	away  bool
	old   bool
	fail  error
	lose  bool            // the answer does not come through
	said  []string        // number, stand and rule, as they came
	holds map[string]bool // numbers that it keeps whatever is said
}

func (h *holder) open(context.Context) (judge, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		return nil, errs.New(errs.Temporary, "the manager is away")
	}
	return h, nil
}

func (h *holder) Judges() bool { h.mu.Lock(); defer h.mu.Unlock(); return !h.old }

func (h *holder) Close(context.Context) {}

func (h *holder) Judge(_ context.Context, list []cpq.Verdict) (gone []int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return nil, h.fail
	}
	for i, v := range list {
		h.said = append(h.said, strings.TrimSpace(fmt.Sprint(v.ManagerMID, " ", v.Stand, " ", v.Rule)))
		if v.Stand == cpq.Cleared && !h.holds[v.ManagerMID.String()] {
			gone = append(gone, i)
		}
	}
	if h.lose {
		return nil, errs.New(errs.Temporary, "broken off")
	}
	return gone, nil
}

// take gives what was said, sorted and each once, and forgets it: on a slow
// machine a pass may be tried again before the test sees the first.
func (h *holder) take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.said)
	h.said = nil
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

// gave hands a message that a rule holds to the manager, which calls it by a
// number.
func (w *world) gave(number int, rule, text string) mail.MID {
	return w.passed(number, "Subject: x\r\n\r\n"+text+"\r\n", mail.Placement{Quarantine: "Outbreak", Reason: mail.OutbreakReason(rule)})
}

// passed hands a message to the manager.
func (w *world) passed(number int, content string, to ...mail.Placement) mail.MID {
	w.t.Helper()
	d, err := w.spool.Receive(w.t.Context(), w.nextMID())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(d, content); err != nil {
		w.t.Fatal(err)
	}
	bob := mail.Address{Local: "bob", Domain: "other.example"}
	it := &queue.Item{Accepted: time.Now(), Recipients: []queue.Recipient{{Address: bob}}}
	if err := d.Commit(w.t.Context(), it); err != nil {
		w.t.Fatal(err)
	}
	it.State, it.Placements = queue.Routed, to
	u := queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}, Receipts: []queue.Receipt{{Item: it, Remote: fmt.Sprint(number), At: w.Now()}}, Durable: true}
	if err := w.spool.Apply(w.t.Context(), u); err != nil {
		w.t.Fatal(err)
	}
	return it.MID
}

// shadow runs what tells a manager what rules say, as Start does, until the
// function that it gives is called or the test ends.
func (w *world) shadow(h *holder) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.shadows.open = h.open
	go func() { defer close(done); w.shadows.run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(stop)
	return stop
}

// The manager hears what rules say of what it holds: news, once; after a start
// all of it; what it could not hear when it is back. A copy goes when the manager
// says that the message is gone, when it comes back, and with age (F45).
func TestManagerHearsRules(t *testing.T) {
	f := testlib.NewFeed(t)
	w := newWorld(t, nil, func(c *config.Config) { paired(c); c.Outbreak = rulesOf(f) })
	update := func(rules ...string) {
		t.Helper()
		f.Publish(rules...)
		if _, err := w.OutbreakUpdate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	copies := func(want int) func() bool {
		return func() bool { n, _ := w.spool.ShadowUse(); return n == want }
	}
	update(`R1 3 virus "body":["click"]`)
	w.gave(41, "R1", "click")
	w.gave(42, "R1", "click for a parcel")
	w.gave(43, "R1", "click for a parcel, in a case")
	last := w.gave(44, "R9", "a parcel")
	m := &holder{holds: map[string]bool{"43": true}}
	stop := w.shadow(m)
	w.until("a start asks about all, and what is held by nothing goes", copies(3))
	if got := m.take(); got != "41 held R1, 42 held R1, 43 held R1, 44 cleared" {
		t.Errorf("%s", got)
	}
	m.mu.Lock()
	m.away = true
	m.mu.Unlock()
	update(`R2 3 phish "body":["for a parcel"]`)
	w.until("the gateway says what waits", func() bool {
		return strings.Contains(w.OutbreakCopies(), "holds: 3,") && strings.Contains(w.OutbreakCopies(), ": the manager is away")
	})
	stop()
	w.end() // a start brings back what the manager has yet to hear
	w.open(w.Path("."), nil)
	m.mu.Lock()
	m.away, m.lose = false, true
	m.mu.Unlock()
	stop = w.shadow(m)
	w.until("it is said", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.said) >= 3 })
	stop()
	if got := m.take(); got != "41 cleared, 42 held R2, 43 held R2" || !copies(3)() {
		t.Errorf("%s; %s", got, w.OutbreakCopies())
	}
	m.mu.Lock()
	m.lose = false
	m.mu.Unlock()
	stop = w.shadow(m) // an answer that was lost is asked for again
	w.until("what is gone has no copy", copies(2))
	if got := m.take(); got != "41 cleared, 42 held R2, 43 held R2" {
		t.Errorf("%s", got)
	}
	w.until("a reason is new once", func() bool { return len(w.lines("new reason (VOF rule:R2)")) == 2 })
	update()
	w.until("only what the manager keeps is left", copies(1))
	w.shadows.poke()
	stop()
	if got := m.take(); !strings.HasPrefix(got, "42 cleared, 43 cleared") {
		t.Errorf("%s", got)
	}
	if n := len(w.lines("new reason")); n != 2 {
		t.Errorf("%d lines of new reasons", n)
	}
	if text, err := w.spool.Shadows(t.Context()); err != nil || len(text) != 1 || text[0].MID == last {
		t.Errorf("%+v %v", text, err)
	}
	w.shift.Store(int64(31 * 24 * time.Hour))
	w.shadow(m)
	w.until("a copy does not stay for ever", copies(0))
}

// A manager that is too old, or refuses, changes nothing; without rules nothing
// is known, and nobody is cleared.
func TestManagerHearsNothing(t *testing.T) {
	f := testlib.NewFeed(t)
	w := newWorld(t, nil, func(c *config.Config) { paired(c); c.Outbreak = rulesOf(f) })
	w.gave(41, "R1", "click")
	m := &holder{old: true}
	pass := func(want string) {
		t.Helper()
		w.shadows.open = m.open
		err := w.shadows.pass(t.Context(), map[mail.MID]*judged{}, true)
		if got := fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
		if n, _ := w.spool.ShadowUse(); n != 1 {
			t.Errorf("%d copies", n)
		}
	}
	pass("too old")
	m.old = false
	pass("<nil>")
	if got := m.take(); got != "41 unknown" {
		t.Errorf("%s", got)
	}
	f.Publish()
	if _, err := w.OutbreakUpdate(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.fail = errs.New(errs.Denied, "not yours")
	pass("<nil>")
	if log := w.log(); strings.Count(log, "not yours") != 1 {
		t.Errorf("%s", log)
	}
	m.fail = errs.New(errs.Temporary, "later")
	pass("later")
}
