package listener

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lazaret/internal/access"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/reputation"
	"lazaret/internal/stats"
)

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// limited is a rig with a clock, one policy for everybody.
func limited(t *testing.T, params string) (*rig, *clock) {
	t.Helper()
	c := newClock()
	return newRigWith(t, func(o *Options) { o.Clock = c.Now }, settings("Incoming", "$P\n ACCEPT {"+params+"}\nALL\n $P\n")), c
}

// from connects from an address of loopback.
func (r *rig) from(ip, name string) *talk {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", r.Addr(name).String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return newTalk(r.t, c)
}

const bob = "RCPT TO:<bob@example.com>"

// Recipients of an hour, over connections and messages of one client; another
// client has an hour of its own, and an hour later all begins anew.
func TestRecipientsPerHour(t *testing.T) {
	r, c := limited(t, "max_rcpts_per_hour = 3")
	d := r.from("127.0.0.1", "Incoming").upTo("MAIL")
	d.all("RCPT TO:<nobody@elsewhere.example>", "550", bob, "250", bob, "250", "DATA", "354", ".", "250")
	d.all("MAIL FROM:<x@y.example>", "250", bob, "250", bob, "452 4.7.1 too many recipients received this hour", bob, "452", "DATA", "354", ".", "250", "QUIT", "221")
	r.from("127.0.0.1", "Incoming").upTo("MAIL").all(bob, "452 4.7.1", "QUIT", "221")
	r.from("127.0.0.2", "Incoming").upTo("MAIL").all(bob, "250", "QUIT", "221")
	c.pass(59 * time.Minute)
	r.from("127.0.0.1", "Incoming").upTo("MAIL").all(bob, "452 4.7.1", "QUIT", "221")
	c.pass(time.Minute)
	r.from("127.0.0.1", "Incoming").upTo("MAIL").all(bob, "250", "QUIT", "221")
	r.stop()
	if n := strings.Count(r.log.lines(), "To: <bob@example.com> Rejected by Injection Control\n"); n != 4 {
		t.Errorf("%d lines\n%s", n, r.log.lines())
	}
	if n := r.stats.Uptime(stats.RejectedRecipients); n != 5 {
		t.Errorf("%d rejected", n)
	}
}

// Words and code of the policy, and a network as one client.
func TestRecipientsPerHourOfNetworks(t *testing.T) {
	r, _ := limited(t, `max_rcpts_per_hour = 1, significant_bits = 24, max_rcpts_per_hour_code = 550, max_rcpts_per_hour_text = "5.7.28 enough from your network"`)
	r.from("127.0.5.1", "Incoming").upTo("MAIL").all(bob, "250", "QUIT", "221")
	r.from("127.0.5.200", "Incoming").upTo("MAIL").all(bob, "550 5.7.28 enough from your network", "QUIT", "221")
	r.from("127.0.6.1", "Incoming").upTo("MAIL").all(bob, "250", "QUIT", "221")
}

// A change of the configuration does not give anybody a new hour.
func TestRatesOutliveReload(t *testing.T) {
	hat := "$P\n ACCEPT {max_rcpts_per_hour = 1}\nALL\n $P\n"
	s := settings("Incoming", hat)
	r := newRig(t, s)
	r.dial("Incoming").upTo("MAIL").all(bob, "250", "QUIT", "221")
	s.Addr = r.Addr("Incoming")
	if err := r.Replace([]Settings{s}); err != nil {
		t.Fatal(err)
	}
	r.dial("Incoming").upTo("MAIL").all(bob, "452", "QUIT", "221")
}

// An envelope sender is limited wherever he connects from, in any spelling of
// his case; the null sender is nobody, and what the client's own limit refused
// is not counted for him.
func TestSenderRate(t *testing.T) {
	r, c := limited(t, `max_rcpts_per_sender = 2, max_rcpts_per_sender_minutes = 10, max_rcpts_per_sender_code = 450, max_rcpts_per_sender_text = "slow down", max_rcpts_per_hour = 4`)
	say := func(ip, from, want string) {
		t.Helper()
		d := r.from(ip, "Incoming").upTo("EHLO")
		d.all("MAIL FROM:<"+from+">", "250", bob, want, "QUIT", "221")
	}
	say("127.0.0.1", "a@b.example", "250")
	say("127.0.0.2", "A@B.Example", "250")
	say("127.0.0.3", "a@b.example", "450 4.7.1 slow down")
	say("127.0.0.3", "c@b.example", "250")
	for range 3 {
		say("127.0.0.4", "", "250")
	}
	say("127.0.0.4", "d@b.example", "250")
	say("127.0.0.4", "e@b.example", "452") // the client's hour is used up
	say("127.0.0.5", "e@b.example", "250")
	say("127.0.0.5", "e@b.example", "250")
	say("127.0.0.5", "e@b.example", "450")
	c.pass(10 * time.Minute)
	say("127.0.0.3", "a@b.example", "250")
}

