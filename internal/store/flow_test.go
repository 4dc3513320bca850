package store

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

// gateway is a courier that behaves like a gateway with its ledger: it takes
// each action key once and answers a repeat with the number of the first time.
type gateway struct {
	t      *testing.T
	mu     sync.Mutex
	ledger map[mail.ActionKey]mail.MID
	body   map[mail.ActionKey]string
	away   bool
	got    chan mail.MID
}

func (g *gateway) Run(ctx context.Context, dest queue.Dest, feed *queue.Feed) {
	if dest != (queue.Dest{Name: queue.CPQReleaseHost, Lane: serial}) {
		g.t.Errorf("a release goes to %s", dest)
	}
	g.mu.Lock()
	away := g.away
	g.mu.Unlock()
	if away {
		feed.Down(io.ErrUnexpectedEOF)
		return
	}
	for {
		task, ok := feed.Next(ctx)
		if !ok {
			return
		}
		r, err := task.Open()
		if err != nil {
			g.t.Error(err)
			return
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			g.t.Error(err)
		}
		a := task.Item.Release.Action
		g.mu.Lock()
		if g.ledger[a] == 0 {
			g.ledger[a] = mail.MID(9000 + len(g.ledger))
			g.body[a] = string(b)
		}
		remote := g.ledger[a].String()
		g.mu.Unlock()
		out := make([]queue.Outcome, len(task.Recipients))
		for i := range out {
			out[i] = queue.Outcome{State: queue.Delivered, Code: 250, Reply: "ok:  Message " + remote + " accepted", Receipt: remote}
		}
		task.Done(out)
		g.got <- task.Item.MID
	}
}

// route is the manager's processor: back to the gateway it came from.
type route struct{}

func (route) Process(_ context.Context, it *queue.Item, _ queue.Opener) (queue.Routing, error) {
	return queue.Routing{Dest: func(queue.Recipient) queue.Dest {
		return queue.Dest{Name: queue.CPQReleaseHost, Lane: it.Release.Gateway}
	}}, nil
}

// startQueue runs a queue on the store; stop ends it and waits.
func startQueue(t *testing.T, s *Store, g *gateway) (q *queue.Queue, stop func()) {
	t.Helper()
	q, err := queue.New(queue.Options{Store: s.Releases(), Processor: route{}, Log: logs.Discard(), Courier: func(queue.Dest) queue.Courier { return g }})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := q.Run(run); err != nil {
			t.Error(err)
		}
	})
	return q, func() {
		cancel()
		wg.Wait()
	}
}

// A release with the real queue: taken and shown as taken; one decided while
// the gateway was away goes in the next life of the manager, under the same
// action key, and exactly once.
func TestReleaseFlow(t *testing.T) {
	dir := t.TempDir()
	g := &gateway{t: t, ledger: map[mail.ActionKey]mail.MID{}, body: map[mail.ActionKey]string{}, got: make(chan mail.MID, 10)}
	s, b, _, err := place(dir)
	if err != nil {
		t.Fatal(err)
	}
	q, stop := startQueue(t, s, g)
	svc, err := quarantine.New(quarantine.Options{Store: s, Contents: b, Sender: q, Log: nobody{}, Audit: nobody{}, Settings: quarantine.Defaults()})
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int) (mail.MID, quarantine.Deposit) {
		d, body := crashDeposit(s, n)
		mid, _, err := svc.Ingest(ctx, d, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return mid, d
	}
	release := func(mid mail.MID) {
		if out, err := svc.Release(ctx, mail.System(), []mail.MID{mid}, ""); err != nil || out.Count != 1 {
			t.Fatal(out, err)
		}
	}
	first, d := put(100)
	release(first)
	if mid := <-g.got; mid != first {
		t.Errorf("MID %d was sent, not %d", mid, first)
	}
	stop()
	m, err := svc.Show(ctx, mail.System(), first)
	if err != nil || m.State != "taken" || m.Release[0].State != "taken" || m.Release[0].NewMID != 9000 {
		t.Errorf("%+v %v", m, err)
	}
	if _, body := crashDeposit(s, 100); g.body[mail.NewActionKey(d.Key, 1)] != string(body) {
		t.Error("the gateway got another content")
	}
	g.away = true
	_, stop = startQueue(t, s, g)
	second, _ := put(200)
	release(second) // the old queue is closed: only the intent knows
	stop()
	s.Close()
	b.Close()
	g.away = false
	if s, b, svc, err = place(dir); err != nil {
		t.Fatal(err)
	}
	_, stop = startQueue(t, s, g)
	if mid := <-g.got; mid != second {
		t.Errorf("MID %d was sent, not %d", mid, second)
	}
	stop()
	if m, err := svc.Show(ctx, mail.System(), second); err != nil || m.State != "taken" || len(g.ledger) != 2 {
		t.Errorf("%+v %v, %d taken", m, err, len(g.ledger))
	}
	var n int
	for _, mid := range []mail.MID{first, second} { // what the gateway says then
		r, err := s.one(ctx, mid)
		if err != nil {
			t.Fatal(err)
		}
		rep := quarantine.Report{MID: mid, Action: mail.NewActionKey(r.Key, 1), Recipient: r.Envelope.To[0], State: quarantine.Accepted,
			Proof: quarantine.Proof{Seq: 1, Host: "mx.example.org", Code: 250, Reply: "ok", At: s.now()}}
		if n, err := svc.Prove(ctx, serial, []quarantine.Report{rep}); n != 1 || err != nil {
			t.Error(n, err)
		}
		if m, err := svc.Show(ctx, mail.System(), mid); err != nil || m.State != "released" || m.Release[0].State != "accepted" || m.Release[0].Host != "mx.example.org" {
			t.Errorf("%+v %v", m, err)
		}
	}
	if s.read.QueryRow("SELECT COUNT(*) FROM content").Scan(&n); n != 0 {
		t.Errorf("%d contents are left", n)
	}
	s.Close()
	b.Close()
}
