package delivery

import (
	"strings"
	"testing"

	"lazaret/internal/dns"
	"lazaret/internal/mtasts"
	"lazaret/internal/testlib"
)

// tlsverify says in words what TLS, DANE and MTA-STS say, and sends nothing.
func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name   string
		cert   []string
		change func(m *mxWorld)
		ok     bool
		want   []string
	}{
		{"dane", []string{"mx.example"}, func(m *mxWorld) { m.dns.TLSA["_25._tcp.mx.example"] = []dns.TLSA{key(m.cert.Leaf)} }, true,
			[]string{"mx.example, port 25: MX of example.com, validated by DNSSEC", "DANE: TLSA 3 1 1 of mx.example decide who may answer.", "protocol TLS 1.3", "Certificate of mx.example, subject CN=mx.example",
				"certificate verified for mx.example", "Mail would be sent; who answers is proven by DANE, TLSA 3 1 1 of mx.example."}},
		{"dane fails", []string{"mx.example"}, func(m *mxWorld) {
			m.dns.TLSA["_25._tcp.mx.example"] = []dns.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
		}, false, []string{"TLS connection established", "No mail would be sent to it now: DANE: verify error"}},
		{"policy", []string{"other.example"}, func(m *mxWorld) {
			m.opt.Policies = policies{"example.com": {Mode: mtasts.Enforce, MX: []string{"mx.example"}}}
		}, false, []string{"DANE: no TLSA records.", "MTA-STS: the policy of example.com is in mode enforce and names mx.example.", "By known authorities: verify error", "No mail would be sent to it now: verify error"}},
		{"plain", nil, func(m *mxWorld) { m.dns.Secure["mx.example"] = false }, true, []string{"DANE: not used", "MTA-STS: example.com has no policy.", "TLS is not offered.", "Mail would be sent without TLS."}},
		{"no proof asked", []string{"other.example"}, nil, true, []string{"Mail would be sent over TLS; nothing asks for proof"}},
		{"nobody there", []string{"mx.example"}, func(m *mxWorld) { m.sink.Close() }, false, []string{"127.0.0.1:25: connection refused", "No mail would be sent"}},
		{"route to nowhere", nil, func(m *mxWorld) { m.routes("example.com /dev/null") }, true, []string{"thrown away"}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			m := newMXWorld(t, testlib.Behaviour{}, c.cert...)
			m.opt.Policies = policies{}
			if c.change != nil {
				c.change(m)
			}
			couriers, err := New(m.opt)
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			err = couriers.Verify(t.Context(), "Example.com", 0, func(s string) { said = append(said, s) })
			if (err == nil) != c.ok {
				t.Errorf("%v", err)
			}
			all := strings.Join(said, "\n")
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("%q is missing in\n%s", want, all)
				}
			}
			m.noLeak()
		})
	}
	m := newMXWorld(t, testlib.Behaviour{}, "mx.example")
	couriers, err := New(m.opt)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	if err := couriers.Verify(t.Context(), "mx.example", m.sink.Addr.Port(), func(s string) { said = append(said, s) }); err != nil || !strings.Contains(strings.Join(said, "\n"), "named by an SMTP route or by you") {
		t.Errorf("%v %q", err, said)
	}
	for _, bad := range []string{"", "a..b", "x\r\ny"} {
		if err := couriers.Verify(t.Context(), bad, 0, func(string) {}); err == nil {
			t.Errorf("%q is looked at", bad)
		}
	}
}
