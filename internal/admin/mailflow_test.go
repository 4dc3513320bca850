package admin

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/listener"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/stats"
)

// memStore is a queue.Store in memory, as far as the commands need one.
type memStore struct {
	mu    sync.Mutex
	items map[mail.MID]*queue.Item
}

func (s *memStore) Scan(_ context.Context, fn func(*queue.Item) error) error {
	s.mu.Lock()
	var list []*queue.Item
	for _, it := range s.items {
		list = append(list, it.Clone())
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *queue.Item) int { return int(a.MID) - int(b.MID) })
	for _, it := range list {
		if err := fn(it); err != nil {
			return err
		}
	}
	return nil
}

func (s *memStore) Load(_ context.Context, mid mail.MID) (*queue.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.items[mid]; it != nil {
		return it.Clone(), nil
	}
	return nil, errs.New(errs.NotFound, "no message %d", mid)
}

func (s *memStore) Open(context.Context, mail.MID) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("x\r\n")), nil
}

func (s *memStore) Apply(_ context.Context, u queue.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range u.Save {
		s.items[it.MID] = it.Clone()
	}
	for _, mid := range u.Remove {
		delete(s.items, mid)
	}
	return nil
}

func (s *memStore) SetAside(context.Context, mail.MID, error) error { return nil }

// wall is a courier in front of a host that does not answer.
type wall struct{ tried chan queue.Dest }

func (w wall) Run(ctx context.Context, d queue.Dest, f *queue.Feed) {
	if _, ok := f.Next(ctx); !ok {
		return
	}
	f.Down(errs.New(errs.Temporary, "connection refused\x1b[2J"))
	select {
	case w.tried <- d:
	default:
	}
}

type nowhere struct{}

func (nowhere) Process(context.Context, *queue.Item, queue.Opener) (queue.Routing, error) {
	return queue.Routing{}, nil
}

type sink struct{}

func (sink) NextMID() mail.MID                                { return 1 }
func (sink) Ready(int64) error                                { return nil }
func (sink) Receive(context.Context, *listener.Message) error { return nil }

// post is an appliance with three messages that cannot be delivered.
type post struct {
	*house
	keptListeners, keptDelivery []string
	notes, troubles             []string
	listeners                   *listener.Group
	store                       *memStore
	clock                       time.Time
}

