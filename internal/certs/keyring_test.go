package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// made is a certificate of a test, in PEM.
type made struct{ cert, key []byte }

// forge makes a certificate with whatever is wrong about it.
func forge(t testing.TB, key any, edit func(*x509.Certificate)) made {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.com"}, DNSNames: []string{"mx.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	edit(c)
	var pub any
	switch k := key.(type) {
	case *rsa.PrivateKey:
		pub = k.Public()
	case *ecdsa.PrivateKey:
		pub = k.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return made{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})}
}

func ec(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// write puts a pair into two files, with a time of its own so that no coarse
// clock of a file system hides the change.
func (m made) write(t testing.TB, dir, name string, at time.Time) Source {
	t.Helper()
	s := Source{Name: name, Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	for path, b := range map[string][]byte{s.Cert: m.cert, s.Key: m.key} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func keyring(t testing.TB, dir string, c *clock, more ...Source) *Keyring {
	t.Helper()
	host := func(crt, key []byte, err error) made {
		if err != nil {
			t.Fatal(err)
		}
		return made{crt, key}
	}
	k, err := NewKeyring(host(NewHost("own.example.com", c.at)).write(t, dir, "tls", c.at), c.now)
	if err == nil {
		err = k.Set(more, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Each way in which a file can be no good is refused with its place.
func TestBadFiles(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other := forge(t, ec(t), func(*x509.Certificate) {})
	good := forge(t, ec(t), func(*x509.Certificate) {})
	for name, c := range map[string]struct {
		m    made
		want string
	}{
		"mismatch":  {made{good.cert, other.key}, "private key does not match public key"},
		"no pem":    {made{[]byte("x"), good.key}, "failed to find any PEM data"},
		"swapped":   {made{good.key, good.cert}, "certificate or key: "},
		"expired":   {forge(t, ec(t), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "certificate 1 of the file expired on "},
		"not yet":   {forge(t, ec(t), func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), "is not valid before "},
		"rsa":       {forge(t, weak, func(*x509.Certificate) {}), "has an RSA key of 1024 bits; at least 2048 are needed"},
		"sha1":      {sha1Signed(t, strong), "is signed with SHA1-RSA, which can be forged"},
		"wrong use": {forge(t, ec(t), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), "is not one for TLS servers"},
		"good":      {good, ""},
		"good rsa":  {forge(t, strong, func(*x509.Certificate) {}), ""},
	} {
		s := c.m.write(t, t.TempDir(), "mx", time.Now())
		_, err := s.Load(time.Now())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.Cert)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	dir := t.TempDir()
	for path, want := range map[string]string{filepath.Join(dir, "nothing.crt"): "no such file", dir: "is no file"} {
		if _, err := (Source{Name: "x", Cert: path}).Load(time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// sha1Signed makes what crypto/x509 signs no more: the signature's name is
// SHA-1 and the rest does not matter, for the name is what is refused.
func sha1Signed(t *testing.T, key *rsa.PrivateKey) made {
	t.Helper()
	m := forge(t, key, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSA })
	block, _ := pem.Decode(m.cert)
	der := strings.ReplaceAll(string(block.Bytes), "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05")
	return made{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der)}), m.key}
}

// New files are taken up, broken ones are not and are told once, a pair that is
// being written is waited for.
func TestPoll(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Now()}
	one, two, three := forge(t, ec(t), func(*x509.Certificate) {}), forge(t, ec(t), func(*x509.Certificate) {}), forge(t, ec(t), func(*x509.Certificate) {})
	s := one.write(t, dir, "mx", c.at)
	k := keyring(t, dir, c, s)
	in := func() []byte { return k.get("mx").Certificate[0] }
	der := func(m made) string { b, _ := pem.Decode(m.cert); return string(b.Bytes) }
	step := 0
	poll := func(atOnce bool, want ...string) {
		t.Helper()
		step++
		got := k.Poll(atOnce)
		if len(got) != len(want) {
			t.Fatalf("step %d: %+v, want %q", step, got, want)
		}
		for i, w := range want {
			if got[i].Name != "mx" || !strings.Contains(got[i].Fault, w) || (w == "") != (got[i].Fault == "") {
				t.Fatalf("step %d: %+v, want %q", step, got, want)
			}
		}
	}
	poll(false)
	c.at = c.at.Add(time.Minute)
	two.write(t, dir, "mx", c.at)
	poll(false, "")
	if string(in()) != der(two) {
		t.Fatal("not taken up")
	}
	poll(false)

	c.at = c.at.Add(time.Minute)
	made{three.cert, two.key}.write(t, dir, "mx", c.at) // between two writes
	poll(false)
	c.at = c.at.Add(time.Minute)
	three.write(t, dir, "mx", c.at)
	poll(false, "")
	if string(in()) != der(three) {
		t.Fatal("not taken up")
	}

	c.at = c.at.Add(time.Minute)
	made{one.cert, two.key}.write(t, dir, "mx", c.at)
	poll(false)
	poll(false, "does not match")
	poll(false)
	if string(in()) != der(three) || k.All()[1].Fault == "" {
		t.Fatal("the old one is not in use, or nothing is shown")
	}
	if err := os.Remove(s.Key); err != nil {
		t.Fatal(err)
	}
	poll(true, "no such file")
	c.at = c.at.Add(time.Minute)
	one.write(t, dir, "mx", c.at)
	poll(false, "")
	if string(in()) != der(one) || k.All()[1].Fault != "" {
		t.Fatal("not mended")
	}
}

// The certificate is chosen by the name that the client asks for; who asks for
// nothing or for a stranger gets the first.
func TestChoiceByName(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Now()}
	named := func(name string) Source {
		return forge(t, ec(t), func(c *x509.Certificate) { c.DNSNames = []string{name} }).write(t, dir, name, c.at)
	}
	k := keyring(t, dir, c, named("a.example.com"), named("b.example.com"))
	server := &tls.Config{GetCertificate: k.Server([]string{"a.example.com", "b.example.com"})}
	for ask, want := range map[string]string{"a.example.com": "a.example.com", "b.example.com": "b.example.com", "c.example.com": "a.example.com", "": "a.example.com"} {
		got := ""
		client := &tls.Config{ServerName: ask, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			got = s.PeerCertificates[0].DNSNames[0]
			return nil
		}}
		if s, c := shake(server, client); s != nil || c != nil || got != want {
			t.Errorf("%q: %s, %v %v", ask, got, s, c)
		}
	}
	def := &tls.Config{GetCertificate: k.Server(nil)}
	if s, c := shake(def, &tls.Config{ServerName: "own.example.com", InsecureSkipVerify: true}); s != nil || c != nil {
		t.Errorf("%v %v", s, c)
	}
}

// What is imported lies in one file, readable by its owner alone, and takes the
// place of an older one; what is bad changes nothing.
func TestImport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	good, other := forge(t, ec(t), func(*x509.Certificate) {}), forge(t, ec(t), func(*x509.Certificate) {})
	path, err := Import(dir, "mx", good.cert, good.key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	first, err := (Source{Name: "mx", Cert: path}).Load(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if _, err := Import(dir, "mx", other.cert, good.key, time.Now()); err == nil {
		t.Error("a wrong key was imported")
	}
	if p, err := (Source{Name: "mx", Cert: path}).Load(time.Now()); err != nil || p.Pin() != first.Pin() {
		t.Errorf("the old one is gone: %v", err)
	}
	both := append(append([]byte{}, other.cert...), other.key...)
	if _, err := Import(dir, "mx", both, both, time.Now()); err != nil {
		t.Fatal(err)
	}
	p, err := (Source{Name: "mx", Cert: path}).Load(time.Now())
	if err != nil || p.Pin() == first.Pin() || len(p.TLS.Certificate) != 1 {
		t.Errorf("not replaced: %v, %d", err, len(p.TLS.Certificate))
	}
}

// The least version and the ciphers of a use reach TLS; CPQ knows neither.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		l    Limits
		want string
	}{
		{Limits{}, ""}, {Limits{Method: "TLSv1.3"}, ""}, {Limits{Ciphers: "ECDHE+AESGCM"}, ""},
		{Limits{Method: "TLSv1"}, "RFC 8996"}, {Limits{Ciphers: "HOCH"}, "HOCH"}, {Limits{Ciphers: "aNULL"}, "no sound cipher"},
	} {
		var cfg tls.Config
		err := c.l.Apply(&cfg)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.l, err)
		}
		if err == nil && (cfg.MinVersion < tls.VersionTLS12 || len(cfg.CipherSuites) == 0) {
			t.Errorf("%+v: %x %v", c.l, cfg.MinVersion, cfg.CipherSuites)
		}
	}
}
