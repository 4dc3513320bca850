package spool

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// returned stores a release that came back for two recipients.
func returned(t *testing.T, s *Spool, n int) *queue.Item {
	t.Helper()
	it := sample(n)
	it.Recipients = []queue.Recipient{it.Recipients[0], it.Recipients[0]}
	it.Recipients[1].RID = 1
	for i := range it.Recipients {
		it.Recipients[i].State = queue.Pending
	}
	a := mail.NewActionKey(mail.NewKey("A1B2C3D4E5", mail.MID(500+n), mail.Hash{7}), 1)
	it.Release = &queue.Release{Action: a, Gateway: "A1B2C3D4E5", ManagerMID: mail.MID(40 + n), GatewayMID: mail.MID(500 + n), Cause: "manual", By: "admin"}
	if err := store(t, s, []byte("content\r\n"), it, WithAction(a)); err != nil {
		t.Fatal(err)
	}
	it.State = queue.Routed
	return it
}

// done ends a recipient.
func done(it *queue.Item, rid int, s queue.RecipientState, code int, reply string) {
	r := &it.Recipients[rid]
	r.State, r.Code, r.Reply, r.Remote, r.Attempts = s, code, reply, "mx1.example.org", r.Attempts+1
}

func account(t *testing.T, s *Spool, a mail.ActionKey) *Account {
	t.Helper()
	got, err := s.Account(a)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// An account begins with the batch that takes a release, follows it, and ends
// when what was told of it is still all there is to tell.
func TestAccount(t *testing.T) {
	var heard []mail.ActionKey
	s := open(t, vfs.NewMem(), func(o *Options) { o.Accounts = func(a mail.ActionKey) { heard = append(heard, a) } })
	ctx := context.Background()
	it := returned(t, s, 1)
	a := it.Release.Action
	if got := account(t, s, a); got.Seq != 1 || got.MID != it.MID || got.ManagerMID != 41 || len(got.Recipients) != 2 || got.Final() {
		t.Errorf("%+v", got)
	}
	done(it, 0, queue.Delivered, 250, "ok")
	if err := s.Apply(ctx, queue.Update{Save: []*queue.Item{it}, Delivered: []mail.RID{0}, Report: []*queue.Item{it}}); err != nil {
		t.Fatal(err)
	}
	said := account(t, s, a)
	if r := said.Recipients[0]; said.Seq != 2 || said.Final() || r.State != queue.Delivered || r.Reply != "ok" || r.Remote != "mx1.example.org" || r.Code != 250 || len(heard) != 1 {
		t.Errorf("%+v %v", said, heard)
	}
	done(it, 1, queue.Bounced, 550, "no such user")
	if err := s.Apply(ctx, queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}, Report: []*queue.Item{it}}); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseAccounts([]*Account{said}); err != nil { // what was said is not all any more
		t.Fatal(err)
	}
	last := account(t, s, a)
	if r := last.Recipients[1]; last.Seq != 3 || !last.Final() || r.State != queue.Bounced || r.Code != 550 || r.Reply != "no such user" {
		t.Errorf("%+v", last)
	}
	if err := s.CloseAccounts([]*Account{last}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Account(a); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if err := s.Observe(it); err != nil || keys(t, s, keyReport) != 0 {
		t.Errorf("a closed account is open again: %v", err)
	}
	if _, found, err := s.Action(a); !found || err != nil {
		t.Error("the ledger forgot the action", err)
	}
}

