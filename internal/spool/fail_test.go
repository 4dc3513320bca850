package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
	"lazaret/internal/testlib/proof"
)

// faultAt makes operation number k fail, and with forever all after it.
type faultAt struct {
	cause   error
	k       int
	forever bool
	match   func(errorfs.OpKind) bool

	mu  sync.Mutex
	on  bool
	n   int
	hit string
}

func (f *faultAt) inject(op errorfs.Op) error {
	if !f.match(op.Kind) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on {
		return nil
	}
	if f.n++; f.n-1 == f.k || f.forever && f.n > f.k {
		if f.hit == "" {
			f.hit = fmt.Sprintf("operation %d (%d on %s): %v, forever %v", f.k, op.Kind, op.Path, f.cause, f.forever)
		}
		return &os.PathError{Op: "test", Path: op.Path, Err: f.cause}
	}
	return nil
}

func (f *faultAt) turn(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

func (f *faultAt) was() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

func writes(k errorfs.OpKind) bool { return k.ReadOrWrite() == errorfs.OpIsWrite }

// reads leaves out fstat of an open file: the engine forgets to close the file
// then, and a disk does not fail it.
func reads(k errorfs.OpKind) bool {
	return k.ReadOrWrite() == errorfs.OpIsRead && k != errorfs.OpFileStat
}

// room are the operations that a disk without room fails. A sync that fails is
// another matter, whatever it says (rule Q-2).
func room(k errorfs.OpKind) bool {
	switch k {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpFileWrite, errorfs.OpFileWriteAt:
		return true
	}
	return false
}

// stepOf spreads the short tier over all operations; the long one takes each.
func stepOf(short int) (first, step int) {
	if os.Getenv(proof.RoundsVar) != "" {
		return 0, 1
	}
	return rand.IntN(short), short
}

// F7: each operation of the file system fails, once and from then on, with EIO,
// EROFS and ENOSPC; writes and reads. What was promised is there afterwards,
// with all of F4's oracle; the owner hears of an engine that stopped, once; one
// that did not stop works on, and leaves no goroutine and no open file behind.
func TestFailAtEveryOperation(t *testing.T) {
	step := 23
	if raceEnabled {
		step = 97
	}
	trials := 0
	for _, match := range []func(errorfs.OpKind) bool{writes, reads} {
		for _, cause := range []error{syscall.EIO, syscall.EROFS, syscall.ENOSPC} {
			for _, forever := range []bool{false, true} {
				first, step := stepOf(step)
				for k := first; ; k += step {
					f := &faultAt{cause: cause, k: k, forever: forever, match: match}
					hit := failOnce(t, f, uint64(k))
					if trials++; t.Failed() {
						t.Fatal(f.was())
					}
					if !hit {
						break
					}
				}
			}
		}
	}
	proof.Line(t, "spool-fail-at-n", trials)
}

// failOnce makes a life in which an operation fails; false when it came to its
// end before.
func failOnce(t *testing.T, f *faultAt, seed uint64) (hit bool) {
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex
	var told atomic.Int32
	dead := make(chan struct{})
	open := &openFiles{FS: errorfs.Wrap(mem, errorfs.InjectorFunc(f.inject))}
	o := small(open)
	o.OnFatal = func(err error) {
		if told.Add(1) == 1 {
			close(dead)
		}
	}
	leaks := goleak.IgnoreCurrent()
	l := &life{t: t, rng: rand.New(rand.NewPCG(seed, 4)), know: newFacts(), now: time.Unix(1e9, 0), did: map[string]int{}, fail: true,
		tell: func(f func()) { mu.Lock(); defer mu.Unlock(); f() }}
	o.Clock = func() time.Time { return l.now }
	var err error
	if l.s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	l.s.opt.Disk.Stop() // no waiting for room here: TestFullDisk has that
	f.turn(true)
	done := make(chan struct{})
	go func() { // its own goroutine: some calls wait for the end of the process
		defer close(done)
		l.live(18)
	}()
	select {
	case <-done:
	case <-dead:
		select {
		case <-done:
		case <-time.After(100 * time.Millisecond): // it hangs, as it may
		}
	}
	f.turn(false)
	if l.sure = true; l.s.Err() == nil {
		if l.receive("") == nil && !errors.Is(l.s.Err(), f.cause) {
			t.Errorf("when the fault was over a message was refused: %v", l.s.Err())
		}
	}
	if err := l.s.Close(); err == nil {
		if n := open.n.Load(); n != 0 {
			t.Errorf("%d files are open after Close", n)
		}
		if err := goleak.Find(leaks); err != nil {
			t.Error(err)
		}
	} else if l.s.Err() == nil && f.was() == "" {
		t.Error(err)
	}
	if l.s.Err() != nil && told.Load() > 1 || l.s.Err() == nil && told.Load() > 0 {
		t.Errorf("the owner was told %d times, the spool says %v", told.Load(), l.s.Err())
	}
	mu.Lock()
	know := l.know.clone()
	mu.Unlock()
	if err := know.recovered(small(mem.CrashClone(vfs.CrashCloneCfg{}))); err != nil {
		t.Error(err)
	}
	return f.was() != ""
}

// openFiles counts open files.
type openFiles struct {
	vfs.FS
	n atomic.Int64
}

type counted struct {
	vfs.File
	n    *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.n.Add(-1) })
	return c.File.Close()
}

