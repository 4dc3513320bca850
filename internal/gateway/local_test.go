package gateway

import (
	"context"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

var root = mail.Principal{Name: "admin", Role: mail.Administrator, From: "192.0.2.7", Via: "ssh"}

const holdAll = "hold: if (subject == 'doubtful') { quarantine('Policy'); }\n"

// holding is a gateway without a manager that quarantines what is doubtful.
func holding(c *config.Config) {
	c.Filters = holdAll
	c.QuarantineRules.UndoRelease, c.QuarantineRules.DeleteRest = "0", "0"
}

// live runs what Start runs beside the queue, until the function that it gives
// is called or the test ends.
func (w *world) live() (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if err := w.returns.Recover(ctx); err != nil {
		w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.returns.Run(ctx) })
	wg.Go(func() { w.quarantines.Keep(ctx, w.returns) })
	wg.Go(func() { w.reports.run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	w.t.Cleanup(stop)
	return stop
}

// held gives the messages in the gateway's own quarantines.
func (w *world) held(states ...quarantine.State) (all []*quarantine.Message) {
	w.t.Helper()
	for m, err := range w.quarantines.Search(context.Background(), root, quarantine.Query{States: states, Limit: 100}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func (w *world) release(mid mail.MID) {
	w.t.Helper()
	if out, err := w.quarantines.Release(context.Background(), root, []mail.MID{mid}, ""); err != nil || out.Count != 1 {
		w.t.Fatalf("%+v, %v", out, err)
	}
}

func (w *world) state(mid mail.MID) string {
	m, err := w.quarantines.Show(context.Background(), root, mid)
	if err != nil {
		return errs.Public(err)
	}
	return m.State
}

const doubtful = "From: alice@partner.example\r\nSubject: doubtful\r\nMessage-ID: <1@partner.example>\r\n\r\n.Text\r\n"

// A gateway that is not centralised holds what a filter quarantines itself, gives
// it back on release under a new number, unfiltered and byte for byte, and knows
// that a server took it; nobody is connected to, and the lines are those of
// reference 5.6.
func TestLocalQuarantine(t *testing.T) {
	w := newWorld(t, nil, holding)
	w.live()
	mid := w.inject("alice@partner.example", doubtful, nil, "bob@other.example", "eve@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 && w.empty() })
	if m := w.held(quarantine.Held)[0]; m.MID != mid || m.Gateway != w.Config.Committed().Hostname || len(m.Recipients) != 2 || m.Quarantines[0].Name != "Policy" {
		t.Errorf("held as %+v", m)
	}
	content, err := w.quarantines.Content(t.Context(), root, mid)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(content); err != nil || string(b) != doubtful {
		t.Errorf("content %q, %v", b, err)
	}
	w.release(mid)
	w.until("it is proven, and nothing is left to say", func() bool {
		n := 0
		err := w.spool.Accounts(context.Background(), func(*spool.Account) error { n++; return nil })
		return err == nil && n == 0 && w.state(mid) == "released" && len(w.lines("finished MID", "Release of MID 1 proven")) == 4
	})
	got := w.mailbox.Messages()
	if len(got) != 1 || len(got[0].To) != 2 || !strings.HasSuffix(string(got[0].Content), doubtful) {
		t.Fatalf("delivered %+v", got)
	}
	want := []string{
		`MID 1 quarantined to "Policy" (message filter:hold)`,
		`Message finished MID 1 done`,
		`MID 1 released from quarantine "Policy" (manual) t=0`,
		`MID 1 released from all quarantines`,
		`MID 1 rewritten to MID 2 by Policy Quarantine`,
		`Message finished MID 1 done`,
		`MID 2 queued for delivery`,
		`Message finished MID 2 done`,
		`Release of MID 1 proven`,
	}
	lines := w.lines("quarantine", "rewritten", "finished", "queued for", "proven")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "admin") }) // who decided
	if len(lines) > 2 {
		lines[2] = lines[2][:strings.Index(lines[2], "t=")] + "t=0"
	}
	slices.Sort(lines) // two queues write at the same time
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if log := w.log(); strings.Contains(log, "centralized quarantine") || strings.Contains(log, "DCID 0") {
		t.Errorf("the log speaks of a manager:\n%s", log)
	}
	// What never went to a manager cannot be given back by one (P4).
	for _, m := range w.held() {
		if _, found, err := w.spool.Sent(mail.NewKey(w.serial(), m.MID, mail.Hash{})); found || err != nil {
			t.Error("it stands in the ledger of what was given away")
		}
	}
}

// What is deleted never arrives; what a server refuses for good has failed and
// can be released again.
func TestLocalDeleteAndFailure(t *testing.T) {
	w := newWorld(t, nil, holding)
	w.live()
	gone := w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	refused := w.inject("alice@partner.example", doubtful, nil, "bob@example.com")
	w.until("both are held", func() bool { return len(w.held(quarantine.Held)) == 2 })
	if out, err := w.quarantines.Delete(t.Context(), root, []mail.MID{gone}, ""); err != nil || out.Count != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	w.release(refused)
	w.until("the end of both", func() bool { return w.state(gone) == "deleted" && w.state(refused) == "failed" })
	if n := len(w.mailbox.Messages()); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
	m, err := w.quarantines.Show(t.Context(), root, refused)
	if err != nil || len(m.Release) != 1 || m.Release[0].State != "bounced" || m.Release[0].Reply == "" {
		t.Errorf("%+v, %v", m, err)
	}
}

// The work begun is finished by the next life, once: a message that was held and
// not yet ended in the queue, a release that was decided and not yet carried
// out, and one that was carried out and not yet noted.
func TestLocalOnceAcrossLives(t *testing.T) {
	w := newWorld(t, nil, holding)
	dir := w.Dir
	stop := w.live()
	mid := w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 && w.empty() })
	stop() // nothing is released from here on
	w.release(mid)
	if _, err := w.quarantines.Ripen(t.Context()); err != nil {
		t.Fatal(err)
	}
	// It comes back, and the life ends before that is noted.
	r := w.quarantines.Store.Releases()
	it, err := r.Load(t.Context(), mid)
	if err != nil {
		t.Fatal(err)
	}
	bring := func(w *world) mail.MID {
		t.Helper()
		o, err := returner{w.Gateway}.bring(t.Context(), &queue.Task{Item: it, Recipients: it.Recipients,
			Open: func() (io.ReadCloser, error) { return w.quarantines.Store.Releases().Open(context.Background(), mid) }})
		if err != nil {
			t.Fatal(err)
		}
		back, err := mail.ParseMID(o.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		return back
	}
	first := bring(w)
	if again := bring(w); again != first {
		t.Errorf("the second time it is MID %s, the first %s", again, first)
	}
	w.until("one arrives", func() bool { return len(w.mailbox.Messages()) == 1 })
	w.end()
	next := &world{t: t, dns: w.dns, refuses: w.refuses, mailbox: w.mailbox}
	next.open(dir, nil)
	next.live()
	next.until("it is proven", func() bool { return next.state(mid) == "released" })
	if n := len(w.mailbox.Messages()); n != 1 {
		t.Errorf("%d arrived", n)
	}
}

// A message that is in the quarantine and, after a crash, still in the queue is
// held once.
func TestLocalIngestTwice(t *testing.T) {
	w := newWorld(t, nil, holding)
	w.queue.SuspendDelivery(queue.PVOQueue)
	mid := w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("it waits", func() bool { it, err := w.queue.Look(mid); return err == nil && it.State == queue.Routed })
	it, err := w.queue.Look(mid)
	if err != nil {
		t.Fatal(err)
	}
	task := &queue.Task{Item: it, Recipients: it.Recipients, Open: func() (io.ReadCloser, error) { return w.spool.Open(context.Background(), mid) }}
	if _, err := (keeper{w.Gateway}).keep(t.Context(), task); err != nil { // and then the process dies
		t.Fatal(err)
	}
	w.queue.ResumeDelivery(queue.PVOQueue)
	w.until("it has left the queue", w.empty)
	if all := w.held(); len(all) != 1 || all[0].MID != mid {
		t.Errorf("%d are held", len(all))
	}
	if n := strings.Count(w.log(), "quarantined to"); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// Mail that is due leaves by its default action, by the clock of the gateway.
func TestLocalExpiry(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		holding(c)
		for i := range c.Quarantines {
			if c.Quarantines[i].Name == "Policy" {
				c.Quarantines[i].Retention, c.Quarantines[i].Action = "1h", "Release"
			}
		}
	})
	w.live()
	mid := w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 && w.empty() })
	w.shift.Store(int64(time.Hour + time.Minute))
	if n, err := w.quarantines.ExpireDue(t.Context()); err != nil || n != 0 {
		t.Fatalf("after a jump of the clock %d have expired, %v", n, err)
	}
	if err := w.quarantines.ConfirmClock(root); err != nil {
		t.Fatal(err)
	}
	if n, err := w.quarantines.ExpireDue(t.Context()); err != nil || n != 1 {
		t.Fatalf("%d have expired, %v", n, err)
	}
	w.until("it is proven", func() bool { return w.state(mid) == "released" })
	if n := len(w.mailbox.Messages()); n != 1 {
		t.Errorf("%d arrived", n)
	}
	if l := w.lines(`released from quarantine "Policy" (expired) t=3`); len(l) != 1 {
		t.Errorf("the log: %q", l)
	}
}

