package queue

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// memStore is a Store in memory: what Apply did is there, what was not synced
// is known.
type memStore struct {
	mu       sync.Mutex
	items    map[mail.MID]*Item
	body     map[mail.MID][]byte
	damaged  map[mail.MID]bool // content
	broken   map[mail.MID]bool // record
	aside    map[mail.MID]string
	receipts []Receipt
	removed  []mail.MID
	saves    int
	durable  int
	fail     error
	made     []mail.MID // by Update.New
	twice    int
	applied  func(Update)
	loads    int
}

func newMemStore() *memStore {
	return &memStore{items: map[mail.MID]*Item{}, body: map[mail.MID][]byte{}, damaged: map[mail.MID]bool{},
		broken: map[mail.MID]bool{}, aside: map[mail.MID]string{}}
}

func (s *memStore) Scan(_ context.Context, fn func(*Item) error) error {
	s.mu.Lock()
	var list []*Item
	for _, it := range s.items {
		list = append(list, it.Clone())
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *Item) int { return int(a.MID) - int(b.MID) })
	for _, it := range list {
		if err := fn(it); err != nil {
			return err
		}
	}
	return nil
}

func (s *memStore) Load(_ context.Context, mid mail.MID) (*Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if s.broken[mid] {
		return nil, errs.New(errs.Damaged, "record of %d is damaged", mid)
	}
	it := s.items[mid]
	if it == nil {
		return nil, errs.New(errs.NotFound, "no message %d", mid)
	}
	return it.Clone(), nil
}

type badReader struct{ mid mail.MID }

func (b badReader) Read([]byte) (int, error) {
	return 0, errs.New(errs.Damaged, "content of %d is damaged", b.mid)
}

func (s *memStore) Open(_ context.Context, mid mail.MID) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damaged[mid] {
		return io.NopCloser(badReader{mid}), nil
	}
	return io.NopCloser(bytes.NewReader(s.body[mid])), nil
}

func (s *memStore) Apply(_ context.Context, u Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for _, it := range u.Save {
		s.items[it.MID] = it.Clone()
		s.saves++
	}
	for _, c := range u.Add {
		s.items[c.Item.MID] = c.Item.Clone()
		s.body[c.Item.MID] = s.body[c.Of]
	}
	for _, n := range u.New {
		if s.items[n.Item.MID] != nil {
			s.twice++
		}
		s.items[n.Item.MID] = n.Item.Clone()
		s.body[n.Item.MID] = n.Content
		s.made = append(s.made, n.Item.MID)
	}
	if s.applied != nil {
		s.applied(u)
	}
	for _, mid := range u.Remove {
		delete(s.items, mid)
		s.removed = append(s.removed, mid)
	}
	s.receipts = append(s.receipts, u.Receipts...)
	if u.Durable {
		s.durable++
	}
	return nil
}

func (s *memStore) SetAside(_ context.Context, mid mail.MID, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, mid)
	s.aside[mid] = cause.Error()
	return nil
}

func (s *memStore) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items)
}

func (s *memStore) get(mid mail.MID) *Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.items[mid]; it != nil {
		return it.Clone()
	}
	return nil
}

// memLog keeps the lines.
type memLog struct {
	mu       sync.Mutex
	faults   []string
	finished []mail.MID
	lines    []string
}

func (l *memLog) Finished(mid mail.MID, _ bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = append(l.finished, mid)
}

func (l *memLog) Bounced(_ mail.DCID, mid mail.MID, rid mail.RID, status, reason, code string, texts []string) {
	l.line(fmt.Sprintf("Bounced MID %d RID %d %s %s %s %q", mid, rid, status, reason, code, texts))
}

func (l *memLog) Deleted(mid mail.MID, rids []mail.RID) {
	l.line(fmt.Sprintf("Deleted MID %d %v", mid, rids))
}

func (l *memLog) Pending(mid mail.MID, rids []mail.RID, until time.Time) {
	l.line(fmt.Sprintf("Pending MID %d %v %s", mid, rids, until.UTC().Format(time.TimeOnly)))
}

func (l *memLog) Suspended(domains string) { l.line("Suspended " + domains) }

func (l *memLog) said() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.faults)
}

func (l *memLog) written() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func (l *memLog) line(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, s)
}

func (l *memLog) Fault(_, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, text)
}

