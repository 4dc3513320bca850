package blob

import (
	"bytes"
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib/proof"
)

// filled is a disk on which another process takes all room before the k-th
// operation that needs some, until it is told to give it back.
type filled struct {
	k  int64
	n  atomic.Int64
	on atomic.Bool
}

func (f *filled) inject(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpFileWrite, errorfs.OpFileWriteAt:
		if f.on.Load() && f.n.Add(1) > f.k {
			return &os.PathError{Op: "test", Path: op.Path, Err: syscall.ENOSPC}
		}
	}
	return nil
}

// F8: whoever brings or deletes content while the disk is full has an answer
// within the patience. What was refused is gone when there is room again, what
// was acknowledged is there, and content is taken.
func TestFullDiskAnswers(t *testing.T) {
	step := int64(5)
	if proof.Race {
		step = 29
	}
	if os.Getenv(proof.RoundsVar) != "" {
		step = 1
	}
	trials := 0
	for k := int64(0); ; k += step {
		f := &filled{k: k}
		fullOnce(t, f)
		if trials++; t.Failed() {
			t.Fatalf("the room was gone before operation %d", k)
		}
		if f.n.Load() <= k {
			break
		}
	}
	proof.Line(t, "blob-disk-full-answers", trials)
}

func fullOnce(t *testing.T, f *filled) {
	o := small(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(f.inject)))
	o.wait = 50 * time.Millisecond
	o.OnFatal = func(err error) { t.Error(err) }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f.on.Store(true)
	kept := &sync.Map{}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				for i := range 6 {
					body := mailLike(uint64(w*100+i), []int{900, 9000, chunkSize + 99}[i%3])
					id, _, _, err := s.Put(context.Background(), bytes.NewReader(body))
					if err == nil {
						kept.Store(id, body)
					} else if !errs.Is(err, errs.Full) && !errs.Is(err, errs.Temporary) {
						t.Error(err)
					}
					if err == nil && i%4 == 3 {
						kept.Delete(id) // gone, now or when there is room
						_ = s.Delete(context.Background(), id)
					}
				}
			})
		}
		wg.Wait()
	}()
	select {
	case <-answered:
	case <-time.After(time.Minute): // 18 answers of 50 ms, and a busy machine
		t.Error("callers wait for a full disk")
	}
	f.on.Store(false)
	<-answered
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		id, _, _, err := s.Put(context.Background(), bytes.NewReader([]byte("x")))
		if err == nil {
			kept.Store(id, []byte("x"))
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("nothing is taken when there is room again: %v", err)
		}
	}
	if err := s.Close(); err != nil { // waits for what nobody waited for
		t.Error(err)
	}
	s, err = Open(o)
	if err != nil {
		t.Fatal(err)
	}
	removed, err := s.Sweep(context.Background(), func(_ context.Context, ids []quarantine.ContentID) ([]bool, error) {
		known := make([]bool, len(ids))
		for i, id := range ids {
			_, known[i] = kept.Load(id)
		}
		return known, nil
	})
	if err != nil || removed != 0 {
		t.Errorf("%d that were refused or deleted are still there, %v", removed, err)
	}
	kept.Range(func(id, body any) bool {
		if got, err := read(s, id.(quarantine.ContentID)); err != nil || !bytes.Equal(got, body.([]byte)) {
			t.Errorf("acknowledged content is lost: %v", err)
		}
		return true
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
