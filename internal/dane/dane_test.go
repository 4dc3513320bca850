package dane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazaret/internal/dns"
	"lazaret/internal/testlib"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// party is a certificate with its key.
type party struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func issue(t testing.TB, by *party, name string, ca bool, until time.Time) *party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: until.Add(-1000 * time.Hour), NotAfter: until,
		IsCA: ca, BasicConstraintsValid: true,
	}
	if !ca {
		tmpl.DNSNames = []string{name}
	}
	p := &party{key: key}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err == nil {
		p.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// record makes the record of a certificate.
func record(usage, selector, matching uint8, c *x509.Certificate) dns.TLSA {
	raw := c.Raw
	if selector == publicKey {
		raw = c.RawSubjectPublicKeyInfo
	}
	r := dns.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: raw}
	switch matching {
	case sha2of:
		sum := sha256.Sum256(raw)
		r.Data = sum[:]
	case sha5of:
		sum := sha512.Sum512(raw)
		r.Data = sum[:]
	}
	return r
}

// Each usage, selector and matching type that RFC 7672 section 3.1 allows, with
// the right certificate, with another one, and outside of its dates or name.
func TestVerify(t *testing.T) {
	later, before := now.Add(time.Hour), now.Add(-time.Hour)
	root := issue(t, nil, "root", true, later)
	ca := issue(t, root, "ca", true, later)
	leaf := issue(t, ca, "mx.example", false, later)
	old := issue(t, ca, "mx.example", false, before)
	stranger := issue(t, nil, "ca", true, later)
	other := issue(t, stranger, "mx.example", false, later)
	names := []string{"mx.example", "example.org"}
	chain := func(p ...*party) []*x509.Certificate {
		var out []*x509.Certificate
		for _, p := range p {
			out = append(out, p.cert)
		}
		return out
	}
	for usage := uint8(2); usage <= 3; usage++ {
		for selector := range uint8(2) {
			for matching := range uint8(3) {
				of, what := leaf, chain(leaf, ca)
				if usage == trustAnchor {
					of = ca
				}
				r := []dns.TLSA{record(usage, selector, matching, of.cert)}
				if len(Usable(r)) != 1 {
					t.Errorf("%s is not usable", Text(r[0]))
				}
				if _, err := Verify(r, what, names, now); err != nil {
					t.Errorf("%s: %v", Text(r[0]), err)
				}
				if _, err := Verify(r, chain(other, stranger), names, now); err == nil {
					t.Errorf("%s: another's certificate passes", Text(r[0]))
				}
				if _, err := Verify(r, nil, names, now); err == nil {
					t.Errorf("%s: nothing passes", Text(r[0]))
				}
			}
		}
	}
	for _, c := range []struct {
		label string
		r     dns.TLSA
		chain []*x509.Certificate
		names []string
		want  string
	}{
		{"3: dates do not matter", record(3, 1, 1, old.cert), chain(old, ca), names, ""},
		{"3: names do not matter", record(3, 1, 1, leaf.cert), chain(leaf), []string{"else.example"}, ""},
		{"2: dates matter", record(2, 1, 1, ca.cert), chain(old, ca), names, "expired"},
		{"2: names matter", record(2, 1, 1, ca.cert), chain(leaf, ca), []string{"else.example"}, "not else.example"},
		{"2: any of the names", record(2, 1, 1, ca.cert), chain(leaf, ca), []string{"else.example", "mx.example"}, ""},
		{"2: the root above", record(2, 0, 1, root.cert), chain(leaf, ca, root), names, ""},
		{"2: the anchor is not sent", record(2, 0, 1, root.cert), chain(leaf, ca), names, "no TLSA record matches"},
		{"2: the anchor is in the record", record(2, 0, 0, root.cert), chain(leaf, ca), names, ""},
		{"2: the server's own certificate is no anchor", record(2, 0, 1, leaf.cert), chain(leaf, ca), names, "no TLSA record matches"},
		{"2: the anchor is sent but has signed nothing", record(2, 0, 1, stranger.cert), chain(leaf, ca, stranger), names, "unknown authority"},
		{"3: the authority is not the server", record(3, 0, 1, ca.cert), chain(leaf, ca), names, "no TLSA record matches"},
	} {
		_, err := Verify([]dns.TLSA{c.r}, c.chain, c.names, now)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.label, err)
		}
	}
}

// Records that SMTP cannot use decide nothing, and a weaker digest gives way to
// a stronger one.
func TestUsable(t *testing.T) {
	c := issue(t, nil, "mx.example", false, now).cert
	for label, r := range map[string]dns.TLSA{
		"usage 0": record(0, 1, 1, c), "usage 1": record(1, 1, 1, c), "usage 4": record(4, 1, 1, c), "selector 2": record(3, 2, 1, c), "matching 3": {Usage: 3, Matching: 3, Data: make([]byte, 32)},
		"short digest": {Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 31)}, "long digest": {Usage: 3, Selector: 1, Matching: 2, Data: make([]byte, 65)},
		"empty": {Usage: 3}, "no certificate": {Usage: 2, Data: []byte("x")}, "no key": {Usage: 2, Selector: 1, Data: []byte("x")},
	} {
		if got := Usable([]dns.TLSA{r}); len(got) != 0 {
			t.Errorf("%s is usable", label)
		}
		if _, err := Verify(Usable([]dns.TLSA{r}), []*x509.Certificate{c}, nil, now); err == nil {
			t.Errorf("%s makes a certificate good", label)
		}
	}
	both := []dns.TLSA{record(3, 1, 1, c), record(3, 1, 2, c), record(3, 0, 1, c)}
	got := Usable(both)
	if len(got) != 2 || got[0].Matching != sha5of || got[1].Selector != wholeCertificate {
		t.Errorf("%v", got)
	}
	if got := Usable([]dns.TLSA{record(3, 1, 1, c), {Usage: 3, Selector: 1, Matching: 2, Data: []byte("short")}}); len(got) != 1 {
		t.Errorf("a digest that is none outdoes a good one: %v", got)
	}
}

// The digests are those that OpenSSL computes.
func TestAgainstOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		testlib.Absent(t, "no openssl here")
	}
	c := issue(t, nil, "mx.example", false, now).cert
	dir := t.TempDir()
	der := filepath.Join(dir, "c.der")
	if err := os.WriteFile(der, c.Raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for selector, pipe := range []string{
		"cat " + der,
		"openssl x509 -inform DER -in " + der + " -noout -pubkey | openssl pkey -pubin -outform DER",
	} {
		for matching, digest := range map[uint8]string{sha2of: "-sha256", sha5of: "-sha512"} {
			out, err := exec.Command("sh", "-c", pipe+" | openssl dgst -r "+digest).Output()
			if err != nil {
				t.Fatal(err)
			}
			want, _, _ := strings.Cut(string(out), " ")
			data, err := hex.DecodeString(want)
			if err != nil {
				t.Fatal(err)
			}
			r := dns.TLSA{Usage: 3, Selector: uint8(selector), Matching: matching, Data: data}
			if _, err := Verify(Usable([]dns.TLSA{r}), []*x509.Certificate{c}, nil, now); err != nil {
				t.Errorf("%s: %v", Text(r), err)
			}
		}
	}
}
