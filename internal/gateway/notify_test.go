package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"lazaret/internal/alert"
	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
	"lazaret/internal/stats"
	"lazaret/internal/testlib"
)

// world is a gateway between a next hop that refuses and a mailbox of senders.
type world struct {
	*Gateway
	t       *testing.T
	dns     *dns.Fake
	refuses *testlib.Sink
	mailbox *testlib.Sink
	shift   atomic.Int64 // by which the gateway's clock goes fast
	end     func()       // ends the gateway; done by the test's end too
}

const hostileReply = "550-5.1.1 no such user\r\n550-5.1.1 Bcc: victim@example.net\r\n550 5.1.1 type: mda\r\n"

func newWorld(t *testing.T, rcpt func(int, string) string, edit func(*config.Config)) *world {
	t.Helper()
	if rcpt == nil {
		rcpt = func(int, string) string { return hostileReply }
	}
	w := &world{t: t, dns: &dns.Fake{TXT: map[string][]string{}, Fail: map[string]error{}}}
	w.refuses = testlib.NewSink(t, testlib.Behaviour{Rcpt: rcpt})
	w.mailbox = testlib.NewSink(t, testlib.Behaviour{})
	w.open(t.TempDir(), func(c *config.Config) {
		route := func(s *testlib.Sink) []string { return []string{fmt.Sprintf("[%s]:%d", s.Addr.Addr(), s.Addr.Port())} }
		c.SMTPRoutes = []config.SMTPRoute{{Domain: "example.com", Hosts: route(w.refuses)}, {Domain: "ALL", Hosts: route(w.mailbox)}}
		if edit != nil {
			edit(c)
		}
	})
	return w
}

func (w *world) open(dir string, edit func(*config.Config)) {
	w.t.Helper()
	if edit != nil {
		if _, err := appliance.Init(dir, config.Gateway, appliance.InitOptions{Edit: edit}); err != nil {
			w.t.Fatal(err)
		}
	}
	g, err := New(Options{Dir: dir, Resolver: w.dns, Trouble: io.Discard, Worker: testWorker, Clock: func() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Gateway = g
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if err := g.queue.Recover(ctx); err != nil {
		w.t.Fatal(err)
	}
	go func() { done <- g.queue.Run(ctx) }()
	w.end = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := g.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(w.end)
}

// inject stores and queues a message as the listener does.
func (w *world) inject(from string, content string, change func(*queue.Item), to ...string) mail.MID {
	w.t.Helper()
	d, err := w.spool.Receive(w.t.Context(), w.nextMID())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(d, content); err != nil {
		w.t.Fatal(err)
	}
	it := &queue.Item{Accepted: time.Now(), Origin: mail.Origin{ICID: 1, Listener: "IncomingMail", RemoteIP: netip.MustParseAddr("192.0.2.7"), Helo: "mx.partner.example"}}
	if from != "" {
		if it.From, err = mail.ParseAddress(from); err != nil {
			w.t.Fatal(err)
		}
	}
	for i, a := range to {
		address, err := mail.ParseAddress(a)
		if err != nil {
			w.t.Fatal(err)
		}
		it.Recipients = append(it.Recipients, queue.Recipient{RID: mail.RID(i), Address: address})
	}
	if change != nil {
		change(it)
	}
	var opts []spool.CommitOption
	if it.Release != nil {
		opts = append(opts, spool.WithAction(it.Release.Action)) // as custody does
	}
	if err := d.Commit(w.t.Context(), it, opts...); err != nil {
		w.t.Fatal(err)
	}
	w.queue.Add(it)
	return it.MID
}

func relayed(it *queue.Item) { it.Origin.Relay = true }

// until waits for something that the queue does by itself.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("never: %s", what)
		}
	}
}

func (w *world) empty() bool {
	n := 0
	err := w.spool.Scan(context.Background(), func(*queue.Item) error { n++; return nil })
	return err == nil && n == 0
}