// When the gateway is paired new mail goes to the manager and what it holds stays
// visible and can be released; when that ends, new mail is held here again.
func TestLocalAndCentral(t *testing.T) {
	w := newWorld(t, nil, holding)
	w.live()
	first := w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 && w.empty() })
	set := func(change func(*config.Config)) {
		t.Helper()
		if err := w.Config.Update(mail.System(), "a test", func(c *config.Config) error { change(c); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(paired)
	second := w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("the next goes to the manager", func() bool {
		it, err := w.queue.Look(second)
		return err == nil && it.State == queue.Routed && it.Recipients[0].Dest.Name == queue.CPQHost
	})
	w.release(first)
	w.until("the first is proven, with a manager that is away", func() bool { return w.state(first) == "released" })
	set(func(c *config.Config) { c.CPQ.Enabled = false })
	third := w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("the third is held here", func() bool { return w.state(third) == "held" })
	if w.state(second) == "held" {
		t.Error("what waited for the manager went elsewhere")
	}
}

// A directory that an older program made has no quarantines in its configuration
// and nothing to keep them in: the gateway opens it and holds mail.
func TestLocalOldDirectory(t *testing.T) {
	w := newWorld(t, nil, holding)
	dir := w.Dir
	w.end()
	text, err := os.ReadFile(w.Path(appliance.ConfigName))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []string{"quarantines", "quarantine_rules"} {
		text = regexp.MustCompile("(?s)<"+e+">.*</"+e+">").ReplaceAll(text, nil)
	}
	if strings.Contains(string(text), "retention_period>") {
		t.Fatal("quarantines are left in the file")
	}
	if err := os.WriteFile(w.Path(appliance.ConfigName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"quarantine.db", "quarantine.db-wal", "quarantine.db-shm", "content", "keys/content.key"} {
		if err := os.RemoveAll(w.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	w = &world{t: t, dns: w.dns, refuses: w.refuses, mailbox: w.mailbox}
	w.open(dir, nil)
	if n := len(w.Config.Committed().Quarantines); n != 5 {
		t.Errorf("%d quarantines", n)
	}
	w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 && w.empty() })
}

// nobody is a console without a person.
type nobody struct{ strings.Builder }

func (*nobody) ReadLine(string) (string, error)     { return "", io.EOF }
func (*nobody) ReadPassword(string) (string, error) { return "", io.EOF }
func (*nobody) Interrupted() <-chan struct{}        { return nil }
func (*nobody) Size() (int, int)                    { return 0, 0 }

// The commands are those of a manager, with the same rights.
func TestLocalCommands(t *testing.T) {
	w := newWorld(t, nil, holding)
	w.live()
	mid := w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 && w.empty() })
	w.until("a search finds it", func() bool {
		var out nobody
		return w.language.Exec(t.Context(), root, "quarantine search sender alice", &out) == 0 && strings.Contains(out.String(), "alice@partner.example")
	})
	for _, c := range []struct {
		line, want string
		role       mail.Role
		status     int
	}{
		{"quarantine list", "Policy", mail.Administrator, 0},
		{"quarantine delay --by 8h " + mid.String(), "1 ", mail.Administrator, 0},
		{"quarantineconfig new Legal 20d Delete", "Commit to put this in force.", mail.Administrator, 0},
		{"quarantine hold " + mid.String() + " --why case", "1 ", mail.Administrator, 0},
		{"quarantine hold " + mid.String() + " --lift", "1 ", mail.Administrator, 0},
		{"quarantine release " + mid.String(), "1 ", mail.Administrator, 0},
		{"quarantine show " + mid.String(), "Release:", mail.Administrator, 0},
		{"quarantineconfig new Other 20d Delete", "", mail.Guest, 1},
	} {
		var out nobody
		p := root
		p.Role = c.role
		status := w.language.Exec(t.Context(), p, c.line, &out)
		if (status != 0) != (c.status != 0) || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: status %d, %q", c.line, status, out.String())
		}
	}
	w.until("it arrives", func() bool { return len(w.mailbox.Messages()) == 1 })
}
