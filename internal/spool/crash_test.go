package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// oracle is what the outside world knows at a moment.
type oracle struct {
	bodies  map[mail.MID][]byte         // all that was ever begun
	acked   map[mail.MID]bool           // Commit gave nil
	left    map[mail.MID]bool           // removal begun: may be there or not
	gone    map[mail.MID]bool           // removal synced: must not be there
	refused map[mail.MID]bool           // aborted before any promise, and synced since
	actions map[mail.ActionKey]mail.MID // taken
	sent    map[mail.Key]bool
	reports map[mail.MID]mail.MID // report of the failure of a message: both or neither
	last    mail.MID              // the highest number given out
}

func (o *oracle) clone() oracle {
	c := *o
	c.bodies, c.acked, c.left, c.gone = copyMap(o.bodies), copyMap(o.acked), copyMap(o.left), copyMap(o.gone)
	c.refused, c.actions, c.sent, c.reports = copyMap(o.refused), copyMap(o.actions), copyMap(o.sent), copyMap(o.reports)
	return c
}

func copyMap[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

type image struct {
	op   string
	fs   *vfs.MemFS
	know oracle
}

// crasher takes a crash image before operations of the file system.
type crasher struct {
	mu     sync.Mutex // guards know and images; held while cloning
	know   oracle
	fs     *vfs.MemFS
	rng    *rand.Rand
	every  int
	ops    int
	images []image
	off    bool
}

func newCrasher(seed uint64, every int) *crasher {
	return &crasher{fs: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(seed, 1)), every: every, know: oracle{
		bodies: map[mail.MID][]byte{}, acked: map[mail.MID]bool{}, left: map[mail.MID]bool{}, gone: map[mail.MID]bool{},
		refused: map[mail.MID]bool{}, actions: map[mail.ActionKey]mail.MID{}, sent: map[mail.Key]bool{}, reports: map[mail.MID]mail.MID{}}}
}

func (c *crasher) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ops++; c.off || c.ops%c.every != 0 {
		return nil
	}
	percent := []int{0, 30, 70, 100}[c.rng.IntN(4)]
	c.images = append(c.images, image{
		op:   fmt.Sprintf("operation %d (%s, %d%% survive)", c.ops, op.Path, percent),
		fs:   c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng}),
		know: c.know.clone(),
	})
	return nil
}

func (c *crasher) String() string { return "crasher" }

func (c *crasher) learn(f func(*oracle)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.know)
}

// receive, deliver, defer, return, refuse: a life of a spool.
func (c *crasher) live(t *testing.T, s *Spool, n int) {
	ctx := context.Background()
	for i := range n {
		mid := s.NextMID()
		body := bytes.Repeat([]byte{byte('a' + i%26)}, []int{20, 5000, chunkSize + 9}[i%3])
		c.learn(func(o *oracle) { o.bodies[mid] = body; o.last = max(o.last, mid) })
		d, err := s.Receive(ctx, mid)
		if err != nil {
			t.Fatal(err)
		}
		d.Write(body)
		it := sample(i)
		switch i % 7 {
		case 3: // the client broke off
			d.Abort()
		case 5: // a message comes back under an action key
			a := mail.NewActionKey(mail.NewKey(serial, mid, mail.Hash{9}), 1)
			if err := d.Commit(ctx, it, WithAction(a)); err != nil {
				t.Fatal(err)
			}
			c.learn(func(o *oracle) { o.acked[mid] = true; o.actions[a] = mid })
		default:
			if err := d.Commit(ctx, it); err != nil {
				t.Fatal(err)
			}
			c.learn(func(o *oracle) { o.acked[mid] = true })
		}
		if i%7 == 1 || i%7 == 4 {
			c.finish(t, s, it, i%7 == 4)
		}
		if i%7 == 2 {
			c.bounce(t, s, it)
		}
		if i%7 == 6 {
			it.State = queue.Routed
			it.Recipients[0].State = queue.Deferred
			if err := s.Apply(ctx, queue.Update{Save: []*queue.Item{it}}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// finish removes a message the way the queue does: unsynced, then a sync.
func (c *crasher) finish(t *testing.T, s *Spool, it *queue.Item, cpq bool) {
	ctx := context.Background()
	c.learn(func(o *oracle) { o.left[it.MID] = true })
	u := queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}}
	if cpq {
		u.Receipts = []queue.Receipt{{Item: it, Remote: "1", At: time.Unix(1, 0)}}
	}
	if err := s.Apply(ctx, u); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, queue.Update{Durable: true}); err != nil {
		t.Fatal(err)
	}
	c.learn(func(o *oracle) {
		o.gone[it.MID] = true
		if cpq {
			o.sent[it.Key] = true
		}
	})
}

// bounce ends a message with a report to its sender, in one durable batch.
func (c *crasher) bounce(t *testing.T, s *Spool, it *queue.Item) {
	report := sample(0)
	report.MID, report.State, report.From = s.NextMID(), queue.Routed, mail.Address{}
	body := bytes.Repeat([]byte{'R'}, 9000)
	report.Size, report.Hash = int64(len(body)), sha256.Sum256(body)
	report.Key = mail.NewKey(serial, report.MID, report.Hash)
	c.learn(func(o *oracle) {
		o.left[it.MID], o.bodies[report.MID], o.reports[it.MID] = true, body, report.MID
		o.last = max(o.last, report.MID)
	})
	u := queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}, New: []queue.Made{{Item: report, Content: body}}, Durable: true}
	if err := s.Apply(context.Background(), u); err != nil {
		t.Fatal(err)
	}
	c.learn(func(o *oracle) { o.gone[it.MID], o.acked[report.MID] = true, true })
}

