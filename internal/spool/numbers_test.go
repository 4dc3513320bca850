package spool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// Nobody waits for the disk for a number: while a flush does not end, half a
// block is given out, and the last number can be asked for. Behind it numbers
// go on, none twice, in this life and after a crash.
func TestNumbersDoNotWait(t *testing.T) {
	fs := &gateFS{syncFS: syncFS{FS: vfs.NewCrashableMem()}}
	s := open(t, fs, nil)
	defer s.Close()
	given := map[mail.MID]bool{}
	take := func(n int) {
		for range n {
			mid := s.NextMID()
			if given[mid] || mid != s.LastMID() {
				t.Fatalf("%s is given twice, or is not the last one, %s", mid, s.LastMID())
			}
			given[mid] = true
		}
	}
	take(block/2 - 10) // the first one waits for the first block
	fs.gate.Lock()
	free := sync.OnceFunc(fs.gate.Unlock)
	defer free()
	done := make(chan struct{})
	go func() {
		defer close(done)
		take(block/2 + 10) // on the way the next block is asked for
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a number waits for the disk")
	}
	image := fs.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	free()
	take(3 * block)
	if len(given) != 4*block {
		t.Errorf("%d numbers", len(given))
	}
	again := open(t, image, nil)
	defer again.Close()
	if mid := again.NextMID(); mid <= block {
		t.Errorf("after the crash %s is given again", mid)
	}
}

// F9: on a disk that takes 20 ms for each flush nobody hears 4xx, and nothing
// stalls, whatever the number of sessions.
func TestSlowFlushes(t *testing.T) {
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			time.Sleep(20 * time.Millisecond) // the disk, not the test
		}
		return nil
	})
	o := small(errorfs.Wrap(vfs.NewCrashableMem(), inject))
	o.wait = patience
	o.OnFatal = func(err error) { t.Error(err) }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	const sessions, each = 50, 24 // more than a block of numbers
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for range each {
				if err := errors.Join(s.Ready(500), send(s, 500)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stored := 0
	err = s.Scan(context.Background(), func(*queue.Item) error { stored++; return nil })
	if err != nil || stored != sessions*each {
		t.Errorf("%d are there, %v", stored, err)
	}
}
