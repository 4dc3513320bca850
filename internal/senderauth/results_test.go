package senderauth

import (
	"crypto/ed25519"
	"io"
	"strings"
	"testing"

	"lazaret/internal/dns"
	"lazaret/internal/mail"
)

// All results of one message, and the field that tells of them.
func TestExamine(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(nil)
	v := New(&dns.Fake{TXT: map[string][]string{
		"s._domainkey.partner.example": record(pub),
		"_dmarc.partner.example":       {"v=DMARC1; p=reject"},
		"evil.example":                 {"v=spf1 ip4:192.0.2.7 -all"},
	}})
	from := mail.Origin{RemoteIP: ip, Helo: "h.example"}
	for name, c := range map[string]struct{ message, sender, want string }{
		"signed": {sign(t, body, "partner.example", key), "a@evil.example",
			"gw.example; spf=pass smtp.mailfrom=evil.example; dmarc=pass header.from=mail.partner.example; dkim=pass header.d=partner.example"},
		"forged": {body, "a@evil.example", "gw.example; spf=pass smtp.mailfrom=evil.example; dmarc=fail (p=reject) header.from=mail.partner.example; dkim=none"},
		"nobody": {"Subject: x\r\n\r\n", "a@none.example", "gw.example; spf=none smtp.mailfrom=none.example; dmarc=permerror; dkim=none"},
		"hostile": {"DKIM-Signature: v=1; d=x)\x07y; s=(\r\n" + body, "a@evil.example",
			"gw.example; spf=pass smtp.mailfrom=evil.example; dmarc=fail (p=reject) header.from=mail.partner.example; dkim=permerror"},
	} {
		open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.message)), nil }
		r, err := v.Examine(t.Context(), from, sender(c.sender), open)
		if got := r.Field("gw.example"); err != nil || got != c.want {
			t.Errorf("%s: %s\nwant %s (%v)", name, got, c.want, err)
		}
	}
}

// The field is one line, however many signatures a message has.
func TestFieldIsShort(t *testing.T) {
	r := Result{SPF: SPF{Verdict: Pass, Domain: strings.Repeat("a.", 120) + "example"}}
	for range maxSignatures {
		r.DKIM = append(r.DKIM, Signature{Verdict: Pass, Domain: strings.Repeat("b.", 120) + "example"})
	}
	if f := r.Field("gw.example"); len(f) > maxField || !strings.Contains(f, "dkim=pass") || strings.ContainsAny(f, "\r\n") {
		t.Errorf("%d bytes: %s", len(f), f)
	}
}

// A field of ours that came from outside is known in every spelling.
func TestClaims(t *testing.T) {
	for value, want := range map[string]bool{
		"gw.example; spf=pass": true, " GW.Example 1; x": true, "(c) gw.example (d);": true, `"gw.example"; none`: true, "gw.example.;": true,
		"gw.example": true, `"gw\.example"`: true, "(never closed gw.example; spf=pass": true, "gw.\r\n example; x": true,
		"other.example; spf=pass": false, "notgw.example": false, "other.example; spf=pass smtp.mailfrom=gw.example": false, "(gw.example) other": false, "": false,
	} {
		if got := Claims(value, "gw.example"); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

// Register C6: a body of nothing but line ends is refused before it costs the
// library time that grows with the square of its length; what is on both sides
// of the limit.
func TestSEC_C6_EmptyLines(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(nil)
	v := New(&dns.Fake{TXT: map[string][]string{"s._domainkey.partner.example": record(pub)}})
	for blanks, want := range map[int]Verdict{10: Pass, maxBlank - 2: Pass, maxBlank + 2: PermError, 8 << 20: PermError} {
		for _, blank := range []string{"\r\n", " \t"} {
			run := strings.Repeat(blank, blanks/2)
			signed := sign(t, body, "partner.example", key) + run + "x\r\n" // signing costs as much
			if want == Pass {
				signed = sign(t, body+"x"+run+"x\r\n", "partner.example", key)
			}
			got, err := v.DKIM(t.Context(), &slow{r: strings.NewReader(signed)})
			if err != nil || len(got) != 1 || got[0].Verdict != want {
				t.Errorf("%d of %q: %+v, %v", blanks, blank, got, err)
			}
		}
	}
}

// slow gives its content in small pieces.
type slow struct{ r io.Reader }

func (s *slow) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 4093)]) }
