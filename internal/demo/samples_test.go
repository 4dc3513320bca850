package demo

import (
	"bytes"
	"testing"

	"lazaret/internal/mail"
)

// The samples go through a strict server: CRLF only, known addresses, lines
// within RFC 5322, 7 bits; and each has what a user looks for.
func TestSamples(t *testing.T) {
	all, err := Samples()
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, s := range all {
		if _, err := mail.ParseAddress(s.From); err != nil {
			t.Errorf("%s: sender: %v", s.Name, err)
		}
		for _, to := range s.To {
			if a, err := mail.ParseAddress(to); err != nil || a.Domain != "example.com" && a.Domain != "example.org" {
				t.Errorf("%s: the gateways do not accept %s (%v)", s.Name, to, err)
			}
		}
		if len(s.To) == 0 || s.About == "" || s.Gateway < 0 || s.Gateway > 1 {
			t.Errorf("%s is not complete", s.Name)
		}
		lines := bytes.Split(s.Content, []byte("\r\n"))
		for i, l := range lines {
			if len(l) > 998 || bytes.ContainsAny(l, "\r\n\x00") {
				t.Errorf("%s, line %d is not sendable", s.Name, i+1)
			}
		}
		if len(lines[len(lines)-1]) != 0 || !bytes.Contains(s.Content, []byte("\r\n\r\n")) {
			t.Errorf("%s does not end in CRLF, or has no body", s.Name)
		}
		if len(s.Held) > 0 {
			held++
		}
	}
	if held < 3 || held == len(all) {
		t.Errorf("%d of %d samples are held", held, len(all))
	}
}