func (w *world) keptNumber() int {
	files, _ := filepath.Glob(w.Path("undelivered", "*.json"))
	return len(files)
}

const letter = "From: alice@partner.example\r\nSubject: lost?\r\nMessage-ID: <1@partner.example>\r\n\r\nText\r\n"

// A sender who is ours gets one report that names all that failed in one
// moment, and none of those that did not; hostile replies stay text.
func TestReportToOurSender(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.inject("alice@partner.example", letter, relayed, "bob@example.com", "eve@example.com", "fine@elsewhere.example")
	w.until("the queue is empty", func() bool { return w.empty() && len(w.mailbox.Messages()) == 2 })
	var report *testlib.Message
	for _, m := range w.mailbox.Messages() {
		if m.To[0] == "TO:<alice@partner.example>" {
			report = &m
		}
	}
	if report == nil || !strings.HasPrefix(report.From, "FROM:<>") || len(report.To) != 1 {
		t.Fatalf("%d messages", len(w.mailbox.Messages()))
	}
	text := string(report.Content)
	for _, s := range []string{"Final-Recipient: rfc822; bob@example.com\r\n", "Final-Recipient: rfc822; eve@example.com\r\n", "Remote-MTA: dns; [127.0.0.1]\r\n", "Status: 5.1.1\r\n",
		"Auto-Submitted: auto-replied\r\n", "Diagnostic-Code: smtp; 550 5.1.1 no such user Bcc: victim@example.net type: mda\r\n", "Subject: lost?\r\n", "multipart/report"} {
		if !strings.Contains(text, s) {
			t.Errorf("no %q in\n%s", s, text)
		}
	}
	if strings.Contains(text, "elsewhere.example") || strings.Contains(text, "\nBcc") || strings.Contains(text, "\ntype:") {
		t.Errorf("%s", text)
	}
	if n := w.Stats.Uptime(stats.GenBounceRecipients); n != 2 || w.Stats.Uptime(stats.HardBounced5XX) != 2 || w.keptNumber() != 0 {
		t.Errorf("%d recipients reported, %d hard bounces, %d kept", n, w.Stats.Uptime(stats.HardBounced5XX), w.keptNumber())
	}
}

// NOTIFY=NEVER is honoured, a null sender is never told, a report that fails
// ends with a line; success is told on request.
func TestNobodyIsTold(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.inject("alice@partner.example", letter, func(it *queue.Item) {
		relayed(it)
		it.Recipients[0].Notify = mail.NotifyNever
	}, "bob@example.com")
	w.inject("", letter, relayed, "bob@example.com")
	w.inject("carol@example.com", letter, relayed, "bob@example.com") // the report to carol is refused as well
	w.until("the queue is empty", w.empty)
	if got := w.mailbox.Messages(); len(got) != 0 {
		t.Errorf("told: %v", got[0].To)
	}
	log := w.log()
	if strings.Count(log, "Double bounce: MID") != 2 || w.keptNumber() != 1 {
		t.Errorf("%d kept; double bounces: %d", w.keptNumber(), strings.Count(log, "Double bounce: MID"))
	}
	w.inject("alice@partner.example", letter, func(it *queue.Item) {
		relayed(it)
		it.Recipients[0].Notify = mail.NotifySuccess
	}, "bob@elsewhere.example")
	w.until("told of success", func() bool { return len(w.mailbox.Messages()) == 2 && w.empty() })
	if text := string(w.mailbox.Messages()[1].Content); !strings.Contains(text, "Action: relayed\r\n") || strings.Contains(text, "\r\nText\r\n") {
		t.Error(text)
	}
}

func (w *world) log() string {
	w.MailLog.Sync()
	var all strings.Builder
	files, _ := filepath.Glob(w.Path("log", "mail_logs", "*"))
	for _, f := range files {
		if info, err := os.Lstat(f); err != nil || !info.Mode().IsRegular() {
			continue
		}
		b, _ := os.ReadFile(f)
		all.Write(b)
	}
	return all.String()
}

