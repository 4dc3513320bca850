package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

func (c *memContents) names() (list []quarantine.ContentID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.m {
		list = append(list, id)
	}
	return list
}

// sweep deletes, at once, whatever no record has.
func sweep(t *testing.T, s *Store, c *memContents) (n int) {
	t.Helper()
	ids := c.names()
	known, err := s.Condemn(ctx, ids)
	if err != nil {
		t.Error(err)
		return 0
	}
	for i, id := range ids {
		if !known[i] {
			_ = c.Delete(ctx, id)
			n++
		}
	}
	return n
}

// managers opens one or more stores on the same new database.
func managers(t *testing.T, f func(*testing.T, *memContents, []*Store)) {
	t.Run("sqlite", func(t *testing.T) {
		c := &memContents{}
		f(t, c, []*Store{openSQLite(t, filepath.Join(t.TempDir(), "q.db"), c)})
	})
	t.Run("postgres", func(t *testing.T) {
		c := &memContents{}
		dsn := newDatabase(t)
		f(t, c, []*Store{openAs(t, dsn, c, "M1"), openAs(t, dsn, c, "M2")})
	})
}

// What is condemned can never get a record, what has one is never condemned,
// and the bytes of a condemned object's name are no hash.
func TestCondemn(t *testing.T) {
	managers(t, func(t *testing.T, c *memContents, all []*Store) {
		s, last := all[0], all[len(all)-1]
		kept, lost := record(t, s, c, 1, "kept", "Policy"), record(t, s, c, 2, "lost", "Policy")
		add(t, s, kept)
		for range 2 {
			known, err := last.Condemn(ctx, []quarantine.ContentID{kept.Content, lost.Content})
			if err != nil || !slices.Equal(known, []bool{true, false}) {
				t.Errorf("%v, %v", known, err)
			}
		}
		if _, _, err := s.Add(ctx, lost); err == nil {
			t.Error("a record got a condemned object")
		}
		again := record(t, s, c, 2, "lost", "Policy") // the gateway brings it once more
		add(t, s, again)
		if known, err := s.Condemn(ctx, []quarantine.ContentID{lost.Content, again.Content}); err != nil || !slices.Equal(known, []bool{false, true}) {
			t.Errorf("%v, %v", known, err)
		}
		change(t, s, true, remove(kept))
		if known, err := last.Condemn(ctx, []quarantine.ContentID{kept.Content}); err != nil || known[0] {
			t.Errorf("of a deleted message: %v, %v", known, err)
		}
		var many []quarantine.ContentID
		for i := range 3*condemnBatch + 7 {
			many = append(many, quarantine.ContentID(fmt.Sprint("many-", i)))
		}
		if known, err := s.Condemn(ctx, many); err != nil || slices.Contains(known, true) {
			t.Errorf("many: %v", err)
		}
	})
}

// A database has one name, whoever asks first.
func TestIdentity(t *testing.T) {
	managers(t, func(t *testing.T, _ *memContents, all []*Store) {
		first, err := all[0].Identity(ctx)
		if err != nil || len(first) < 20 {
			t.Fatal(first, err)
		}
		for _, s := range all {
			if again, err := s.Identity(ctx); err != nil || again != first {
				t.Errorf("%q, not %q: %v", again, first, err)
			}
		}
	})
}

// Several managers add and delete messages of the same few contents, while
// sweeps without any patience run between all their steps: a message that was
// added has its content until it is deleted, and in the end there is no content
// without a message.
func TestCondemnRace(t *testing.T) {
	managers(t, func(t *testing.T, c *memContents, all []*Store) {
		var wg, sweepers sync.WaitGroup
		var number, added, refused, swept atomic.Int64
		stop := make(chan struct{})
		for _, s := range all {
			sweepers.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					swept.Add(int64(sweep(t, s, c)))
				}
			})
		}
		for w := range 6 {
			wg.Go(func() {
				s := all[w%len(all)]
				r := rand.New(rand.NewPCG(uint64(w), 7))
				for range 60 {
					n := int(number.Add(1))
					rec := record(t, s, c, n, fmt.Sprint("body ", r.IntN(3)), "Policy")
					if r.IntN(2) == 0 { // between object and row
						<-time.After(time.Duration(r.IntN(4)) * time.Millisecond)
					}
					if _, _, err := s.Add(ctx, rec); err != nil {
						refused.Add(1) // its object was condemned meanwhile: the gateway keeps the mail
						continue
					}
					added.Add(1)
					for range r.IntN(3) {
						got, err := s.Load(ctx, []mail.MID{rec.MID})
						if err != nil || len(got) != 1 || !c.has(got[0].Content) {
							t.Errorf("a record without its content: %v", err)
							return
						}
						<-time.After(time.Duration(r.IntN(3)) * time.Millisecond)
					}
					if made, err := s.Change(ctx, []quarantine.Change{remove(rec)}); err != nil || !made[0] {
						t.Errorf("deleting: %v %v", made, err)
					}
				}
			})
		}
		wg.Wait()
		close(stop)
		sweepers.Wait()
		sweep(t, all[0], c)
		if n := c.len(); n != 0 {
			t.Errorf("%d objects without a record", n)
		}
		if added.Load() == 0 || swept.Load() == 0 {
			t.Errorf("nothing was tried: %d added, %d refused, %d swept", added.Load(), refused.Load(), swept.Load())
		}
		t.Logf("%d added, %d refused, %d swept", added.Load(), refused.Load(), swept.Load())
	})
}

func (c *memContents) has(id quarantine.ContentID) bool {
	r, err := c.Open(ctx, id)
	if err != nil {
		return false
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	return err == nil
}