func newPost(t *testing.T) *post {
	t.Helper()
	p := &post{store: &memStore{items: map[mail.MID]*queue.Item{}}, clock: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	addr := func(s string) mail.Address {
		a, err := mail.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for i, to := range []string{"a@example.org", "b@example.org", "c@example.net"} {
		mid := mail.MID(100 + i)
		p.store.items[mid] = &queue.Item{MID: mid, State: queue.Routed, From: addr("sender@example.com"), Size: 1234, Accepted: p.clock.Add(-12*time.Minute - 5*time.Second),
			Subject:    "Hello \x1b[31m=?utf-8?q?w=C3=B6rld?=",
			Recipients: []queue.Recipient{{Address: addr(to), Dest: queue.Dest{Name: addr(to).Domain}}}}
	}
	tried := wall{make(chan queue.Dest, 2)}
	st := &stats.Set{}
	st.Add(stats.MessagesReceived, 12345)
	q, err := queue.New(queue.Options{Store: p.store, Processor: nowhere{}, Courier: func(queue.Dest) queue.Courier { return tried }, Log: logs.Discard(), Stats: st,
		Clock: func() time.Time { return p.clock }})
	if err != nil {
		t.Fatal(err)
	}
	q.Pin(queue.CPQHost)
	if err := q.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-tried.tried
	<-tried.tried
	for slices.ContainsFunc(q.Destinations(), func(d queue.DestStatus) bool { return d.ConnOut > 0 }) {
		runtime.Gosched() // until both runs are over
	}
	g := newListeners(t)
	p.listeners = g
	sys := System{Queue: q, Listeners: g, Stats: st, Started: p.clock.Add(-26*time.Hour - 3*time.Minute), Clock: func() time.Time { return p.clock },
		IDs:           func() (mail.MID, mail.ICID, mail.DCID) { return 9977, 7120, 6004 },
		Space:         func() (int64, int64) { return 120 << 10, 8388488 << 10 },
		Troubles:      func() []string { return p.troubles },
		Held:          func(context.Context) (Holding, error) { return Holding{57, 4210 << 10}, nil },
		Note:          func(text string) { p.notes = append(p.notes, text) },
		KeepListeners: func(n []string) error { p.keptListeners = n; return nil },
		KeepDelivery:  func(n []string) error { p.keptDelivery = n; return nil },
	}
	p.house = language(t, sys.Commands()...)
	return p
}

func newListeners(t *testing.T) *listener.Group {
	t.Helper()
	g, err := listener.New(listener.Options{Hostname: "gw1.demo.example", Log: logs.Discard(), Stats: &stats.Set{}, Resolver: &dns.Fake{}, NextICID: func() mail.ICID { return 1 }, Sink: sink{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close(context.Background()) })
	for _, name := range []string{"IncomingMail", listener.CPQName} { // the name is what hides it
		err := g.Add(listener.Settings{Name: name, Protocol: listener.SMTP, Interface: "Management", Addr: netip.MustParseAddrPort("127.0.0.1:0"), Kind: access.Private, HAT: access.DefaultHAT(access.Private)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

func (p *post) exec(t *testing.T, line string) string {
	t.Helper()
	s := newScript()
	p.Exec(t.Context(), admin, line, s)
	return s.String()
}

func wants(t *testing.T, what, got string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(got, l) {
			t.Errorf("%s: no %q in\n%s", what, l, got)
		}
	}
	if strings.ContainsRune(got, '\x1b') {
		t.Errorf("%s lets an escape through: %q", what, got)
	}
}

// The layouts of reference 9b.
func TestViews(t *testing.T) {
	p := newPost(t)
	wants(t, "status", p.exec(t, "status"),
		"Enter \"status detail\" for more information.\n\nStatus as of:          Wed Mar  4 05:06:07 2026 UTC\n",
		"Up since:              Tue Mar  3 03:03:07 2026 UTC (1d 2h 3m 0s)\n",
		"System status:         Online\nOldest Message:        12 mins 5 secs\n",
		"Counters:                          Reset      Uptime    Lifetime\n  Receiving\n",
		"    Messages Received             12,345      12,345      12,345\n",
		"    Message ID (MID)                                       9,977\n",
		"    Injection Conn. ID (ICID)                              7,120\n",
		"    Delivery Conn. ID (DCID)                               6,004\n",
		"Gauges:                          Current\n", "    Active Recipients                  3\n", "    Kilobytes Free             8,388,488\n",
		"      Policy, Virus and Outbreak      57\n", "      Policy, Virus and Outbreak   4,210\n")
	p.troubles = []string{"spool: the disk is full for 7s (write of 000007.log); mail is refused until there is room"}
	wants(t, "status on a full disk", p.exec(t, "status"),
		"System status:         Online\nStorage degraded:      spool: the disk is full for 7s (write of 000007.log); mail is refused until there is room\nOldest")
	wants(t, "status detail", p.exec(t, "status detail"), "        DNS Hard Bounces               0           0           0\n")
	top := p.exec(t, "tophosts")
	wants(t, "tophosts", top,
		"                              Active   Conn.   Deliv.     Soft     Hard\n #  Recipient Host            Recip.     Out   Recip.  Bounced  Bounced\n 1* example.org                    2       0        0        0        0\n",
		"  the.cpq.host                   0       0        0        0        0\n")
	if got := p.exec(t, "tophosts active_rcpts"); got != top {
		t.Errorf("the batch word changes\n%s", got)
	}
	wants(t, "tophosts", p.exec(t, "tophosts nonsense"), "Invalid arguments")
	wants(t, "showhosts", p.exec(t, "showhosts example.org"), "example.org               down            2  12 mins 5 secs     in ", `    Last error: connection refused\u001b[2J`)
	wants(t, "showhosts", p.exec(t, "showhosts the.cpq.host"), "the.cpq.host              unknown         0  -                  -\n")
	wants(t, "showhosts", p.exec(t, "showhosts nowhere.example"), "does not exist")
	wants(t, "hoststatus", p.exec(t, "hoststatus example.net"), "Host mail status for: 'example.net'\n", "Host up/down:          down\n", "    Active Recipients                  1\n")
	wants(t, "showrecipients", p.exec(t, "showrecipients host example.net"), "102       1234     <sender@example.com>  Hello \\u001b[31m", "[0]       [0]      c@example.net\n")
	if got := p.exec(t, "showrecipients all"); strings.Count(got, "sender@example.com") != 3 {
		t.Errorf("all messages: %s", got)
	}
	wants(t, "showrecipients", p.exec(t, "showrecipients"), "Invalid arguments")
}

func TestDeleteRecipients(t *testing.T) {
	p := newPost(t)
	wants(t, "not confirmed", p.exec(t, "deleterecipients host example.org"), "Nothing was deleted")
	wants(t, "delete", p.exec(t, "deleterecipients host example.org y"), "Deleting messages, please wait.\n2 messages deleted.\n")
	p.store.mu.Lock()
	left := len(p.store.items)
	p.store.mu.Unlock()
	if left != 1 {
		t.Errorf("%d messages are left", left)
	}
	wants(t, "deliver now", p.exec(t, "delivernow host example.net"), "Rescheduled 1 message for")
	for line, want := range map[string]string{
		"delivernow nosuch": `"nosuch" is not one of: host, all`, "delivernow": "Usage:\n  delivernow", "deleterecipients": "Usage:\n  deleterecipients", "showrecipients": "Usage:\n  showrecipients",
		"tophosts foo": `"foo" is not one of: active_rcpts, conn_out`, "showrecipients foo": "is not one of: host, sender, all", "status detail x": "status takes at most 1 argument\n"} {
		if out, status := run(t, p.house, admin, line); status != exitInvalid || !strings.Contains(out, want) {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	s := newScript("deleterecipients host the.cpq.release.host", "n")
	p.Shell(t.Context(), admin, s)
	const lost = "These are released messages that have not reached their gateway; deleting them means that they are never delivered.\n"
	wants(t, "released mail", s.String(), lost+`Are you sure you want to delete all messages being delivered to "the.cpq.release.host"? [N]> n`)
	wants(t, "released mail", p.exec(t, "deleterecipients host the.cpq.release.host"), lost+"Nothing was deleted")
	wants(t, "trail", strings.Join(p.trail, "\n"), "admin: deleterecipients host example.org y: ok", "admin: delivernow host example.net: ok")
}

// All listeners means the hidden one too; it is in no menu; what is suspended
// is kept for the next start.
func TestSuspend(t *testing.T) {
	p := newPost(t)
	s := newScript("suspendlistener", "^C")
	p.Shell(t.Context(), admin, s)
	wants(t, "menu", s.String(), "1. All\n2. IncomingMail\n[1]> ^C")
	if strings.Contains(s.String(), listener.CPQName) {
		t.Errorf("the hidden listener is in the menu:\n%s", s.String())
	}
	wants(t, "one", p.exec(t, "suspendlistener IncomingMail 0"), "Receiving suspended for IncomingMail.\n")
	wants(t, "status", p.exec(t, "status"), "System status:         Online\n") // cpq_listener still listens
	wants(t, "suspend", p.exec(t, "suspend 0"), "Receiving suspended for cpq_listener.\nMail delivery suspended.\n")
	wants(t, "status", p.exec(t, "status"), "System status:         Offline\n")
	wants(t, "showhosts", p.exec(t, "showhosts example.org"), "suspended", "after resumedel")
	if len(p.keptListeners) != 2 || !slices.Equal(p.keptDelivery, []string{queue.AllHosts}) {
		t.Errorf("kept %q and %q", p.keptListeners, p.keptDelivery)
	}
	wants(t, "resumelistener", p.exec(t, "resumelistener all"), "Receiving resumed for IncomingMail, cpq_listener.\n")
	wants(t, "status", p.exec(t, "status"), "System status:         Delivery Suspended\n")
	wants(t, "resume", p.exec(t, "resume"), "Mail delivery resumed.\n")
	if len(p.keptListeners) != 0 || len(p.keptDelivery) != 0 {
		t.Errorf("kept %q and %q", p.keptListeners, p.keptDelivery)
	}
	wants(t, "one domain", p.exec(t, "suspenddel Example.NET,example.org; status; resumedel example.net"),
		"Mail delivery suspended for example.net, example.org.\n", "System status:         Online\n", "Mail delivery resumed for example.net.\n")
	cpqState := CPQState(p.listeners)
	if got := cpqState(); got != "listening" {
		t.Errorf("cpq_listener is %s", got)
	}
	p.notes = nil
	wants(t, "one of two", p.exec(t, "suspendlistener cpq_listener 0; status"), "System status:         Online\nListeners suspended:   cpq_listener\nOldest")
	if got := cpqState(); got != "suspended" {
		t.Errorf("cpq_listener is %s", got)
	}
	if got := p.exec(t, "resumelistener cpq_listener; resumelistener all; status"); strings.Contains(got, "Listeners suspended") {
		t.Errorf("none is suspended, but:\n%s", got)
	}
	if got := strings.Join(p.notes, "\n"); got != "Receiving suspended for cpq_listener by user admin\nReceiving resumed for cpq_listener by user admin" {
		t.Errorf("mail_logs has %q", got)
	}
	for _, line := range []string{"suspendlistener", `suspendlistener ""`, "resumelistener", "suspenddel", `suspenddel " "`, "resumedel"} {
		if out, status := run(t, p.house, admin, line); status != exitInvalid || !strings.Contains(out, "is needed\nUsage:\n  "+strings.Fields(line)[0]) {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	wants(t, "nothing happened", p.exec(t, "status"), "System status:         Online\n")
	wants(t, "nonsense", p.exec(t, "suspenddel a..b; suspend -5; suspendlistener nobody"), "is not a domain", "is not a number of seconds", "nobody")
}

// Through SSH the quotes of grep "CPQ ICID" are gone; it must work all the same.
func TestLogs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail_logs")
	f, err := logs.OpenFile(logs.FileOptions{Dir: dir, Prefix: "mail", Version: "1", Serial: "GATEWAY0001"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := logs.NewMail(f, func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) })
	m.NewICID("CPQ", 7, "Management", netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), "unknown", "no")
	m.Info("something else")
	l := language(t, Logs{{Name: "mail_logs", Dir: dir, Prefix: "mail", File: f}}.Commands()...)
	run := func(line string) (string, int) {
		s := newScript()
		status := l.Exec(t.Context(), admin, line, s)
		return s.String(), status
	}
	one := regexp.MustCompile(`^[^\n]*New CPQ ICID 7[^\n]*\n$`)
	m.Info("MID 44 (released")
	for _, line := range []string{`grep "mid 44 (" -i mail_logs`, `grep -e "44 (" mail_logs`} {
		if out, status := run(line); status != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "MID 44 (released") {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	for _, line := range []string{`grep "CPQ ICID" mail_logs`, `grep CPQ ICID mail_logs`, `grep -i -e "cpq icid" mail_logs`, `grep -C 0 "ICID \d+" mail_logs`} {
		if out, status := run(line); status != 0 || !one.MatchString(out) {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	if out, status := run("grep nothing mail_logs"); status != 0 || out != logs.NothingFound+"\n" {
		t.Errorf("%d %q", status, out)
	}
	for line, want := range map[string]string{"grep x": "Invalid arguments", "grep": "Invalid arguments", "grep x nosuch": "does not exist", "grep -z x mail_logs": "unknown option -z", "grep -C": "needs a value", "tail ../../etc": "does not exist"} {
		if out, status := run(line); status == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := &until{script: newScript(), text: "something else\n", found: cancel}
	if status := l.Exec(ctx, admin, "tail mail_logs", seen); status != 0 {
		t.Errorf("tail: status %d", status)
	}
	if out, _ := run("rollovernow mail_logs"); !strings.Contains(out, "successfully rolled over") {
		t.Errorf("%q", out)
	}
	f.Sync()
	if files, err := os.ReadDir(dir); err != nil || len(files) != 3 { // closed, current, link
		t.Errorf("%v %v", files, err)
	}
}

// until calls found when the text was written.
type until struct {
	*script
	text  string
	found func()
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.script.Write(p)
	if strings.Contains(u.script.String(), u.text) {
		u.found()
	}
	return n, err
}