// Register B8: forged senders make no reports to the outside, whatever the
// number; the messages are kept. LAZARET_FORGED=100000 is the number of the
// register.
func TestSEC_B8_ForgedSenders(t *testing.T) {
	n := 200
	if v, err := strconv.Atoi(os.Getenv("LAZARET_FORGED")); err == nil {
		n = v
	}
	w := newWorld(t, nil, func(c *config.Config) { c.Reports.PerHour = n })
	w.dns.TXT["victim3.example"] = []string{"v=spf1 ip4:198.51.100.0/24 -all"}
	w.dns.TXT["victim4.example"] = []string{"v=spf1 ~all"}
	for i := range n {
		w.inject(fmt.Sprintf("user%d@victim%d.example", i, i%7), letter, nil, "bob@example.com")
	}
	for end := time.Now().Add(2*time.Minute + time.Duration(n)*20*time.Millisecond); !w.empty() && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	if got := w.mailbox.Messages(); len(got) != 0 {
		t.Fatalf("%d reports to the outside, the first to %v", len(got), got[0].To)
	}
	if kept := w.keptNumber(); kept != n {
		t.Errorf("%d of %d kept", kept, n)
	}
}

// Register B8: a sender proven by SPF or by an aligned signature is told, up to
// the caps, exactly; what is beyond them is kept.
func TestSEC_B8_CapsAreExact(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(nil)
	w := newWorld(t, nil, func(c *config.Config) { c.Reports.PerDomain, c.Reports.PerHour = 3, 5 })
	w.dns.TXT["spf.example"] = []string{"v=spf1 ip4:192.0.2.7 -all"}
	w.dns.TXT["s._domainkey.signed.example"] = []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)}
	var signed bytes.Buffer
	err := dkim.Sign(&signed, strings.NewReader(strings.Replace(letter, "partner", "signed", 1)), &dkim.SignOptions{Domain: "signed.example", Selector: "s", Signer: key})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.inject("a@spf.example", letter, nil, "bob@example.com")
	}
	w.until("the first four are settled", w.empty)
	if n := len(w.mailbox.Messages()); n != 3 || w.keptNumber() != 1 {
		t.Errorf("%d reports, %d kept, want 3 and 1", n, w.keptNumber())
	}
	for range 4 {
		w.inject("b@mail.signed.example", signed.String(), nil, "bob@example.com")
	}
	w.inject("c@signed.example", letter, nil, "bob@example.com") // the signature is missing
	w.until("all are settled", w.empty)
	if n := len(w.mailbox.Messages()); n != 5 || w.keptNumber() != 4 {
		t.Errorf("%d reports, %d kept, want 5 and 4", n, w.keptNumber())
	}
	for _, m := range w.mailbox.Messages() {
		if len(m.Content) > 50_000 || !strings.HasPrefix(m.From, "FROM:<>") {
			t.Errorf("%d bytes from %s", len(m.Content), m.From)
		}
	}
}

// The hour of the caps is looked up where it is counted: times that overtake
// each other begin no new hour.
func TestSEC_B8_ClockUnderTheLock(t *testing.T) {
	o := &outsiders{}
	if !o.take(func() time.Time {
		if o.mu.TryLock() {
			o.mu.Unlock()
			t.Error("the clock is asked outside of the lock")
		}
		return time.Now()
	}, "a.example", &config.Config{}) {
		t.Error("the first report is one too many")
	}
}

