package disk

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"lazaret/internal/errs"
)

// told collects what a watch says.
type told struct {
	mu  sync.Mutex
	all []string
}

func (l *told) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf(format, args...))
}

func (l *told) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.all...)
}

func (l *told) DiskSlow(what, op string, d time.Duration) { l.say("slow %s %s %s", what, op, d) }
func (l *told) DiskWell(what string, d time.Duration)     { l.say("well %s %s", what, d) }
func (l *told) DiskFull(what, op string)                  { l.say("full %s %s", what, op) }
func (l *told) DiskRoom(what string, d time.Duration)     { l.say("room %s %s", what, d) }

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// F9: a stall of a minute is told within SlowAfter, refuses what is new after
// StalledAfter, shows in the state, and is over when it is over. Slowness that
// comes again within a minute is not told again: no flood of lines.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l told
		w := NewWatch("spool", &l)
		if s := w.State(); s != "" || w.Ready() != nil {
			t.Errorf("at first: %q, %v", s, w.Ready())
		}
		o := w.Begin("sync", "7.log")
		time.Sleep(time.Millisecond)
		second := w.Begin("sync", "8.log")
		time.Sleep(SlowAfter + time.Millisecond)
		same(t, l.list(), "slow spool sync of 7.log 2s")
		if w.Ready() != nil {
			t.Error("slow is not stalled")
		}
		time.Sleep(StalledAfter)
		if err := w.Ready(); !errs.Is(err, errs.Temporary) {
			t.Errorf("stalled: %v", err)
		}
		if s := w.State(); s != "spool: the disk has not answered for 12s; mail is refused for now" {
			t.Error(s)
		}
		time.Sleep(48*time.Second - 2*time.Millisecond)
		o.End()
		second.End()
		same(t, l.list(), "slow spool sync of 7.log 2s", "well spool 1m0s")
		if w.Ready() != nil {
			t.Error("it is over")
		}
		o = w.Begin("sync", "7.log") // half a minute after the first was told
		time.Sleep(SlowAfter - 1)
		o.End()
		o = w.Begin("sync", "7.log")
		time.Sleep(quiet)
		o.End()
		same(t, l.list()[2:], "slow spool sync of 7.log 10s", "well spool 1m0s") // a stall is told, whenever it comes
		o = w.Begin("sync", "7.log")
		time.Sleep(3 * time.Second)
		o.End()
		if n := len(l.list()); n != 4 {
			t.Errorf("told again at once: %q", l.list())
		}
		time.Sleep(time.Hour)
		if s := w.State(); s != "" {
			t.Error(s)
		}
	})
}

// A full disk is waited for, said, refused meanwhile, and written behind what
// was written; nothing is hidden before the store is open, or after its end.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l told
		w := NewWatch("spool", &l)
		full := true
		var mu sync.Mutex
		var fatal atomic.Int32
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if full && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose {
				return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
			}
			return nil
		})
		set := func(v bool) { mu.Lock(); full = v; mu.Unlock() }
		fs := Engine(errorfs.Wrap(vfs.NewMem(), inject), w, func(error) { fatal.Add(1); runtime.Goexit() })
		w.Patient()
		set(false)
		f, err := fs.Create("x", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		set(true)
		done := make(chan error)
		go func() {
			_, err := f.Write([]byte("hello"))
			done <- err
		}()
		time.Sleep(time.Hour + 100*time.Millisecond)
		if err := w.Ready(); !errs.Is(err, errs.Full) {
			t.Errorf("while full: %v", err)
		}
		if s := w.State(); s != "spool: the disk is full for 1h0m0s (write of x); mail is refused until there is room" {
			t.Error(s)
		}
		set(false)
		began := time.Now()
		if err := <-done; err != nil || time.Since(began) > time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		same(t, l.list(), "full spool write of x", "room spool 1h0m0.25s")
		if st, err := f.Stat(); err != nil || st.Size() != 5 {
			t.Errorf("%v %v", st, err)
		}
		if fatal.Load() != 0 {
			t.Error("fatal")
		}
		set(true)
		for _, f := range []func() error{f.Sync, func() error { return fs.Rename("x", "y") }} {
			go func() { done <- f() }()
			time.Sleep(time.Second)
			w.Stop() // nothing waits for room any more
			synctest.Wait()
			select {
			case err := <-done:
				t.Errorf("the engine went on after %v", err)
			default:
			}
		}
		if n := fatal.Load(); n != 2 {
			t.Errorf("fatal was called %d times", n)
		}
	})
}

// What was written in part goes on behind that part.
func TestPartialWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWatch("spool", nil)
		w.Patient()
		f := engineFile{File: &drip{}, g: &engineFS{w: w}, name: "x"}
		if n, err := f.Write([]byte("hello world")); n != 11 || err != nil {
			t.Errorf("%d %v", n, err)
		}
		if got := string(f.File.(*drip).b); got != "hello world" {
			t.Errorf("%q", got)
		}
	})
}

// drip takes two bytes and is full.
type drip struct {
	vfs.File
	b []byte
}

func (d *drip) Write(p []byte) (int, error) {
	n := min(2, len(p))
	d.b = append(d.b, p[:n]...)
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

// The floor is told once each way.
func TestFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l told
		w := NewWatch("content", &l)
		for _, low := range []bool{false, true, true, false, false} {
			w.Floor(low)
			time.Sleep(time.Second)
			if low != (w.State() != "") {
				t.Errorf("%v: %q", low, w.State())
			}
		}
		same(t, l.list(), "full content ", "room content 2s")
	})
}
