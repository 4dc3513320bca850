package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/testlib/proof"
)

func only(prefix byte) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}}
}

// shared saves making a cache for each image; nothing in it is of two of them.
var shared = pebble.NewCache(1 << 20)

// small are the options of a spool that flushes and compacts early. Small
// chunks keep the engine from searching long blocks for flipped bits.
func small(fs vfs.FS) Options {
	return Options{Dir: "spool", Serial: serial, FS: fs, Log: &faults{}, MemTable: 32 << 10, chunk: 600, cache: shared, wait: time.Hour}
}

// ahead are the options of one that has log files made ahead. A write that fails
// there is no fault, so only lives without faults have it.
func ahead(fs vfs.FS) Options {
	o := small(fs)
	o.ahead = int64(o.MemTable)
	return o
}

// life is a spool that goes through all that a gateway does with one, and what
// is known of it.
type life struct {
	t    testing.TB
	s    *Spool
	rng  *rand.Rand
	know facts
	tell func(func())  // changes know
	kept []*queue.Item // live and promised
	now  time.Time
	did  map[string]int
	fail bool // operations may fail: a life under fault injection
	dead bool
	sure bool // no client breaks off
}

// check ends the life at an error that nobody injected.
func (l *life) check(err error) bool {
	if err != nil && !l.fail {
		l.t.Fatal(err)
	}
	if l.s.Err() != nil {
		l.dead = true
	}
	return err == nil
}

func (l *life) body() []byte {
	b := make([]byte, []int{0, 20, 500, 1300, 2500}[l.rng.IntN(5)])
	for i := range b {
		b[i] = "abcdefgh\r\n"[l.rng.IntN(10)]
	}
	return b
}

// receive takes a message; nil when it is refused. a is the action, or empty.
func (l *life) receive(a mail.ActionKey) *queue.Item {
	ctx := context.Background()
	mid := l.number()
	body := l.body()
	it := sample(int(mid))
	l.tell(func() {
		l.know.change(mid, func(m *message) { m.body = body })
	})
	d, err := l.s.Receive(ctx, mid)
	if !l.check(err) {
		return nil
	}
	if _, err := d.Write(body); !l.check(err) {
		d.Abort()
		return nil
	}
	if l.rng.IntN(5) == 0 && a == "" && !l.sure {
		d.Abort() // the client broke off: nothing of it may come back
		l.did["abort"]++
		return nil
	}
	want := it.Clone()
	want.MID, want.State, want.Size, want.Hash = mid, queue.Work, int64(len(body)), d.Hash()
	want.Key = mail.NewKey(serial, mid, d.Hash())
	l.tell(func() {
		l.know.change(mid, func(m *message) { m.live, m.items = maybe, []*queue.Item{want} })
		if a != "" {
			l.know.actions[a] = taken{maybe, mid}
		}
	})
	var opts []CommitOption
	if a != "" {
		opts = append(opts, WithAction(a))
	}
	if err := d.Commit(ctx, it, opts...); !l.check(err) {
		return nil
	}
	l.tell(func() {
		l.know.change(mid, func(m *message) { m.live = yes })
		if a != "" {
			l.know.actions[a] = taken{yes, mid}
		}
	})
	l.kept = append(l.kept, want)
	return want
}

// pick takes one of the messages that are there.
func (l *life) pick() *queue.Item {
	if len(l.kept) == 0 {
		return nil
	}
	i := l.rng.IntN(len(l.kept))
	it := l.kept[i]
	l.kept = append(l.kept[:i:i], l.kept[i+1:]...)
	return it
}

// accept, return a message under an action, and return it again.
func (l *life) take() {
	a := mail.NewActionKey(mail.NewKey(serial, mail.MID(l.rng.Uint32()), mail.Hash{9}), 1)
	it := l.receive(a)
	if it == nil {
		return
	}
	l.did["take"]++
	d, err := l.s.Receive(context.Background(), l.number())
	if !l.check(err) {
		return
	}
	var before *Taken
	if err := d.Commit(context.Background(), sample(1), WithAction(a)); !errors.As(err, &before) || before.MID != it.MID {
		l.check(errs.New(errs.Internal, "an action was taken twice: %v", err))
	}
}

func (l *life) number() mail.MID {
	mid := l.s.NextMID()
	if l.s.Err() == nil { // else nothing can be stored under it, and it may come again
		l.tell(func() { l.know.last = max(l.know.last, mid) })
	}
	return mid
}

