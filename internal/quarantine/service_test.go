package quarantine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// The whole way of one message with the lines it leaves.
func TestIngestAndRelease(t *testing.T) {
	w := newWorld(t)
	d, body := w.deposit("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Policy")
	mid, existing, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
	if err != nil || existing || mid != d.MID {
		t.Fatal(mid, existing, err)
	}
	if got, want := w.lines.take(), fmt.Sprintf("MID %d (gw1.example.com %d)\nMID %d to \"Policy\" (message filter:policy)", mid, d.GatewayMID, mid); got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
	if c, err := w.content(mid); err != nil || c != string(body) {
		t.Errorf("content %q, %v", c, err)
	}
	w.pass(69 * time.Second)
	if out := w.act(quarantine.Release, admin, "", mid); out.Count != 1 || len(out.Missed) != 0 {
		t.Errorf("release: %+v", out)
	}
	if got, want := w.lines.take(), fmt.Sprintf("alice: released MID %d in \"Policy\"\nMID %d released from \"Policy\" (manual) t=69\nMID %d released from all", mid, mid, mid); got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
	if w.sent.count(mid) != 1 {
		t.Error("the release was not handed to the queue")
	}
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(m)
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"id", "mid", "esa_mid", "gateway", "sender", "recipients", "subject", "received", "size", "quarantines", "release"} {
		if _, ok := got[k]; !ok {
			t.Errorf("JSON has no %s", k)
		}
	}
	if got["subject"] != "Grüße" || got["state"] != "releasing" || !strings.Contains(string(b), `"release":[{"recipient":"b@example.org","state":"queued","reply":"","asked":"2026-11-24T12:01:09Z"},`) ||
		!strings.Contains(string(b), `"name":"Policy","reason":"message filter:policy","exit":"2026-12-04T12:00:00Z","state":"released"`) {
		t.Errorf("JSON %s", b)
	}
	// Second release, second operator: too late, and told who was first.
	out := w.act(quarantine.Release, other, "", mid)
	if out.Count != 0 || len(out.Missed) != 1 || !strings.Contains(out.Missed[0].Why, "by alice (manual)") {
		t.Errorf("second release: %+v", out)
	}
	if out := w.act(quarantine.Delete, other, "Policy", mid, 424242); out.Count != 0 || len(out.Missed) != 2 {
		t.Errorf("delete after release: %+v", out)
	}
	if w.sent.count(mid) != 1 || w.lines.take() != "" {
		t.Error("a late decision had an effect")
	}
	if !has(w.lines.audit, fmt.Sprintf("alice: quarantine release MID %d: ok", mid)) || !has(w.lines.audit, "bob: quarantine release: 0 of 1") {
		t.Errorf("audit %q", w.lines.audit)
	}
}

// P2: a key comes in once, whatever happened to the message meanwhile, and
// again when its record is long forgotten.
func TestExactlyOnce(t *testing.T) {
	w := newWorld(t)
	d, body := w.deposit("once", "Policy", "Virus")
	first, _, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	again := func(when string) {
		t.Helper()
		d.MID = w.db.NextMID()
		w.lines.take()
		mid, existing, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
		lines := w.lines.take() // which number it has, and nothing that happened again
		if err != nil || !existing || mid != first || strings.Count(lines, "\n") > 1 || strings.Contains(lines, "quarantined") {
			t.Errorf("%s: %d %v %v %q", when, mid, existing, err, lines)
		}
	}
	again("held")
	w.act(quarantine.Delete, admin, "", first)
	again("deleted")
	if _, err := w.content(first); !errs.Is(err, errs.NotFound) {
		t.Errorf("content of a deleted message: %v", err)
	}
	w.pass(quarantine.History + time.Hour)
	if n, err := w.db.Forget(ctx, w.clock().Add(-quarantine.History), w.clock().Add(-quarantine.KeyMemory), 100); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if _, err := w.s.Show(ctx, admin, first); !errs.Is(err, errs.NotFound) {
		t.Errorf("forgotten record: %v", err)
	}
	again("forgotten")
	var wg sync.WaitGroup
	d, body = w.deposit("at once", "Policy")
	mids := make([]mail.MID, 16)
	for i := range mids {
		wg.Go(func() {
			mine := d
			mine.MID = w.db.NextMID()
			mids[i], _, _ = w.s.Ingest(ctx, mine, bytes.NewReader(body))
		})
	}
	wg.Wait()
	if slices.Min(mids) != slices.Max(mids) || mids[0] == 0 {
		t.Errorf("one key at the same time got %v", mids)
	}
	if l := w.search(admin, quarantine.Query{}); len(l) != 1 {
		t.Errorf("found %v", l)
	}
}

