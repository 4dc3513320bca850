package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

const serial = "TESTSERIAL01"

type faults struct {
	mu   sync.Mutex
	list []string
}

func (f *faults) Fault(_, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, text)
}

func (f *faults) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.list...)
}

func open(t testing.TB, fs vfs.FS, change func(*Options)) *Spool {
	t.Helper()
	o := Options{Dir: "spool", Serial: serial, FS: fs, Log: &faults{}, MemTable: 1 << 20}
	if change != nil {
		change(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opened4test(t testing.TB) *Spool {
	s := open(t, vfs.NewMem(), nil)
	t.Cleanup(func() { s.Close() })
	return s
}

func sample(n int) *queue.Item {
	it := &queue.Item{State: queue.Work, From: mail.Address{Local: "from", Domain: "a.example"},
		Accepted: time.Unix(0, 1700000000123456789), Subject: fmt.Sprint("subject ", n), MessageID: "<x@y>",
		Origin: mail.Origin{ICID: 7, Listener: "in", Interface: "Management", RemoteIP: netip.MustParseAddr("2001:db8::1"),
			RemoteHost: "h.example", Helo: "helo", Protocol: "ESMTP", SenderGroup: "UNKNOWNLIST", Policy: "ACCEPTED", Relay: true}}
	for i := range 1 + n%3 {
		it.Recipients = append(it.Recipients, queue.Recipient{RID: mail.RID(i), Address: mail.Address{Local: fmt.Sprint("r", i), Domain: "b.example"}})
	}
	return it
}

// full has something in every field, so that a field forgotten by the codec shows.
func full() *queue.Item {
	it := sample(2)
	it.MID, it.Key, it.State, it.EightBit, it.Size = 9, "K", queue.Routed, true, 1234
	it.Hash = sha256.Sum256([]byte("x"))
	it.Prepend = []byte("X-A: b\r\n")
	it.Placements = []mail.Placement{{Quarantine: "Policy", Reason: "r", Matched: []mail.Matched{{Rule: "f: true", Part: "body", Text: "x"}, {Text: "y"}}}, {Quarantine: "Virus", Keep: time.Hour}}
	it.Release = &queue.Release{Action: "a", Gateway: "g", ManagerMID: 1, GatewayMID: 2, Cause: "manual", By: "admin",
		Held: []mail.Placement{{Quarantine: "Outbreak", Reason: "VOF rule:X"}}, Step: "clean"}
	it.Judged = mail.Judgement{Policy: "Sales", Seen: []mail.Seen{{Verdict: mail.Infected, Name: "V"}, {Verdict: mail.Clean}}, Spam: []mail.SpamVerdict{mail.SpamSuspect}}
	it.Tries = 2
	it.Route, it.Copied = mail.Route{Host: "alt.example", Interface: "Data 2", Profile: "quiet"}, true
	it.Binary, it.UTF8, it.RequireTLS, it.Ret, it.EnvID, it.Origin.User = true, true, true, mail.RetHeaders, "env id", "alice"
	it.Recipients[0].RcptParams = mail.RcptParams{Notify: mail.NotifySuccess | mail.NotifyDelay, ORCPT: "rfc822;b@b.example"}
	it.Recipients[0].Warned = 3
	it.Recipients[0].Code, it.Recipients[0].Status, it.Recipients[0].Remote, it.Recipients[0].Last = 451, "4.2.1", "mx.b.example", time.Unix(1700000777, 0)
	it.Recipients[0].Dest = queue.Dest{Name: queue.CPQHost, Lane: "l"}
	it.Recipients[0].State, it.Recipients[0].Attempts = queue.Deferred, 5
	it.Recipients[0].Next, it.Recipients[0].Reply = time.Unix(1800000000, 5), "450 later"
	return it
}

func store(t testing.TB, s *Spool, body []byte, it *queue.Item, opts ...CommitOption) error {
	t.Helper()
	d, err := s.Receive(context.Background(), s.NextMID())
	if err != nil {
		return err
	}
	if _, err := d.Write(body); err != nil {
		d.Abort()
		return err
	}
	return d.Commit(context.Background(), it, opts...)
}

func content4test(t testing.TB, s *Spool, mid mail.MID) []byte {
	t.Helper()
	r, err := s.Open(context.Background(), mid)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func scan(t testing.TB, s *Spool) map[mail.MID]*queue.Item {
	t.Helper()
	m := make(map[mail.MID]*queue.Item)
	last := mail.MID(0)
	if err := s.Scan(context.Background(), func(it *queue.Item) error {
		if it.MID <= last {
			t.Errorf("MID %d after %d", it.MID, last)
		}
		last = it.MID
		m[it.MID] = it
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// Contents of every interesting length come back as they went in, by both ways
// of reading, and leave nothing behind.
func TestContent(t *testing.T) {
	s := opened4test(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 4096, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
		body := make([]byte, n)
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		it := sample(n)
		if err := store(t, s, body, it); err != nil {
			t.Fatal(err)
		}
		if it.Hash != sha256.Sum256(body) || it.Size != int64(n) || it.Key != mail.NewKey(serial, it.MID, it.Hash) {
			t.Errorf("%d bytes: %+v", n, it)
		}
		if !bytes.Equal(content4test(t, s, it.MID), body) {
			t.Errorf("%d bytes: Read gives something else", n)
		}
		r, _ := s.Open(context.Background(), it.MID)
		var out bytes.Buffer
		if m, err := r.(io.WriterTo).WriteTo(&out); err != nil || m != int64(n) || !bytes.Equal(out.Bytes(), body) {
			t.Errorf("%d bytes: WriteTo gives %d, %v", n, m, err)
		}
		r.Close()
		if ok, err := s.Holds(it.Key); !ok || err != nil {
			t.Errorf("Holds: %v %v", ok, err)
		}
		if err := s.Apply(context.Background(), queue.Update{Remove: []mail.MID{it.MID}}); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.Holds(it.Key); ok || err != nil {
			t.Errorf("Holds after removal: %v %v", ok, err)
		}
	}
	d, _ := s.Receive(context.Background(), s.NextMID())
	d.Write(make([]byte, 2*chunkSize+7))
	d.Abort()
	d.Abort()
	if n := keys(t, s, keyContent) + keys(t, s, keyRecord); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

func keys(t testing.TB, s *Spool, prefix byte) (n int) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n
}

// Every field survives; no flipped bit and no cut is taken for a record.
func TestRecordCodec(t *testing.T) {
	it := full()
	key := midKey(keyRecord, it.MID)
	raw := appendRecord(nil, key, it)
	got, err := decodeRecord(key, raw)
	if err != nil || !reflect.DeepEqual(got, it) {
		t.Fatalf("%v\n%+v\n%+v", err, got, it)
	}
	v := reflect.ValueOf(*it)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the sample has no %s: the test would not see it lost", v.Type().Field(i).Name)
		}
	}
	for i := range raw {
		for bit := range 8 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << bit
			if _, err := decodeRecord(key, bad); !errs.Is(err, errs.Damaged) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
		}
		if _, err := decodeRecord(key, raw[:i]); !errs.Is(err, errs.Damaged) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := decodeRecord(midKey(keyRecord, 10), raw); !errs.Is(err, errs.Damaged) {
		t.Error("a record in the wrong place is taken")
	}
}

// The decoder takes no harm from what has a right checksum and a wrong form.
func FuzzRecord(f *testing.F) {
	key := midKey(keyRecord, 9)
	raw := appendRecord(nil, key, full())
	f.Add(raw[:len(raw)-4])
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		it, err := decodeRecord(key, seal(key, bytes.Clone(body)))
		if err != nil {
			if !errs.Is(err, errs.Damaged) {
				t.Fatal(err)
			}
			return
		}
		again, err := decodeRecord(key, appendRecord(nil, key, it))
		if err != nil || !reflect.DeepEqual(again, it) {
			t.Fatalf("%v\n%+v\n%+v", err, again, it)
		}
	})
}

// F6 at the level of records: each byte of each record of a small set flipped,
// each record cut at each length. That one is set aside, reported and kept;
// the others flow.
func TestDamagedRecords(t *testing.T) {
	s := opened4test(t)
	for i := range 3 {
		if err := store(t, s, []byte("body\r\n"), sample(i)); err != nil {
			t.Fatal(err)
		}
	}
	mids := []mail.MID{1, 2, 3}
	for _, mid := range mids {
		key := midKey(keyRecord, mid)
		raw, _, _ := s.get(key)
		for i := range raw {
			flipped := bytes.Clone(raw)
			flipped[i] ^= 0x55
			for _, bad := range [][]byte{flipped, raw[:i]} {
				s.db.Set(key, bad, pebble.NoSync)
				if _, err := s.Load(context.Background(), mid); !errs.Is(err, errs.Damaged) {
					t.Fatalf("MID %d byte %d: Load gives %v", mid, i, err)
				}
				got := scan(t, s)
				list, err := s.Aside()
				if len(got) != 2 || got[mid] != nil || err != nil || len(list) != 1 || list[0].MID != mid || list[0].Cause == "" {
					t.Fatalf("MID %d byte %d: %d flow, aside %v, %v", mid, i, len(got), list, err)
				}
				s.db.Set(key, raw, pebble.NoSync)
				s.db.Delete(midKey(keyAside, mid), pebble.NoSync)
			}
		}
	}
	if n := len(s.opt.Log.(*faults).all()); n == 0 {
		t.Error("nothing was reported")
	}
}

// Contents that are flipped, cut, missing or misplaced are never read to an end.
func TestDamagedContent(t *testing.T) {
	s := opened4test(t)
	it := sample(1)
	body := bytes.Repeat([]byte("0123456789abcdef"), 3*chunkSize/16/2) // one and a half chunks
	if err := store(t, s, body, it); err != nil {
		t.Fatal(err)
	}
	key := chunkKey(it.MID, 1)
	raw, _, _ := s.get(key)
	other, _, _ := s.get(chunkKey(it.MID, 0))
	bad := [][]byte{nil, {}, raw[:4], raw[:len(raw)-1], other, append(bytes.Clone(raw), 0)}
	for _, i := range []int{0, 1, len(raw) / 2, len(raw) - 5, len(raw) - 4, len(raw) - 1} {
		f := bytes.Clone(raw)
		f[i] ^= 1
		bad = append(bad, f)
	}
	bad = append(bad, seal(key, []byte("short"))) // right checksum, wrong length
	for i, v := range bad {
		if v == nil {
			s.db.Delete(key, pebble.NoSync)
		} else {
			s.db.Set(key, v, pebble.NoSync)
		}
		r, err := s.Open(context.Background(), it.MID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if !errs.Is(err, errs.Damaged) || len(b) > chunkSize {
			t.Errorf("case %d: %d bytes, %v", i, len(b), err)
		}
		if _, err := r.Read(make([]byte, 1)); !errs.Is(err, errs.Damaged) {
			t.Errorf("case %d: then %v", i, err)
		}
		r.Close()
	}
}

// The ledger takes each action once, also when it comes many times at once,
// and remembers after a restart; the record and the entry come together.
func TestLedgerTakesOnce(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs, nil)
	action := mail.NewActionKey(mail.NewKey(serial, 5, mail.Hash{1}), 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	took, taken := 0, 0
	var mid mail.MID
	for range 16 {
		wg.Go(func() {
			it := sample(1)
			err := store(t, s, []byte("x"), it, WithAction(action))
			mu.Lock()
			defer mu.Unlock()
			var before *Taken
			switch {
			case err == nil:
				took++
				mid = it.MID
			case errors.As(err, &before):
				taken++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took != 1 || taken != 15 || len(scan(t, s)) != 1 {
		t.Errorf("took %d, taken %d, %d in the queue", took, taken, len(scan(t, s)))
	}
	s.Close()
	s = open(t, fs, nil)
	defer s.Close()
	if got, ok, err := s.Action(action); got != mid || !ok || err != nil {
		t.Errorf("after a restart: %v %v %v", got, ok, err)
	}
	if _, ok, _ := s.Action(action + "2"); ok {
		t.Error("another action is taken")
	}
	key := nameKey(keyAction, string(action))
	raw, _, _ := s.get(key)
	raw[2] ^= 1
	s.db.Set(key, raw, pebble.NoSync)
	var before *Taken
	if err := store(t, s, []byte("x"), sample(1), WithAction(action)); err == nil || errors.As(err, &before) {
		t.Errorf("a damaged ledger entry: %v", err) // refused for now: 4xx, not released again
	}
	if len(scan(t, s)) != 1 {
		t.Error("released twice")
	}
}

// Custody passed over CPQ: receipt and removal are one change; what is needed
// to check a release is in the ledger.
func TestSentLedger(t *testing.T) {
	s := opened4test(t)
	it := sample(2)
	it.Prepend = []byte("X: y\r\n")
	if err := store(t, s, []byte("body"), it); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1700000001, 0)
	err := s.Apply(context.Background(), queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it},
		Receipts: []queue.Receipt{{Item: it, Remote: "44", Reply: "ok", At: at}}})
	if err != nil {
		t.Fatal(err)
	}
	got, ok, err := s.Sent(it.Key)
	want := Sent{Key: it.Key, MID: it.MID, Remote: "44", Reply: "ok", At: at, From: it.From, Size: 4, Hash: it.Hash,
		Prepend: it.Prepend, Subject: it.Subject, Origin: it.Origin}
	for _, r := range it.Recipients {
		want.Recipients, want.Rcpt = append(want.Recipients, r.Address), append(want.Rcpt, r.RcptParams)
	}
	want.Params = it.Params
	if !ok || err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v\n%+v\n%+v", ok, err, got, want)
	}
	if n, err := s.Forget(context.Background(), at); n != 0 || err != nil {
		t.Errorf("forgot %d, %v", n, err)
	}
	if n, err := s.Forget(context.Background(), at.Add(1)); n != 1 || err != nil {
		t.Errorf("forgot %d, %v", n, err)
	}
	if _, ok, _ := s.Sent(it.Key); ok {
		t.Error("not forgotten")
	}
}

// A copy has its own content: either may leave first. Also together with the
// removal of what it was copied from.
func TestCopies(t *testing.T) {
	s := opened4test(t)
	for _, n := range []int{10, chunkSize * 2} {
		it := sample(0)
		body := bytes.Repeat([]byte("z"), n)
		if err := store(t, s, body, it); err != nil {
			t.Fatal(err)
		}
		c := it.Clone()
		c.MID, c.Key, c.State = s.NextMID(), "copy", queue.Routed
		u := queue.Update{Remove: []mail.MID{it.MID}, Add: []queue.Copy{{Of: it.MID, Item: c}}, Durable: true}
		if err := s.Apply(context.Background(), u); err != nil {
			t.Fatal(err)
		}
		if got := scan(t, s); got[it.MID] != nil || !reflect.DeepEqual(got[c.MID], c) {
			t.Errorf("%d bytes: %+v", n, got)
		}
		if !bytes.Equal(content4test(t, s, c.MID), body) {
			t.Errorf("%d bytes: content of the copy", n)
		}
	}
}

// Floors: no mail is begun below them, a long one is broken off at them, and
// it goes on when there is room.
func TestSpaceFloors(t *testing.T) {
	bytesFree, inodes := uint64(1<<30), uint64(1<<20)
	now := time.Unix(1, 0)
	s := open(t, vfs.NewMem(), func(o *Options) {
		o.Space = func() (uint64, uint64, error) { return bytesFree, inodes, nil }
		o.Clock = func() time.Time { now = now.Add(time.Second); return now }
	})
	defer s.Close()
	if err := s.Ready(1 << 29); err != nil {
		t.Error(err)
	}
	if err := s.Ready(1 << 30); !errs.Is(err, errs.Full) {
		t.Errorf("a message that would break the floor: %v", err)
	}
	d, err := s.Receive(context.Background(), s.NextMID())
	if err != nil {
		t.Fatal(err)
	}
	d.Write(make([]byte, chunkSize))
	inodes = 10
	if _, err := d.Write(make([]byte, 2*chunkSize)); !errs.Is(err, errs.Full) {
		t.Errorf("a long message: %v", err)
	}
	if err := d.Commit(context.Background(), sample(0)); !errs.Is(err, errs.Full) {
		t.Errorf("then Commit: %v", err)
	}
	if _, err := s.Receive(context.Background(), s.NextMID()); !errs.Is(err, errs.Full) {
		t.Error(err)
	}
	inodes = 1 << 20
	if err := store(t, s, []byte("x"), sample(0)); err != nil {
		t.Error(err)
	}
	if len(scan(t, s)) != 1 || keys(t, s, keyContent) != 1 {
		t.Error("something is left")
	}
}

// Numbers go on without a gap after Close; small states survive; a newer
// format and a second opener are refused.
func TestReopen(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs, nil)
	if _, err := Open(s.opt); err == nil {
		t.Error("opened twice")
	}
	for want := range mail.MID(2500) {
		if got := s.NextMID(); got != want+1 {
			t.Fatalf("MID %d, want %d", got, want+1)
		}
	}
	if err := s.Put("x", []byte("state")); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = open(t, fs, nil)
	if m := s.NextMID(); m != 2501 {
		t.Errorf("after Close: %d", m)
	}
	if m := s.LastMID(); m != 2501 {
		t.Errorf("LastMID: %d", m)
	}
	if v, err := s.Get("x"); string(v) != "state" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	s.Put("x", nil)
	if v, err := s.Get("x"); v != nil || err != nil {
		t.Errorf("%q %v", v, err)
	}
	s.db.Set([]byte{keyFormat}, []byte{format + 1}, pebble.Sync)
	s.Close()
	if _, err := Open(s.opt); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("newer format: %v", err)
	}
}

// A content that was kept becomes a message with the update that adds it; one
// that no update followed is gone at the next start.
func TestKeptContent(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, nil)
	long := bytes.Repeat([]byte("x"), 3*chunkSize+5)
	keep := func(mid mail.MID) *queue.Item {
		d, err := s.Receive(t.Context(), mid)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(long); err != nil {
			t.Fatal(err)
		}
		it := sample(1)
		it.MID, it.Size, it.Hash, it.State = mid, d.Size(), d.Hash(), queue.Routed
		if err := d.Keep(); err != nil {
			t.Fatal(err)
		}
		if err := d.Keep(); err == nil {
			t.Error("kept twice")
		}
		return it
	}
	first, second := s.NextMID(), s.NextMID()
	it := keep(first)
	keep(second)
	if err := s.Apply(t.Context(), queue.Update{Add: []queue.Copy{{Of: first, Item: it}}, Durable: true}); err != nil {
		t.Fatal(err)
	}
	fs := disk.CrashClone(vfs.CrashCloneCfg{})
	s.Close()
	o := s.opt
	o.FS, o.cache = fs, nil
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.wg.Wait() // the sweep
	r, err := again.Open(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	r.Close()
	if err != nil || !bytes.Equal(got, long) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, found, err := again.get(chunkKey(second, 0)); found || err != nil {
		t.Errorf("what no message has is there: %v", err)
	}
}
