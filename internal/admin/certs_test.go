package admin

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/testlib"
)

// keys is what an appliance holds, without the appliance.
type keys struct {
	*certs.Keyring
	dir string
}

func (k keys) Held() []certs.Held  { return k.All() }
func (k keys) Attention() []string { return []string{"certificate old expires in 3 days"} }

func (k keys) ImportCertificate(name string, cert, key []byte) (string, error) {
	if _, err := certs.Import(filepath.Join(k.dir, "certificates"), name, cert, key, time.Now()); err != nil {
		return "", errs.New(errs.KindOf(err), "%s", err.Error())
	}
	return "certificates/" + name + ".pem", nil
}

// renewal is a CPQ certificate that is being renewed.
type renewal struct{ steps []string }

func (r *renewal) LinkLines() []string { return []string{"CPQ certificate: sha256/AAAA"} }
func (r *renewal) BeginRenewal() error { r.steps = append(r.steps, "begin"); return nil }
func (r *renewal) RetireRenewal() error {
	return errs.New(errs.Conflict, "The CPQ certificate is not being renewed")
}

func certSettings(t *testing.T) (*house, *config.Store, keys, *renewal) {
	t.Helper()
	k := keys{dir: t.TempDir()}
	c, key := testlib.CertificateFiles(t, testlib.Certificate(t, testlib.CertOptions{Names: []string{"own.example.com"}}))
	var err error
	if k.Keyring, err = certs.NewKeyring(certs.Source{Cert: c, Key: key}, time.Now); err != nil {
		t.Fatal(err)
	}
	hash, err := auth.HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	conf := config.Defaults(config.Params{Role: config.Gateway, Hostname: "gw1.demo.example", Serial: "GATEWAY0001", IP: "127.0.0.1", SSHPort: 2222, SMTPPort: 2525, CPQPort: 7025, Password: hash})
	conf.CPQ = config.CPQ{Enabled: true, Managers: []config.Mgr{{Serial: "MANAGER001", Name: "sma1.example.com", Addr: "192.0.2.9:7025", Pins: []string{"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}}}
	st := config.NewStore(filepath.Join(t.TempDir(), "config.xml"), conf, logs.DiscardAudit(), nil)
	r := &renewal{}
	return language(t, Configuration{Store: st, Keys: k, Link: r, Dir: k.dir, ReadFile: certs.ReadPEM}.Commands()...), st, k, r
}

// certconfig from nothing to a listener with a certificate of its own, and what
// it refuses.
func TestCertConfig(t *testing.T) {
	l, st, k, _ := certSettings(t)
	cert, key := testlib.CertificateFiles(t, testlib.Certificate(t, testlib.CertOptions{Names: []string{"mx.example.com"}}))
	_, other := testlib.CertificateFiles(t, testlib.Certificate(t, testlib.CertOptions{}))
	for _, c := range []struct {
		line   string
		status int
		want   string
	}{
		{"certconfig", 0, "own.example.com                IncomingMail\nCPQ certificate: sha256/AAAA\nAttention: certificate old expires in 3 days\n"},
		{"certconfig setup mx " + cert + " " + other, 2, cert + ": certificate or key: private key does not match public key"},
		{"certconfig setup mx /nonexistent.pem", 2, "/nonexistent.pem: no such file or directory"},
		{"certconfig setup ../x " + cert, 2, "is not a name of 1 to 64 letters"},
		{"certconfig setup System " + cert, 2, "or it is System"},
		{"certconfig delete", 1, "No certificates have been added"},
		{"certconfig assign IncomingMail mx", 2, `certificate "mx" does not exist`},
		{"certconfig setup mx " + cert + " " + key, 0, "Commit to put this in force"},
		{"certconfig assign IncomingMail mx,System", 0, "Commit to put this in force"},
		{"certconfig delete mx", 1, "The certificate mx is used by IncomingMail"},
		{"certconfig", 0, "not loaded: commit puts a new one in use"},
		{"commit", 0, "Changes committed"},
		{"certconfig import mx " + cert + " " + key, 0, "Commit to put this in force"},
		{"certconfig assign IncomingMail", 0, "Commit to put this in force"},
		{"certconfig delete mx", 0, "its files stay"},
		{"commit", 0, "Changes committed"},
	} {
		out, status := run(t, l, admin, c.line)
		if status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d\n%swant %d %q", c.line, status, out, c.status, c.want)
		}
	}
	if c := st.Committed(); len(c.Certificates) != 0 || len(c.Listener("IncomingMail").Certificates) != 0 {
		t.Errorf("%+v", c.Certificates)
	}
	var pasted []string
	for _, name := range []string{cert, key} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pasted = append(pasted, strings.Split(strings.TrimSpace(string(b)), "\n")...)
	}
	s := newScript(append(append([]string{"certconfig", "paste", "pasted"}, pasted...), ".", "")...)
	l.Shell(context.Background(), admin, s)
	wants(t, "paste", s.String(), "Commit to put this in force")
	p, _ := st.Pending()
	if len(p.Certificates) != 1 || p.Certificates[0] != (config.Certificate{Name: "pasted", Cert: "certificates/pasted.pem"}) {
		t.Errorf("%+v", p.Certificates)
	}
	if _, err := (certs.Source{Name: "pasted", Cert: filepath.Join(k.dir, "certificates/pasted.pem")}).Load(time.Now()); err != nil {
		t.Error(err)
	}
}

// sslconfig shows what a string means before it takes it, and takes no nonsense.
func TestSSLConfig(t *testing.T) {
	l, st, _, _ := certSettings(t)
	for _, c := range []struct {
		line   string
		status int
		want   string
	}{
		{"sslconfig", 0, "Inbound SMTP: TLSv1.2 or later, ciphers HIGH:MEDIUM:-aNULL\n  of TLSv1.2: "},
		{"sslconfig", 0, "CPQ: TLSv1.3 with pinned certificates on both sides; this cannot be changed\n"},
		{"sslconfig verify HIGH:MEDIUM", 0, "Note: it selects anonymous ciphers, which prove nothing and are never used; write :-aNULL at the end\n"},
		{"sslconfig verify ECDHE+AESGCM", 0, "ECDHE-RSA-AES128-GCM-SHA256\n"},
		{"sslconfig verify HOCH:MITTEL:-NULL", 2, `"HOCH" is neither`},
		{"sslconfig inbound TLSv1 HIGH", 2, "RFC 8996"},
		{"sslconfig inbound TLSv1.3 aNULL", 2, "leaves no sound cipher"},
		{"sslconfig outbound TLSv1.2 HIGH mx", 2, `certificate "mx" does not exist`},
		{"sslconfig inbound tlsv1.3 ECDHE+AESGCM", 0, "Commit to put this in force"},
		{"sslconfig outbound TLSv1.2 HIGH:-aNULL System", 0, "Commit to put this in force"},
		{"commit", 0, "Changes committed"},
	} {
		out, status := run(t, l, admin, c.line)
		if status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d\n%swant %d %q", c.line, status, out, c.status, c.want)
		}
	}
	want := config.SSL{InboundMethod: "TLSv1.3", InboundCiphers: "ECDHE+AESGCM", OutboundMethod: "TLSv1.2", OutboundCiphers: "HIGH:-aNULL", OutboundCert: "System"}
	if got := st.Committed().SSL; got != want {
		t.Errorf("%+v", got)
	}
}

// The words of cpqconfig that are about certificates and pairing.
func TestCPQRenewal(t *testing.T) {
	l, st, _, r := certSettings(t)
	for _, c := range []struct {
		line   string
		status int
		want   string
	}{
		{"cpqconfig rotate", 0, "CPQ certificate: sha256/AAAA\nThe manager asks for it within some minutes"},
		{"cpqconfig retire", 1, "The CPQ certificate is not being renewed"},
		{"cpqconfig exchange", 2, `"exchange" is not one of`},
		{"cpqconfig unpair", 0, "The pairing with sma1.example.com is ended"},
		{"cpqconfig unpair", 1, "This gateway is not paired with a manager"},
		{"commit", 0, "Changes committed"},
	} {
		out, status := run(t, l, admin, c.line)
		if status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d\n%swant %d %q", c.line, status, out, c.status, c.want)
		}
	}
	if len(r.steps) != 1 {
		t.Errorf("%v", r.steps)
	}
	if c := st.Committed(); c.CPQ.Enabled || len(c.CPQ.Managers) != 0 {
		t.Errorf("%+v", c.CPQ)
	}
}
