package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib/proof"
)

// content is what is known of one object: its bytes, and whether it is promised,
// under way (maybe), or deleted.
type content struct {
	body  []byte
	state int
}

const (
	deleted = iota
	maybe
	promised
)

func small(fs vfs.FS) Options {
	return Options{Dir: "blob", FS: &roomy{FS: fs, avail: 1 << 40}, Key: testKey, MinFree: 1, MemTable: 64 << 10}
}

// recovered opens what a crash left, twice: what was promised is there whole;
// the sweep, told of the promised ones alone, leaves them and nothing else.
func recovered(fs vfs.FS, know map[quarantine.ContentID]content) error {
	for n := range 2 {
		s, err := Open(small(fs))
		if err != nil {
			return fmt.Errorf("opening, time %d: %w", n+1, err)
		}
		err = verify(s, know)
		if err = errors.Join(err, s.Close()); err != nil {
			return fmt.Errorf("time %d: %w", n+1, err)
		}
	}
	return nil
}

func verify(s *Store, know map[quarantine.ContentID]content) error {
	for id, c := range know {
		got, err := read(s, id)
		switch {
		case c.state == promised && (err != nil || !bytes.Equal(got, c.body)):
			return fmt.Errorf("%s was promised: %d of %d bytes, %w", id, len(got), len(c.body), err)
		case err == nil && !bytes.Equal(got, c.body):
			return fmt.Errorf("%s is torn", id)
		case err != nil && !errs.Is(err, errs.NotFound):
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	_, err := s.Sweep(context.Background(), func(_ context.Context, ids []quarantine.ContentID) ([]bool, error) {
		is := make([]bool, len(ids))
		for i, id := range ids {
			is[i] = know[id].state == promised
		}
		return is, nil
	})
	if err != nil {
		return err
	}
	want := 1 // the check of the key
	for id, c := range know {
		if c.state == promised {
			want += 2
			if id[0] == classLarge {
				want += (len(c.body) + chunkSize - 1) / chunkSize
			}
		}
	}
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil || n != want {
		return fmt.Errorf("%d keys after the sweep, not %d: %w", n, want, err)
	}
	return nil
}

// F4: a crash before every write of the file system, 0, 30 and 70 % of what is
// not synced surviving, while content is put, read, deleted and swept, and the
// engine flushes and compacts. LAZARET_CRASH_ROUNDS=n lives, 1 without.
func TestCrashAtEveryOperation(t *testing.T) {
	images := 0
	for seed := range uint64(proof.Rounds(1)) {
		know := map[quarantine.ContentID]content{}
		c := proof.NewImages[map[quarantine.ContentID]content](seed)
		if proof.Race {
			c.Every = 4 // a share: the race detector is after other things
		}
		c.Know = func() map[quarantine.ContentID]content { return maps.Clone(know) }
		c.Check = func(_ string, image *vfs.MemFS, know map[quarantine.ContentID]content) error {
			return recovered(image, know)
		}
		rng := rand.New(rand.NewPCG(seed, 2))
		s, err := Open(small(c.Life()))
		if err != nil {
			t.Fatal(err)
		}
		var ids []quarantine.ContentID
		for i := range 24 {
			n := []int{0, 40, 900, 9000}[rng.IntN(4)]
			if i == 11 {
				n = chunkSize + 77
			}
			body := mailLike(seed<<8+uint64(i), n)
			id, _, _, err := s.Put(context.Background(), bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			c.Learn(func() { know[id] = content{body, promised} })
			ids = append(ids, id)
			switch rng.IntN(6) {
			case 0, 1: // unsynced: it may come back, until a sweep finds it
				id := ids[rng.IntN(len(ids))]
				c.Learn(func() { know[id] = content{know[id].body, maybe} })
				if err := s.Delete(context.Background(), id); err != nil {
					t.Fatal(err)
				}
			case 2:
				err = s.db.Flush()
			case 3:
				err = s.db.Compact(context.Background(), []byte{0}, []byte{255}, false)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		n, err := c.End()
		if images += n; err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	if images < 100 && !proof.Race {
		t.Errorf("only %d images", images)
	}
	proof.Line(t, "blob-crash-images", images)
}
