package quarantine_test

import (
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

// takenBy lets a gateway take what is released, under a number of its own.
func (w *world) takenBy(mid mail.MID, there string) {
	w.t.Helper()
	q := w.db.Releases()
	it, err := q.Load(ctx, mid)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range it.Recipients {
		if it.Recipients[i].State != queue.Delivered {
			it.Recipients[i].State = queue.Delivered
		}
	}
	it.State = queue.Done
	err = q.Apply(ctx, queue.Update{Receipts: []queue.Receipt{{Item: it, Remote: there, Reply: "ok:  Message " + there + " accepted", At: w.clock()}},
		Remove: []mail.MID{mid}, Final: []*queue.Item{it}, Durable: true})
	if err != nil {
		w.t.Fatal(err)
	}
}

// says makes a report about a recipient of a release.
func (w *world) says(mid mail.MID, action uint32, local string, seq uint64, s quarantine.DeliveryState) quarantine.Report {
	w.t.Helper()
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil {
		w.t.Fatal(err)
	}
	r := quarantine.Report{MID: mid, Action: mail.NewActionKey(m.Key, action), Recipient: mail.Address{Local: local, Domain: "example.org"}, State: s,
		Proof: quarantine.Proof{Seq: seq, At: w.clock(), Attempts: 1, Host: "mx1.example.org", Code: 451, Reply: "later"}}
	switch s {
	case quarantine.Accepted:
		r.Proof.Code, r.Proof.Reply = 250, "2.0.0 ok"
	case quarantine.Bounced:
		r.Proof.Code, r.Proof.Reply = 550, "no such user"
	}
	return r
}

func (w *world) prove(gateway string, want int, list ...quarantine.Report) {
	w.t.Helper()
	if n, err := w.s.Prove(ctx, gateway, list); err != nil || n != want {
		w.t.Errorf("%d changed, not %d: %v", n, want, err)
	}
}

func (w *world) fates(mid mail.MID) string {
	w.t.Helper()
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil {
		w.t.Fatal(err)
	}
	out := m.State
	for _, d := range m.Release {
		out += " " + d.State
	}
	return out
}

// A release is proven when a server has taken it for everybody, never before,
// and then its content goes.
func TestReleaseProven(t *testing.T) {
	w := newWorld(t)
	mid := w.put("hello", "Policy")
	w.act(quarantine.Release, admin, "", mid)
	w.takenBy(mid, "9001")
	if got := w.fates(mid); got != "taken taken taken" {
		t.Fatal(got)
	}
	w.lines.take()
	b, c := w.says(mid, 1, "b", 2, quarantine.Accepted), w.says(mid, 1, "c", 2, quarantine.Waiting)
	w.prove(serial, 1, b, c)
	if got := w.fates(mid); got != "taken accepted waiting" {
		t.Error(got)
	}
	want := "MID 1 RID 0 at gw1.example.com MID 9001: accepted by mx1.example.org 250 \"2.0.0 ok\"\nMID 1 RID 1 at gw1.example.com MID 9001: waiting by mx1.example.org 451 \"later\""
	if got := w.lines.take(); got != want {
		t.Errorf("%s", got)
	}
	if _, err := w.content(mid); err != nil {
		t.Errorf("content went before the proof: %v", err)
	}
	w.prove(serial, 0, b, c) // a repeat
	old := w.says(mid, 1, "c", 1, quarantine.Bounced)
	w.prove(serial, 0, old) // one that was overtaken
	w.prove(serial, 1, w.says(mid, 1, "c", 3, quarantine.Accepted))
	if got := w.fates(mid); got != "released accepted accepted" {
		t.Error(got)
	}
	if got := w.lines.take(); !has([]string{got}, "MID 1 ended: true true") || has([]string{got}, "bounced") {
		t.Error(got)
	}
	if _, err := w.content(mid); err == nil {
		t.Error("content is still there")
	}
	w.prove(serial, 0, w.says(mid, 1, "c", 9, quarantine.Bounced)) // what is settled stays
}

// A refusal behind the gateway is a failed release: it goes once more, to those
// alone who have not got it, under a new action key, and ends well.
func TestReleaseBounced(t *testing.T) {
	w := newWorld(t)
	mid := w.put("hello", "Policy")
	w.act(quarantine.Release, admin, "", mid)
	w.takenBy(mid, "9001")
	w.lines.take()
	w.prove(serial, 1, w.says(mid, 1, "c", 2, quarantine.Bounced))
	if got := w.fates(mid); got != "taken taken bounced" {
		t.Error(got) // b is on its way yet: a second release now could bring it twice
	}
	w.prove(serial, 1, w.says(mid, 1, "b", 3, quarantine.Accepted))
	if got := w.fates(mid); got != "failed accepted bounced" {
		t.Fatal(got)
	}
	if got := w.lines.take(); !has([]string{got}, "MID 1 ended: false false") {
		t.Error(got)
	}
	if got := w.search(admin, quarantine.Query{States: []quarantine.State{quarantine.Failed}}); len(got) != 1 {
		t.Error(got)
	}
	if out := w.act(quarantine.Release, admin, "", mid); out.Count != 1 {
		t.Fatal(out)
	}
	it, err := w.db.Releases().Load(ctx, mid)
	if err != nil || it.Recipients[0].State != queue.Delivered || it.Recipients[1].State != queue.Pending {
		t.Fatal(it, err)
	}
	w.prove(serial, 0, w.says(mid, 1, "c", 9, quarantine.Accepted)) // of the first decision
	w.prove(serial, 1, w.says(mid, 2, "c", 1, quarantine.Accepted)) // before the receipt was noted
	w.takenBy(mid, "9002")
	if got := w.fates(mid); got != "released accepted accepted" {
		t.Error(got)
	}
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil || m.Release[0].NewMID != 9001 || m.Release[1].NewMID != 9002 || m.Release[1].Host != "mx1.example.org" {
		t.Errorf("%+v %v", m, err)
	}
}

// What scanning it again holds once more is not delivered, whoever took it: that
// is said, as a step and as the end, and nobody can release it from here again.
func TestReleaseHeldAgain(t *testing.T) {
	w := newWorld(t)
	mid := w.put("hello", "Policy")
	w.act(quarantine.Release, admin, "", mid)
	w.takenBy(mid, "9001")
	w.lines.take()
	held := func(local string, seq uint64) quarantine.Report {
		r := w.says(mid, 1, local, seq, quarantine.HeldAgain)
		r.Proof.Host, r.Proof.Code, r.Proof.Reply, r.Proof.Rescan = "sma1.example.net", 250, "ok:  Message 45 accepted", "infected Worm, held again in Virus"
		return r
	}
	wait := w.says(mid, 1, "b", 2, quarantine.Waiting)
	wait.Proof.Rescan = "infected Worm, held again in Virus"
	w.prove(serial, 1, wait)
	want := "MID 1 RID 0 at gw1.example.com MID 9001 rescanned: infected Worm, held again in Virus\nMID 1 RID 0 at gw1.example.com MID 9001: waiting by mx1.example.org 451 \"later\""
	if got := w.lines.take(); got != want {
		t.Errorf("%s", got)
	}
	w.prove(serial, 1, held("b", 3), held("c", 3))
	if got := w.fates(mid); got != "released held held" {
		t.Error(got)
	}
	if got := w.lines.take(); !has([]string{got}, "MID 1 ended: true false") || !has([]string{got}, "MID 1 RID 1 at gw1.example.com MID 9001 rescanned: ") || has([]string{got}, "RID 0 at gw1.example.com MID 9001 rescanned") || has([]string{got}, "accepted by") {
		t.Error(got)
	}
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil || m.Release[1].Rescan != "infected Worm, held again in Virus" || m.Release[1].State != "held" {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := w.content(mid); err == nil {
		t.Error("content is still there, though the message is held as another")
	}
	w.prove(serial, 0, w.says(mid, 1, "c", 9, quarantine.Accepted)) // what is settled stays
	if out, err := w.s.Release(ctx, admin, []mail.MID{mid}, ""); out.Count != 0 {
		t.Errorf("released again: %+v, %v", out, err)
	}
}

// No gateway speaks for another, nor of a release that was not decided.
func TestReleaseReportForeign(t *testing.T) {
	w := newWorld(t)
	mid := w.put("hello", "Policy")
	held := w.says(mid, 1, "b", 1, quarantine.Accepted)
	w.prove(serial, 0, held)
	w.act(quarantine.Release, admin, "", mid)
	w.takenBy(mid, "9001")
	w.prove("GATEWAY666", 0, held)
	w.prove(serial, 0, w.says(mid, 2, "b", 1, quarantine.Accepted), w.says(mid, 1, "mallory", 1, quarantine.Accepted))
	unknown := held
	unknown.MID = 999
	w.prove(serial, 0, unknown)
	other := held
	other.Nth = 1
	w.prove(serial, 0, other)
	if got := w.fates(mid); got != "taken taken taken" {
		t.Error(got)
	}
}

// A gateway that says nothing keeps content here for KeepTaken, not for ever,
// and what the message did remains said: taken, not delivered. A hold keeps it.
func TestReleaseUnproven(t *testing.T) {
	w := newWorld(t)
	rules := quarantine.DefaultRules()
	rules.UndoRelease = 0
	if err := w.s.Configure(quarantine.Defaults(), rules); err != nil {
		t.Fatal(err)
	}
	mid := w.put("hello", "Policy")
	w.act(quarantine.Release, admin, "", mid)
	w.takenBy(mid, "9001")
	w.pass(rules.KeepTaken - time.Second)
	if n, err := w.s.LetGo(ctx); n != 0 || err != nil {
		t.Error(n, err)
	}
	w.pass(2 * time.Second)
	if n, err := w.s.LetGo(ctx); n != 1 || err != nil {
		t.Error(n, err)
	}
	if got := w.fates(mid); got != "released taken taken" {
		t.Error(got)
	}
	w.prove(serial, 1, w.says(mid, 1, "b", 2, quarantine.Bounced)) // late: said, though nothing can be done here
	if got := w.fates(mid); got != "released bounced taken" {
		t.Error(got)
	}
}
