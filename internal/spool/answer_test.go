package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"lazaret/internal/disk"
	"lazaret/internal/testlib/proof"
)

// F8, the answer: from any operation on that makes a file, or writes, there is
// no room. Whatever a client is doing, it has its answer after the patience of
// the spool, the dropping of what came in included: nobody waits for the disk.
// When there is room again, what was refused is gone and mail is taken.
func TestFullDiskAnswers(t *testing.T) {
	step := 5
	if raceEnabled {
		step = 31
	}
	creates := func(k errorfs.OpKind) bool { return room(k) && k != errorfs.OpFileWrite && k != errorfs.OpFileWriteAt }
	trials := 0
	for name, match := range map[string]func(errorfs.OpKind) bool{"inodes": creates, "bytes": room} {
		first, step := stepOf(step)
		if name == "inodes" {
			first, step = 0, 1 // few: each
		}
		for k := first; ; k += step {
			hit := answerOnce(t, &faultAt{cause: syscall.ENOSPC, k: k, forever: true, match: match})
			if trials++; t.Failed() {
				t.Fatalf("%s, from operation %d", name, k)
			}
			if !hit {
				break
			}
		}
	}
	proof.Line(t, "spool-disk-full-answers", trials)
}

func answerOnce(t *testing.T, f *faultAt) bool {
	mem := vfs.NewCrashableMem()
	o := small(errorfs.Wrap(mem, errorfs.InjectorFunc(f.inject)))
	o.cache, o.wait = nil, 100*time.Millisecond
	o.Disk = disk.NewWatch("spool", nil)
	o.OnFatal = func(err error) { t.Error(err) }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f.turn(true)
	var mu sync.Mutex
	late := ""
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for m := range 8 {
				began := time.Now()
				err := send(s, 3000)
				if d := time.Since(began); d > 200*o.wait { // the number and the message may each take that long; the rest is for a busy machine
					mu.Lock()
					late = fmt.Sprintf("message %d of client %d was answered after %s: %v", m, n, d, err)
					mu.Unlock()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Error("clients wait for a full disk")
	}
	f.turn(false)
	<-done
	if late != "" {
		t.Error(late)
	}
	for began := time.Now(); send(s, 3000) != nil; {
		if time.Since(began) > time.Minute {
			t.Fatal("no mail is taken when there is room again")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return f.was() != ""
}

// send does for a message what a session does, to its answer.
func send(s *Spool, size int) error {
	if err := s.Ready(int64(size)); err != nil {
		return err
	}
	mid := s.NextMID()
	d, err := s.Receive(context.Background(), mid)
	if err != nil {
		return err
	}
	defer d.Abort()
	for piece := make([]byte, 250); size > 0; size -= len(piece) {
		if _, err := d.Write(piece); err != nil {
			return err
		}
	}
	return errors.Join(d.Commit(context.Background(), sample(int(mid))))
}