// Who guesses recipients is cut off, and stays out for the hour.
func TestDirectoryHarvest(t *testing.T) {
	r, c := limited(t, `dhap_limit = 3, dhap_limit_text = "go away"`)
	d := r.from("127.0.0.1", "Incoming").upTo("MAIL")
	d.all("RCPT TO:<a@elsewhere.example>", "550", bob, "250", "RCPT TO:<b@the.cpq.host>", "550", "RCPT TO:<blocked@example.org>", "550 5.2.1",
		"RCPT TO:<d@elsewhere.example>", "421 4.7.1 go away", "", "END")
	r.from("127.0.0.1", "Incoming").all("", "421 4.7.1 go away", "", "END")
	r.from("127.0.0.2", "Incoming").upTo("MAIL").all(bob, "250", "QUIT", "221")
	c.pass(time.Hour)
	r.from("127.0.0.1", "Incoming").upTo("MAIL").all("RCPT TO:<d@elsewhere.example>", "550", "QUIT", "221")
	r.stop()
	for icid, want := range map[int]string{1: "ICID 1 Receiving Failed: Too Many Invalid Recipients\n", 2: "ICID 2 Receiving Failed: Too Many Invalid Recipients\nICID 2 close\n"} {
		if !strings.Contains(r.log.of(icid), want) {
			t.Errorf("no %q in\n%s", want, r.log.lines())
		}
	}
}

