package delivery

import (
	"fmt"
	"strings"
	"testing"
)

func TestRoutesLookup(t *testing.T) {
	r, err := ParseRoutes(`
# the table of the test
example.com    mail.example.com:2525, [192.0.2.7]/pri=10, relay.example.net/pri=5
.example.com   USEDNS
.sub.example.com [sub.example.net]
old.example    /dev/null
relay.example.net  [192.0.2.8]:26, [2001:db8::1]
here.example   here.example:27
[192.0.2.99]   [192.0.2.1]
v6.example     2001:db8::2
ALL            [192.0.2.1]:10025, Two.Example.NET.
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ domain, want string }{
		{"example.com", "mail.example.com:2525 [192.0.2.8]:26/pri=5 [2001:db8::1]/pri=5 [192.0.2.7]/pri=10"},
		{"a.example.com", "USEDNS"},
		{"b.a.example.com", "USEDNS"},
		{"x.sub.example.com", "[sub.example.net]"},
		{"sub.example.com", "USEDNS"}, // .sub.example.com is not sub.example.com
		{"notexample.com", "[192.0.2.1]:10025 two.example.net"},
		{"old.example", "/dev/null"},
		{"here.example", "here.example:27"}, // its own name is a host, not a loop
		{"[192.0.2.99]", "[192.0.2.1]"},
		{"v6.example", "[2001:db8::2]"},
	} {
		var got []string
		for _, h := range r.Lookup(c.domain) {
			got = append(got, h.String())
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("Lookup(%s) = %s, want %s", c.domain, g, c.want)
		}
	}
	again, err := ParseRoutes(r.String())
	if err != nil || again.String() != r.String() {
		t.Errorf("the table does not read back: %v\n%s", err, r)
	}
	if hops := new(Routes).Lookup("x.example"); hops[0].Kind != HopDNS {
		t.Errorf("the zero table gives %v", hops)
	}
}

func TestRoutesRefused(t *testing.T) {
	wide := make([]string, 60)
	for i := range wide {
		wide[i] = fmt.Sprintf("h%d.example", i)
	}
	for _, c := range []struct{ text, want string }{
		{"example.com", "line 1: no destination"},
		{"\nexa_mple..com a.example", "line 2"},
		{"a.example b.example,", "a destination is empty"},
		{"a.example USEDNS, b.example", "stands alone"},
		{"a.example /dev/null, b.example", "stands alone"},
		{"a.example b.example:0", "port"},
		{"a.example b.example:70000", "port"},
		{"a.example [192.0.2.1", "bracket"},
		{"a.example b.example/pri=-1", "priority"},
		{"a.example b.example\nA.example. c.example", "line 2: a.example has two routes"},
		{"a.example b.example\nb.example c.example\nc.example a.example", "lead back"},
		{"a.example " + strings.Join(wide, ","), "more than 50"},
		{"a.example b.example,b.example\nb.example " + strings.Join(wide[:40], ","), "leads to more than 50"},
		{"a.example b exam.ple", "neither"},
	} {
		if _, err := ParseRoutes(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzParseRoutes(f *testing.F) {
	f.Add("a.example b.example:25/pri=3, [::1]:26\nALL USEDNS")
	f.Add("b.example a.example\na.example b.example")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRoutes(text)
		if err != nil {
			return
		}
		again, err := ParseRoutes(r.String())
		if err != nil {
			t.Fatalf("%q was read, its export %q not: %v", text, r, err)
		}
		if again.String() != r.String() {
			t.Fatalf("export of %q changes: %q, %q", text, r, again)
		}
		for _, route := range r.All() {
			if len(r.Lookup(strings.TrimPrefix(route.Match, "."))) == 0 {
				t.Fatalf("%s leads nowhere", route.Match)
			}
		}
	})
}
