package store

import (
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"lazaret/internal/testlib/litedisk"
	"lazaret/internal/testlib/proof"
)

// F7, F8 for a manager's ingest and its clock: an operation of SQLite's files
// fails, once or from then on, with an error of the disk or for want of room.
// Nothing that was acknowledged is lost, and nothing half done is seen; a full
// disk is survived, and a broken one ends the store or harms nobody.
func TestSQLiteFailAtEveryOperation(t *testing.T) {
	step := 131
	if proof.Race {
		step = 397
	}
	first := rand.IntN(step)
	if proof.Long() {
		first, step = 0, 1
	}
	check := litedisk.New(t)
	check.Quick = true
	trials := 0
	for _, f := range []struct {
		cause   error
		forever bool
	}{{syscall.EIO, false}, {syscall.EIO, true}, {syscall.ENOSPC, false}, {syscall.ENOSPC, true}} {
		for k := first; ; k += step {
			hit := false
			t.Run("", func(t *testing.T) { hit = failSQL(t, check.Name(), f.cause, k, f.forever) })
			if trials++; t.Failed() {
				t.Fatalf("%v at operation %d, forever %v", f.cause, k, f.forever)
			}
			if !hit {
				break
			}
		}
	}
	proof.Line(t, "sqlite-fail-at-n", trials)
}

func failSQL(t *testing.T, check string, cause error, k int, forever bool) bool {
	d := litedisk.New(t)
	var mu sync.Mutex
	on, n := false, 0
	d.Before = func(string, string) error {
		mu.Lock()
		defer mu.Unlock()
		if !on {
			return nil
		}
		if n++; n-1 == k || forever && n > k {
			return cause
		}
		return nil
	}
	turn := func(v bool) (hit bool) {
		mu.Lock()
		defer mu.Unlock()
		on = v
		return n > k
	}
	l := newSQLLife(t, uint64(k), func(f func()) { f() })
	l.open(filepath.Join(t.TempDir(), "q.db"), d.Name())
	l.fails = true
	turn(true)
	l.live(20)
	hit := turn(false)
	if !l.dead.Load() {
		before := l.did["deposit"]
		if l.deposit("Policy"); l.did["deposit"] == before && !l.dead.Load() {
			t.Error("when the fault is over a message is refused")
		}
	}
	dir := t.TempDir()
	know := l.facts()
	if err := d.Image(dir, 0, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	if err := l.s.Close(); err != nil && !l.dead.Load() {
		t.Error(err)
	}
	if err := know.recovered(dir, check); err != nil {
		t.Error(err)
	}
	return hit
}