// check opens an image with the real recovery and compares it with what is known.
func (im *image) check(t *testing.T, fs vfs.FS) (state []mail.MID) {
	t.Helper()
	s := open(t, fs, nil)
	defer s.Close()
	s.wg.Wait() // the sweep
	got := scan(t, s)
	for mid, it := range got {
		state = append(state, mid)
		body, begun := im.know.bodies[mid]
		if im.know.gone[mid] || !begun {
			t.Errorf("%s: MID %d rose from the dead", im.op, mid)
			continue
		}
		if !bytes.Equal(content4test(t, s, mid), body) || it.Size != int64(len(body)) {
			t.Errorf("%s: MID %d is altered", im.op, mid)
		}
	}
	for mid := range im.know.acked {
		if got[mid] == nil && !im.know.left[mid] {
			t.Errorf("%s: MID %d was acknowledged and is lost", im.op, mid)
		}
	}
	for a, mid := range im.know.actions {
		if m, ok, err := s.Action(a); m != mid || !ok || err != nil {
			t.Errorf("%s: action %s: %v %v %v", im.op, a, m, ok, err)
		}
	}
	for k := range im.know.sent {
		if _, ok, err := s.Sent(k); !ok || err != nil {
			t.Errorf("%s: the receipt of %s is lost: %v", im.op, k, err)
		}
	}
	for mid, report := range im.know.reports {
		if im.know.acked[mid] && (got[mid] == nil) != (got[report] != nil) {
			t.Errorf("%s: MID %d is there: %v, the report of its failure: %v", im.op, mid, got[mid] != nil, got[report] != nil)
		}
	}
	chunks := 0
	for _, it := range got {
		chunks += chunksOf(it.Size)
	}
	if n := keys(t, s, keyContent); n != chunks {
		t.Errorf("%s: %d chunks for %d in records: orphans are left", im.op, n, chunks)
	}
	if list, err := s.Aside(); len(list) > 0 || err != nil {
		t.Errorf("%s: set aside: %v %v", im.op, list, err)
	}
	if mid := s.NextMID(); mid <= im.know.last {
		t.Errorf("%s: MID %d is given again, %d was the last", im.op, mid, im.know.last)
	}
	slices.Sort(state)
	return state
}

