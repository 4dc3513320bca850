package testlib

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/outbreak"
)

// Feed is a publisher of outbreak rules: a real HTTPS server with a certificate
// of its own, and a key.
type Feed struct {
	URL    string
	Name   string
	Key    string // public, as a configuration pins it
	CAFile string

	t      testing.TB
	key    ed25519.PrivateKey
	server *httptest.Server
	mu     sync.Mutex
	serial int
	body   []byte
}

// NewFeed starts a publisher without rules.
func NewFeed(t testing.TB) *Feed {
	t.Helper()
	f := &Feed{t: t, Name: "test", key: ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))}
	f.Key = outbreak.PublicKey(f.key).String()
	f.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, _ = w.Write(f.body)
	}))
	t.Cleanup(f.server.Close)
	f.URL = f.server.URL + "/outbreak.feed"
	f.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})
	if err := os.WriteFile(f.CAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	f.Publish()
	return f
}

// Publish puts rules in the place of those before; each is "ID LEVEL KIND" and
// JSON of what it asks for.
func (f *Feed) Publish(rules ...string) {
	f.t.Helper()
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	var all []string
	for _, r := range rules {
		w := strings.SplitN(r, " ", 4)
		all = append(all, fmt.Sprintf(`{"id":%q,"level":%s,"kind":%q,"type":"Test","description":"a test","published":%q,%s}`, w[0], w[1], w[2], at(-time.Hour), w[3]))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serial++
	text := fmt.Sprintf(`{"feed":%q,"serial":%d,"published":%q,"expires":%q,"rules":[%s]}`, f.Name, f.serial, at(0), at(24*time.Hour), strings.Join(all, ","))
	var err error
	if f.body, err = outbreak.Sign([]byte(text), f.key); err != nil {
		f.t.Fatal(err)
	}
}

// Close takes the publisher away.
func (f *Feed) Close() { f.server.Close() }
