package mail

import (
	"strings"
	"testing"
)

func TestNotify(t *testing.T) {
	for _, c := range []struct {
		n              Notify
		text           string
		failure, delay bool
	}{
		{0, "", true, true},
		{NotifyNever, "NEVER", false, false},
		{NotifySuccess, "SUCCESS", false, false},
		{NotifyFailure | NotifyDelay, "FAILURE,DELAY", true, true},
		{NotifySuccess | NotifyFailure, "SUCCESS,FAILURE", true, false},
	} {
		if c.n.String() != c.text || c.n.WantsFailure() != c.failure || c.n.WantsDelay() != c.delay {
			t.Errorf("%d: %q, %v, %v", c.n, c.n, c.n.WantsFailure(), c.n.WantsDelay())
		}
	}
}

// xtext goes there and back, and nothing but the one form of RFC 3461 is read.
func TestXtext(t *testing.T) {
	for in, want := range map[string]string{"QQ314159": "QQ314159", "a+2Bb+3Dc+20d": "a+b=c d", "<x@y>": "<x@y>", "": ""} {
		got, err := DecodeXtext(in)
		if err != nil || got != want {
			t.Errorf("%q: %q %v", in, got, err)
		}
		if back := string(AppendXtext(nil, want)); back != in {
			t.Errorf("%q became %q", in, back)
		}
	}
	for _, in := range []string{"a=b", "a b", "+2b", "+2", "+", "a+0D+0Ab", "a+00", "a+7F", "ü", "a\x00", "+GG", "a+FFb"} {
		if got, err := DecodeXtext(in); err == nil {
			t.Errorf("%q is taken as %q", in, got)
		}
	}
}

func TestORCPT(t *testing.T) {
	good := []struct {
		in, want, back string
		utf8           bool
	}{
		{"rfc822;Bob+2Bx@example.com", "rfc822;Bob+x@example.com", "rfc822;Bob+2Bx@example.com", false},
		{`utf-8;\x{FC}@example.com`, "utf-8;ü@example.com", `utf-8;\x{FC}@example.com`, false},
		{`utf-8;ü@example.com`, "utf-8;ü@example.com", `utf-8;ü@example.com`, true},
		{`utf-8;a\x{2B}\x{3D}\x{5C}b@c`, `utf-8;a+=\b@c`, `utf-8;a\x{2B}\x{3D}\x{5C}b@c`, true},
		{`UTF-8;\x{1F600}@c`, "UTF-8;\U0001f600@c", `UTF-8;\x{1F600}@c`, false},
	}
	for _, c := range good {
		got, err := DecodeORCPT(c.in, c.utf8)
		if err != nil || got != c.want {
			t.Errorf("%q: %q %v", c.in, got, err)
		}
		if back := string(AppendORCPT(nil, c.want, c.utf8)); back != c.back {
			t.Errorf("%q became %q, not %q", c.want, back, c.back)
		}
	}
	for _, in := range []string{"", "a@b", "rfc822;", ";a@b", "rf c;a@b", "rfc822;a=b", "rfc822;ü@b", "utf-8;ü@b", `utf-8;\x{}@b`, `utf-8;\x{D}`, `utf-8;\x{0D}`,
		`utf-8;\x{fc}`, `utf-8;\x{D800}`, `utf-8;\x{110000}`, `utf-8;\x{1234567}`, `utf-8;\x{FC`, `utf-8;\y`, `utf-8;a+2B`, `utf-8;\x{85}`, `utf-8;\x{2028}`,
		"rfc822;" + strings.Repeat("a", 500)} {
		if got, err := DecodeORCPT(in, false); err == nil {
			t.Errorf("%q is taken as %q", in, got)
		}
	}
}

func TestParseNotify(t *testing.T) {
	for in, want := range map[string]Notify{"NEVER": NotifyNever, "success,delay": NotifySuccess | NotifyDelay, "FAILURE": NotifyFailure} {
		if n, err := ParseNotify(in); err != nil || n != want {
			t.Errorf("%q: %v %v", in, n, err)
		}
	}
	for _, in := range []string{"", "NEVER,FAILURE", "FAILURE,FAILURE", "FAILURE,", "ALWAYS", "FAILURE DELAY"} {
		if n, err := ParseNotify(in); err == nil {
			t.Errorf("%q is taken as %v", in, n)
		}
	}
}
