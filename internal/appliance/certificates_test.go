package appliance

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/dns"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

// at opens an appliance in dir at a time that the test sets.
func at(t *testing.T, dir string, clock *time.Time) *Appliance {
	t.Helper()
	a, err := Open(Options{Dir: dir, Clock: func() time.Time { return *clock }, Resolver: &dns.Fake{}, Trouble: io.Discard}, config.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func gatewayDir(t *testing.T, edit func(dir string, c *config.Config)) string {
	t.Helper()
	dir := t.TempDir()
	_, err := Init(dir, config.Gateway, InitOptions{CPQPort: freePort(t), SSHPort: freePort(t), SMTPPort: freePort(t), Edit: func(c *config.Config) {
		if edit != nil {
			edit(dir, c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func mailLog(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "log", "mail_logs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range all {
		if st, err := os.Lstat(name); err != nil || !st.Mode().IsRegular() {
			continue // mail.current is one of the others
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// Each threshold of each certificate in use is told once, over restarts too:
// our own, the one of SMTP, a peer's. A certificate that nobody uses is not
// told of (register D2).
func TestSEC_D2_ExpiryAlarms(t *testing.T) {
	dir := gatewayDir(t, func(_ string, c *config.Config) {
		c.CPQ = config.CPQ{Enabled: true, Managers: []config.Mgr{{Serial: "MANAGER001", Name: "sma1.example.com", Addr: "127.0.0.1:9", Pins: []string{"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}}}
	})
	end := time.Now().Add(certs.Lifetime)
	clock := end
	for _, step := range []struct {
		left time.Duration // before the end
		want []int         // of the own, the SMTP and the peer's certificate
	}{
		{31 * 24 * time.Hour, []int{0, 0, 0}},
		{30 * 24 * time.Hour, []int{1, 1, 1}},
		{20 * 24 * time.Hour, []int{1, 1, 1}},
		{14 * 24 * time.Hour, []int{2, 2, 2}},
		{6 * 24 * time.Hour, []int{3, 3, 3}},
		{12 * time.Hour, []int{4, 4, 4}},
		{time.Hour, []int{4, 4, 4}},
		{-time.Hour, []int{5, 5, 5}},
		{-99 * time.Hour, []int{5, 5, 5}},
	} {
		clock = end.Add(-step.left)
		a := at(t, dir, &clock)
		a.PeerExpires("MANAGER001", "sma1.example.com", "sha256/x", end)
		a.PeerExpires("STRANGER01", "gone.example.com", "sha256/y", end)
		for range 3 {
			a.CheckExpiry()
		}
		wantLines := 0
		if step.want[0] > 0 {
			wantLines = 3
		}
		if got := a.Attention(); len(got) != wantLines {
			t.Errorf("%v before: status shows %q", step.left, got)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		log, got := mailLog(t, dir), []int{0, 0, 0}
		for i, what := range []string{"Warning: CPQ certificate of this appliance expire", "Warning: certificate System (", "Warning: CPQ certificate of sma1.example.com (MANAGER001) expire"} {
			got[i] = strings.Count(log, what)
		}
		if !reflect.DeepEqual(got, step.want) || strings.Contains(log, "gone.example.com") {
			t.Errorf("%v before: %v, want %v", step.left, got, step.want)
		}
	}
}

// A listener shows a renewed file to the next client; a broken one changes
// nothing and is told in log and status.
func TestHotReload(t *testing.T) {
	var source certs.Source
	first := testlib.Certificate(t, testlib.CertOptions{Names: []string{"mx.example.com"}})
	dir := gatewayDir(t, func(_ string, c *config.Config) {
		source.Cert, source.Key = testlib.CertificateFiles(t, first)
		c.Certificates = []config.Certificate{{Name: "mx", Cert: source.Cert, Key: source.Key}}
		c.Listener("IncomingMail").Certificates = []string{"mx"}
	})
	clock := time.Now()
	a := at(t, dir, &clock)
	if err := a.Listen(Sinks{SMTP: nobody{}, CPQ: nobody{}}); err != nil {
		t.Fatal(err)
	}
	if err := a.OpenPorts(); err != nil {
		t.Fatal(err)
	}
	closePorts := sync.OnceFunc(func() {
		if err := a.ClosePorts(); err != nil {
			t.Error(err)
		}
	})
	defer closePorts()
	shown := func() string {
		t.Helper()
		var der string
		conf := &tls.Config{ServerName: "mx.example.com", InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			der = string(s.PeerCertificates[0].Raw)
			return nil
		}}
		d, err := testlib.DialTLS(t, a.Listeners.Addr("IncomingMail").String(), conf)
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		return der
	}
	put := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil { // another inode, whatever the clock's grain
			t.Fatal(err)
		}
	}
	if shown() != string(first.Certificate[0]) {
		t.Error("the configured certificate is not shown")
	}
	second := testlib.Certificate(t, testlib.CertOptions{Names: []string{"mx.example.com"}})
	crt, key := testlib.CertificateFiles(t, second)
	for from, to := range map[string]string{crt: source.Cert, key: source.Key} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		put(to, b)
	}
	a.PollCertificates(false)
	if shown() != string(second.Certificate[0]) {
		t.Error("the new certificate is not shown")
	}
	put(source.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: first.Certificate[0]}))
	a.PollCertificates(true)
	if shown() != string(second.Certificate[0]) {
		t.Error("the broken certificate is shown")
	}
	if lines := strings.Join(a.Attention(), "\n"); !strings.Contains(lines, "certificate mx: the files are not used: ") || !strings.Contains(lines, "private key does not match") {
		t.Errorf("status: %s", lines)
	}
	err := a.Config.Change(mail.System(), "x", func(c *config.Config) error {
		c.Certificates = append(c.Certificates, config.Certificate{Name: "bad", Cert: "/nonexistent.pem"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Config.Commit(mail.System(), "x"); err == nil || err.Error() != "config/certificates/certificate: certificate bad: /nonexistent.pem: no such file or directory" {
		t.Errorf("a commit with a file that is not there: %v", err)
	}
	closePorts()
	if err := a.Close(); err != nil { // which writes the log out
		t.Fatal(err)
	}
	log := mailLog(t, dir)
	if !strings.Contains(log, "Info: Certificate mx was read anew") || !strings.Contains(log, "Warning: certificate mx: the changed files are not used, the old certificate stays: ") {
		t.Errorf("log:\n%s", log)
	}
}

// No setting weakens CPQ: whatever the configuration says, within what it may
// say, the TLS of the hidden listener and of the connections to it is 1.3 with
// the peer's certificate demanded (register D8).
func TestSEC_D8_NoSettingWeakensCPQ(t *testing.T) {
	weakest := []func(*config.Config){
		func(*config.Config) {},
		func(c *config.Config) {
			c.SSL = config.SSL{InboundMethod: "TLSv1.2", InboundCiphers: "ALL", OutboundMethod: "TLSv1.2", OutboundCiphers: "ALL:aNULL"}
		},
		func(c *config.Config) {
			c.Destinations = []config.Destination{{Domain: "DEFAULT", TLS: "none"}, {Domain: "the.cpq.host", TLS: "none"}, {Domain: "the.cpq.release.host", TLS: "none"}}
		},
		func(c *config.Config) {
			c.SMTPRoutes = []config.SMTPRoute{{Domain: "the.cpq.host", Hosts: []string{"[127.0.0.1]:25"}}}
		},
		func(c *config.Config) {
			for _, net := range []string{"0.0.0.0/0", "::/0"} { // everyone may connect
				hat, err := access.ParseHAT(c.CPQListener().HAT)
				if err == nil {
					hat, err = hat.With("RELAYLIST", net, "all")
				}
				if err != nil {
					t.Fatal(err)
				}
				c.CPQListener().HAT = hat.String()
			}
		},
		func(c *config.Config) { c.Limits.Newlines = "normalise" },
	}
	for i, edit := range weakest {
		dir := gatewayDir(t, func(_ string, c *config.Config) { edit(c) })
		clock := time.Now()
		a := at(t, dir, &clock)
		all, err := a.listenerSettings(a.Config.Committed())
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, l := range all {
			if l.Name != "cpq_listener" {
				continue
			}
			seen++
			if l.Normalise {
				t.Errorf("%d: content is changed", i)
			}
			check := func(what string, c *tls.Config) {
				if c == nil || c.MinVersion != tls.VersionTLS13 || c.CipherSuites != nil || c.VerifyConnection == nil || !c.SessionTicketsDisabled {
					t.Errorf("%d: %s: %+v", i, what, c)
					return
				}
				if c.VerifyConnection(tls.ConnectionState{Version: tls.VersionTLS13}) == nil || c.VerifyConnection(tls.ConnectionState{Version: tls.VersionTLS12}) == nil {
					t.Errorf("%d: %s lets everybody in", i, what)
				}
			}
			check("listener", l.TLS)
			check("client", a.ClientTLS("MANAGER001"))
		}
		if seen != 1 {
			t.Errorf("%d: %d hidden listeners", i, seen)
		}
	}
	// And no element for it exists: a new one has to be judged here.
	known := "inbound_smtp_method inbound_smtp_ciphers outbound_smtp_method outbound_smtp_ciphers outbound_smtp_certificate"
	typ := reflect.TypeFor[config.SSL]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Tag.Get("xml"); !strings.Contains(known, name) {
			t.Errorf("%s: does it weaken CPQ?", name)
		}
	}
	typ = reflect.TypeFor[config.CPQ]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Tag.Get("xml"); name != "enabled" && name != "managers>manager" {
			t.Errorf("%s: does it weaken CPQ?", name)
		}
	}
}
