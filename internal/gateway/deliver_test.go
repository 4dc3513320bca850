package gateway

import (
	"net/netip"
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// What the destination controls say reaches queue and courier; a domain
// without a row has DEFAULT's, and a switch that is left out is on.
func TestDestinationControls(t *testing.T) {
	g := newGateway(t, func(c *config.Config) {
		c.Delivery.Concurrency = 77
		c.Destinations = []config.Destination{
			{Domain: "DEFAULT", TLS: "preferred", RateLimit: 100, RateMinutes: 30},
			{Domain: "a.example", TLS: "required-verify", Concurrency: 3, Messages: 7, IP: "ipv6-only", RateLimit: 5, RateMinutes: 1, DANE: "off", MTASTS: "off"},
		}
	})
	if got, want := g.control("a.example"), (delivery.Control{TLS: delivery.TLSRequiredVerify, IP: delivery.OnlyIPv6, Messages: 7}); got != want {
		t.Errorf("%+v", got)
	}
	if got, want := g.control("b.example"), (delivery.Control{TLS: delivery.TLSPreferred, DANE: true, MTASTS: true}); got != want {
		t.Errorf("%+v", got)
	}
	s := g.destination(queue.Dest{Name: "a.example"})
	if s.Concurrency != 3 || s.RateLimit != 5 || s.RateWindow != time.Minute {
		t.Errorf("%+v", s)
	}
	if s := g.destination(queue.Dest{Name: "b.example"}); s.RateLimit != 100 || s.RateWindow != 30*time.Minute {
		t.Errorf("%+v", s)
	}
	if s := g.destination(queue.Dest{Name: queue.CPQHost}); s.RateLimit != 0 {
		t.Errorf("the quarantine host is limited: %+v", s)
	}
	if n := maxConnections(g.Config.Committed()); n != 77 {
		t.Error(n)
	}
}

// Auto takes the interface in the host's network, else leaves it to the
// system; a rule of altsrchost counts before; an interface that is gone is the
// default.
func TestSource(t *testing.T) {
	g := newGateway(t, func(c *config.Config) {
		c.Interfaces = append(c.Interfaces, config.Interface{Name: "Data2", IP: "127.0.0.2", Hostname: "two.example.com"})
		c.AltSrcHosts = []config.AltSrcHost{{Match: "news.example", Interface: "Data2"}}
	})
	host := g.Config.Committed().Hostname
	loop, far := netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("203.0.113.1")
	two := delivery.Source{IP: netip.MustParseAddr("127.0.0.2"), Hostname: "two.example.com", Only: true}
	for _, c := range []struct {
		iface  string
		remote netip.Addr
		want   delivery.Source
	}{
		{"Data2", far, two}, {"Data2", loop, two},
		{"", loop, delivery.Source{IP: netip.MustParseAddr("127.0.0.1"), Hostname: host}},
		{"", far, delivery.Source{}}, {"Gone", far, delivery.Source{}},
	} {
		if got := g.source(c.iface, c.remote); got != c.want {
			t.Errorf("%q to %s: %+v", c.iface, c.remote, got)
		}
	}
	it := &queue.Item{From: mail.Address{Local: "a", Domain: "news.example"}, Recipients: []queue.Recipient{{Address: mail.Address{Local: "b", Domain: "x.example"}}}}
	if d := (processor{g}).toDomain(it, mail.Route{})(it.Recipients[0]); d != (queue.Dest{Name: "x.example", Lane: "Data2"}) {
		t.Errorf("%+v", d)
	}
	it.RequireTLS = true
	if d := (processor{g}).toDomain(it, mail.Route{})(it.Recipients[0]); delivery.ParseLane(d.Lane) != (delivery.Lane{Interface: "Data2", RequireTLS: true}) {
		t.Errorf("%+v", d)
	}
	it.From.Domain, it.RequireTLS = "else.example", false
	if d := (processor{g}).toDomain(it, mail.Route{})(it.Recipients[0]); d.Lane != "" {
		t.Errorf("%+v", d)
	}
	nets := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")}
	faces := []config.Interface{{Name: "A", IP: "198.51.100.7"}, {Name: "B", IP: "192.0.2.7"}, {Name: "C", IP: "2001:db8::7"}}
	for remote, want := range map[string]string{"192.0.2.200": "192.0.2.7", "::ffff:192.0.2.200": "192.0.2.7", "2001:db8::1": "2001:db8::7", "198.51.100.1": "invalid IP"} {
		if got := sameNetwork(faces, nets, netip.MustParseAddr(remote)); got.IP.String() != want {
			t.Errorf("%s: %+v", remote, got)
		}
	}
}

// A table that makes no sense is refused before it is in force.
func TestRefusedRules(t *testing.T) {
	g := newGateway(t, nil)
	c := g.Config.Committed().Clone()
	c.AltSrcHosts = []config.AltSrcHost{{Match: "a.example", Interface: "Management"}, {Match: "A.example", Interface: "Management"}}
	if err := g.Prepare(c); err == nil || err.Error() != "config/altsrchosts/altsrchost, number 2: a.example stands here twice" {
		t.Error(err)
	}
}

// What MTA-STS has learnt is there after a restart, in the appliance's directory.
func TestPolicyFile(t *testing.T) {
	f := policyFile(t.TempDir() + "/" + policyName)
	if b, err := f.Load(); b != nil || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if err := f.Save([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	if b, err := f.Load(); string(b) != "{}" || err != nil {
		t.Errorf("%q %v", b, err)
	}
}
