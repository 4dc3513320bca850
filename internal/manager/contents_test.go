package manager

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib"
)

// place makes a manager's directory and gives what changes its content_store.
func place(t *testing.T) (dir string, set func(config.ContentStore)) {
	t.Helper()
	dir = t.TempDir()
	if _, err := appliance.Init(dir, config.Manager, appliance.InitOptions{CPQPort: freePort(t), SSHPort: freePort(t)}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, appliance.ConfigName)
	return dir, func(s config.ContentStore) {
		t.Helper()
		c, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		c.ContentStore = s
		if err := errors.Join(c.Check(), os.WriteFile(path, c.Text(false), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, dir string) *Manager {
	t.Helper()
	m, err := New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// deposit holds a message.
func deposit(t *testing.T, m *Manager, n int, body string) mail.MID {
	t.Helper()
	hash := mail.Hash(sha256.Sum256([]byte(body)))
	mid, _, err := m.quarantine.Ingest(t.Context(), quarantine.Deposit{
		MID: m.NextMID(), Key: mail.NewKey("GATEWAY001", mail.MID(n), hash), Gateway: "GATEWAY001", GatewayMID: mail.MID(n), Size: int64(len(body)), Hash: hash,
		Envelope: mail.Envelope{To: []mail.Address{{Local: "a", Domain: "example.com"}}}, Placements: []mail.Placement{{Quarantine: "Policy", Reason: "x"}},
	}, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return mid
}

// held reads the content of a message.
func held(t *testing.T, m *Manager, mid mail.MID) string {
	t.Helper()
	l, err := m.store.Load(t.Context(), []mail.MID{mid})
	if err != nil || len(l) != 1 {
		t.Fatal(len(l), err)
	}
	r, err := m.contents.Open(t.Context(), l[0].Content)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A manager that gets a bucket keeps what it had, puts what is new there, and
// does not start without the bucket as long as something is in it.
func TestContentMovesToBucket(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	dir, set := place(t)
	m := open(t, dir)
	old := deposit(t, m, 1, "kept on this machine")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	creds := filepath.Join(dir, "s3.credentials")
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", server.Access, server.Secret)
	if err := os.WriteFile(creds, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := config.ContentStore{Endpoint: server.Endpoint, Bucket: server.Bucket, Prefix: "q/", PathStyle: true, Credentials: "s3.credentials"}
	set(s)
	m = open(t, dir)
	added := deposit(t, m, 2, "kept in the bucket")
	if held(t, m, old) != "kept on this machine" || held(t, m, added) != "kept in the bucket" {
		t.Error("content is not what was put")
	}
	list, err := os.ReadDir(filepath.Join(server.Dir, "q", "content"))
	if err != nil || len(list) != 1 {
		t.Errorf("%d objects in the bucket, %v", len(list), err)
	}
	if out := string(m.Config.Committed().Text(false)); strings.Contains(out, server.Secret) || strings.Contains(out, server.Access) {
		t.Error("the configuration has credentials in it")
	}
	swept, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { m.pvo.Keep(swept, m.queue) })
	cancel()
	wg.Wait()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	set(config.ContentStore{})
	if _, err := New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard}); err == nil || !strings.Contains(errs.Public(err), "put the element back") {
		t.Errorf("without the bucket: %v", err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log", "mail_logs", "mail.current"))
	if err != nil || bytes.Contains(log, []byte(server.Secret)) {
		t.Errorf("the log: %v", err)
	}
}

// checkconfig and the start say the same sentence.
func TestContentStoreRefused(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	dir, set := place(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.Secret)
	good := config.ContentStore{Endpoint: server.Endpoint, Bucket: server.Bucket, PathStyle: true}
	for want, change := range map[string]func(*config.ContentStore){
		"content_store: there is no bucket nothing-here at ":                            func(s *config.ContentStore) { s.Bucket = "nothing-here" },
		"content_store: the credentials file " + dir + "/absent cannot be read":         func(s *config.ContentStore) { s.Credentials = "absent" },
		"content_store: the ca_file absent.pem cannot be read":                          func(s *config.ContentStore) { s.CAFile = "absent.pem" },
		"content_store: there is no certificate in the ca_file " + appliance.ConfigName: func(s *config.ContentStore) { s.CAFile = appliance.ConfigName },
	} {
		s := good
		change(&s)
		set(s)
		for _, check := range []bool{true, false} {
			if _, err := New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard, Check: check}); err == nil || !strings.HasPrefix(errs.Public(err), want) {
				t.Errorf("check %v: %v\nnot %s", check, err, want)
			}
		}
	}
	set(good)
	m, err := New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
