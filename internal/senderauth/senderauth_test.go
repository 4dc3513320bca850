package senderauth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

var ip = netip.MustParseAddr("192.0.2.7")

func sender(s string) mail.Address {
	local, domain, _ := strings.Cut(s, "@")
	return mail.Address{Local: local, Domain: domain}
}

// SPF says what the record says; limits of look-ups hold; DNS that does not
// answer is temporary and never a pass; nonsense is no domain.
func TestSPF(t *testing.T) {
	fake := &dns.Fake{
		TXT: map[string][]string{
			"pass.example": {"v=spf1 ip4:192.0.2.0/24 -all"}, "fail.example": {"v=spf1 ip4:198.51.100.1 -all"}, "soft.example": {"v=spf1 ~all"},
			"mx.example": {"v=spf1 mx -all"}, "ptr.example": {"v=spf1 ptr -all"}, "tmp.example": {"v=spf1 include:dead.example -all"},
			"loop.example": {"v=spf1 include:loop.example -all"}, "broken.example": {"v=spf1 ip4:999 -all"}, "helo.example": {"v=spf1 ip4:192.0.2.7 -all"},
			"void.example":  {"v=spf1 a:n1.example a:n2.example a:n3.example ip4:192.0.2.7 -all"},
			"many.example":  {"v=spf1 " + strings.Repeat("include:ok.example ", 11) + "ip4:192.0.2.7 -all"},
			"ok.example":    {"v=spf1 ip4:198.51.100.9 -all"},
			"macro.example": {"v=spf1 exists:%{i}.%{l}.%{h}.macro.example -all"},
		},
		MX:   map[string]dns.MXSet{"mx.example": {Records: []dns.MX{{Host: "m.mx.example"}}}},
		Addr: map[string][]netip.Addr{"m.mx.example": {ip}, "h.ptr.example": {ip}},
		PTR:  map[netip.Addr][]string{ip: {"h.ptr.example"}},
		Fail: map[string]error{"dead.example": errs.New(errs.Temporary, "timeout")},
	}
	v := New(fake)
	for domain, want := range map[string]Verdict{
		"pass.example": Pass, "fail.example": Fail, "soft.example": SoftFail, "mx.example": Pass, "ptr.example": Pass, "tmp.example": TempError, "dead.example": TempError,
		"loop.example": PermError, "broken.example": PermError, "void.example": PermError, "many.example": PermError, "none.example": None, "macro.example": Fail,
		"[192.0.2.7]": None, "": None,
	} {
		from := mail.Origin{RemoteIP: ip, Helo: "evil\r\n..%{x}"}
		if got := v.SPF(t.Context(), from, mail.Address{Local: "a", Domain: domain}); got.Verdict != want {
			t.Errorf("%s: %+v, want %s", domain, got, want)
		}
	}
	if got := v.SPF(t.Context(), mail.Origin{RemoteIP: ip, Helo: "Helo.example."}, mail.Address{}); got.Verdict != Pass || got.Domain != "helo.example" {
		t.Errorf("null sender: %+v", got)
	}
	if got := v.SPF(t.Context(), mail.Origin{}, sender("a@pass.example")); got.Verdict != None {
		t.Errorf("no address: %+v", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := v.SPF(gone, mail.Origin{RemoteIP: ip}, sender("a@fail.example")); got.Verdict != TempError {
		t.Errorf("given up: %+v", got)
	}
}

const body = "From: alice@mail.partner.example\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nText\r\n"

func sign(t *testing.T, message, domain string, key crypto.Signer) string {
	t.Helper()
	var out bytes.Buffer
	err := dkim.Sign(&out, strings.NewReader(message), &dkim.SignOptions{Domain: domain, Selector: "s", Signer: key, HeaderKeys: []string{"From", "Subject"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func record(key ed25519.PublicKey) []string {
	return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key)}
}

// A signature of a domain proves it and its organisation; what was changed,
// put on top, limited by l=, or is signed with too large a key does not.
func TestDKIM(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(nil)
	huge, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8200, 1), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	fake := &dns.Fake{
		TXT: map[string][]string{
			"s._domainkey.partner.example": record(pub), "s._domainkey.other.example": record(pub),
			"s._domainkey.huge.example": {"v=DKIM1; p=" + base64.StdEncoding.EncodeToString(huge)},
		},
		Fail: map[string]error{"s._domainkey.dead.example": errs.New(errs.Temporary, "timeout")},
	}
	v := New(fake)
	check := func(name, message string, want ...Verdict) []Signature {
		t.Helper()
		got, err := v.DKIM(t.Context(), strings.NewReader(message))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var all []Verdict
		for _, s := range got {
			all = append(all, s.Verdict)
		}
		if fmt.Sprint(all) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, want %v", name, got, want)
		}
		return got
	}
	good := sign(t, body, "partner.example", key)
	check("unsigned", body)
	r := Result{DKIM: check("signed", good, Pass)}
	if ok, _ := r.Genuine("mail.partner.example"); !ok {
		t.Error("not aligned with the organisation")
	}
	if ok, _ := r.Genuine("evil.example"); ok {
		t.Error("genuine for another domain")
	}
	check("changed", strings.Replace(good, "Text", "Test", 1), Fail)
	check("second From", "From: ceo@bank.example\r\n"+good, PermError)
	check("key unknown", sign(t, body, "nokey.example", key), PermError)
	check("key too large", sign(t, body, "huge.example", key), PermError)
	check("two", sign(t, good, "other.example", key), Pass, Pass)
	r = Result{DKIM: check("DNS is down", sign(t, body, "dead.example", key), TempError)}
	if ok, unknown := r.Genuine("dead.example"); ok || !unknown {
		t.Error("not to be asked again")
	}
	check("l=", strings.Replace(good, "v=1;", "v=1; l=3;", 1), Fail)
	check("garbage", "DKIM-Signature: \x00;;=;v=1\r\n"+body, PermError)
	check("no header end", strings.Repeat("X: y\r\n", 100000))
	check("empty", "")
	many := good
	for range 15 {
		many = sign(t, many, "other.example", key)
	}
	if n := len(check("sixteen", many, Pass, Pass, Pass, Pass, Pass, Pass, Pass, Pass, Pass, Pass)); n != maxSignatures {
		t.Errorf("%d looked at", n)
	}
	if keyBits("v=DKIM1; p="+base64.StdEncoding.EncodeToString(huge)) != 8201 {
		t.Error("the length of a key is not seen")
	}
}

// failing breaks off in the middle of a message.
type failing struct{ r io.Reader }

func (f failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p[:min(len(p), 50)])
	if err == io.EOF {
		err = errors.New("disk")
	}
	return n, err
}

// An error of our own storage is one, and leaves no goroutines behind.
func TestDKIMReadError(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(nil)
	v := New(&dns.Fake{TXT: map[string][]string{"s._domainkey.partner.example": record(pub)}})
	two := sign(t, sign(t, body, "partner.example", key), "partner.example", key)
	before := runtime.NumGoroutine()
	for range 100 {
		if _, err := v.DKIM(t.Context(), failing{strings.NewReader(two)}); err == nil {
			t.Fatal("no error")
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before+2 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, before %d", runtime.NumGoroutine(), before)
}

func TestAligned(t *testing.T) {
	for pair, want := range map[string]bool{
		"a.example a.example": true, "x.a.example a.example": true, "x.a.example y.a.example": true, "A.example. a.example": true,
		"a.example b.example": false, "a.co.uk b.co.uk": false, "co.uk co.uk": true, " ": false, "example b.example": false,
	} {
		a, b, _ := strings.Cut(pair, " ")
		if got := Aligned(a, b); got != want {
			t.Errorf("%q: %v", pair, got)
		}
	}
}