// script is a processor and all couriers of a test.
type script struct {
	process func(*Item, Opener) (Routing, error)
	run     func(context.Context, Dest, *Feed)
	deliver func(Dest, *Task) []Outcome // default courier: one outcome a recipient

	mu    sync.Mutex
	got   []string // "MID to host RID" in order
	at    []time.Time
	runs  map[Dest]int
	most  map[Dest]int
	alive map[Dest]int
}

func (s *script) Process(_ context.Context, it *Item, open Opener) (Routing, error) {
	if s.process == nil {
		return Routing{}, nil
	}
	return s.process(it, open)
}

func (s *script) courier(Dest) Courier { return courierFunc(s.Run) }

type courierFunc func(context.Context, Dest, *Feed)

func (f courierFunc) Run(ctx context.Context, d Dest, feed *Feed) { f(ctx, d, feed) }

func (s *script) Run(ctx context.Context, d Dest, f *Feed) {
	s.mu.Lock()
	s.runs[d]++
	s.alive[d]++
	s.most[d] = max(s.most[d], s.alive[d])
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.alive[d]--
		s.mu.Unlock()
	}()
	if s.run != nil {
		s.run(ctx, d, f)
		return
	}
	for {
		t, ok := f.Next(ctx)
		if !ok {
			return
		}
		s.note(d, t)
		if s.deliver == nil {
			t.Done(t.all(Outcome{State: Delivered, Code: 250}))
			continue
		}
		t.Done(s.deliver(d, t))
	}
}

func (s *script) note(d Dest, t *Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range t.Recipients {
		s.got = append(s.got, fmt.Sprintf("%d %s %d", t.Item.MID, d.Name, r.RID))
		s.at = append(s.at, time.Now())
	}
}

func (s *script) mostRuns(d Dest) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most[d]
}

func (s *script) allRuns(d Dest) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[d]
}

func (s *script) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// rig is a queue with everything around it.
type rig struct {
	t     *testing.T
	store *memStore
	log   *memLog
	*script
	q    *Queue
	stop func()
	opt  Options
}

// newRig makes a queue that does not run yet; inside a synctest bubble.
func newRig(t *testing.T, s *script, change func(*Options)) *rig {
	r := &rig{t: t, store: newMemStore(), log: &memLog{}, script: s}
	s.runs, s.most, s.alive = map[Dest]int{}, map[Dest]int{}, map[Dest]int{}
	r.opt = Options{Store: r.store, Processor: s, Courier: s.courier, Log: r.log,
		Random: func() float64 { return 0.5 }, Workers: 2}
	if change != nil {
		change(&r.opt)
	}
	r.restart()
	return r
}

// restart makes a queue anew on the same store.
func (r *rig) restart() {
	q, err := New(r.opt)
	if err != nil {
		r.t.Fatal(err)
	}
	r.q = q
}

func (r *rig) start() {
	r.t.Helper()
	if err := r.q.Recover(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.q.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

func (r *rig) item(mid mail.MID, to ...string) *Item {
	it := &Item{MID: mid, Key: mail.Key("k" + mid.String()), State: Work, Accepted: time.Now(), Size: 3,
		From:   mail.Address{Local: "a", Domain: "from.example"},
		Origin: mail.Origin{RemoteIP: netip.MustParseAddr("192.0.2.1")}}
	for i, d := range to {
		it.Recipients = append(it.Recipients, Recipient{RID: mail.RID(i), Address: mail.Address{Local: "u", Domain: d}})
	}
	return it
}

// accept stores and adds, as a listener does.
func (r *rig) accept(mid mail.MID, to ...string) {
	it := r.item(mid, to...)
	r.store.mu.Lock()
	r.store.items[mid] = it.Clone()
	r.store.body[mid] = []byte("x\r\n")
	r.store.mu.Unlock()
	r.q.Add(it)
}

// bubble runs fn in a synctest bubble with a rig.
func bubble(t *testing.T, s *script, change func(*Options), fn func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, s, change)
		r.t = t
		fn(r)
		if r.stop != nil {
			r.stop()
		}
		weight := 0
		for mid, e := range r.q.live {
			if weight += e.weight; e.refs != 0 || e.weight == 0 {
				t.Errorf("MID %d stays in memory with %d references", mid, e.refs)
			}
		}
		if weight != r.q.kept {
			t.Errorf("entries weigh %d, counted are %d", weight, r.q.kept)
		}
	})
}

// rest lets time pass and everything that it brings come to an end.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
