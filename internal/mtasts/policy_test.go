package mtasts

import (
	"fmt"
	"strings"
	"testing"

	"lazaret/internal/errs"
)

// The fields of RFC 8461 section 3.2.
func TestParsePolicy(t *testing.T) {
	many := "version: STSv1\nmode: enforce\nmax_age: 1\n" + strings.Repeat("mx: a.example\n", maxMX+1)
	for in, want := range map[string]string{
		good: "{enforce [mx.example.com *.mail.example.com] 168h0m0s} <nil>",
		"version:STSv1\nmode:testing\nmx: MX.Example.\nmax_age:0\n\n":                   "{testing [mx.example] 0s} <nil>",
		"mx: a.example\nmax_age: 9999999999\nmode: enforce\nnew: thing\nversion: STSv1": "{enforce [a.example] 8766h0m0s} <nil>",
		"version: STSv1\nmode: none\nmax_age: 86400\nnonsense":                          "{none [] 24h0m0s} <nil>",
		"version: STSv1\nmode: enforce\nmode: none\nmx: a.example\nmax_age: 60":         "{enforce [a.example] 1m0s} <nil>",
		"version: STSv2\nmode: none\nmax_age: 1":                                        "the policy is not of version STSv1",
		"version: STSv1\nmode: enforce\nmax_age: 1":                                     "the policy has no mx pattern",
		"version: STSv1\nmode: enforced\nmx: a.example\nmax_age: 1":                     "mode of the policy is none of enforce, testing, none",
		"version: STSv1\nmode: enforce\nmx: a.example":                                  "max_age of the policy is not a number of seconds",
		"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1":                     "max_age of the policy is not a number of seconds",
		"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 99999999999":            "max_age of the policy is not a number of seconds",
		"version: STSv1\nmode: enforce\nmx: *.*.example\nmax_age: 1":                    `"*.*.example" in the policy is not an mx pattern`,
		"version: STSv1\nmode: enforce\nmx: mx.*.example\nmax_age: 1":                   `"mx.*.example" in the policy is not an mx pattern`,
		"version: STSv1\nmode: enforce\nmx: [192.0.2.1]\nmax_age: 1":                    `"[192.0.2.1]" in the policy is not an mx pattern`,
		"version: STSv1\nmode: enforce\nmx:\nmax_age: 1":                                `"" in the policy is not an mx pattern`,
		many: "the policy has more than 100 mx patterns",
	} {
		p, err := ParsePolicy([]byte(in))
		got := fmt.Sprintf("%v %v", p, err)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.60q:\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestParseRecord(t *testing.T) {
	for in, want := range map[string]string{
		"v=STSv1; id=20160831085700Z;":           "20160831085700Z",
		"v=STSv1;id=1":                           "1",
		"v=STSv1 ; other=x; id=1 ;":              "1",
		"v=spf1 -all|v=STSv1; id=2":              "2",
		"v=STSv1":                                "no record of STSv1",
		" v=STSv1; id=1":                         "no record of STSv1",
		"v=STSv1; id=1|v=STSv1; id=1":            "2 records of STSv1: there must be one",
		"v=STSv1; id=":                           "the id of the record is not 1 to 32 letters and digits",
		"v=STSv1; id=a b":                        "the id of the record is not 1 to 32 letters and digits",
		"v=STSv1; id=" + strings.Repeat("1", 33): "the id of the record is not 1 to 32 letters and digits",
	} {
		id, err := ParseRecord(strings.Split(in, "|"))
		if err != nil {
			id = err.Error()
		}
		if id != want {
			t.Errorf("%q: %s, want %s", in, id, want)
		}
	}
	if _, err := ParseRecord(nil); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

// RFC 8461 section 4.1: a wildcard is one label, no more and no less.
func TestMatches(t *testing.T) {
	p := Policy{MX: []string{"mx.example.com", "*.mail.example.com"}}
	for host, want := range map[string]bool{
		"mx.example.com": true, "MX.example.COM.": true, "a.mail.example.com": true, "mail.example.com": false, "a.b.mail.example.com": false,
		"mx.example.com.evil.example": false, "xmx.example.com": false, "evilmail.example.com": false, "": false, "com": false,
	} {
		if p.Matches(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

// No file makes the reader panic, and what it takes is within its limits.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("version: STSv1\nmode: none\nmax_age: 86400\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicy(b)
		if err != nil {
			return
		}
		if p.MaxAge < 0 || p.MaxAge > MaxAge || len(p.MX) > maxMX || p.check() != nil {
			t.Fatalf("%+v", p)
		}
	})
}
