package spool

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// passed is what the queue says when a manager has taken a message that is held
// for a reason.
func passed(it *queue.Item, remote, reason string) queue.Update {
	gone := it.Clone()
	gone.Placements = []mail.Placement{{Quarantine: "Policy", Reason: "message filter:x"}, {Quarantine: "Outbreak", Reason: reason}}
	return queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{gone}, Receipts: []queue.Receipt{{Item: gone, Remote: remote, At: time.Unix(1_700_000_000, 0)}}}
}

func readShadow(s *Spool, sh Shadow) ([]byte, error) {
	r, err := s.OpenShadow(context.Background(), sh)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// A message that a manager holds by an outbreak rule leaves its content, and no
// other does; the content survives a start with its sweep and goes when it is
// dropped, once, for good.
func TestShadow(t *testing.T) {
	fs, ctx := vfs.NewMem(), context.Background()
	large := func(o *Options) { o.MaxShadows, o.chunk = 10_000, 600 }
	s := open(t, fs, large)
	body := bytes.Repeat([]byte("0123456789"), 300)
	add := func(s *Spool, body []byte, remote, reason string) *queue.Item {
		t.Helper()
		it := sample(1)
		if err := store(t, s, body, it); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(ctx, passed(it, remote, reason)); err != nil {
			t.Fatal(err)
		}
		return it
	}
	first := add(s, body, "41", "VOF rule:R1")
	add(s, body, "42", "message filter:y") // not by a rule
	add(s, body, Own, "VOF rule:R1")       // in a quarantine of our own
	add(s, bytes.Repeat(body, 3), "43", "VOF rule:R1")
	second := add(s, body, "44", "VOF rule:R2")
	s.Apply(ctx, queue.Update{Durable: true})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs, large)
	s.wg.Wait() // the sweep
	list, err := s.Shadows(ctx)
	if err != nil || len(list) != 2 || list[0].MID != first.MID || list[0].Key != first.Key || list[0].Size != 3000 || list[0].At.Unix() != 1_700_000_000 || list[0].Rule != "R1" || list[1].MID != second.MID || list[1].Rule != "R2" {
		t.Fatalf("%+v %v", list, err)
	}
	for _, sh := range list {
		if got, err := readShadow(s, sh); err != nil || !bytes.Equal(got, body) {
			t.Errorf("MID %d: %d bytes, %v", sh.MID, len(got), err)
		}
		if _, found, err := s.Sent(sh.Key); !found || err != nil {
			t.Errorf("the ledger does not know MID %d: %v", sh.MID, err)
		}
	}
	if n, b := s.ShadowUse(); n != 2 || b != 6000 {
		t.Errorf("%d shadows of %d bytes", n, b)
	}
	if len(scan(t, s)) != 0 {
		t.Error("there is mail in the queue")
	}
	for range 2 {
		if err := s.DropShadows(list[:1]); err != nil {
			t.Fatal(err)
		}
	}
	list[0].Rule, list[1].Rule = "R8", "R9"
	for _, sh := range list { // of one that is gone nothing is noted
		if err := s.SetShadow(sh); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readShadow(s, list[0]); !errs.Is(err, errs.Damaged) {
		t.Errorf("a shadow that is gone: %v", err)
	}
	if n, b := s.ShadowUse(); n != 1 || b != 3000 {
		t.Errorf("%d shadows of %d bytes", n, b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs, large)
	defer s.Close()
	if list, err := s.Shadows(ctx); err != nil || len(list) != 1 || list[0].MID != second.MID || list[0].Rule != "R9" {
		t.Errorf("%+v %v", list, err)
	}
}

// A damaged entry is told and dropped, and does not keep the others from being
// judged.
func TestShadowDamaged(t *testing.T) {
	log := &faults{}
	s := open(t, vfs.NewMem(), func(o *Options) { o.MaxShadows, o.Log = 1<<20, log })
	defer s.Close()
	for range 2 {
		it := sample(1)
		if err := store(t, s, []byte("x\r\n"), it); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(context.Background(), passed(it, "41", "VOF rule:R1")); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Shadows(context.Background())
	if err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	b := s.db.NewBatch()
	if err := b.Set(midKey(keyShadow, list[0].MID), []byte("rubbish"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(b, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		left, err := s.Shadows(context.Background())
		if err != nil || len(left) != 1 || left[0].MID != list[1].MID {
			t.Errorf("%v %v", left, err)
		}
		if got := log.all(); len(got) != 1 || !strings.Contains(got[0], "copy of MID "+list[0].MID.String()) {
			t.Errorf("%d: %q", want, got)
		}
	}
	if n, _ := s.ShadowUse(); n != 1 {
		t.Errorf("%d shadows", n)
	}
}

// A power cut while custody passes leaves the message in the queue, whole, or
// its shadow, whole and with its ledger entry; never neither, and never both.
func TestShadowAtACrash(t *testing.T) {
	body := bytes.Repeat([]byte("crash\r\n"), 400)
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[string]int{}
	for range 30 {
		fs := vfs.NewCrashableMem()
		change := func(o *Options) { o.MaxShadows, o.chunk, o.cache = 1<<20, 600, shared }
		s := open(t, fs, change)
		it := sample(1)
		if err := store(t, s, body, it); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(context.Background(), passed(it, "41", "VOF rule:R1")); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(2) == 0 {
			if err := s.Apply(context.Background(), queue.Update{Durable: true}); err != nil {
				t.Fatal(err)
			}
		}
		image := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		s.Close()
		s = open(t, image, change)
		s.wg.Wait()
		list, err := s.Shadows(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		_, sent, err := s.Sent(it.Key)
		if err != nil {
			t.Fatal(err)
		}
		switch live := scan(t, s); {
		case len(live) == 1 && len(list) == 0 && !sent:
			seen["message"]++
			if got := content4test(t, s, it.MID); !bytes.Equal(got, body) {
				t.Errorf("%d bytes", len(got))
			}
		case len(live) == 0 && len(list) == 1 && sent:
			seen["shadow"]++
			if got, err := readShadow(s, list[0]); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		default:
			t.Errorf("%d messages, %d shadows, in the ledger: %v", len(live), len(list), sent)
		}
		s.Close()
	}
	if seen["message"] == 0 || seen["shadow"] == 0 {
		t.Errorf("not both were seen: %v", seen)
	}
}