// When DNS does not answer the decision waits, over a restart too; then there
// is one report and nothing kept, or the time is up and the message stays.
func TestDecidedLater(t *testing.T) {
	w := newWorld(t, nil, nil)
	for _, d := range []string{"slow.example", "dead.example"} {
		w.dns.Fail[d] = errs.New(errs.Temporary, "timeout")
	}
	w.inject("a@slow.example", letter, nil, "bob@example.com")
	w.inject("a@dead.example", letter, nil, "bob@example.com")
	w.until("the queue is empty", w.empty)
	w.decideUndecided(t.Context())
	if n := len(w.kept.waiting()); n != 2 || w.keptNumber() != 2 || len(w.mailbox.Messages()) != 0 {
		t.Fatalf("%d wait, %d kept", n, w.keptNumber())
	}
	if err := w.openKept(Options{}); err != nil || len(w.kept.waiting()) != 2 { // as a start does
		t.Errorf("after a start %d wait, %v", len(w.kept.waiting()), err)
	}
	delete(w.dns.Fail, "slow.example")
	w.dns.TXT["slow.example"] = []string{"v=spf1 ip4:192.0.2.7 -all"}
	later := time.Now().Add(undecidedFor + time.Minute)
	first := w.kept.waiting()[0]
	saved, err := w.kept.load(first)
	if err != nil {
		t.Fatal(err)
	}
	w.decideUndecided(t.Context())
	now := w.Now
	w.Now = func() time.Time { return later }
	w.decideUndecided(t.Context())
	w.Now = now
	w.until("the report arrives", func() bool { return len(w.mailbox.Messages()) == 1 && w.empty() })
	if n := len(w.kept.waiting()); n != 0 || w.keptNumber() != 1 {
		t.Errorf("%d wait, %d kept", n, w.keptNumber())
	}
	// A crash between the report and the removal: the ledger takes it once.
	if err := w.kept.save(saved); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.kept.path(first, ".eml"), []byte(letter), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.decide(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	w.inject("z@spf.example", letter, relayed, "marker@elsewhere.example")
	w.until("the marker arrives", func() bool { return len(w.mailbox.Messages()) == 2 && w.empty() })
	if w.keptNumber() != 1 {
		t.Errorf("%d kept", w.keptNumber())
	}
}

// What is kept can be shown, delivered once more and removed; what an earlier
// version kept as well.
func TestUndeliveredCommands(t *testing.T) {
	refuse := true
	w := newWorld(t, func(int, string) string {
		if refuse {
			return "550 5.1.1 no\r\n"
		}
		return "250 2.1.5 ok\r\n"
	}, nil)
	mid := w.inject("a@forged.example", letter, nil, "bob@example.com")
	w.until("it is kept", func() bool { return w.keptNumber() == 1 && w.empty() })
	c := keptCommands{w.Gateway}
	list, err := c.List(t.Context())
	if err != nil || len(list) != 1 || list[0].MID != mid || list[0].From.String() != "a@forged.example" || list[0].To[0].Reply != "5.1.1 no" || !strings.Contains(list[0].Why, "SPF") {
		t.Fatalf("%v %+v", err, list)
	}
	refuse = false
	again, err := c.Deliver(t.Context(), mid)
	if err != nil || again <= mid {
		t.Fatalf("%v %v", again, err)
	}
	w.until("it is delivered", func() bool { return len(w.refuses.Messages()) == 1 && w.empty() })
	if m := w.refuses.Messages()[0]; !strings.HasPrefix(m.From, "FROM:<a@forged.example>") || !strings.HasSuffix(string(m.Content), letter) {
		t.Errorf("%s %s", m.From, m.Content)
	}
	if _, err := c.Deliver(t.Context(), mid); !errs.Is(err, errs.NotFound) || w.keptNumber() != 0 {
		t.Errorf("a second time: %v", err)
	}
	old := map[string]string{".eml": letter, ".txt": "From: <a@forged.example>\nTo: <bob@example.com>\n  5.1.1 no\n"}
	for ext, text := range old {
		if err := os.WriteFile(w.kept.path(3, ext), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, content, err := c.Show(t.Context(), 3)
	if err != nil || m.From.String() != "a@forged.example" || len(m.To) != 1 || m.To[0].Reply != "5.1.1 no" {
		t.Fatalf("%v %+v", err, m)
	}
	content.Close()
	if err := c.Remove(t.Context(), 3); err != nil {
		t.Error(err)
	}
	if err := c.Remove(t.Context(), 3); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

// The profile is the destination's own, else the listener's, else DEFAULT's;
// one that tells nobody tells nobody, one with an alternate recipient tells that.
func TestProfiles(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		p := func(name string, change func(*config.BounceProfile)) config.BounceProfile {
			out := c.BounceProfiles[0]
			out.Name = name
			change(&out)
			return out
		}
		c.BounceProfiles = append(c.BounceProfiles,
			p("Silent", func(p *config.BounceProfile) { p.HardBounces = "no" }),
			p("Desk", func(p *config.BounceProfile) {
				p.Alternate, p.Subject, p.Format = "desk@partner.example", "Returned mail", "text"
			}),
			p("Short", func(p *config.BounceProfile) { p.MaxTime, p.Longest = 3600, 1800 }))
		c.Destinations = append(c.Destinations, config.Destination{Domain: "Quiet.Example.COM", TLS: "none", BounceProfile: "Silent"})
		c.Destinations[0].BounceProfile = "Short"
		c.Listeners[0].Profile = "Desk"
		c.SMTPRoutes = append(c.SMTPRoutes, config.SMTPRoute{Domain: ".example.com", Hosts: c.SMTPRoutes[0].Hosts})
	})
	c := w.Config.Committed()
	for _, p := range [][3]string{{"quiet.example.com", "IncomingMail", "Silent"}, {"example.com", "IncomingMail", "Desk"}, {"example.com", "Other", "Short"}} {
		if got := profileName(c, p[0], p[1]); got != p[2] {
			t.Errorf("%s by %s: %q, want %s", p[0], p[1], got, p[2])
		}
	}
	if s := w.destination(queue.Dest{Name: "example.com"}); s.MaxTime != time.Hour || s.ShortestTime != time.Hour {
		t.Errorf("%+v", s)
	}
	w.inject("alice@partner.example", letter, relayed, "bob@quiet.example.com")
	w.inject("forged@nowhere.example", letter, nil, "bob@example.com")
	w.until("all are settled", func() bool { return w.empty() && len(w.mailbox.Messages()) == 1 })
	if m := w.mailbox.Messages()[0]; m.To[0] != "TO:<desk@partner.example>" || !strings.Contains(string(m.Content), "Subject: Returned mail\r\n") || strings.Contains(string(m.Content), "multipart") {
		t.Errorf("%s\n%s", m.To, m.Content)
	}
	if w.keptNumber() != 0 {
		t.Error("kept")
	}
}

// An alert is mailed to those who want its class and level, by the ordinary
// queue; a repeated one is held back; a reply to it has nowhere to go.
func TestAlertByMail(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		c.Alerts.Recipients = []config.AlertRecipient{
			{Address: "ops@partner.example"}, {Address: "cpq@partner.example", Classes: "cpq"}, {Address: "night@partner.example", Severity: "critical"},
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.KeepAlerts(ctx, w.postAlert) }()
	for i := range 10 {
		w.Alert(appliance.AlertDelivery, fmt.Sprintf("MID %d could not be delivered", i))
	}
	w.until("one mail", func() bool { return len(w.mailbox.Messages()) == 1 && w.empty() })
	w.AlertLevel(appliance.AlertHardware, alert.Critical, "the disk\r\nBcc: victim@example.net")
	w.until("two more", func() bool { return len(w.mailbox.Messages()) == 3 && w.empty() })
	for _, m := range w.mailbox.Messages() {
		if !strings.HasPrefix(m.From, "FROM:<>") || strings.HasPrefix(m.To[0], "TO:<cpq") || strings.Contains(string(m.Content), "\nBcc") {
			t.Errorf("%s %s\n%s", m.From, m.To, m.Content)
		}
	}
	cancel()
	<-done
}
