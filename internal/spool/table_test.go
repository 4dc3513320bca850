package spool

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// F6 at the level of files: one byte of a table flipped, at places all over
// it. What is found is right or says that it is damaged, what lies elsewhere is
// found, nothing panics and nothing hangs. Where the engine cannot open the
// table at all it says so.
func TestDamagedTables(t *testing.T) {
	n, share := 1500, 60
	if raceEnabled {
		n, share = 500, 15
	}
	disk := vfs.NewCrashableMem()
	s := open(t, disk, nil)
	bodies := make(map[mail.MID][]byte)
	for i := range n {
		it := sample(i)
		body := bytes.Repeat([]byte(it.Subject), 10)
		if err := store(t, s, body, it); err != nil {
			t.Fatal(err)
		}
		bodies[it.MID] = body
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	reported, whole := 0, 0
	for k := range share {
		fs := disk.CrashClone(vfs.CrashCloneCfg{})
		flip(t, fs, k, share)
		o := s.opt
		o.FS, o.Log = fs, &faults{}
		d, err := Open(o)
		if err != nil {
			reported++
			continue
		}
		found := 0
		err = d.Scan(context.Background(), func(it *queue.Item) error {
			found++
			if r, err := d.Open(context.Background(), it.MID); err == nil {
				b, err := io.ReadAll(r)
				if err == nil && !bytes.Equal(b, bodies[it.MID]) || err != nil && !errs.Is(err, errs.Damaged) {
					t.Errorf("place %d: MID %d reads %d bytes, %v", k, it.MID, len(b), err)
				}
				r.Close()
			} else if !errs.Is(err, errs.Damaged) {
				t.Errorf("place %d: MID %d: %v", k, it.MID, err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("place %d: Scan: %v", k, err)
		}
		said := len(o.Log.(*faults).all())
		if found == n {
			whole++
		} else if said == 0 {
			t.Errorf("place %d: %d of %d found, and nothing was said", k, found, n)
		}
		if found > 0 && found < n/2 {
			t.Logf("place %d: only %d of %d found: %q", k, found, n, o.Log.(*faults).all()[0])
		}
		if said > 0 {
			reported++
		}
		d.Close()
	}
	if reported < share/2 || whole < share/4 {
		t.Errorf("of %d places %d were reported, %d lost nothing", share, reported, whole)
	}
}

// flip changes one byte of the largest table.
func flip(t *testing.T, fs vfs.FS, k, of int) {
	names, err := fs.List("spool")
	if err != nil {
		t.Fatal(err)
	}
	largest, size := "", int64(0)
	for _, n := range names {
		if st, err := fs.Stat("spool/" + n); err == nil && strings.HasSuffix(n, ".sst") && st.Size() > size {
			largest, size = "spool/"+n, st.Size()
		}
	}
	f, err := fs.OpenReadWrite(largest, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := size * int64(2*k+1) / int64(2*of)
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}