// Counters are exact with many sessions at once: of n recipients that m
// clients send, exactly the limit is taken for each, whatever the order.
func TestRatesAreExactUnderLoad(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit, sessions, each := rapid.IntRange(1, 20).Draw(rt, "limit"), rapid.IntRange(1, 6).Draw(rt, "sessions"), rapid.IntRange(1, 8).Draw(rt, "recipients")
		c := newClock()
		g := &Group{opts: Options{Log: newLogBuffer(t).mail, Stats: &stats.Set{}, Clock: c.Now}, rates: newRates()}
		hat, err := access.ParseHAT(fmt.Sprintf("$P\n ACCEPT {max_rcpts_per_hour = %d}\nALL\n $P\n", limit))
		if err != nil {
			rt.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		taken := map[string]int{}
		for i := range sessions {
			ip := fmt.Sprintf("192.0.2.%d", i%2)
			s := &session{listener: &listener{group: g, name: "L"}, rules: &rules{Settings: Settings{Protocol: SMTP}}, policy: hat.Decide(access.Client{}).Policy}
			s.origin.RemoteIP = netip.MustParseAddr(ip)
			wg.Go(func() {
				for range each {
					if _, over := s.overRate(); !over {
						mu.Lock()
						taken[ip]++
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		for i := range min(2, sessions) {
			ip := fmt.Sprintf("192.0.2.%d", i)
			if want := min(limit, each*((sessions-i+1)/2)); taken[ip] != want {
				rt.Fatalf("%s: %d taken, want %d", ip, taken[ip], want)
			}
		}
	})
}

// The domain of a sender has to exist where the policy wants it.
func TestVerifySender(t *testing.T) {
	r := newRigWith(t, func(o *Options) {
		o.Resolver = &dns.Fake{
			MX:   map[string]dns.MXSet{"mx.example": {Records: []dns.MX{{Host: "a.mx.example"}}}, "null.example": {Null: true}},
			Fail: map[string]error{"down.example": errs.New(errs.Temporary, "broken")},
		}
	}, settings("Incoming", "$P\n ACCEPT {verify_sender = on}\nALL\n $P\n"))
	d := r.dial("Incoming").upTo("EHLO")
	d.all("MAIL FROM:<a@none.example>", "553 5.1.8 domain of sender address <a@none.example> does not exist",
		"MAIL FROM:<a@null.example>", "550 5.7.27 ",
		"MAIL FROM:<a@down.example>", "451 4.1.8 ",
		"MAIL FROM:<>", "250", "RSET", "250",
		"MAIL FROM:<a@[192.0.2.1]>", "250", "RSET", "250",
		"MAIL FROM:<a@mx.example>", "250", "QUIT", "221")
	r.stop()
	for _, want := range []string{
		"ICID 1 Address: <a@none.example> sender rejected, envelope sender domain does not exist\n",
		"ICID 1 Address: <a@null.example> sender rejected, envelope sender domain takes no mail\n",
		"ICID 1 Address: <a@down.example> sender rejected, envelope sender domain could not be looked up\n",
	} {
		if !strings.Contains(r.log.lines(), want) {
			t.Errorf("no %q in\n%s", want, r.log.lines())
		}
	}
}

// Sender groups by DNS list and by score, with the words of the log; a list
// that does not answer in time holds nobody up for longer, and lists nobody.
func TestReputationGroups(t *testing.T) {
	hat := `BLACKLIST:
 dnslist[bl.example]
 sbrs[-10.0:-3.0]
 $BLOCKED
SUSPECTLIST:
 dnslist[slow.example]
 sbrs[-3.0:-1.0]
 $THROTTLED
` + acceptAll
	zone := &slowList{Fake: dns.Fake{Addr: map[string][]netip.Addr{
		"2.0.0.127.bl.example":  {netip.MustParseAddr("127.0.0.2")},
		"3.0.0.127.bl.example":  {netip.MustParseAddr("127.255.255.254")},
		"9.0.0.127.rep.example": {netip.MustParseAddr("127.0.4.45")},
	}}}
	log := newLogBuffer(t)
	others, err := reputation.New(reputation.Options{Resolver: zone, Log: log.mail})
	if err != nil {
		t.Fatal(err)
	}
	others.Use(scores{"127.0.0.4": -55, "127.0.0.5": -20, "127.0.0.6": 31})
	r := newRigWith(t, func(o *Options) { o.Reputation, o.LookupTimeout = others, time.Second }, settings("Incoming", hat))
	for _, c := range [][3]string{
		{"127.0.0.2", "554", "REJECT SG BLACKLIST match dnslist[bl.example] SBRS None\n"},
		{"127.0.0.3", "220", "ACCEPT SG ALL match ALL SBRS None\n"},
		{"127.0.0.4", "554", "REJECT SG BLACKLIST match sbrs[-10.0:-3.0] SBRS -5.5\n"},
		{"127.0.0.5", "220", "ACCEPT SG SUSPECTLIST match sbrs[-3.0:-1.0] SBRS -2.0\n"},
		{"127.0.0.6", "220", "ACCEPT SG ALL match ALL SBRS 3.1\n"},
		{"127.0.0.7", "220", "ACCEPT SG ALL match ALL SBRS unable to retrieve\n"},
	} {
		r.from(c[0], "Incoming").all("", c[1], "QUIT", "221")
		if !strings.Contains(r.log.lines(), c[2]) {
			t.Errorf("%s: no %q in\n%s", c[0], c[2], r.log.lines())
		}
	}
	if l := log.lines(); !strings.Contains(l, "Reputation: DNS list slow.example: ") || strings.Count(l, "\n") != 3 {
		t.Errorf("troubles:\n%s", l)
	}
}

// slowList does not answer about one address in one of its lists.
type slowList struct{ dns.Fake }

func (s *slowList) LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error) {
	if name == "6.0.0.127.slow.example" {
		<-ctx.Done()
		return nil, errs.New(errs.Temporary, "look-up given up")
	}
	return s.Fake.LookupIPv4(ctx, name)
}

// scores is a source in memory.
type scores map[string]int

func (s scores) String() string { return "scores" }

func (s scores) Score(_ context.Context, ip netip.Addr) (int, bool, error) {
	if ip.String() == "127.0.0.7" {
		return 0, false, errs.New(errs.Temporary, "broken")
	}
	n, known := s[ip.String()]
	return n, known, nil
}

// Code and words of a refusal.
func TestRefusalWords(t *testing.T) {
	r := newRig(t, settings("Incoming", "$NO\n REJECT {banner = \"not today\" banner_code = 421}\nALL\n $NO\n"))
	r.dial("Incoming").all("", "421 gw1.example.com not today", "QUIT", "")
}
