package spool

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
)

// Commits that are under way when the spool is closed, abandoned ones included:
// each is in the spool or gets an error, and none meets an engine that is
// closed, which would panic.
func TestCloseUnderCommits(t *testing.T) {
	for range 30 {
		fs := vfs.NewCrashableMem()
		s := open(t, fs, nil)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var taken [][]byte
		for n := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					key := nameKey(keyState, fmt.Sprint(n, "-", i))
					if err := write4test(s, key, i%2 == 0); err != nil {
						if !errs.Is(err, errs.Closed) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					taken = append(taken, key)
					mu.Unlock()
				}
			})
		}
		until(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(taken) > 20 })
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		s = open(t, fs, nil)
		for _, key := range taken {
			if _, found, err := s.get(key); err != nil || !found {
				t.Errorf("%s is gone: %v", key, err)
			}
		}
		s.Close()
	}
}

// write4test writes a key alone, with or without a flush.
func write4test(s *Spool, key []byte, sync bool) error {
	b := s.db.NewBatch()
	if err := b.Set(key, nil, pebble.NoSync); err != nil {
		return err
	}
	err, _ := s.bounded(b, sync, patience, func() error { return nil })
	return err
}