// A deposit that contradicts itself leaves nothing, content included.
func TestIngestRefused(t *testing.T) {
	w := newWorld(t)
	spoil := map[string]func(*quarantine.Deposit){
		"hash":         func(d *quarantine.Deposit) { d.Hash[0]++ },
		"size":         func(d *quarantine.Deposit) { d.Size++ },
		"gateway":      func(d *quarantine.Deposit) { d.Gateway = "OTHER12345" },
		"number":       func(d *quarantine.Deposit) { d.GatewayMID++ },
		"key":          func(d *quarantine.Deposit) { d.Key = "x" },
		"quarantine":   func(d *quarantine.Deposit) { d.Placements = nil },
		"recipient":    func(d *quarantine.Deposit) { d.Envelope.To = nil },
		"no MID of us": func(d *quarantine.Deposit) { d.MID = 0 },
	}
	for what, f := range spoil {
		d, body := w.deposit("bad", "Policy")
		f(&d)
		if _, _, err := w.s.Ingest(ctx, d, bytes.NewReader(body)); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if l := w.search(admin, quarantine.Query{}); len(l) != 0 {
		t.Errorf("found %v", l)
	}
}

// Deleted wins, whatever the order; released from all is released.
func TestSeveralQuarantines(t *testing.T) {
	for _, c := range []struct{ first, second quarantine.Action }{
		{quarantine.Delete, quarantine.Release}, {quarantine.Release, quarantine.Delete},
		{quarantine.Delete, quarantine.Delete}, {quarantine.Release, quarantine.Release},
	} {
		w := newWorld(t)
		mid := w.put("two", "Policy", "Virus", "Policy")
		w.lines.take()
		if out := w.act(c.first, admin, "Policy", mid); out.Count != 1 || w.state(mid) != "held" || w.sent.count(mid) != 0 {
			t.Errorf("%v: after the first %+v, %s", c, out, w.state(mid))
		}
		if out := w.act(c.first, admin, "Policy", mid); out.Count != 0 {
			t.Errorf("%v: twice in one quarantine counts %d", c, out.Count)
		}
		if strings.Contains(w.lines.take(), "from all") {
			t.Errorf("%v: out of all after the first", c)
		}
		w.act(c.second, admin, "Virus", mid)
		want, n := "deleted", 0
		if c.first == quarantine.Release && c.second == quarantine.Release {
			want, n = "releasing", 1
		}
		if w.state(mid) != want || w.sent.count(mid) != n {
			t.Errorf("%v: %s, sent %d", c, w.state(mid), w.sent.count(mid))
		}
		if got := w.lines.take(); strings.Count(got, "deleted from all") != 1-n || strings.Count(got, "released from all") != n {
			t.Errorf("%v: log\n%s", c, got)
		}
	}
}

// A name that nobody knows becomes Unclassified, and says so; so does one that
// was taken out of the configuration, for what comes in later.
func TestUnclassified(t *testing.T) {
	w := newWorld(t)
	mid := w.put("lost", "Nirvana", "policy", "Policy")
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil || len(m.Quarantines) != 2 || m.Quarantines[0].Name != "Unclassified" || m.Quarantines[1].Name != "Policy" ||
		!strings.Contains(m.Quarantines[0].Reason, `no quarantine "Nirvana"`) || !strings.Contains(m.Quarantines[0].Reason, `"policy"`) {
		t.Errorf("%+v %v", m, err)
	}
}

// Expiry applies each quarantine's default action at its own time, there only.
func TestExpiry(t *testing.T) {
	w := newWorld(t)
	policy := w.put("policy", "Policy")                  // 10 d Delete
	outbreak := w.put("outbreak", "Outbreak")            // 1 d Release
	both := w.put("both", "Outbreak", "Virus")           // 1 d Release, 30 d Delete
	quick := w.put("quick", "File Analysis", "Outbreak") // 1 h and 1 d Release
	expire := func(want int) string {
		t.Helper()
		w.lines.take()
		if n, err := w.s.ExpireDue(ctx); err != nil || n != want {
			t.Errorf("expired %d, want %d, %v", n, want, err)
		}
		return w.lines.take()
	}
	expire(0)
	w.pass(time.Hour - time.Millisecond)
	expire(0)
	w.pass(time.Millisecond)
	expire(1)
	if w.state(quick) != "held" {
		t.Error("left before all of its times were over")
	}
	w.pass(23 * time.Hour)
	expire(3)
	if w.state(outbreak) != "releasing" || w.state(quick) != "releasing" || w.state(both) != "held" || w.state(policy) != "held" {
		t.Error(w.state(outbreak), w.state(quick), w.state(both), w.state(policy))
	}
	w.pass(9 * 24 * time.Hour)
	if got, want := expire(1), fmt.Sprintf("MID %d deleted from \"Policy\" (expired) t=864000\nMID %d deleted from all", policy, policy); got != want {
		t.Errorf("log\n%s\nwant\n%s", got, want)
	}
	w.pass(20 * 24 * time.Hour)
	expire(1)
	if w.state(both) != "deleted" || w.sent.count(both) != 0 {
		t.Error("released in one and deleted in the other must be deleted")
	}
	if !has(w.lines.audit, "system: quarantine expiry (Release)") {
		t.Errorf("audit %q", w.lines.audit)
	}
	for range 1200 { // more than one batch
		w.put("bulk", "Policy")
	}
	w.pass(10 * 24 * time.Hour)
	expire(1200)
}

// Two operators and expiry at the same instant: each message has exactly one
// fate, exactly one of them brought it about, and it is sent exactly when released.
func TestRace(t *testing.T) {
	w := newWorld(t)
	const n = 300
	mids := make([]mail.MID, n)
	for i := range mids {
		mids[i] = w.put("race", [][]string{{"Policy"}, {"Outbreak"}, {"Policy", "Outbreak"}}[i%3]...)
	}
	w.pass(11 * 24 * time.Hour)
	var mu sync.Mutex
	var wg sync.WaitGroup
	alone := map[mail.MID]int{} // winners of messages in one quarantine
	act := func(a quarantine.Action, p mail.Principal, q string, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		for _, i := range r.Perm(n) {
			do := w.s.Release
			if a == quarantine.Delete {
				do = w.s.Delete
			}
			out, err := do(ctx, p, mids[i:i+1], q)
			if err != nil {
				t.Error(err)
			}
			if out.Count+len(out.Missed) != 1 {
				t.Errorf("outcome %+v", out)
			}
			mu.Lock()
			alone[mids[i]] += out.Count
			mu.Unlock()
		}
	}
	wg.Go(func() { act(quarantine.Release, admin, "", 1) })
	wg.Go(func() { act(quarantine.Delete, other, "", 2) })
	wg.Go(func() { act(quarantine.Release, other, "Outbreak", 3) })
	expired := 0
	wg.Go(func() {
		for range 5 {
			k, err := w.s.ExpireDue(ctx)
			if err != nil {
				t.Error(err)
			}
			expired += k
		}
	})
	wg.Wait()
	log := w.lines.take()
	total := expired
	for i, mid := range mids {
		total += alone[mid]
		m, err := w.s.Show(ctx, admin, mid)
		if err != nil {
			t.Fatal(err)
		}
		deleted := false
		for _, q := range m.Quarantines {
			deleted = deleted || q.State == "deleted"
			if q.State == "held" || q.By == "" {
				t.Errorf("MID %d is %+v", mid, q)
			}
		}
		want, sent := "releasing", 1
		if deleted {
			want, sent = "deleted", 0
		}
		if m.State != want || w.sent.count(mid) != sent {
			t.Errorf("MID %d of kind %d is %s, sent %d times: %+v", mid, i%3, m.State, w.sent.count(mid), m.Quarantines)
		}
		if k := strings.Count(log, fmt.Sprintf("MID %d released from all", mid)) + strings.Count(log, fmt.Sprintf("MID %d deleted from all", mid)); k != 1 {
			t.Errorf("MID %d left %d times by the log", mid, k)
		}
	}
	if total < n || total > 4*n/3 { // a message in two quarantines may be changed twice
		t.Errorf("%d changes were claimed for %d messages", total, n)
	}
}

// Who has no right to a quarantine sees no trace of it, and releases only from
// where they may (reference 1.7 and 2.2).
func TestRights(t *testing.T) {
	w := newWorld(t)
	mine, hidden, both := w.put("mine", "Policy"), w.put("hidden", "Virus"), w.put("both", "Policy", "Virus")
	if l := w.search(guest, quarantine.Query{}); !slices.Equal(l, []mail.MID{both, mine}) {
		t.Errorf("the guest finds %v", l)
	}
	if l, err := w.s.Quarantines(ctx, guest); err != nil || len(l) != 1 || l[0].Name != "Policy" || l[0].Messages != 2 {
		t.Errorf("%+v %v", l, err)
	}
	for _, err := range []error{
		func() error { _, err := w.s.Show(ctx, guest, hidden); return err }(),
		func() error { _, err := w.s.Content(ctx, guest, hidden); return err }(),
		func() error { _, err := w.s.Release(ctx, guest, []mail.MID{both}, "Virus"); return err }(),
		func() error { _, err := w.s.Release(ctx, guest, []mail.MID{both}, "Nirvana"); return err }(),
		func() error { _, err := w.s.Show(ctx, guest, 777777); return err }(),
	} {
		if !errs.Is(err, errs.NotFound) {
			t.Errorf("a trace: %v", err)
		}
	}
	m, err := w.s.Show(ctx, guest, both)
	if err != nil || len(m.Quarantines) != 1 || m.Quarantines[0].Name != "Policy" || !m.Others {
		t.Errorf("%+v %v", m, err)
	}
	if out := w.act(quarantine.Release, guest, "", mine, hidden, both); out.Count != 2 || len(out.Missed) != 1 || strings.Contains(out.Missed[0].Why, "Virus") {
		t.Errorf("%+v", out)
	}
	if w.state(hidden) != "held" || w.state(both) != "held" || w.state(mine) != "releasing" {
		t.Error("released what they may not see")
	}
	tech := mail.Principal{Name: "t", Role: mail.Technician}
	if _, err := w.s.Quarantines(ctx, tech); !errs.Is(err, errs.Denied) {
		t.Errorf("technician: %v", err)
	}
	if _, err := w.s.Delete(ctx, tech, []mail.MID{both}, ""); !errs.Is(err, errs.Denied) || !has(w.lines.audit, "may not work with quarantines") {
		t.Errorf("technician: %v, %q", err, w.lines.audit)
	}
}

func TestList(t *testing.T) {
	w := newWorld(t)
	mid := w.put("one", "Policy", "Virus")
	w.put("two", "Policy")
	w.act(quarantine.Release, admin, "Policy", mid)
	l, err := w.s.Quarantines(ctx, admin)
	if err != nil || len(l) != 5 {
		t.Fatal(l, err)
	}
	if p, v := l[0], l[1]; p.Messages != 1 || p.Bytes == 0 || v.Messages != 1 || v.Last != w.clock() || l[2].Messages != 0 {
		t.Errorf("%+v", l)
	}
}

// Run does what is due without being asked, and ends with its context.
func TestRun(t *testing.T) {
	w := newWorld(t)
	mid := w.put("due", "File Analysis")
	w.pass(time.Hour)
	run, cancel := context.WithCancel(ctx)
	released := make(chan mail.MID, 1)
	s, err := quarantine.New(quarantine.Options{Store: w.db, Contents: w.blobs, Log: &w.lines, Audit: &w.lines, Clock: w.clock,
		Sender: sender(func(mid mail.MID) { released <- mid }), Settings: quarantine.Defaults()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	if got := <-released; got != mid {
		t.Errorf("released %d", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type sender func(mail.MID)

func (f sender) Enqueue(mid mail.MID) { f(mid) }

// A mail policy says how long Outbreak holds a message, and no other quarantine
// (reference 1.2).
func TestKeepOfThePolicy(t *testing.T) {
	w := newWorld(t)
	d, body := w.deposit("keep", "Policy", "Outbreak")
	for i := range d.Placements {
		d.Placements[i].Keep = 4 * time.Hour
	}
	mid, _, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range m.Quarantines {
		want := map[string]time.Duration{"Policy": 240 * time.Hour, "Outbreak": 4 * time.Hour}[q.Name]
		if got := q.Exit.Sub(m.Received); got != want {
			t.Errorf("%s: %v, want %v", q.Name, got, want)
		}
	}
}
