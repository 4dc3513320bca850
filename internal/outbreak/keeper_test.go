package outbreak

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// memory is a store that survives a keeper.
type memory struct{ b []byte }

func (m *memory) Load() ([]byte, error) { return m.b, nil }
func (m *memory) Save(b []byte) error   { m.b = b; return nil }

// publisher is a real HTTPS server with a feed.
type publisher struct {
	*httptest.Server
	mu   sync.Mutex
	body []byte
	n304 int
}

func newPublisher(t *testing.T) *publisher {
	p := &publisher{}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		tag := `"` + strconv.Itoa(len(p.body)) + "-" + strconv.Itoa(int(sum(p.body))) + `"`
		if r.Header.Get("If-None-Match") == tag {
			p.n304++
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", tag)
		_, _ = w.Write(p.body)
	}))
	t.Cleanup(p.Close)
	return p
}

func sum(b []byte) (n uint32) {
	for _, c := range b {
		n = n*31 + uint32(c)
	}
	return n
}

func (p *publisher) publish(t *testing.T, text string, letters string) {
	t.Helper()
	b := []byte(text)
	if letters != "" {
		var err error
		if b, err = Sign([]byte(text), newKey(letters)); err != nil {
			t.Fatal(err)
		}
	}
	p.mu.Lock()
	p.body = b
	p.mu.Unlock()
}

// client trusts the publisher's certificate and nothing else.
func (p *publisher) client(string) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(s string) { l.mu.Lock(); l.all = append(l.all, s); l.mu.Unlock() }

func newKeeper(p *publisher, store Store, log *lines, updates *int) *Keeper {
	return NewKeeper(Options{Store: store, Compile: compile, Client: p.client, Now: func() time.Time { return now }, Info: log.add, Warn: log.add,
		OnUpdate: func() { *updates++ }})
}

func settings(source string) Settings {
	return Settings{Source: source, Feed: "example", Keys: []Key{PublicKey(newKey("a"))}}
}

// A feed over HTTPS comes into force, a newer one takes its place, and nothing
// that is not better does: an old one, another name, another key, a broken one,
// a server that is away. A new start has it without the network.
func TestKeeper(t *testing.T) {
	p, store, log, updates := newPublisher(t), &memory{}, &lines{}, 0
	k := newKeeper(p, store, log, &updates)
	k.Configure(settings(p.URL + "/outbreak.feed"))
	serial := func(k *Keeper) uint64 { return k.Set().Feed().Serial }
	r := rule("R1", 3, `"body":["x"]`)
	step := func(text, key, trouble string, want uint64) {
		t.Helper()
		p.publish(t, text, key)
		changed, err := k.Update(t.Context())
		if serial(k) != want || trouble == "" && err != nil || trouble != "" && (err == nil || changed || !strings.Contains(err.Error(), trouble)) {
			t.Errorf("serial %d, want %d; changed %v, %v", serial(k), want, changed, err)
		}
		if s := k.Status(); s.Trouble != "" != (trouble != "") {
			t.Errorf("status %+v, want %q", s, trouble)
		}
	}
	step(feed(5, r), "a", "", 5)
	step(feed(5, r), "a", "", 5) // the same again
	if p.n304 != 1 {
		t.Errorf("%d answers without a body", p.n304)
	}
	step(feed(7, r, rule("R2", 4, `"body":["y"]`)), "a", "", 7)
	step(feed(5, r), "a", "played again", 7)
	step(feed(7, r), "a", "two outbreak feeds with serial 7", 7)
	step(feed(8, r), "b", "no good signature", 7)
	step(strings.Replace(feed(8, r), `"example"`, `"other"`, 1), "a", `is "other", not "example"`, 7)
	step("hello", "", "no signed feed", 7)
	step(feed(8, strings.Replace(r, `"level":3`, `"level":9`, 1)), "a", "level is 9", 7)
	step(strings.Replace(feed(8, r), "2026-11-28T11", "2026-11-30T11", 1), "a", "which is to come", 7)
	step(strings.Repeat("x", MaxFeed+1), "", "longer than", 7)
	p.Close()
	if _, err := k.Update(t.Context()); err == nil || serial(k) != 7 {
		t.Errorf("serial %d, %v", serial(k), err)
	}
	if updates != 2 {
		t.Errorf("%d updates", updates)
	}
	k = newKeeper(p, store, log, &updates) // a new start
	k.Configure(settings(p.URL + "/outbreak.feed"))
	if serial(k) != 7 || k.Set().Rule("R2") == nil || k.Set().Rule("R3") != nil {
		t.Errorf("serial %d after a start without network", serial(k))
	}
	other := settings(p.URL)
	other.Keys = []Key{PublicKey(newKey("b"))}
	if k.Configure(other); k.Set() != nil {
		t.Error("rules by a key that is not pinned any more are in force")
	}
	if k.Configure(Settings{}); k.Set() != nil || len(log.all) == 0 {
		t.Error("rules without a source")
	}
}

// A key is changed: the feed of before is not believed any more, but its serial
// still counts.
func TestKeyChange(t *testing.T) {
	path, store, log, updates := filepath.Join(t.TempDir(), "feed"), &memory{}, &lines{}, 0
	k := newKeeper(nil, store, log, &updates)
	put := func(serial int, letter string) error {
		t.Helper()
		b, err := Sign([]byte(feed(serial, rule("R1", 3, `"body":["x"]`))), newKey(letter))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = k.Update(t.Context())
		return err
	}
	k.Configure(settings(path))
	if err := put(5, "a"); err != nil {
		t.Fatal(err)
	}
	next := settings(path)
	next.Keys = []Key{PublicKey(newKey("b"))}
	k.Configure(next)
	if err := put(4, "b"); err == nil || k.Set() != nil {
		t.Errorf("an old one by the new key: %v", err)
	}
	if err := put(5, "b"); err != nil || k.Set().Feed().Serial != 5 {
		t.Errorf("the same one, signed again: %v", err)
	}
}

// The source is asked at its interval, and at once when it is another one.
func TestKeeperRuns(t *testing.T) {
	path, log := filepath.Join(t.TempDir(), "feed"), &lines{}
	updated := make(chan uint64, 10)
	var k *Keeper
	k = NewKeeper(Options{Compile: compile, Now: time.Now, Info: log.add, Warn: log.add, OnUpdate: func() { updated <- k.Set().Feed().Serial }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	s := settings(path)
	s.Poll = 10 * time.Millisecond
	for serial := 1; serial <= 2; serial++ {
		b, err := Sign([]byte(feed(serial, rule("R1", 3, `"body":["x"]`))), newKey("a"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		k.Configure(s)
		if got := <-updated; got != uint64(serial) {
			t.Errorf("serial %d, want %d", got, serial)
		}
	}
	cancel()
	<-done
}
