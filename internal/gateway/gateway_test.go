package gateway

import (
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/cpq"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// newGateway makes a gateway that is not started.
func newGateway(t *testing.T, edit func(*config.Config)) *Gateway {
	t.Helper()
	dir := t.TempDir()
	if _, err := appliance.Init(dir, config.Gateway, appliance.InitOptions{Edit: edit}); err != nil {
		t.Fatal(err)
	}
	g, err := New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

const managerSerial = "MANAGER001"

func paired(c *config.Config) {
	c.CPQ = config.CPQ{Enabled: true, Managers: []config.Mgr{{
		Serial: managerSerial, Name: "sma1.example.com", Addr: "127.0.0.1:7025", Pins: []string{"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
	}}}
}

// away stores a message and gives it with the update that hands it to the manager.
func away(t *testing.T, g *Gateway) (*queue.Item, queue.Update) {
	t.Helper()
	d, err := g.spool.Receive(t.Context(), g.nextMID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, "Subject: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	it := &queue.Item{State: queue.Routed, Accepted: time.Now(), Recipients: []queue.Recipient{{Address: mail.Address{Local: "bob", Domain: "example.com"}}}}
	if err := d.Commit(t.Context(), it); err != nil {
		t.Fatal(err)
	}
	return it, queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}, Receipts: []queue.Receipt{{Item: it, Remote: "1", At: time.Now()}}}
}

// A release that comes while the receipt of its message is being written waits,
// or is right; it is never refused for good.
func TestReleaseBesideReceipt(t *testing.T) {
	g := newGateway(t, paired)
	for range 50 {
		it, u := away(t, g)
		r := cpq.Metadata{Release: &cpq.Release{Key: it.Key, Hash: it.Hash, Size: it.Size}}
		applied := make(chan error, 1)
		go func() { applied <- g.spool.Apply(context.Background(), u) }()
		err := errs.New(errs.Temporary, "not asked")
		for errs.Is(err, errs.Temporary) {
			err = custody{g}.Accept(t.Context(), managerSerial, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := <-applied; err != nil {
			t.Fatal(err)
		}
	}
}

// What was never given away, or was something else, is refused; so is, for now,
// a manager whose pairing has ended while it was connected.
func TestReleaseRefused(t *testing.T) {
	g := newGateway(t, paired)
	it, u := away(t, g)
	other := mail.Hash(sha256.Sum256(nil))
	right := cpq.Release{Key: it.Key, Hash: it.Hash, Size: it.Size}
	accept := func(peer string, r cpq.Release) error {
		return custody{g}.Accept(t.Context(), peer, cpq.Metadata{Release: &r})
	}
	if err := accept(managerSerial, right); !errs.Is(err, errs.Temporary) {
		t.Errorf("still here: %v", err)
	}
	if err := g.spool.Apply(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if err := accept(managerSerial, right); err != nil {
		t.Error(err)
	}
	for _, r := range []cpq.Release{
		{Key: it.Key, Hash: other, Size: it.Size},
		{Key: it.Key, Hash: it.Hash, Size: it.Size + 1},
		{Key: mail.NewKey(g.serial(), it.MID+1, it.Hash), Hash: it.Hash, Size: it.Size},
	} {
		if err := accept(managerSerial, r); !errs.Is(err, errs.Denied) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := accept("MANAGER002", right); !errs.Is(err, errs.Temporary) || !strings.Contains(errs.Public(err), "not paired") {
		t.Errorf("a manager of old: %v", err)
	}
	if err := (custody{g}).Accept(t.Context(), managerSerial, cpq.Metadata{Deposit: &cpq.Deposit{}}); err == nil {
		t.Error("a deposit was taken")
	}
}

// A destination control holds however its domain is written.
func TestDestinationByAnyCase(t *testing.T) {
	c := &config.Config{Destinations: []config.Destination{{Domain: "DEFAULT", TLS: "none"}, {Domain: "Example.COM", TLS: "required"}}}
	if d := newControls(c).row("example.com"); d.TLS != "required" {
		t.Errorf("%+v", d)
	}
	if d := newControls(c).row("example.org"); d.TLS != "none" {
		t.Errorf("%+v", d)
	}
}

// A listener on any address is ours at each address of the machine.
func TestOwn(t *testing.T) {
	g := newGateway(t, func(c *config.Config) {
		c.Interfaces = append(c.Interfaces, config.Interface{Name: "All", IP: "0.0.0.0"}, config.Interface{Name: "Six", IP: "::FFFF:127.0.0.9"})
		any, six := c.Listeners[0], c.Listeners[0]
		any.Name, any.Interface, any.Port = "Any", "All", 2525
		six.Name, six.Interface, six.Port = "Six", "Six", 2626
		c.Listeners = append(c.Listeners, any, six)
	})
	for at, want := range map[string]bool{
		"127.0.0.1:25": true, "127.0.0.2:25": false, "127.0.0.1:2525": true, "127.0.0.2:2525": true, "[::ffff:127.0.0.1]:25": true,
		"127.0.0.9:2626": true, "[::ffff:127.0.0.9]:2626": true, "127.0.0.8:2626": false, "192.0.2.77:2525": false, "127.0.0.1:7025": false,
	} {
		if g.own(netip.MustParseAddrPort(at)) != want {
			t.Errorf("%s: not %v", at, want)
		}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		ip := netip.MustParsePrefix(a.String()).Addr()
		if !g.own(netip.AddrPortFrom(ip, 2525)) {
			t.Errorf("%s is ours", ip)
		}
	}
}

// A release is for those on record: some or all of them, each as often as there.
func TestReleaseEnvelope(t *testing.T) {
	g := newGateway(t, paired)
	a := func(local string) mail.Address { return mail.Address{Local: local, Domain: "example.com"} }
	sent := spool.Sent{Key: "k", From: a("alice"), Recipients: []mail.Address{a("bob"), a("carol"), a("bob")},
		Rcpt: []mail.RcptParams{{Notify: mail.NotifyNever}, {Notify: mail.NotifyDelay}, {Notify: mail.NotifySuccess}}}
	for _, c := range []struct {
		from string
		to   []string
		ok   bool
	}{
		{"alice", []string{"bob", "carol", "bob"}, true},
		{"alice", []string{"carol"}, true},
		{"mallory", []string{"carol"}, false},
		{"alice", []string{"bob", "dave"}, false},
		{"alice", []string{"carol", "carol"}, false},
	} {
		m := &listener.Message{Peer: managerSerial, Envelope: mail.Envelope{From: a(c.from)}}
		for _, to := range c.to {
			m.Envelope.To = append(m.Envelope.To, a(to))
		}
		asked, err := custody{g}.checkEnvelope(m, sent)
		if c.ok && !slices.EqualFunc(asked, c.to, func(p mail.RcptParams, to string) bool { return (p.Notify == mail.NotifyDelay) == (to == "carol") }) {
			t.Errorf("%+v: asked for %+v", c, asked)
		}
		if (err == nil) != c.ok || err != nil && !errs.Is(err, errs.Denied) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
