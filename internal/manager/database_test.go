package manager

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib"
)

const canary = "canary-f3a9"

// onServer makes a manager's directory whose records are on a server.
func onServer(t *testing.T, dsn string) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := appliance.Init(dir, config.Manager, appliance.InitOptions{CPQPort: freePort(t), SSHPort: freePort(t)}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, appliance.ConfigName)
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Database.File = "dsn"
	for name, b := range map[string][]byte{path: c.Text(false), filepath.Join(dir, "dsn"): []byte(dsn + " password=" + canary + "\n")} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A manager keeps its records on a PostgreSQL server: checkconfig asks the
// server and leaves it as it is, what was taken in is there in the next life,
// no mail is taken while the server is away, and its password is nowhere but in
// its file.
func TestManagerOnPostgres(t *testing.T) {
	p, err := testlib.StartPostgres()
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	dir := onServer(t, p.Database(t))
	open := func(check bool) (*Manager, error) {
		return New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard, Check: check})
	}
	for range 2 { // the second would find what the first had made
		m, err := open(true)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	m, err := open(false)
	if err != nil {
		t.Fatal(err)
	}
	mid, _ := deposited(t, m)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err = open(false); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Quarantine().Show(t.Context(), mail.System(), mid); err != nil || got.State != "held" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := p.Stop(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); (deposits{m}).Ready(100) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("mail is taken while the server is away")
		}
	}
	if err := (deposits{m}).Ready(100); !errs.Is(err, errs.Temporary) {
		t.Errorf("a gateway hears %v", err)
	}
	if err := m.Close(); err != nil {
		t.Log(err)
	}
	for _, check := range []bool{false, true} {
		m, err := open(check)
		if err == nil {
			m.Close()
		}
		if !errs.Is(err, errs.Temporary) || !strings.Contains(err.Error(), "cannot be reached") || strings.Contains(err.Error(), canary) {
			t.Errorf("check %v, without a server: %v", check, err)
		}
	}
	noCanary(t, dir)
}

func noCanary(t *testing.T, dir string) {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || filepath.Base(path) == "dsn" {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(canary)) {
			t.Errorf("the password is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// deposited has a manager hold a message.
func deposited(t *testing.T, m *Manager) (mail.MID, []byte) {
	t.Helper()
	body := []byte("Subject: x\r\n\r\nbody\r\n")
	hash := mail.Hash(sha256.Sum256(body))
	d := quarantine.Deposit{MID: m.NextMID(), Key: mail.NewKey("GATEWAY001", 7, hash), Gateway: "GATEWAY001", GatewayMID: 7, Size: int64(len(body)), Hash: hash,
		Envelope: mail.Envelope{To: []mail.Address{{Local: "b", Domain: "example.org"}}}, Placements: []mail.Placement{{Quarantine: "Policy"}}}
	mid, _, err := m.Quarantine().Ingest(t.Context(), d, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return mid, body
}