// finish removes a message the way the queue does: unsynced, then a sync.
func (l *life) finish(cpq bool) {
	it := l.pick()
	if it == nil {
		return
	}
	u := queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}}
	l.tell(func() {
		l.know.change(it.MID, func(m *message) { m.live = maybe })
		if cpq {
			l.know.sent[it.Key] = maybe
		}
	})
	if cpq {
		u.Receipts = []queue.Receipt{{Item: it, Remote: "1", At: l.now}}
	}
	if l.apply(u) && l.apply(queue.Update{Durable: true}) {
		l.did["finish"]++
		l.tell(func() {
			l.know.change(it.MID, func(m *message) { m.live = no })
			if cpq {
				l.know.sent[it.Key] = yes
			}
		})
	}
}

func (l *life) apply(u queue.Update) bool { return l.check(l.s.Apply(context.Background(), u)) }

// save changes a record: both forms may be there until it is synced.
func (l *life) save() {
	it := l.pick()
	if it == nil {
		return
	}
	next := it.Clone()
	next.State, next.Tries = queue.Routed, it.Tries+1
	next.Recipients[0].State, next.Recipients[0].Reply = queue.Deferred, "450 later"
	l.tell(func() { l.know.change(it.MID, func(m *message) { m.items = []*queue.Item{it, next} }) })
	if l.apply(queue.Update{Save: []*queue.Item{next}}) && l.apply(queue.Update{Durable: true}) {
		l.did["save"]++
		l.tell(func() { l.know.change(it.MID, func(m *message) { m.items = []*queue.Item{next} }) })
		l.kept = append(l.kept, next)
	}
}

// split replaces a message by a copy of it, in one step.
func (l *life) split() {
	it := l.pick()
	if it == nil {
		return
	}
	c := it.Clone()
	c.MID, c.State = l.number(), queue.Routed
	c.Key = mail.NewKey(serial, c.MID, c.Hash)
	l.tell(func() {
		body := l.know.messages[it.MID].body
		l.know.change(it.MID, func(m *message) { m.live = maybe })
		l.know.change(c.MID, func(m *message) { *m = message{live: maybe, body: body, items: []*queue.Item{c}, with: it.MID} })
	})
	if l.apply(queue.Update{Remove: []mail.MID{it.MID}, Add: []queue.Copy{{Of: it.MID, Item: c.Clone()}}, Durable: true}) {
		l.did["split"]++
		l.tell(func() {
			l.know.change(it.MID, func(m *message) { m.live = no })
			l.know.change(c.MID, func(m *message) { m.live, m.with = yes, 0 })
		})
		l.kept = append(l.kept, c)
	}
}

// bounce ends a message with a report to its sender, in one step.
func (l *life) bounce() {
	it := l.pick()
	if it == nil {
		return
	}
	body := []byte("your mail could not be delivered\r\n")
	r := sample(0)
	r.MID, r.State, r.From, r.Size, r.Hash = l.number(), queue.Routed, mail.Address{}, int64(len(body)), sha256.Sum256(body)
	r.Key = mail.NewKey(serial, r.MID, r.Hash)
	l.tell(func() {
		l.know.change(it.MID, func(m *message) { m.live = maybe })
		l.know.change(r.MID, func(m *message) { *m = message{live: maybe, body: body, items: []*queue.Item{r}, with: it.MID} })
	})
	u := queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}, New: []queue.Made{{Item: r.Clone(), Content: body}}, Durable: true}
	if l.apply(u) {
		l.did["bounce"]++
		l.tell(func() {
			l.know.change(it.MID, func(m *message) { m.live = no })
			l.know.change(r.MID, func(m *message) { m.live, m.with = yes, 0 })
		})
		l.kept = append(l.kept, r)
	}
}

// setAside takes a message out of sight, and sometimes drops it for good.
func (l *life) setAside() {
	it := l.pick()
	if it == nil {
		return
	}
	l.tell(func() { l.know.change(it.MID, func(m *message) { m.live, m.aside = maybe, maybe }) })
	if !l.check(l.s.SetAside(context.Background(), it.MID, errs.New(errs.Damaged, "for a test"))) {
		return
	}
	l.did["aside"]++
	l.tell(func() { l.know.change(it.MID, func(m *message) { m.live, m.aside = no, yes }) })
	if l.rng.IntN(2) == 0 {
		return
	}
	l.tell(func() { l.know.change(it.MID, func(m *message) { m.aside = maybe }) })
	if l.check(l.s.Discard(it.MID)) {
		l.did["discard"]++
		l.tell(func() { l.know.change(it.MID, func(m *message) { m.aside = no }) })
	}
}

// put keeps a small state.
func (l *life) put() {
	v := string(rune('a' + l.rng.IntN(26)))
	l.tell(func() { l.know.put = append(l.know.put[:len(l.know.put):len(l.know.put)], v) })
	if l.check(l.s.Put("x", []byte(v))) {
		l.tell(func() { l.know.put = []string{v} })
	}
}

