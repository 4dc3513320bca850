package delivery

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
)

func TestPlan(t *testing.T) {
	one := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	many := make([]dns.MX, 30)
	for i := range many {
		many[i] = dns.MX{Host: fmt.Sprintf("mx%d.example", i), Preference: uint16(i)}
	}
	fake := &dns.Fake{
		MX: map[string]dns.MXSet{
			"two.example":  {Records: []dns.MX{{Host: "a.example", Preference: 1}, {Host: "b.example", Preference: 2}}},
			"null.example": {Null: true},
			"many.example": {Records: many},
		},
		Addr: map[string][]netip.Addr{"plain.example": one},
		Fail: map[string]error{"slow.example": errs.New(errs.Temporary, "no resolver answers")},
	}
	routes, err := ParseRoutes(`
mixed.example null.example, two.example:26/pri=5
gone.example nothing.example
half.example slow.example, null.example
off.example /dev/null
ip.example [192.0.2.7]:2525
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ domain, want string }{
		{"two.example", "a.example:25 b.example:25"},
		{"plain.example", "plain.example:25"}, // RFC 5321 section 5.1: implicit MX
		{"null.example", "hard 5.1.10"},
		{"missing.example", "hard 5.1.2"},
		{"slow.example", "temporary"},
		{"mixed.example", "a.example:26 b.example:26"}, // the next hop of a route counts
		{"gone.example", "hard 5.1.2"},
		{"half.example", "temporary"}, // what may pass outweighs what will not
		{"off.example", "discard"},
		{"ip.example", "192.0.2.7:2525"},
		{"[192.0.2.9]", "192.0.2.9:25"},
		{"[IPv6:2001:db8::9]", "2001:db8::9:25"},
		{"many.example", "mx0.example:25 mx1.example:25 mx2.example:25 mx3.example:25 mx4.example:25 mx5.example:25 mx6.example:25 mx7.example:25 mx8.example:25 mx9.example:25"},
	} {
		p := planner{resolver: fake, shuffle: func(int, func(i, j int)) {}}
		got, err := p.plan(context.Background(), routes, c.domain)
		if s := planText(got, err); s != c.want {
			t.Errorf("%s: %s (%v), want %s", c.domain, s, err, c.want)
		}
	}
}

func planText(p plan, err error) string {
	if hard, ok := asHard(err); ok {
		return "hard " + hard.status
	}
	if err != nil {
		return "temporary"
	}
	if p.discard {
		return "discard"
	}
	var out []string
	for _, c := range p.candidates {
		out = append(out, fmt.Sprintf("%s:%d", c.name, c.port))
	}
	return strings.Join(out, " ")
}

// Only equals change places.
func TestShuffleEqual(t *testing.T) {
	hops := []Hop{{Host: "a"}, {Host: "b"}, {Host: "c", Priority: 1}, {Host: "d", Priority: 2}, {Host: "e", Priority: 2}}
	reverse := func(n int, swap func(i, j int)) {
		for i := 0; i < n/2; i++ {
			swap(i, n-1-i)
		}
	}
	shuffleEqual(hops, func(h Hop) int { return h.Priority }, reverse)
	var got []string
	for _, h := range hops {
		got = append(got, h.Host)
	}
	if want := []string{"b", "a", "c", "e", "d"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
