package spool

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Contents without a record go, wherever in the row of numbers they are; those
// of live messages, of those set aside and of shadows stay, and so does what this life receives.
func TestSweepFindsEachGap(t *testing.T) {
	for _, pattern := range []string{"o", "l", "ol", "lo", "olo", "lol", "aoa", "oao", "loooal", "oolloogggaaggolga", "ggg", "hohlahgo"} {
		fs := vfs.NewMem()
		s := open(t, fs, func(o *Options) { o.chunk = 10 })
		ctx := context.Background()
		mids := make([]mail.MID, len(pattern))
		for i, kind := range pattern {
			mids[i] = s.NextMID()
			if kind == 'g' { // nothing is left of it
				continue
			}
			if kind == 'o' { // as after a crash in the midst of it
				for n := range uint32(3) {
					if err := s.db.Set(chunkKey(mids[i], n), []byte("orphan"), pebble.Sync); err != nil {
						t.Fatal(err)
					}
				}
				continue
			}
			d, err := s.Receive(ctx, mids[i])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Write([]byte("some content of several chunks\r\n")); err != nil {
				t.Fatal(err)
			}
			if err := d.Commit(ctx, sample(1)); err != nil {
				t.Fatal(err)
			}
			if kind == 'h' { // its content stays for another judgement
				b := s.db.NewBatch()
				sh := Shadow{MID: mids[i], Key: "K", Size: 32}
				if err := errors.Join(sh.set(b), b.Delete(midKey(keyRecord, mids[i]), nil), b.Commit(pebble.Sync), b.Close()); err != nil {
					t.Fatal(err)
				}
			}
			if kind == 'a' {
				if err := s.SetAside(ctx, mids[i], errs.New(errs.Damaged, "test")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, fs, func(o *Options) { o.chunk = 10 })
		ours := s.NextMID()
		if err := s.db.Set(chunkKey(ours, 0), []byte("coming in"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		s.wg.Wait()
		for i, kind := range pattern {
			_, found, err := s.get(chunkKey(mids[i], 0))
			if err != nil || found != (kind == 'l' || kind == 'a' || kind == 'h') {
				t.Errorf("%s, place %d: found %v, %v", pattern, i, found, err)
			}
		}
		if _, found, err := s.get(chunkKey(ours, 0)); !found || err != nil {
			t.Errorf("%s: what comes in is swept: %v", pattern, err)
		}
		if log := s.opt.Log.(*faults); len(log.all()) > 0 {
			t.Errorf("%s: %v", pattern, log.all())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
