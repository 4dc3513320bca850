package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/quarantine"
)

// memContents keeps content in memory.
type memContents struct {
	mu sync.Mutex
	m  map[quarantine.ContentID][]byte
	n  int
}

func (c *memContents) Put(_ context.Context, r io.Reader) (quarantine.ContentID, int64, mail.Hash, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", 0, mail.Hash{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[quarantine.ContentID][]byte{}
	}
	c.n++
	id := quarantine.ContentID(fmt.Sprintf("object-%d", c.n))
	c.m[id] = b
	return id, int64(len(b)), sha256.Sum256(b), nil
}

func (c *memContents) Open(_ context.Context, id quarantine.ContentID) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.m[id]
	if !ok {
		return nil, errs.New(errs.NotFound, "no content %s", id)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (c *memContents) Delete(_ context.Context, id quarantine.ContentID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, id)
	return nil
}

func (c *memContents) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.m)
}

// backend is what the suite asks of a database: quarantine's two interfaces and
// numbers. open is called again for the same place to see what is durable.
type backend interface {
	quarantine.Store
	quarantine.Calendar
	quarantine.Pool
	quarantine.Outlook
	quarantine.Insides
	NextMID() mail.MID
	Close() error
}

const serial = "A1B2C3D4E5"

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 24, 12, 0, 0, 123e6, time.UTC)
)

