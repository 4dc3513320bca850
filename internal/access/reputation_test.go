package access

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func manyZones(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " dnslist[z%d.example]\n", i)
	}
	return b.String()
}

// What others say of an address: what each entry takes, and that silence and
// failure take nothing.
func TestReputationConditions(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	scored := func(tenths int) Client { return Client{IP: ip, Score: KnownScore(tenths)} }
	for _, c := range []struct {
		entry  string
		client Client
		want   bool
	}{
		{"sbrs[-3.0:-1.0]", scored(-30), true},
		{"sbrs[-3.0:-1.0]", scored(-10), true},
		{"sbrs[-3.0:-1.0]", scored(-31), false},
		{"sbrs[-3.0:-1.0]", scored(-9), false},
		{"sbrs[-3:-1]", scored(-20), true},
		{"sbrs[-10.0:10.0]", scored(-1000), true}, // cut to the end of the scale
		{"sbrs[-10.0:10.0]", Client{IP: ip}, false},
		{"sbrs[-10.0:10.0]", Client{IP: ip, Score: Score{State: ScoreFailed, Tenths: 5}}, false},
		{"sbrs[none]", Client{IP: ip}, true},
		{"sbrs[none]", scored(0), false},
		{"sbrs[none]", Client{IP: ip, Score: Score{State: ScoreFailed}}, false},
		{"dnslist[Zone.Example]", Client{IP: ip, Listed: map[string]bool{"zone.example": true}}, true},
		{"dnslist[zone.example]", Client{IP: ip, Listed: map[string]bool{"other.example": true, "zone.example": false}}, false},
		{"dnslist[zone.example]", Client{IP: ip}, false},
	} {
		h := mustHAT(t, "G:\n "+c.entry+"\n $BLOCKED\nALL\n $ACCEPTED\n")
		if d := h.Decide(c.client); (d.Group == "G") != c.want || c.want && d.Match != c.entry {
			t.Errorf("%s on %+v: group %s match %q, want a match: %v", c.entry, c.client, d.Group, d.Match, c.want)
		}
	}
}

// Only what a decision may hang on is asked.
func TestNeeds(t *testing.T) {
	h := mustHAT(t, `
$LOOK
  CONTINUE {}
X:
  dnslist[unused.example]
  $LOOK
A:
  10.0.0.0/8
  dnslist[a.example]
  $TRUSTED
B:
  dnslist[b.example]
  dnslist[A.example]
  $BLOCKED
C:
  sbrs[-10.0:-3.0]
  192.0.2.0/24
  $BLOCKED
ALL
  $ACCEPTED
`)
	for ip, want := range map[string]string{
		"10.1.1.1":         "[] false",
		"::ffff:10.1.1.1":  "[] false",
		"192.0.2.9":        "[a.example b.example] false",
		"198.51.100.1":     "[a.example b.example] true",
		"2001:db8::1%eth0": "[a.example b.example] true",
	} {
		n := h.Needs(netip.MustParseAddr(ip))
		seen := map[string]bool{}
		for _, z := range n.Zones {
			seen[z] = true
		}
		var zones []string
		for _, z := range []string{"a.example", "b.example", "unused.example"} {
			if seen[z] {
				zones = append(zones, z)
			}
		}
		if got := fmt.Sprint(zones, n.Score); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	if !h.UsesScores() || mustHAT(t, seedHAT).UsesScores() {
		t.Error("UsesScores is wrong")
	}
}

func TestScores(t *testing.T) {
	for in, want := range map[string]string{"-10": "-10.0", "-10.0": "-10.0", "0": "0.0", "-0.5": "-0.5", "9.9": "9.9", "10.0": "10.0"} {
		if n, err := ParseTenths(in); err != nil || KnownScore(n).String() != want {
			t.Errorf("%s: %d, %v", in, n, err)
		}
	}
	for _, in := range []string{"", "-", "10.1", "-11", "1.25", "1.", ".5", "+1", "1e1", "0x1", "100", "--1", "NaN"} {
		if n, err := ParseTenths(in); err == nil {
			t.Errorf("%q became %d", in, n)
		}
	}
	if (Score{}).String() != "None" || (Score{State: ScoreFailed}).String() != "unable to retrieve" {
		t.Error("words of the log")
	}
}
