package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/cpq"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// hostile is a manager with a valid certificate at a gateway that runs.
type hostile struct {
	*Gateway
	addr string
	pair certs.Pair
	sent *queue.Item // given away to it
	body string
}

func freePort(t *testing.T) int {
	t.Helper()
	return int(testlib.FreePort(t).Port())
}

func newHostile(t *testing.T, edit func(*config.Config)) *hostile {
	t.Helper()
	crt, key, err := certs.NewCPQ(managerSerial, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	x := &hostile{body: "Subject: x\r\n\r\n"}
	if x.pair, err = certs.Parse(crt, key); err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), freePort(t)
	_, err = appliance.Init(dir, config.Gateway, appliance.InitOptions{CPQPort: port, SSHPort: freePort(t), SMTPPort: freePort(t), Edit: func(c *config.Config) {
		paired(c)
		c.CPQ.Managers[0].Pins, c.CPQ.Managers[0].Addr = []string{x.pair.Pin().String()}, "127.0.0.1:9"
		// What is taken stays in the queue, to be looked at.
		c.SMTPRoutes = []config.SMTPRoute{{Domain: "ALL", Hosts: []string{"[127.0.0.1]:9"}}}
		if err := c.AdmitPeer(netip.MustParseAddr("127.0.0.1"), "hostile"); err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if x.Gateway, err = New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	it, u := away(t, x.Gateway)
	if err := x.spool.Apply(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	x.sent = it
	if err := x.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.addr = fmt.Sprintf("127.0.0.1:%d", port)
	return x
}

func (x *hostile) dial(t *testing.T) *testlib.Dialogue {
	t.Helper()
	check := certs.Check{
		Own:   func(func(certs.Pin) bool) (tls.Certificate, error) { return x.pair.TLS, nil },
		Peers: func() []certs.Peer { return []certs.Peer{{ID: "G", Pins: x.CPQ.Pins()}} },
	}
	d, err := testlib.DialTLS(t, x.addr, check.Client())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// release is right metadata for decision n about what was given away.
func (x *hostile) release(n uint32) *cpq.Release {
	return &cpq.Release{Action: mail.NewActionKey(x.sent.Key, n), Key: x.sent.Key, ManagerMID: 1, GatewayMID: x.sent.MID, Size: x.sent.Size, Hash: x.sent.Hash, Cause: "manual", By: "admin"}
}

func xcpq(t *testing.T, r *cpq.Release) string {
	t.Helper()
	b, err := cpq.Encode(cpq.Metadata{Release: r})
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("XCPQ %d\r\n%s", len(b), b)
}

// give goes through a whole release and gives the last reply, or the first
// refusal.
func (x *hostile) give(t *testing.T, d *testlib.Dialogue, r *cpq.Release, from, to, body string) string {
	t.Helper()
	for _, say := range []string{xcpq(t, r), "MAIL FROM:<" + from + ">\r\n", "RCPT TO:<" + to + ">\r\n", "DATA\r\n"} {
		if got := d.Send(say); strings.HasPrefix(got, "4") || strings.HasPrefix(got, "5") || got == "" {
			d.Say("RSET")
			return got
		}
	}
	return d.Send(body + ".\r\n")
}

func (x *hostile) log(t *testing.T) string {
	t.Helper()
	x.MailLog.Sync()
	b, err := os.ReadFile(x.Path("log", "mail_logs", "mail.current"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A manager in hostile hands can give back what this gateway gave it, unchanged,
// to those it was for, and nothing else; each attempt at more is refused and
// told (register D6).
func TestSEC_D6_CompromisedManager(t *testing.T) {
	x := newHostile(t, nil)
	const bob = "bob@example.com"
	other := mail.Hash(sha256.Sum256([]byte("other")))
	unknown := mail.NewKey(x.serial(), 99_999, x.sent.Hash)
	foreign := mail.NewKey("GATEWAY002", x.sent.MID, x.sent.Hash)
	altered := mail.NewKey(x.serial(), x.sent.MID, other)
	with := func(edit func(*cpq.Release)) *cpq.Release {
		r := x.release(1)
		edit(r)
		return r
	}
	keyed := func(k mail.Key, h mail.Hash) *cpq.Release {
		return with(func(r *cpq.Release) { r.Key, r.Action, r.Hash = k, mail.NewActionKey(k, 1), h })
	}
	for what, c := range map[string]struct {
		r              *cpq.Release
		from, to, body string
		want           string
	}{
		"unknown key":      {keyed(unknown, x.sent.Hash), "", bob, x.body, "550 5.7.1 message "},
		"another's key":    {keyed(foreign, x.sent.Hash), "", bob, x.body, "550 5.7.1 message "},
		"a key of its own": {keyed(altered, other), "", bob, "other", "550 5.7.1 message "},
		"other size":       {with(func(r *cpq.Release) { r.Size++ }), "", bob, x.body, "550 5.7.1 content of message "},
		"altered body":     {x.release(1), "", bob, "Subject: y\r\n\r\n", "554 5.6.0 content is not "},
		"longer body":      {x.release(1), "", bob, x.body + "x\r\n", "554 5.6.0 content is not "},
		"no body":          {x.release(1), "", bob, "", "554 5.6.0 content is not "},
		"added recipient":  {x.release(1), "", "mallory@example.net", x.body, "550 5.7.1 recipient 0 of message "},
		"other sender":     {x.release(1), "mallory@example.net", bob, x.body, "550 5.7.1 sender of message "},
		"a source route":   {x.release(1), "", "@evil.example:" + bob, x.body, "5"},
		"no deposit of it": {x.release(1), "", "bob%example.com@evil.example", x.body, "550 5.7.1 recipient 0 of message "},
	} {
		d := x.dial(t)
		if got := x.give(t, d, c.r, c.from, c.to, c.body); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
		d.Close()
	}
	if n := x.queue.Gauges(); n.WorkQueue+n.ActiveRecipients != 0 {
		t.Fatalf("%+v", n)
	}
	if log := x.log(t); strings.Count(log, "Warning: CPQ: release by manager "+managerSerial+" refused: ") < 6 {
		t.Errorf("too few alarms:\n%s", log)
	}
	if got := x.give(t, x.dial(t), x.release(1), "", bob, x.body); !strings.HasPrefix(got, "250 2.0.0 ok:  Message ") {
		t.Errorf("what it may: %q", got)
	}
}

// The same message under one new decision after another comes back as often as
// the limit says, also when all come at once; the same decision is answered for
// ever (register D6).
func TestSEC_D6_ReleasedAgainAndAgain(t *testing.T) {
	const limit = 4
	x := newHostile(t, func(c *config.Config) { c.ReleaseLimits.PerMessage = limit })
	var taken atomic.Int32
	var wg sync.WaitGroup
	for n := range 3 { // one sinks into another at the limit: fewer are taken, never more
		d := x.dial(t)
		wg.Go(func() {
			for i := range 5 {
				if strings.HasPrefix(x.give(t, d, x.release(uint32(1+n*5+i)), "", "bob@example.com", x.body), "250 ") {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	d := x.dial(t)
	for n := uint32(100); n < 100+limit; n++ {
		if strings.HasPrefix(x.give(t, d, x.release(n), "", "bob@example.com", x.body), "250 ") {
			taken.Add(1)
		}
	}
	if taken.Load() != limit {
		t.Errorf("%d were taken, the limit is %d", taken.Load(), limit)
	}
	got := x.give(t, x.dial(t), x.release(200), "", "bob@example.com", x.body)
	if want := fmt.Sprintf("550 5.7.1 message %s was released %d times already", x.sent.Key, limit); !strings.HasPrefix(got, want) {
		t.Errorf("%q", got)
	}
	var known uint32
	for n := uint32(1); known == 0; n++ {
		if _, found, err := x.spool.Action(mail.NewActionKey(x.sent.Key, n)); err != nil {
			t.Fatal(err)
		} else if found {
			known = n
		}
	}
	if got := x.give(t, x.dial(t), x.release(known), "", "bob@example.com", x.body); !strings.HasPrefix(got, "250 ") {
		t.Errorf("a repeat: %q", got)
	}
	if !strings.Contains(x.log(t), "which is the limit") {
		t.Error("no alarm")
	}
}

// A flood of releases is cut at the limit of a minute: the rest is refused for
// now and told once as an alert (register D6: a hundred thousand a minute).
func TestSEC_D6_Flood(t *testing.T) {
	x := newHostile(t, func(c *config.Config) { c.ReleaseLimits.PerMinute = 50 })
	m := cpq.Metadata{Release: x.release(1)}
	passed := 0
	for range 100_000 {
		if err := (custody{x.Gateway}).Accept(t.Context(), managerSerial, m); err == nil {
			passed++
		} else if !errs.Is(err, errs.Temporary) {
			t.Fatal(err)
		}
	}
	if passed < 50 || passed > 100 { // the clock is the machine's: a minute may end in between
		t.Errorf("%d passed", passed)
	}
	if !strings.Contains(x.log(t), "which is its limit; the rest waits there") {
		t.Error("no alarm")
	}
}

// Two managers that know the same message, as after a restored backup or a
// split: whichever comes second with the decision hears that it is taken, and
// one that is not paired is not heard at all. It is released once (register D7).
func TestSEC_D7_TwoManagers(t *testing.T) {
	x := newHostile(t, nil)
	second := *x
	crt, key, err := certs.NewCPQ("MANAGER002", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if second.pair, err = certs.Parse(crt, key); err != nil {
		t.Fatal(err)
	}
	check := certs.Check{
		Own:   func(func(certs.Pin) bool) (tls.Certificate, error) { return second.pair.TLS, nil },
		Peers: func() []certs.Peer { return []certs.Peer{{ID: "G", Pins: x.CPQ.Pins()}} },
	}
	if _, err := testlib.DialTLS(t, x.addr, check.Client()); err == nil {
		t.Error("a manager that is not paired was heard")
	}
	err = x.Config.Update(mail.System(), "a second manager", func(c *config.Config) error {
		c.CPQ.Managers = append(c.CPQ.Managers, config.Mgr{Serial: "MANAGER002", Name: "sma2.example.com", Addr: "127.0.0.1:10", Pins: []string{second.pair.Pin().String()}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	replies := map[string]int{}
	for i := range 10 {
		from := []*hostile{x, &second}[i%2]
		d := from.dial(t)
		wg.Go(func() {
			got := from.give(t, d, x.release(1), "", "bob@example.com", x.body)
			mu.Lock()
			replies[got]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(replies) != 1 {
		t.Errorf("%v", replies)
	}
	for got := range replies {
		if !strings.HasPrefix(got, "250 2.0.0 ok:  Message ") {
			t.Errorf("%q", got)
		}
	}
	if g := x.queue.Gauges(); g.WorkQueue+g.ActiveRecipients != 1 {
		t.Errorf("%+v", g)
	}
}