// record makes a record with every field set; n makes it different from others,
// body decides the content.
func record(t testing.TB, s backend, c *memContents, n int, body string, quarantines ...string) *quarantine.Record {
	t.Helper()
	id, size, hash, err := c.Put(ctx, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	at := start.Add(time.Duration(n) * time.Second)
	r := &quarantine.Record{Content: id, Display: fmt.Sprintf("Grüße %d", n), Received: at, Version: 1, Changed: at,
		Deposit: quarantine.Deposit{MID: s.NextMID(), Key: mail.NewKey(serial, mail.MID(5000+n), hash), Gateway: serial, GatewayName: "gw1.example.com",
			GatewayMID: mail.MID(5000 + n), Accepted: at.Add(-time.Second), Policy: "DEFAULT", Direction: "inbound", Size: size, Hash: hash,
			Subject: "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", MessageID: "<x@y>", Prepend: []byte("Received: x\r\n"),
			Origin: mail.Origin{ICID: 7, RemoteIP: netip.MustParseAddr("192.0.2.1"), Helo: "h"},
			Envelope: mail.Envelope{Params: mail.Params{EightBit: true, UTF8: true, EnvID: "e"}, Rcpt: []mail.RcptParams{{Notify: mail.NotifyNever}}, From: mail.Address{Local: "Sender" + fmt.Sprint(n), Domain: "example.net"},
				To: []mail.Address{{Local: "b", Domain: "example.org"}, {Local: `"c d"`, Domain: "[192.0.2.9]"}}}}}
	r.Attachments = []message.Attachment{{Part: "2", Names: []string{"Grüße.pdf", "x\u200f.exe"}, Types: []string{"application/pdf"}, Size: 12}, {Part: "3", Types: []string{"image/png", "text/plain"}}}
	r.Attached = 7
	for i, q := range quarantines {
		r.Memberships = append(r.Memberships, quarantine.Membership{Quarantine: q, Reason: "message filter:x", Entered: at, Exit: at.Add(time.Duration(i+1) * time.Hour)})
		r.Placements = append(r.Placements, mail.Placement{Quarantine: q, Reason: "message filter:x"})
	}
	return r
}

func add(t *testing.T, s backend, r *quarantine.Record) {
	t.Helper()
	if mid, existing, err := s.Add(ctx, r); err != nil || existing || mid != r.MID {
		t.Fatal(mid, existing, err)
	}
}

func load(t *testing.T, s backend, mid mail.MID) *quarantine.Record {
	t.Helper()
	l, err := s.Load(ctx, []mail.MID{mid})
	if err != nil || len(l) != 1 {
		t.Fatal(len(l), err)
	}
	return l[0]
}

// suite is the contract of quarantine.Store and Calendar, for every database.
func suite(t *testing.T, open func(t *testing.T, c *memContents) backend) {
	t.Run("round trip", func(t *testing.T) {
		c := &memContents{}
		s := open(t, c)
		r := record(t, s, c, 1, "a", "Policy", "Virus")
		add(t, s, r)
		got := load(t, s, r.MID)
		r.Placements = nil // they became memberships
		if !reflect.DeepEqual(r, got) {
			t.Errorf("kept\n%+v\ngot\n%+v", r, got)
		}
		null := record(t, s, c, 2, "b", "Policy")
		null.Envelope.From = mail.Address{}
		add(t, s, null)
		if got := load(t, s, null.MID); got.Envelope.From != (mail.Address{}) {
			t.Errorf("the null path came back as %v", got.Envelope.From)
		}
		l, err := s.Load(ctx, []mail.MID{null.MID, 999999, r.MID, null.MID})
		if err != nil || len(l) != 2 || l[0].MID != null.MID || l[1].MID != r.MID {
			t.Errorf("load gives %d, %v", len(l), err)
		}
	})
	t.Run("content once", func(t *testing.T) { suiteContent(t, open) })
	t.Run("compare and set", func(t *testing.T) { suiteChange(t, open) })
	t.Run("calendar", func(t *testing.T) { suiteCalendar(t, open) })
	t.Run("undo", func(t *testing.T) { suiteUndo(t, open) })
	t.Run("rename", func(t *testing.T) { suiteRename(t, open) })
	t.Run("find", func(t *testing.T) { suiteFind(t, open) })
	t.Run("search", func(t *testing.T) { suiteSearch(t, open) })
	t.Run("hidden reason", func(t *testing.T) { suiteHiddenReason(t, open) })
	t.Run("paging", func(t *testing.T) { suitePaging(t, open) })
	t.Run("hidden order", func(t *testing.T) { suiteHiddenOrder(t, open) })
	t.Run("insides", func(t *testing.T) { suiteInsides(t, open) })
	t.Run("one failure in a batch", func(t *testing.T) { suiteBatch(t, open) })
	t.Run("one transaction", func(t *testing.T) { suiteTogether(t, open) })
}

// remove makes the change that deletes a message.
func remove(r *quarantine.Record) quarantine.Change {
	after := *r
	after.Memberships = slices.Clone(r.Memberships)
	ch := quarantine.Change{Before: r, After: &after}
	after.State, after.Changed = quarantine.Removed, start.Add(time.Minute)
	for i := range after.Memberships {
		m := &after.Memberships[i]
		m.State, m.Cause, m.By, m.Left = quarantine.Deleted, quarantine.Manual, "alice", after.Changed
		ch.Members = append(ch.Members, i)
	}
	return ch
}

func change(t *testing.T, s backend, want bool, c quarantine.Change) {
	t.Helper()
	if made, err := s.Change(ctx, []quarantine.Change{c}); err != nil || made[0] != want {
		t.Fatalf("change made %v, %v", made, err)
	}
}

func suiteContent(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	a, b := record(t, s, c, 1, "same", "Policy"), record(t, s, c, 2, "same", "Policy")
	add(t, s, a)
	add(t, s, b)
	if c.len() != 1 || load(t, s, b.MID).Content != a.Content {
		t.Errorf("%d objects for one content", c.len())
	}
	again := record(t, s, c, 1, "same", "Policy")
	if mid, existing, err := s.Add(ctx, again); err != nil || !existing || mid != a.MID || c.len() != 1 {
		t.Errorf("repeat: %d %v %v, %d objects", mid, existing, err, c.len())
	}
	change(t, s, true, remove(a))
	if c.len() != 1 || load(t, s, a.MID).Content != "" {
		t.Error("content of the other is gone, or that of the deleted is not")
	}
	change(t, s, true, remove(b))
	if c.len() != 0 {
		t.Error("content is left behind the last message")
	}
	n := record(t, s, c, 3, "same", "Policy")
	add(t, s, n)
	if c.len() != 1 || load(t, s, n.MID).Content != n.Content {
		t.Error("content came back wrong")
	}
}

func suiteChange(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	r, o := record(t, s, c, 1, "a", "Policy", "Virus"), record(t, s, c, 2, "b", "Policy")
	add(t, s, r)
	add(t, s, o)
	other := *r
	other.Version = 7
	stale := remove(&other)
	made, err := s.Change(ctx, []quarantine.Change{stale, remove(o)})
	if err != nil || !slices.Equal(made, []bool{false, true}) {
		t.Fatal(made, err)
	}
	if got := load(t, s, r.MID); got.Version != 1 || got.State != quarantine.Held || got.Memberships[0].State != quarantine.In {
		t.Errorf("a lost race changed something: %+v", got)
	}
	change(t, s, true, remove(r))
	change(t, s, false, remove(r))
	want := remove(r).After
	got := load(t, s, r.MID)
	if got.Version != 2 || got.State != quarantine.Removed || !got.Changed.Equal(want.Changed) || !reflect.DeepEqual(got.Memberships, want.Memberships) {
		t.Errorf("%+v", got)
	}
	counts, err := s.Counts(ctx)
	if err != nil || len(counts) != 2 || counts[0].Messages != 0 || counts[0].Bytes != 0 || !counts[0].Last.Equal(o.Received) {
		t.Errorf("%+v %v", counts, err)
	}
}

// What undo, move and hold need: decisions have numbers, memberships come back
// and are added, and the counters follow.
func suiteRename(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	one, two, both := record(t, s, c, 1, "a", "Legal", "Virus"), record(t, s, c, 2, "b", "Legal"), record(t, s, c, 3, "c", "Legal", "Law")
	for _, r := range []*quarantine.Record{one, two, both} {
		add(t, s, r)
	}
	for i, want := range []int{1, 1, 0} { // one a transaction
		if n, err := s.Rename(ctx, "Legal", "Law", 1); n != want || err != nil {
			t.Errorf("%d: renamed %d, %v", i, n, err)
		}
	}
	if m := load(t, s, one.MID).Memberships; m[0].Quarantine != "Law" || m[1].Quarantine != "Virus" || !m[0].Exit.Equal(one.Memberships[0].Exit) {
		t.Errorf("%+v", m)
	}
	if m := load(t, s, both.MID).Memberships; m[0].Quarantine != "Legal" || m[1].Quarantine != "Law" {
		t.Errorf("in both: %+v", m)
	}
	change(t, s, false, quarantine.Change{Before: two, After: two}) // planned under the old name
	counts, err := s.Counts(ctx)
	got := map[string]int64{}
	for _, n := range counts {
		got[n.Quarantine] = n.Messages
	}
	if err != nil || got["Law"] != 3 || got["Legal"] != 1 || got["Virus"] != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func suiteUndo(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	r, other := record(t, s, c, 1, "a", "Policy", "Virus"), record(t, s, c, 2, "b", "Policy")
	add(t, s, r)
	add(t, s, other)
	id, err := s.Decide(ctx, quarantine.Decision{Action: quarantine.Delete, By: "alice", From: "192.0.2.7", At: start})
	if err != nil || id == 0 {
		t.Fatal(id, err)
	}
	if next, err := s.Decide(ctx, quarantine.Decision{Action: quarantine.Release, By: "bob", At: start}); err != nil || next <= id {
		t.Errorf("decision %d after %d, %v", next, id, err)
	}
	binned := *r
	binned.Memberships = slices.Clone(r.Memberships)
	binned.State, binned.Until, binned.Decision, binned.Changed = quarantine.Binned, start.Add(time.Hour), id, start
	for i := range binned.Memberships {
		m := &binned.Memberships[i]
		m.State, m.Cause, m.By, m.Left, m.Decision = quarantine.Deleted, quarantine.Manual, "alice", start, id
	}
	binned.Memberships[1].Extras = mail.Extras{Tag: "[fr\u00fch] '\"", AtEnd: true, Header: "X-Early", Value: "True", Strip: true}
	change(t, s, true, quarantine.Change{Before: r, After: &binned, Members: []int{0, 1}})
	got := load(t, s, r.MID)
	if got.State != quarantine.Binned || !got.Until.Equal(binned.Until) || got.Decision != id || !reflect.DeepEqual(got.Memberships, binned.Memberships) || c.len() != 2 {
		t.Errorf("%+v, %d objects", got, c.len())
	}
	if l, err := s.DecidedBy(ctx, id); err != nil || !slices.Equal(l, []mail.MID{r.MID}) {
		t.Errorf("decided by %d: %v, %v", id, l, err)
	}
	for at, n := range map[time.Duration]int{time.Hour - time.Millisecond: 0, time.Hour: 1} {
		if l, err := s.Ripe(ctx, start.Add(at), 10); err != nil || len(l) != n {
			t.Errorf("ripe after %s: %v, %v", at, l, err)
		}
	}
	back := *got
	back.Memberships = append(slices.Clone(r.Memberships), quarantine.Membership{Quarantine: "Mine", Entered: start, Exit: start, Reason: "moved"})
	back.Memberships[1].State = quarantine.Moved
	back.Memberships[2].Matched = []mail.Matched{{Rule: `f: body-contains("x")`, Part: "a\u00e4.doc", Text: "\ue000 '\""}, {Text: "\ufffd"}}
	back.State, back.Until, back.Decision = quarantine.Held, time.Time{}, 0
	back.Hold = quarantine.Hold{By: "bob", Why: "court", At: start}
	change(t, s, true, quarantine.Change{Before: got, After: &back, Members: []int{0, 1, 2}})
	got = load(t, s, r.MID)
	if got.Hold != back.Hold || !got.Until.IsZero() || !reflect.DeepEqual(got.Memberships, back.Memberships) {
		t.Errorf("\n got %+v\nwant %+v", got, back)
	}
	if l, err := s.Due(ctx, start.Add(1000*time.Hour), 10); err != nil || slices.Contains(l, r.MID) || !slices.Contains(l, other.MID) {
		t.Errorf("due %v, %v: on hold is never due", l, err)
	}
	counts, err := s.Counts(ctx)
	want := map[string]int64{"Policy": 2, "Virus": 0, "Mine": 1}
	for _, n := range counts {
		if n.Messages != want[n.Quarantine] {
			t.Errorf("%q holds %d, want %d", n.Quarantine, n.Messages, want[n.Quarantine])
		}
	}
	if err != nil || len(counts) != len(want) {
		t.Errorf("%+v, %v", counts, err)
	}
}

func suiteCalendar(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	a, b := record(t, s, c, 1, "a", "Policy", "Virus"), record(t, s, c, 2, "b", "Policy")
	add(t, s, b)
	add(t, s, a)
	for _, d := range []struct {
		at   time.Time
		want []mail.MID
	}{
		{start, nil}, {a.Received.Add(time.Hour - time.Millisecond), nil}, {a.Received.Add(time.Hour), []mail.MID{a.MID}},
		{b.Received.Add(time.Hour), []mail.MID{a.MID, b.MID}}, {a.Received.Add(2 * time.Hour), []mail.MID{a.MID, b.MID, a.MID}},
	} {
		if got, err := s.Due(ctx, d.at, 10); err != nil || !slices.Equal(got, d.want) {
			t.Errorf("due at %s: %v, %v, want %v", d.at, got, err, d.want)
		}
	}
	if got, _ := s.Due(ctx, start.Add(9*time.Hour), 2); len(got) != 2 {
		t.Errorf("limit 2 gives %v", got)
	}
	ch := remove(a)
	change(t, s, true, ch)
	if got, _ := s.Due(ctx, start.Add(9*time.Hour), 10); !slices.Equal(got, []mail.MID{b.MID}) {
		t.Errorf("due after deletion: %v", got)
	}
	if n, err := s.Forget(ctx, ch.After.Changed, start, 10); err != nil || n != 0 {
		t.Errorf("forgot %d too early, %v", n, err)
	}
	if n, err := s.Forget(ctx, ch.After.Changed.Add(time.Millisecond), start, 10); err != nil || n != 1 {
		t.Errorf("forgot %d, %v", n, err)
	}
	if l, err := s.Load(ctx, []mail.MID{a.MID, b.MID}); err != nil || len(l) != 1 || l[0].MID != b.MID {
		t.Errorf("%v %v", l, err)
	}
	if mid, existing, err := s.Add(ctx, record(t, s, c, 1, "a", "Policy")); err != nil || !existing || mid != a.MID {
		t.Errorf("a forgotten key came in again: %d %v %v", mid, existing, err)
	}
	if _, err := s.Forget(ctx, start, ch.After.Changed.Add(time.Millisecond), 10); err != nil {
		t.Error(err)
	}
	if _, existing, err := s.Add(ctx, record(t, s, c, 1, "a", "Policy")); err != nil || existing {
		t.Errorf("a key was remembered for ever: %v", err)
	}
}

// suiteBatch: concurrent writers share transactions; what is wrong with one of
// them is its own affair.
func suiteBatch(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	const n = 200
	recs := make([]*quarantine.Record, n)
	for i := range recs {
		recs[i] = record(t, s, c, i, fmt.Sprint("body", i), "Policy")
		if i%10 == 9 { // the same number twice: the database refuses it
			recs[i].MID = recs[i-1].MID
		}
	}
	var wg sync.WaitGroup
	ok := make([]bool, n)
	for i, r := range recs {
		wg.Go(func() {
			_, _, err := s.Add(ctx, r)
			ok[i] = err == nil
		})
	}
	wg.Wait()
	good := 0
	for i := range ok {
		if ok[i] {
			good++
			continue
		}
		if i%10 < 8 {
			t.Errorf("record %d was refused", i)
		}
	}
	counts, err := s.Counts(ctx)
	if err != nil || good != n*9/10 || counts[0].Messages != int64(good) {
		t.Errorf("%d good, counted %+v, %v", good, counts, err)
	}
}

func suiteFind(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	var recs []*quarantine.Record
	for i := range 6 {
		q := []string{"Policy", "Virus"}[i%2]
		r := record(t, s, c, i, fmt.Sprint("body", i), q)
		recs = append(recs, r)
	}
	recs[0].Display = "100% off_"
	recs[1].Envelope.To[0].Local = "Other"
	recs[2].GatewayName = "gw2.example.com"
	recs[3].Display = `'; DROP TABLE message; --`
	for _, r := range recs {
		add(t, s, r)
	}
	change(t, s, true, remove(recs[5]))
	text := func(op quarantine.Op, s string) quarantine.Text { return quarantine.Text{Op: op, Text: s} }
	not := func(t quarantine.Text) quarantine.Text { t.Not = true; return t }
	const has, is, starts, ends = quarantine.Contains, quarantine.Is, quarantine.StartsWith, quarantine.EndsWith
	for _, q := range []struct {
		name string
		q    quarantine.Query
		want []int
	}{
		{"all but deleted", quarantine.Query{}, []int{4, 3, 2, 1, 0}},
		{"deleted", quarantine.Query{States: []quarantine.State{quarantine.Removed}}, []int{5}},
		{"by number, deleted too", quarantine.Query{MID: recs[5].MID}, []int{5}},
		{"gateway's number", quarantine.Query{GatewayMID: 5003}, []int{3}},
		{"quarantine", quarantine.Query{Quarantine: "Virus"}, []int{3, 1}},
		{"quarantine, held", quarantine.Query{Quarantine: "Policy", States: []quarantine.State{quarantine.Held}}, []int{4, 2, 0}},
		{"case of a quarantine counts", quarantine.Query{Quarantine: "virus"}, nil},
		{"page", quarantine.Query{Limit: 2}, []int{4, 3}},
		{"next page", quarantine.Query{Limit: 2, After: quarantine.Cursor{MID: recs[3].MID}}, []int{2, 1}},
		{"page in a quarantine", quarantine.Query{Quarantine: "Policy", Limit: 1, After: quarantine.Cursor{MID: recs[4].MID}}, []int{2}},
		{"since", quarantine.Query{Since: recs[3].Received}, []int{4, 3}},
		{"until", quarantine.Query{Until: recs[2].Received}, []int{1, 0}},
		{"gateway by serial", quarantine.Query{Gateway: serial, Limit: 1}, []int{4}},
		{"gateway by name", quarantine.Query{Gateway: "GW2.example.com"}, []int{2}},
		{"subject without ASCII, other case", quarantine.Query{Subject: text(has, "GRÜSSE 4")}, nil},
		{"subject, other case", quarantine.Query{Subject: text(has, "GRÜß")}, []int{4, 2, 1}},
		{"subject is", quarantine.Query{Subject: text(is, "grüße 2")}, []int{2}},
		{"subject is, not a piece", quarantine.Query{Subject: text(is, "grüße")}, nil},
		{"subject starts", quarantine.Query{Subject: text(starts, "100%")}, []int{0}},
		{"subject ends", quarantine.Query{Subject: text(ends, "e 1")}, []int{1}},
		{"longer than the subject", quarantine.Query{Subject: text(ends, "xxxxxxxxxxxxxxxgrüße 1")}, nil},
		{"wildcards are none", quarantine.Query{Subject: text(has, "gr__e")}, nil},
		{"percent is itself", quarantine.Query{Subject: text(has, "% off_")}, []int{0}},
		{"hostile text", quarantine.Query{Subject: text(has, "'; drop TABLE")}, []int{3}},
		{"subject, negated", quarantine.Query{Subject: not(text(has, "grüße"))}, []int{3, 0}},
		{"sender", quarantine.Query{Sender: text(is, "sender3@EXAMPLE.net")}, []int{3}},
		{"sender, negated", quarantine.Query{Sender: not(text(starts, "sender1"))}, []int{4, 3, 2, 0}},
		{"recipient is", quarantine.Query{Recipient: text(is, "other@example.org")}, []int{1}},
		{"second recipient starts", quarantine.Query{Recipient: text(starts, `"c `), Limit: 1}, []int{4}},
		{"recipient ends", quarantine.Query{Recipient: text(ends, "r@example.org")}, []int{1}},
		{"recipient contains", quarantine.Query{Recipient: text(has, "her@exam")}, []int{1}},
		{"nobody is such", quarantine.Query{Recipient: not(text(is, "b@example.org"))}, []int{1}},
		{"all together", quarantine.Query{Quarantine: "Virus", Since: start, Sender: text(has, "sender"), Subject: text(has, "grü"), Gateway: serial}, []int{1}},
	} {
		got, err := find(s, q.q)
		var want []mail.MID
		for _, i := range q.want {
			want = append(want, recs[i].MID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", q.name, got, err, want)
		}
	}
	if l, err := s.Find(ctx, quarantine.Query{}); err != nil || len(l) != 0 {
		t.Errorf("a query that nobody opened finds %d, %v", len(l), err)
	}
}

// opener lets a query pass through the service, which alone can open it.
type opener struct{ backend }

func opened(s backend) (*quarantine.Service, error) {
	return quarantine.New(quarantine.Options{Store: opener{s}, Contents: &memContents{}, Sender: nobody{}, Log: nobody{}, Audit: nobody{},
		Settings: quarantine.Defaults(), Rules: quarantine.Rules{Text: 1000}})
}

func find(s backend, q quarantine.Query) (out []mail.MID, err error) {
	out, _, err = findOn(s, q)
	return out, err
}

// findOn also gives the place behind the last one, as it is printed.
func findOn(s backend, q quarantine.Query) (out []mail.MID, next quarantine.Cursor, err error) {
	svc, err := opened(s)
	if err != nil || q.Quarantine == "virus" { // the service refuses it before the store sees it
		return nil, next, err
	}
	place := ""
	for m, err := range svc.Search(ctx, mail.System(), q) {
		if err != nil {
			return nil, next, err
		}
		out = append(out, m.MID)
		if place = m.After; place == "" {
			place = m.MID.String()
		}
	}
	if place != "" {
		next, err = quarantine.ParseCursor(place)
	}
	return out, next, err
}

func counted(s backend, q quarantine.Query) (quarantine.Total, error) {
	svc, err := opened(s)
	if err != nil {
		return quarantine.Total{}, err
	}
	return svc.Count(ctx, mail.System(), q)
}

type nobody struct{}

func (nobody) Enqueue(mail.MID)                                                                 {}
func (nobody) Mapped(mail.MID, string, mail.MID)                                                {}
func (nobody) Quarantined(mail.MID, string, string)                                             {}
func (nobody) ReleasedFrom(mail.MID, string, string, int64, bool)                               {}
func (nobody) ReleasedFromAll(mail.MID, bool)                                                   {}
func (nobody) DeletedFrom(mail.MID, string, string, int64)                                      {}
func (nobody) DeletedFromAll(mail.MID)                                                          {}
func (nobody) ScannedAgain(mail.MID, string)                                                    {}
func (nobody) Restored(mail.MID, string)                                                        {}
func (nobody) NewReason(mail.MID, string, string)                                               {}
func (nobody) Moved(mail.MID, string, string)                                                   {}
func (nobody) Decided(mail.Principal, mail.MID, string, string)                                 {}
func (nobody) ReleaseFate(mail.MID, mail.RID, string, mail.MID, string, string, string, string) {}
func (nobody) ReleaseRescanned(mail.MID, mail.RID, string, mail.MID, string)                    {}
func (nobody) ReleaseEnded(mail.MID, bool, bool)                                                {}
func (nobody) Fault(string, string)                                                             {}
func (nobody) Record(mail.Principal, string, string)                                            {}
