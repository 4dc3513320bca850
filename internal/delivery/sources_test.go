package delivery

import (
	"net/netip"
	"testing"

	"lazaret/internal/dns"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// The most exact rule counts, the sender before the client.
func TestSources(t *testing.T) {
	s, _, err := NewSources([]SourceRule{
		{"Ann@Example.com", "address"}, {"example.com", "domain"}, {".example.com", "below"}, {".sub.example.com", "deeper"},
		{"192.0.2.0/24", "net"}, {"192.0.2.7", "client"}, {"2001:db8::/32", "six"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, client, want string }{
		{"ann@example.com", "192.0.2.7", "address"}, {"ANN@example.com", "", "address"}, {"bob@example.com", "192.0.2.7", "domain"},
		{"bob@a.example.com", "", "below"}, {"bob@sub.example.com", "", "below"}, {"bob@x.sub.example.com", "", "deeper"},
		{"bob@notexample.com", "192.0.2.9", "net"}, {"", "192.0.2.7", "client"}, {"", "::ffff:192.0.2.7", "client"},
		{"x@y.example", "2001:db8::1", "six"}, {"x@y.example", "198.51.100.1", ""}, {"x@com", "", ""},
	} {
		from, err := mail.ParseAddress(c.from)
		if err != nil {
			t.Fatal(err)
		}
		var ip netip.Addr
		if c.client != "" {
			ip = netip.MustParseAddr(c.client)
		}
		if got := s.Lookup(from, ip); got != c.want {
			t.Errorf("%s from %s: %q, want %q", c.from, c.client, got, c.want)
		}
	}
	if got := new(Sources).Lookup(mail.Address{Local: "a", Domain: "b.example"}, netip.Addr{}); got != "" {
		t.Error(got)
	}
	for i, bad := range [][]SourceRule{
		{{"example.com", "a"}, {"EXAMPLE.com.", "b"}}, {{"192.0.2.7/24", "a"}, {"192.0.2.0/24", "b"}}, {{"a", "a"}, {"a@", "b"}}, {{"a", "a"}, {"a b.example", "b"}}, {{"a", "a"}, {"[192.0.2.1]", "b"}}, {{"a", "a"}, {"", "b"}},
	} {
		if _, at, err := NewSources(bad); err == nil || at != 1 {
			t.Errorf("case %d: rule %d, %v", i, at, err)
		}
	}
}

// Messages that leave from different interfaces share no connection, each link
// says the name of its own, and the log shows the address.
func TestInterfaces(t *testing.T) {
	sink := testlib.NewSink(t, testlib.Behaviour{})
	w := newWorld(t)
	w.routes("ALL [%s]:%d", sink.Addr.Addr(), sink.Addr.Port())
	w.set = func(queue.Dest) queue.Settings { return queue.Settings{Concurrency: 1, Idle: patience} }
	lane := "Data2"
	w.to = func(r queue.Recipient) queue.Dest { return queue.Dest{Name: r.Address.Domain, Lane: lane} }
	w.opt.Source = func(iface string, remote netip.Addr) Source {
		if remote != sink.Addr.Addr() {
			t.Errorf("asked for %s", remote)
		}
		switch iface {
		case "Data2":
			return Source{IP: netip.MustParseAddr("127.0.0.2"), Hostname: "two.example.com", Only: true}
		case "Six":
			return Source{IP: netip.MustParseAddr("2001:db8::1"), Only: true}
		}
		return Source{}
	}
	w.start()
	w.settled(w.add(body, nil, "b@example.com"))
	lane = ""
	w.settled(w.add(body, nil, "b@example.com"))
	lane = "Data2"
	w.settled(w.add(body, nil, "b@example.com"))
	w.logged("New SMTP DCID 1 interface 127.0.0.2 address 127.0.0.1 port")
	w.logged("New SMTP DCID 2 interface 127.0.0.1 address 127.0.0.1 port")
	got := sink.Messages()
	if got[0].Conn != got[2].Conn || got[0].Conn == got[1].Conn {
		t.Errorf("connections %d %d %d", got[0].Conn, got[1].Conn, got[2].Conn)
	}
	said := map[string]int{}
	for _, c := range sink.Commands() {
		said[c]++
	}
	if said["EHLO two.example.com"] != 1 || said["EHLO gw.example.com"] != 1 {
		t.Errorf("said %v", said)
	}
	lane = "Six"
	w.add(body, nil, "b@example.com")
	for failed := false; !failed; {
		for _, d := range w.q.Lanes("example.com") {
			failed = failed || d.Dest.Lane == "Six" && d.LastError != ""
		}
		<-tick()
	}
	if n := sink.Connections(); n != 2 {
		t.Errorf("%d connections: one left from another interface", n)
	}
}

func TestLanes(t *testing.T) {
	for _, l := range []Lane{{}, {Interface: "Data 2"}, {RequireTLS: true}, {Interface: "Data2", RequireTLS: true}} {
		if got := ParseLane(l.String()); got != l {
			t.Errorf("%+v is read as %+v", l, got)
		}
	}
}

// Which addresses of a host are tried, and in which order.
func TestIPOrder(t *testing.T) {
	four, six := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	for _, c := range []struct {
		order IPOrder
		first netip.Addr
		count int
	}{{PreferIPv4, four, 2}, {PreferIPv6, six, 2}, {OnlyIPv4, four, 1}, {OnlyIPv6, six, 1}} {
		got := c.order.sort([]netip.Addr{six, four})
		if len(got) != c.count || got[0] != c.first {
			t.Errorf("%s: %v", c.order, got)
		}
		if back, err := ParseIPOrder(c.order.String()); err != nil || back != c.order {
			t.Errorf("%s: %v %v", c.order, back, err)
		}
	}
	w := newWorld(t)
	w.opt.Resolver = &dns.Fake{Addr: map[string][]netip.Addr{"mx.example": {four}}}
	w.routes("ALL [mx.example]")
	w.opt.Control = func(string) Control { return Control{IP: OnlyIPv6} }
	w.start()
	w.add(body, nil, "b@example.com")
	for len(w.q.Lanes("example.com")) == 0 || w.q.Lanes("example.com")[0].LastError == "" {
		<-tick()
	}
	if got := w.q.Lanes("example.com")[0].LastError; got != "mx.example has no address of the family that is asked for (ipv6-only)" {
		t.Error(got)
	}
}