// F4: a crash before every operation of the file system while messages are
// received, refused, delivered, deferred, passed to a manager and taken back.
// Recovery keeps each promise, twice gives the same, and survives crashes of
// its own. LAZARET_CRASH_ROUNDS=n runs n seeds.
func TestCrashAtEveryOperation(t *testing.T) {
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("LAZARET_CRASH_ROUNDS")); err == nil {
		rounds = n
	}
	images := 0
	for seed := range uint64(rounds) {
		every := 1
		if raceEnabled {
			every = 4 // a share: the race detector is after other things
		}
		c := newCrasher(seed, every)
		s := open(t, errorfs.Wrap(c.fs, c), func(o *Options) { o.MemTable = 256 << 10 })
		c.live(t, s, 15)
		c.mu.Lock()
		c.off = true
		c.mu.Unlock()
		s.Close()
		for i := range c.images {
			im := &c.images[i]
			images++
			if i%10 == int(seed%10) {
				im.checkCrashingRecovery(t, seed)
			}
			first := im.check(t, im.fs)
			if again := im.check(t, im.fs); !slices.Equal(first, again) {
				t.Errorf("%s: recovery twice gives %v, then %v", im.op, first, again)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
	t.Logf("%d crash images", images)
	if images < 25 {
		t.Errorf("only %d images: the injector sees nothing", images)
	}
}

// checkCrashingRecovery crashes while the image is being recovered.
func (im *image) checkCrashingRecovery(t *testing.T, seed uint64) {
	c := newCrasher(seed+1000, 4)
	c.fs = im.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: c.rng})
	c.know = im.know
	s := open(t, errorfs.Wrap(c.fs, c), nil)
	s.wg.Wait()
	c.mu.Lock()
	c.off = true
	c.mu.Unlock()
	s.Close()
	for i := range c.images {
		c.images[i].op = im.op + ", then in recovery " + c.images[i].op
		c.images[i].check(t, c.images[i].fs)
	}
}

// F7: each write operation fails once, and from then on. No message is
// acknowledged that is not there afterwards; the owner hears of it once.
func TestFailAtEveryOperation(t *testing.T) {
	broken := errors.New("input/output error")
	step := 3
	if raceEnabled {
		step = 11
	}
	for _, forever := range []bool{false, true} {
		for k := 0; k < 400; k += step {
			if !failOnce(t, k, forever, broken) {
				if k < 30 {
					t.Errorf("only %d operations", k)
				}
				break
			}
			if t.Failed() {
				t.Fatalf("operation %d, forever %v", k, forever)
			}
		}
	}
}

// failOnce runs a life in which operation k fails; false when there was none.
func failOnce(t *testing.T, k int, forever bool, broken error) (hit bool) {
	c := newCrasher(uint64(k), 1<<30)
	var mu sync.Mutex
	n, on := 0, false
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if !on {
			return nil
		}
		if n++; n-1 == k || forever && n > k {
			hit = true
			return broken
		}
		return nil
	})
	var s *Spool
	told := make(chan error, 9)
	s = open(t, errorfs.Wrap(c.fs, inject), func(o *Options) {
		o.MemTable = 256 << 10
		o.OnFatal = func(err error) { told <- err }
	})
	mu.Lock()
	on = true
	mu.Unlock()
	done := make(chan bool)
	go func() { // its own goroutine: a commit may wait for the end of the process
		defer close(done)
		for i := range 10 {
			body := bytes.Repeat([]byte{byte('a' + i)}, 40000)
			it := sample(i)
			if err := store(t, s, body, it); err == nil {
				c.learn(func(o *oracle) { o.acked[it.MID] = true; o.bodies[it.MID] = body; o.last = it.MID })
			}
		}
	}()
	select {
	case <-done:
	case err := <-told:
		told <- err
		select {
		case <-done:
		case <-time.After(time.Second): // real time, only when the engine hangs as it may
		}
	}
	if s.Err() != nil {
		if err := <-told; err == nil {
			t.Error("OnFatal without a cause")
		}
	}
	c.mu.Lock()
	im := image{op: fmt.Sprintf("after operation %d failed", k), know: c.know.clone(),
		fs: c.fs.CrashClone(vfs.CrashCloneCfg{})}
	c.mu.Unlock()
	s2 := open(t, im.fs, nil)
	got := scan(t, s2)
	for mid := range im.know.acked {
		if got[mid] == nil || !bytes.Equal(content4test(t, s2, mid), im.know.bodies[mid]) {
			t.Errorf("%s: MID %d was acknowledged and is lost", im.op, mid)
		}
	}
	s2.Close()
	mu.Lock()
	on = false
	hit = n > k
	mu.Unlock()
	s.Close()
	return hit
}
