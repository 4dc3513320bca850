package spool

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// killed gives the files as a killed process leaves them: what the system was
// given is there, what the engine kept in memory is not.
func killed(t *testing.T, s *Spool, disk *vfs.MemFS) *Spool {
	t.Helper()
	o := s.opt
	o.FS = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	return open(t, o.FS, nil)
}

// A completion that was not flushed outlives the process: whole messages, and
// single recipients whose message stays for the others, judged or not.
func TestDepartedOutlivesTheProcess(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, nil)
	ctx := context.Background()
	var all []*queue.Item
	for i := range 4 {
		it := sample(i)
		it.Recipients = it.Recipients[:1]
		for len(it.Recipients) < 3 {
			r := it.Recipients[0]
			r.RID = mail.RID(len(it.Recipients))
			it.Recipients = append(it.Recipients, r)
		}
		for j := range it.Recipients {
			it.Recipients[j].State = queue.Pending
		}
		it.State = queue.Work
		if err := store(t, s, []byte("content\r\n"), it); err != nil {
			t.Fatal(err)
		}
		all = append(all, it)
	}
	gone, part, judged, kept := all[0], all[1], all[2], all[3]
	judged.State = queue.Routed
	if err := s.Apply(ctx, queue.Update{Save: []*queue.Item{judged}, Durable: true}); err != nil {
		t.Fatal(err)
	}
	for _, u := range []queue.Update{
		{Remove: []mail.MID{gone.MID}, Final: []*queue.Item{gone}},
		{Save: []*queue.Item{part}, Delivered: []mail.RID{1}},
		{Save: []*queue.Item{judged}, Delivered: []mail.RID{0}},
		{Save: []*queue.Item{judged}, Delivered: []mail.RID{1, 2}},
	} {
		if err := s.Apply(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	for life := range 3 { // carried out twice is carried out once
		s = killed(t, s, disk)
		disk = s.opt.FS.(*vfs.MemFS)
		for _, it := range []*queue.Item{gone, judged} {
			if _, err := s.Load(ctx, it.MID); !errs.Is(err, errs.NotFound) {
				t.Errorf("life %d: MID %d is there again: %v", life, it.MID, err)
			}
			if r, err := s.Open(ctx, it.MID); err == nil {
				r.Close()
				t.Errorf("life %d: content of MID %d is there", life, it.MID)
			}
		}
		it, err := s.Load(ctx, part.MID)
		if err != nil || it.Recipients[0].State != queue.Pending || it.Recipients[1].State != queue.Delivered || it.Recipients[2].State != queue.Pending {
			t.Errorf("life %d: %v %+v", life, err, it)
		}
		if it, err := s.Load(ctx, kept.MID); err != nil || it.Recipients[0].State.Final() {
			t.Errorf("life %d: %v %+v", life, err, it)
		}
	}
}

// Damaged, torn and foreign notes do nothing.
func TestDepartedIsChecked(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, nil)
	it := sample(0)
	if err := store(t, s, []byte("content\r\n"), it); err != nil {
		t.Fatal(err)
	}
	var d departed
	d.note(it.MID, everybody)
	d.note(it.MID+1000, everybody)
	d.note(it.MID, 4711)
	for i := range noteSize { // each byte of the note that would remove it
		notes := append([]byte(nil), d.buf...)
		notes[i] ^= 0x40
		f, err := disk.Create(s.departedPath(1), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(append(notes, d.buf[:i]...))
		f.Close()
		if _, err := killed(t, s, disk).Load(context.Background(), it.MID); err != nil {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

// The notes do not grow for ever, and none is lost when they move on.
func TestDepartedMovesOn(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, nil)
	ctx := context.Background()
	it := sample(0)
	if err := store(t, s, []byte("content\r\n"), it); err != nil {
		t.Fatal(err)
	}
	at := s.departed.at
	s.departed.size = maxDeparted
	if err := s.Apply(ctx, queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, queue.Update{Durable: true}); err != nil {
		t.Fatal(err)
	}
	if s.departed.at == at || s.departed.size != 0 {
		t.Errorf("file %d with %d octets", s.departed.at, s.departed.size)
	}
	if _, err := killed(t, s, disk).Load(ctx, it.MID); !errs.Is(err, errs.NotFound) {
		t.Error("is there again:", err)
	}
}

// Notes that could not be written begin anew with the next flush.
func TestDepartedComesBack(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, nil)
	ctx := context.Background()
	_ = s.departed.f.Close()
	s.departed.f = nil // as after a write that failed
	if err := s.Apply(ctx, queue.Update{Durable: true}); err != nil {
		t.Fatal(err)
	}
	it := sample(0)
	if err := store(t, s, []byte("content\r\n"), it); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}}); err != nil {
		t.Fatal(err)
	}
	if _, err := killed(t, s, disk).Load(ctx, it.MID); !errs.Is(err, errs.NotFound) {
		t.Error("is there again:", err)
	}
}