func (o *openFiles) count(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	o.n.Add(1)
	return &counted{File: f, n: &o.n}, nil
}

func (o *openFiles) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return o.count(o.FS.Create(name, c))
}

func (o *openFiles) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return o.count(o.FS.Open(name, opts...))
}

func (o *openFiles) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return o.count(o.FS.OpenReadWrite(name, c, opts...))
}

func (o *openFiles) OpenDir(name string) (vfs.File, error) { return o.count(o.FS.OpenDir(name)) }

func (o *openFiles) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return o.count(o.FS.ReuseForWrite(oldname, newname, c))
}

// F7 at the start: each operation of opening fails. Open says so, or the spool
// is open; it neither hangs nor panics, and the next start finds everything.
func TestFailAtStart(t *testing.T) {
	base := vfs.NewCrashableMem()
	l := &life{t: t, rng: rand.New(rand.NewPCG(1, 5)), know: newFacts(), now: time.Unix(1e9, 0), did: map[string]int{}, tell: func(f func()) { f() }}
	var err error
	if l.s, err = Open(small(base)); err != nil {
		t.Fatal(err)
	}
	l.live(25)
	image := base.CrashClone(vfs.CrashCloneCfg{})
	if err := l.s.Close(); err != nil {
		t.Fatal(err)
	}
	trials := 0
	for _, match := range []func(errorfs.OpKind) bool{writes, reads} {
		for _, cause := range []error{syscall.EIO, syscall.EROFS, syscall.ENOSPC} {
			for _, forever := range []bool{false, true} {
				first, step := stepOf(5)
				for k := first; ; k += step {
					trials++
					f := &faultAt{cause: cause, k: k, forever: forever, match: match, on: true}
					mem := image.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
					s, err := Open(small(errorfs.Wrap(mem, errorfs.InjectorFunc(f.inject))))
					f.turn(false)
					if err == nil {
						_ = s.Close() // may have stopped meanwhile
					}
					know := l.know.clone()
					if err := know.recovered(small(mem.CrashClone(vfs.CrashCloneCfg{}))); err != nil {
						t.Fatalf("%s: %v", f.was(), err)
					}
					if f.was() == "" {
						break
					}
				}
			}
		}
	}
	proof.Line(t, "spool-fail-at-start", trials)
}

// F8 below the gateway: from any operation on there is no room for a minute.
// Nothing fails for good: what waits goes on by itself when there is room, new
// mail is refused as errs.Full meanwhile, and all promises hold.
func TestFullDisk(t *testing.T) {
	step := 3
	if raceEnabled {
		step = 13
	}
	trials := 0
	first, step := stepOf(step)
	for k := first; ; k += step {
		hit := false
		synctest.Test(t, func(t *testing.T) { hit = fullOnce(t, k) })
		if trials++; t.Failed() {
			t.Fatalf("from operation %d", k)
		}
		if !hit {
			break
		}
	}
	proof.Line(t, "spool-disk-full-at-n", trials)
}

func fullOnce(t *testing.T, k int) bool {
	mem := vfs.NewCrashableMem()
	f := &faultAt{cause: syscall.ENOSPC, k: k, forever: true, match: room}
	o := small(errorfs.Wrap(mem, errorfs.InjectorFunc(f.inject)))
	o.cache, o.wait = nil, 0
	o.Disk = disk.NewWatch("spool", nil)
	o.OnFatal = func(err error) { t.Error(err) }
	l := &life{t: t, rng: rand.New(rand.NewPCG(uint64(k), 6)), know: newFacts(), now: time.Unix(1e9, 0), did: map[string]int{}, fail: true, tell: func(f func()) { f() }}
	o.Clock = func() time.Time { return l.now }
	var err error
	if l.s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	f.turn(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.live(18)
	}()
	time.Sleep(time.Minute)
	if hit := f.was(); hit != "" {
		if err := l.s.Ready(0); !errs.Is(err, errs.Full) || l.s.opt.Disk.State() == "" {
			t.Errorf("while there is no room: %v, %q", err, l.s.opt.Disk.State())
		}
	}
	f.turn(false)
	time.Sleep(time.Second) // of the bubble: four times what a full disk is asked again after
	if err := l.s.Ready(0); err != nil || l.s.Err() != nil {
		t.Errorf("there is room again: %v, %v", err, l.s.Err())
	}
	<-done
	synctest.Wait() // what was refused late is undone
	if l.sure = true; l.receive("") == nil {
		t.Error("a message was refused when there was room")
	}
	if err := l.s.Close(); err != nil {
		t.Error(err)
	}
	if err := l.know.recovered(small(mem.CrashClone(vfs.CrashCloneCfg{}))); err != nil {
		t.Error(err)
	}
	return f.was() != ""
}