// A process that is killed after a delivery, before anything was flushed, has
// delivered and says so: not delivered again, and not forgotten.
func TestAccountOutlivesTheProcess(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, nil)
	ctx := context.Background()
	whole, part, closed := returned(t, s, 1), returned(t, s, 2), returned(t, s, 3)
	for _, it := range []*queue.Item{whole, closed} {
		done(it, 0, queue.Delivered, 250, "ok whole")
		done(it, 1, queue.Delivered, 250, "ok whole")
		if err := s.Apply(ctx, queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}, Report: []*queue.Item{it}}); err != nil {
			t.Fatal(err)
		}
	}
	done(part, 1, queue.Delivered, 250, "ok part")
	if err := s.Apply(ctx, queue.Update{Save: []*queue.Item{part}, Delivered: []mail.RID{1}, Report: []*queue.Item{part}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx); err != nil { // the manager takes one of them
		t.Fatal(err)
	}
	if err := s.CloseAccounts([]*Account{account(t, s, closed.Release.Action)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	more := returned(t, s, 4)
	done(more, 0, queue.Delivered, 251, "will forward")
	done(more, 1, queue.Delivered, 250, "ok")
	if err := s.Apply(ctx, queue.Update{Remove: []mail.MID{more.MID}, Final: []*queue.Item{more}, Report: []*queue.Item{more}}); err != nil {
		t.Fatal(err)
	}
	for life := range 3 {
		s = killed(t, s, disk)
		disk = s.opt.FS.(*vfs.MemFS)
		for _, it := range []*queue.Item{whole, more} {
			if _, err := s.Load(ctx, it.MID); !errs.Is(err, errs.NotFound) {
				t.Errorf("life %d: MID %d is there again: %v", life, it.MID, err)
			}
			if got := account(t, s, it.Release.Action); !got.Final() || got.Seq != 2 || got.Recipients[0].Reply != it.Recipients[0].Reply {
				t.Errorf("life %d: %+v", life, got)
			}
		}
		if got := account(t, s, part.Release.Action); got.Final() || got.Recipients[1].State != queue.Delivered || got.Recipients[0].State.Final() {
			t.Errorf("life %d: %+v", life, got)
		}
		if _, err := s.Account(closed.Release.Action); !errs.Is(err, errs.NotFound) {
			t.Errorf("life %d: a closed account is open again: %v", life, err)
		}
	}
	n := 0
	if err := s.Accounts(ctx, func(*Account) error { n++; return nil }); err != nil || n != 3 {
		t.Error(n, err)
	}
}

// A note that is torn or damaged anywhere says nothing false: the account is
// the old one or the new one, and no other message goes.
func TestAccountNotesAreChecked(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, nil)
	it, other := returned(t, s, 1), returned(t, s, 2)
	key := nameKey(keyReport, string(it.Release.Action))
	done(it, 0, queue.Delivered, 250, "ok")
	value := accountOf(it, 2, s.now()).encode(key)
	var d departed
	d.account(it.MID, it.Release.Action, value)
	for i := range d.buf {
		notes := append([]byte(nil), d.buf...)
		notes[i] ^= 0x40
		f, err := disk.Create(s.departedPath(1), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(append(notes, d.buf[:i]...))
		f.Close()
		next := killed(t, s, disk)
		got := account(t, next, it.Release.Action)
		if got.Seq != 1 && (got.Seq != 2 || got.Recipients[0].Reply != "ok") {
			t.Errorf("byte %d: %+v", i, got)
		}
		for _, m := range []*queue.Item{it, other} {
			if _, err := next.Load(context.Background(), m.MID); err != nil {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
}

// FuzzAccount: no octets make it panic, and what is read is what is written again.
func FuzzAccount(f *testing.F) {
	it := sample(1)
	it.Release = &queue.Release{Action: "A1B2C3D4E5-1-0102030405060708-1"}
	key := nameKey(keyReport, string(it.Release.Action))
	f.Add(accountOf(it, 3, it.Accepted).encode(key))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = accountIn(b)
		a, err := decodeAccount(key, seal(key, b[:max(0, len(b)-4):max(0, len(b)-4)]))
		if err != nil {
			return
		}
		if again, err := decodeAccount(key, a.encode(key)); err != nil || again.Seq != a.Seq || len(again.Recipients) != len(a.Recipients) {
			t.Fatal(err, again, a)
		}
	})
}
