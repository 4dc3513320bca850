package gateway

import (
	"context"
	"testing"
	"time"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// ear is a manager's end of reports.
type ear struct {
	old   bool  // it knows no reports
	fail  error // of the next Send
	heard []cpq.Report
}

func (e *ear) Known() bool { return !e.old }
func (e *ear) Send(_ context.Context, list []cpq.Report) (int, error) {
	if err := e.fail; err != nil {
		e.fail = nil
		return len(list), err
	}
	n := min(2, len(list)) // a block is full soon
	e.heard = append(e.heard, list[:n]...)
	return n, nil
}

// back puts a release that was taken into the spool, and ends its recipients.
func back(t *testing.T, g *Gateway, n int, end ...queue.Recipient) mail.ActionKey {
	t.Helper()
	ctx := t.Context()
	key := mail.NewKey(g.serial(), mail.MID(500+n), mail.Hash{byte(n)})
	a := mail.NewActionKey(key, 1)
	d, err := g.spool.Receive(ctx, g.nextMID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte("Subject: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	it := &queue.Item{State: queue.Routed, Accepted: g.Now(), Recipients: end,
		Release: &queue.Release{Action: a, Gateway: g.serial(), ManagerMID: mail.MID(40 + n), GatewayMID: mail.MID(500 + n)}}
	final := true
	for i := range it.Recipients {
		it.Recipients[i].RID = mail.RID(i)
		final = final && it.Recipients[i].State.Final()
	}
	if err := d.Commit(ctx, it, spool.WithAction(a)); err != nil {
		t.Fatal(err)
	}
	u := queue.Update{Report: []*queue.Item{it}, Save: []*queue.Item{it}}
	if final {
		u = queue.Update{Report: u.Report, Remove: []mail.MID{it.MID}, Final: u.Save}
	}
	if err := g.spool.Apply(ctx, u); err != nil {
		t.Fatal(err)
	}
	return a
}

func to(local string, s queue.RecipientState, code int, reply string) queue.Recipient {
	return queue.Recipient{Address: mail.Address{Local: local, Domain: "example.org"}, Dest: queue.Dest{Name: "example.org"}, State: s, Code: code, Reply: reply,
		Remote: "mx.example.org", Attempts: 1, Last: time.UnixMilli(1e12), Next: time.UnixMilli(2e12)}
}

// What is said of each end, and that only the manager's 250 closes an account.
func TestReports(t *testing.T) {
	g := newGateway(t, nil)
	ctx, r := t.Context(), g.reports
	back(t, g, 1, to("a", queue.Delivered, 250, "2.0.0 ok"), to("a", queue.Bounced, 550, "no"), to("b", queue.Deferred, 451, "later"), to("c", queue.Pending, 0, ""))
	whole := back(t, g, 2, to("d", queue.Delivered, 0, "discarded by the SMTP route /dev/null"), to("e", queue.Deleted, 250, "ok"))
	e := &ear{fail: errs.New(errs.Temporary, "away")}
	if err := r.sayAll(ctx, e); err == nil || len(e.heard) != 0 {
		t.Fatal(err, e.heard)
	}
	if err := r.sayAll(ctx, e); err != nil {
		t.Fatal(err)
	}
	fates := map[string]cpq.Fate{}
	for _, h := range e.heard {
		fates[h.Recipient.String()+[]string{"", "#1"}[h.Nth]] = h.Fate
		if _, err := cpq.EncodeReports(cpq.ReportSteps, []cpq.Report{h}); err != nil {
			t.Errorf("%+v cannot be said: %v", h, err)
		}
	}
	want := map[string]cpq.Fate{"a@example.org": cpq.Accepted, "a@example.org#1": cpq.Bounced, "b@example.org": cpq.Waiting, "d@example.org": cpq.Discarded, "e@example.org": cpq.Deleted}
	for k, f := range want {
		if fates[k] != f {
			t.Errorf("%s: %q, want %q", k, fates[k], f)
		}
	}
	if len(fates) != len(want) {
		t.Error(fates)
	}
	if _, err := g.spool.Account(whole); !errs.Is(err, errs.NotFound) {
		t.Errorf("what the manager has is still open: %v", err)
	}
	n := len(e.heard)
	if err := r.sayAll(ctx, e); err != nil || len(e.heard) != n {
		t.Errorf("said again without news: %v", err)
	}
	// Another life says what is open once more, and nothing that is closed.
	again := newReports(g)
	if err := again.load(ctx); err != nil {
		t.Fatal(err)
	}
	e.heard = nil
	if err := again.sayAll(ctx, e); err != nil || len(e.heard) != 3 {
		t.Errorf("%v %+v", err, e.heard)
	}
}

// A manager of an older version is told nothing, and nothing is kept for it; one
// that refuses for good is not asked for ever.
func TestReportsOldManager(t *testing.T) {
	for _, e := range []*ear{{old: true}, {fail: errs.New(errs.Denied, "no")}} {
		g := newGateway(t, nil)
		a := back(t, g, 1, to("a", queue.Delivered, 250, "ok"))
		if err := g.reports.sayAll(t.Context(), e); err != nil || len(e.heard) != 0 {
			t.Error(err, e.heard)
		}
		if _, err := g.spool.Account(a); !errs.Is(err, errs.NotFound) {
			t.Errorf("kept: %v", err)
		}
	}
}

// A message that was set aside is said to be, with the cause, once.
func TestReportsAside(t *testing.T) {
	g := newGateway(t, nil)
	a := back(t, g, 1, to("a", queue.Pending, 0, ""))
	e := &ear{}
	if err := g.reports.sayAll(t.Context(), e); err != nil || len(e.heard) != 0 {
		t.Fatal(err, e.heard)
	}
	acc, err := g.spool.Account(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.spool.SetAside(t.Context(), acc.MID, errs.New(errs.Damaged, "content is damaged")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := g.reports.lookAt(a, g.Now()); err != nil {
			t.Fatal(err)
		}
		if err := g.reports.sayAll(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.heard) != 1 || e.heard[0].Fate != cpq.Aside || e.heard[0].Reply != "set aside at the gateway: content is damaged" {
		t.Errorf("%+v", e.heard)
	}
}
