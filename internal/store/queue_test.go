package store

import (
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

// release makes the change that begins a release.
func release(r *quarantine.Record, n uint32) quarantine.Change {
	after := *r
	after.Memberships = slices.Clone(r.Memberships)
	after.State, after.Changed, after.Actions = quarantine.Releasing, start, n
	ch := quarantine.Change{Before: r, After: &after,
		Intent: &quarantine.Intent{Action: mail.NewActionKey(r.Key, n), Cause: quarantine.Manual, By: "alice", At: start}}
	for i := range after.Memberships {
		if m := &after.Memberships[i]; m.State == quarantine.In {
			m.State, m.Cause, m.By, m.Left = quarantine.Released, quarantine.Manual, "alice", start
			ch.Members = append(ch.Members, i)
		}
	}
	after.Release = nil
	for i, a := range r.Envelope.To {
		d := quarantine.Delivery{RID: mail.RID(i), Recipient: a, At: start}
		if i < len(r.Release) && r.Release[i].State == quarantine.Taken {
			d = r.Release[i]
		}
		after.Release = append(after.Release, d)
	}
	return ch
}

// leaving opens a store with one message that is being released.
func leaving(t *testing.T) (*Store, *memContents, *quarantine.Record, string) {
	path, c := filepath.Join(t.TempDir(), "q.db"), &memContents{}
	s := openSQLite(t, path, c)
	r := record(t, s, c, 1, "the content", "Policy")
	add(t, s, r)
	change(t, s, true, release(r, 1))
	return s, c, r, path
}

func apply(t *testing.T, q *Releases, u queue.Update) {
	t.Helper()
	if err := q.Apply(ctx, u); err != nil {
		t.Fatal(err)
	}
}

// A release is an item with all that the courier needs, also in the next life.
func TestReleaseItem(t *testing.T) {
	s, c, r, path := leaving(t)
	it, err := s.Releases().Load(ctx, r.MID)
	if err != nil {
		t.Fatal(err)
	}
	if it.State != queue.Work || it.Key != r.Key || it.Hash != r.Hash || it.Size != r.Size || it.Subject != r.Subject || string(it.Prepend) != string(r.Prepend) ||
		!it.EightBit || it.From != r.Envelope.From || !reflect.DeepEqual(*it.Release, queue.Release{Action: mail.NewActionKey(r.Key, 1), Gateway: serial,
		ManagerMID: r.MID, GatewayMID: r.GatewayMID, Cause: "manual", By: "alice"}) {
		t.Errorf("%+v %+v", it, it.Release)
	}
	want := queue.Dest{Name: queue.CPQReleaseHost, Lane: serial}
	for i, to := range it.Recipients {
		if to.Address != r.Envelope.To[i] || to.Dest != want || to.RID != mail.RID(i) || to.State != queue.Pending {
			t.Errorf("recipient %+v", to)
		}
	}
	f, err := s.Releases().Open(ctx, r.MID)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(f); string(b) != "the content" {
		t.Errorf("content %q", b)
	}
	it.Recipients[0].State, it.Recipients[0].Attempts, it.Recipients[0].Next, it.Recipients[0].Reply = queue.Deferred, 3, start.Add(time.Minute), "451 later"
	apply(t, s.Releases(), queue.Update{Save: []*queue.Item{it}})
	if d := load(t, s, r.MID).Release[0]; d.State != quarantine.Queued || d.Reply != "451 later" {
		t.Errorf("shown as %+v", d)
	}
	apply(t, s.Releases(), queue.Update{Durable: true})
	s.Close()
	s = openSQLite(t, path, c)
	var got []*queue.Item
	if err := s.Releases().Scan(ctx, func(it *queue.Item) error { got = append(got, it); return nil }); err != nil || len(got) != 1 {
		t.Fatal(len(got), err)
	}
	if to := got[0].Recipients[0]; got[0].State != queue.Routed || to.State != queue.Deferred || to.Attempts != 3 || !to.Next.Equal(start.Add(time.Minute)) || to.Reply != "451 later" {
		t.Errorf("next life: %s %+v", got[0].State, to)
	}
}

// Taken: the gateway's number and words are kept, nothing is left to send, and
// the content stays until it is let go.
func TestReleaseTaken(t *testing.T) {
	s, c, r, _ := leaving(t)
	q := s.Releases()
	it, _ := q.Load(ctx, r.MID)
	for i := range it.Recipients {
		it.Recipients[i].State, it.Recipients[i].Reply = queue.Delivered, "250 ok:  Message 77 accepted"
	}
	it.State = queue.Done
	u := queue.Update{Receipts: []queue.Receipt{{Item: it, Remote: "77", Reply: "250 ok:  Message 77 accepted", At: start}},
		Remove: []mail.MID{r.MID}, Final: []*queue.Item{it}}
	apply(t, q, u)
	apply(t, q, u) // the queue repeats what it is not sure of
	got := load(t, s, r.MID)
	if got.State != quarantine.Sent || got.Content == "" || c.len() != 1 {
		t.Errorf("%s, content %q, %d objects", got.State, got.Content, c.len())
	}
	if l, err := s.Sent(ctx, got.Changed, 10); err != nil || len(l) != 1 || l[0] != (quarantine.Weight{MID: r.MID, Bytes: r.Size}) {
		t.Errorf("%v %v", l, err)
	}
	if l, err := s.Sent(ctx, got.Changed.Add(-time.Millisecond), 10); err != nil || len(l) != 0 {
		t.Errorf("%v %v", l, err)
	}
	for _, d := range got.Release {
		if d.State != quarantine.Taken || d.Remote != 77 || d.Reply != "250 ok:  Message 77 accepted" {
			t.Errorf("%+v", d)
		}
	}
	if _, err := q.Load(ctx, r.MID); !errs.Is(err, errs.NotFound) {
		t.Errorf("still to be sent: %v", err)
	}
	after := *got
	after.State = quarantine.Gone
	change(t, s, true, quarantine.Change{Before: got, After: &after})
	if _, err := q.Open(ctx, r.MID); !errs.Is(err, errs.NotFound) || c.len() != 0 {
		t.Errorf("content: %v, %d objects", err, c.len())
	}
	// A word that comes later is noted, and counts no content a second time.
	late := load(t, s, r.MID)
	later := *late
	later.Release = slices.Clone(late.Release)
	later.Release[0].State, later.Release[0].Proof = quarantine.Accepted, quarantine.Proof{Seq: 7, At: start, Attempts: 2, Host: "mx", Code: 250, Reply: "ok"}
	change(t, s, true, quarantine.Change{Before: late, After: &later, Proofs: []int{0}})
	if d := load(t, s, r.MID).Release[0]; d.State != quarantine.Accepted || d.Proof != later.Release[0].Proof {
		t.Errorf("%+v", d)
	}
	if u, err := s.Usage(ctx); err != nil || u.All != (quarantine.Flow{}) {
		t.Errorf("%+v %v", u, err)
	}
	if made, err := s.Change(ctx, []quarantine.Change{release(r, 2)}); err != nil || made[0] {
		t.Error("a release after the end was accepted")
	}
}

// Refused for one: failed, content kept, and the next decision goes to that one only.
func TestReleaseFailed(t *testing.T) {
	s, c, r, _ := leaving(t)
	q := s.Releases()
	it, _ := q.Load(ctx, r.MID)
	it.Recipients[0].State = queue.Delivered
	it.Recipients[1].State, it.Recipients[1].Reply = queue.Bounced, "550 no"
	apply(t, q, queue.Update{Receipts: []queue.Receipt{{Item: it, Remote: "77", Reply: "ok", At: start}}, Remove: []mail.MID{r.MID}, Final: []*queue.Item{it}})
	got := load(t, s, r.MID)
	if got.State != quarantine.Failed || c.len() != 1 || got.Release[0].State != quarantine.Taken || got.Release[1].State != quarantine.FailedThere || got.Release[1].Reply != "550 no" {
		t.Fatalf("%s %+v", got.State, got.Release)
	}
	change(t, s, true, release(got, 2))
	it, err := q.Load(ctx, r.MID)
	if err != nil || it.Release.Action != mail.NewActionKey(r.Key, 2) || it.Recipients[0].State != queue.Delivered || it.Recipients[1].State != queue.Pending {
		t.Errorf("%+v %v", it, err)
	}
	if err := q.SetAside(ctx, r.MID, errs.New(errs.Damaged, "content is damaged")); err != nil {
		t.Fatal(err)
	}
	got = load(t, s, r.MID)
	if got.State != quarantine.Failed || got.Release[0].State != quarantine.Taken || got.Release[1].Reply != "content is damaged" {
		t.Errorf("set aside: %s %+v", got.State, got.Release)
	}
	if err := q.Scan(ctx, func(it *queue.Item) error { t.Errorf("scan gives %d", it.MID); return nil }); err != nil {
		t.Error(err)
	}
}

// Deleted from the queue for everybody is the decision to delete.
func TestReleaseDeleted(t *testing.T) {
	s, c, r, _ := leaving(t)
	it, _ := s.Releases().Load(ctx, r.MID)
	for i := range it.Recipients {
		it.Recipients[i].State = queue.Deleted
	}
	apply(t, s.Releases(), queue.Update{Remove: []mail.MID{r.MID}, Final: []*queue.Item{it}, Durable: true})
	got := load(t, s, r.MID)
	if got.State != quarantine.Removed || c.len() != 0 || got.Release[0].Reply != deletedFromQueue {
		t.Errorf("%s %+v", got.State, got.Release)
	}
}

// A release whose content is lost is damaged, not finished.
func TestReleaseContentLost(t *testing.T) {
	s, c, r, _ := leaving(t)
	c.Delete(ctx, r.Content)
	if _, err := s.Releases().Open(ctx, r.MID); !errs.Is(err, errs.Damaged) {
		t.Errorf("%v", err)
	}
}
