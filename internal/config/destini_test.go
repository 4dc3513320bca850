package config

import (
	"slices"
	"strings"
	"testing"
)

const iniDefault = `[DEFAULT]
ip_sort_pref = prefer-ipv4
max_host_concurrency = 0
max_messages_per_connection = 50
recipient_limit = 0
recipient_minutes = 60
table_tls = preferred
`

// What is exported is imported as the same; what a section does not say it
// takes from DEFAULT; words of files of the field are understood.
func TestDestinationsINI(t *testing.T) {
	rows, err := ParseDestinations("# comment\n" + iniDefault + `
[Example.COM.]
table_tls = require_verify
recipient_limit = 300
DANE = off

[slow.example]
max_host_concurrency = 2
ip_sort_pref=IPv6-only
limit_type = host
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Destination{
		{Domain: "DEFAULT", TLS: "preferred", Messages: 50, IP: "prefer-ipv4", RateMinutes: 60},
		{Domain: "example.com", TLS: "required-verify", Messages: 50, IP: "prefer-ipv4", RateLimit: 300, RateMinutes: 60, DANE: "off"},
		{Domain: "slow.example", TLS: "preferred", Concurrency: 2, Messages: 50, IP: "ipv6-only", RateMinutes: 60},
	}
	if !slices.Equal(rows, want) {
		t.Errorf("%+v", rows)
	}
	text := FormatDestinations(rows)
	again, err := ParseDestinations(text)
	if err != nil || FormatDestinations(again) != text {
		t.Errorf("%v\n%s\nis read as\n%s", err, text, FormatDestinations(again))
	}
	c := sample(t, Gateway)
	c.Destinations = again
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

func TestDestinationsINIRefused(t *testing.T) {
	for text, want := range map[string]string{
		"[example.com]\ntable_tls = on\n":                           "there is no section [DEFAULT]",
		"[DEFAULT]\ntable_tls = on\n":                               "section [DEFAULT] has no ip_sort_pref",
		iniDefault + "table_tls = on\n":                             "line 8: table_tls stands in this section twice",
		iniDefault + "[example.com\n":                               "line 8: a bracket is not closed",
		iniDefault + "[a..b]\n":                                     "line 8: [a..b] is neither a domain nor DEFAULT",
		iniDefault + "[a.example]\n[A.example.]\n":                  "line 9: [a.example] stands here twice",
		iniDefault + "[a.example]\nspeed = 1\n":                     `line 9: "speed" is not a parameter; known are ip_sort_pref`,
		iniDefault + "[a.example]\nrecipient_limit = many\n":        `line 9: recipient_limit: "many" is not a whole number`,
		iniDefault + "[a.example]\ntable_tls = sometimes\n":         `line 9: table_tls: "sometimes" is not one of none, preferred`,
		iniDefault + "[a.example]\nlimit_apply = system\n":          `line 9: limit_apply: "system" is not supported: limits count for each interface`,
		"table_tls = on\n" + iniDefault:                             `line 1: "table_tls = on" stands before the first section`,
		iniDefault + "[a.example]\nlimit_type = MX\n":               `line 9: limit_type: "MX" is not supported: limits count for a domain (host)`,
		strings.Repeat("# far too much\n", maxDestinationText/15+1): "the file is larger than",
	} {
		_, err := ParseDestinations(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
}
