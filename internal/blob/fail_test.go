package blob

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"

	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib/proof"
)

// brokenDisk is a disk on which the k-th write or sync fails, and with forever all
// that come after it.
type brokenDisk struct {
	cause   error
	k       int
	forever bool

	mu sync.Mutex
	on bool
	n  int
}

func (b *brokenDisk) inject(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.on {
		return nil
	}
	if b.n++; b.n-1 == b.k || b.forever && b.n > b.k {
		return &os.PathError{Op: "test", Path: op.Path, Err: b.cause}
	}
	return nil
}

// turn switches the fault; hit reports whether it struck.
func (b *brokenDisk) turn(on bool) (hit bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = on
	return b.n > b.k
}

// F7: each write and each sync of the content store fails, once and from then
// on, with EIO and EROFS, while content comes in and goes. Whoever waits has an
// answer, as a temporary failure; the owner hears of the end once; and the next
// start has what was acknowledged, whole, and a sweep finds all else.
func TestFailAtEveryOperation(t *testing.T) {
	step := 7
	if proof.Race {
		step = 29
	}
	first := rand.IntN(step)
	if proof.Long() {
		first, step = 0, 1
	}
	if err := goleak.Find(ended...); err != nil { // of the tests before
		t.Error(err)
	}
	defer func() { ended = append(ended, goleak.IgnoreCurrent()) }()
	trials := 0
	for _, cause := range []error{syscall.EIO, syscall.EROFS} {
		for _, forever := range []bool{false, true} {
			for k := first; ; k += step {
				b := &brokenDisk{cause: cause, k: k, forever: forever}
				hit := failOnce(t, b)
				if trials++; t.Failed() {
					t.Fatalf("%v at operation %d, forever %v", cause, k, forever)
				}
				if !hit {
					break
				}
			}
		}
	}
	proof.Line(t, "blob-fail-at-n", trials)
}

func failOnce(t *testing.T, b *brokenDisk) (hit bool) {
	mem := vfs.NewCrashableMem()
	o := small(errorfs.Wrap(mem, errorfs.InjectorFunc(b.inject)))
	told := make(chan error, 10)
	o.OnFatal = func(err error) { told <- err }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	b.turn(true)
	know := map[quarantine.ContentID]content{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 14 {
			body := mailLike(uint64(i), []int{900, 9000, chunkSize + 77}[i%3])
			id, _, _, err := s.Put(context.Background(), bytes.NewReader(body))
			if err == nil {
				know[id] = content{body, promised}
			} else if !errs.Is(err, errs.Temporary) {
				t.Errorf("refused as %v: %v", errs.KindOf(err), err)
			}
			if err == nil && i%5 == 4 {
				know[id] = content{body, maybe}
				_ = s.Delete(context.Background(), id) // of a dead store: an error
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("whoever brings content has no answer")
	}
	hit = b.turn(false)
	err = s.Close()
	if stopped := s.dead.Load() != nil; stopped {
		if err == nil {
			t.Error("a store that has failed closes well")
		}
		<-told
	} else if err != nil {
		t.Error(err)
	}
	if len(told) > 0 {
		t.Errorf("the owner was told more than once, or of nothing: %v", <-told)
	}
	if err := recovered(mem.CrashClone(vfs.CrashCloneCfg{}), know); err != nil {
		t.Error(err)
	}
	return hit
}