// forget lets the ledger expire: all that is in it.
func (l *life) forget() {
	l.tell(func() {
		for k, v := range l.know.actions {
			l.know.actions[k] = taken{min(v.is, maybe), v.mid}
		}
		for k, v := range l.know.sent {
			l.know.sent[k] = min(v, maybe)
		}
	})
	_, err := l.s.Forget(context.Background(), l.now.Add(time.Hour))
	if !l.check(err) {
		return
	}
	l.did["forget"]++
	l.tell(func() {
		for k, v := range l.know.actions {
			l.know.actions[k] = taken{no, v.mid}
		}
		for k := range l.know.sent {
			l.know.sent[k] = no
		}
	})
}

// compact has the engine write its buffer out and merge its tables.
func (l *life) compact() {
	if l.check(l.s.db.Flush()) && l.rng.IntN(2) == 0 {
		l.check(l.s.db.Compact(context.Background(), []byte{0}, []byte{255}, false))
	}
	m := l.s.db.Metrics()
	l.did["flush"] += int(m.Flush.Count)
	l.did["compact"] += int(m.Compact.Count)
}

// live makes n operations at random.
func (l *life) live(n int) {
	for i := 0; i < n && !l.dead; i++ {
		switch k := l.rng.IntN(16); {
		case k < 6:
			if l.receive("") != nil {
				l.did["accept"]++
			}
		case k == 6:
			l.take()
		case k < 9:
			l.finish(k == 8)
		case k == 9:
			l.save()
		case k == 10 && l.rng.IntN(2) == 0:
			l.split()
		case k == 10:
			l.bounce()
		case k == 11:
			l.setAside()
		case k == 12:
			l.put()
		case k == 13:
			l.forget()
		default:
			l.compact()
		}
	}
}

// F4: a crash before every write of the file system, with 0, 30 and 70 % of
// what was not synced surviving, while messages are accepted, refused, delivered,
// deferred, split, set aside, passed to a manager and taken back, the ledger
// expires, and the engine flushes and compacts. Recovery keeps every promise,
// twice is the same as once, no file is left over, and a share of the
// recoveries is crashed itself before every write. A round is one life of 30
// operations: LAZARET_CRASH_ROUNDS.
func TestCrashAtEveryOperation(t *testing.T) {
	images, nested, did := 0, 0, map[string]int{}
	defer func() {
		proof.Line(t, "spool-crash-images", images)
		proof.Line(t, "spool-crash-in-recovery-images", nested)
	}()
	for seed := range uint64(proof.Rounds(1)) {
		c := proof.NewImages[facts](seed)
		if raceEnabled {
			c.Every = 4 // a share: the race detector is after other things
		}
		l := &life{t: t, rng: rand.New(rand.NewPCG(seed, 2)), know: newFacts(), tell: c.Learn, now: time.Unix(1e9, 0), did: did}
		c.Know = func() facts { return l.know.clone() }
		var n atomic.Int64 // the engine works in several goroutines, and each takes images
		var mu sync.Mutex
		c.Check = func(op string, image *vfs.MemFS, know facts) error {
			if n := n.Add(1); n%60 == int64(seed%60) {
				k, err := crashRecovery(seed+uint64(n), image, know)
				mu.Lock()
				nested += k
				mu.Unlock()
				if err != nil {
					return err
				}
			}
			return know.recovered(ahead(image))
		}
		o := ahead(c.Life())
		o.Clock = func() time.Time { return l.now }
		var err error
		for range 2 { // the second time: a clean end and a start between
			if l.s, err = Open(o); err != nil {
				t.Fatal(err)
			}
			l.live(15)
			if err := l.s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		k, err := c.End()
		if images += k; err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d images, %d of a crashed recovery; %v", images, nested, did)
	for _, op := range []string{"accept", "abort", "take", "finish", "save", "split", "bounce", "aside", "discard", "forget", "flush", "compact"} {
		if did[op] == 0 && images > 2000 {
			t.Errorf("no %s: the life is too short", op)
		}
	}
	if images < 100 {
		t.Errorf("only %d images: the injector sees nothing", images)
	}
}

// crashRecovery recovers an image and crashes before every write of that.
func crashRecovery(seed uint64, image *vfs.MemFS, know facts) (images int, err error) {
	c := proof.NewImages[facts](seed)
	c.FS = image.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(seed, 3))})
	c.Know = know.clone
	c.Check = func(op string, again *vfs.MemFS, know facts) error { return know.recovered(ahead(again)) }
	s, err := Open(ahead(c.Life()))
	if err != nil {
		return 0, err
	}
	s.wg.Wait()
	images, err = c.End()
	return images, errors.Join(err, s.Close())
}
