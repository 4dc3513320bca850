package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/testlib"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.com\r\nmx: *.mail.example.com\r\nmax_age: 604800\r\n"

// site is the web server of mta-sts.example.com, with DNS and a clock.
type site struct {
	t       *testing.T
	dns     *dns.Fake
	roots   *x509.CertPool
	server  *httptest.Server
	answer  atomic.Pointer[http.HandlerFunc]
	fetched atomic.Int32
	store   memory
	now     atomic.Int64
	mu      sync.Mutex
	warned  []string
}

func newSite(t *testing.T, names ...string) *site {
	t.Helper()
	if len(names) == 0 {
		names = []string{"mta-sts.example.com"}
	}
	s := &site{t: t, roots: x509.NewCertPool(), dns: &dns.Fake{
		TXT:  map[string][]string{"_mta-sts.example.com": {"v=STSv1; id=1;"}},
		Addr: map[string][]netip.Addr{"mta-sts.example.com": {netip.MustParseAddr("127.0.0.1")}},
		Fail: map[string]error{},
	}}
	s.now.Store(time.Now().Unix())
	cert := testlib.Certificate(t, testlib.CertOptions{Names: names, NotAfter: time.Now().Add(20 * time.Hour)})
	s.roots.AddCert(cert.Leaf)
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetched.Add(1)
		(*s.answer.Load())(w, r)
	}))
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	s.says(200, "text/plain", good)
	return s
}

func (s *site) says(status int, kind, body string) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != Path || r.Host != "mta-sts.example.com" {
			status = 404
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Location", "https://mta-sts.example.com"+Path)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	s.answer.Store(&h)
}

func (s *site) cache() *Cache {
	c := New(Options{
		Resolver: s.dns, Roots: s.roots, Store: &s.store, Clock: func() time.Time { return time.Unix(s.now.Load(), 0) },
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr != "127.0.0.1:443" {
				s.t.Errorf("dialled %s", addr)
			}
			var d net.Dialer
			return d.DialContext(ctx, network, s.server.Listener.Addr().String())
		},
		Warn: func(text string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.warned = append(s.warned, text)
		},
	})
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *site) later(d time.Duration) { s.now.Add(int64(d / time.Second)) }

// wants asks for the policy and checks mode ("" without one) and fetches so far.
func (s *site) wants(c *Cache, label string, mode Mode, fetches int32) {
	s.t.Helper()
	p, ok, err := c.Policy(s.t.Context(), "Example.COM.")
	if err != nil || ok != (mode != "") || ok && p.Mode != mode {
		s.t.Errorf("%s: %+v %v %v, want mode %q", label, p, ok, err, mode)
	}
	if n := s.fetched.Load(); n != fetches {
		s.t.Errorf("%s: %d fetches, want %d", label, n, fetches)
	}
}

// memory is a store.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if string(m.b) == "broken" {
		return nil, errors.New("broken")
	}
	return m.b, nil
}

func (m *memory) Save(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.b = b
	return nil
}

// A policy once seen holds for its time: over DNS that fails or denies, a web
// server that is gone, and a restart. Then it is over.
func TestCacheOutlivesFailures(t *testing.T) {
	s := newSite(t)
	c := s.cache()
	s.wants(c, "first", Enforce, 1)
	s.wants(c, "again", Enforce, 1)
	s.dns.Fail["_mta-sts.example.com"] = errs.New(errs.Temporary, "no resolver answers")
	s.wants(c, "DNS fails", Enforce, 1)
	delete(s.dns.Fail, "_mta-sts.example.com")
	texts := s.dns.TXT["_mta-sts.example.com"]
	delete(s.dns.TXT, "_mta-sts.example.com")
	s.wants(c, "DNS says there is none", Enforce, 1)
	s.dns.TXT["_mta-sts.example.com"] = []string{"v=STSv1; id=2;"}
	s.says(500, "text/plain", "")
	s.wants(c, "new id, and the file cannot be had", Enforce, 2)
	s.wants(c, "no second try at once", Enforce, 2)
	s.later(failureRest + time.Second)
	s.wants(c, "a second try later", Enforce, 3)
	s.dns.TXT["_mta-sts.example.com"] = texts
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = s.cache()
	s.dns.Fail["_mta-sts.example.com"] = errs.New(errs.Temporary, "no resolver answers")
	s.wants(c, "after a restart", Enforce, 3)
	s.later(604800 * time.Second)
	s.wants(c, "its time is over", "", 3)
}

// A new id brings the new policy at once; mode none withdraws it.
func TestChange(t *testing.T) {
	s := newSite(t)
	c := s.cache()
	s.wants(c, "first", Enforce, 1)
	s.says(200, "text/plain; charset=utf-8", strings.Replace(good, "enforce", "testing", 1))
	s.wants(c, "same id", Enforce, 1)
	s.dns.TXT["_mta-sts.example.com"] = []string{"spf is elsewhere", "v=STSv1; id=2;"}
	s.wants(c, "new id", Testing, 2)
	s.says(200, "text/plain", "version: STSv1\nmode: none\nmax_age: 86400\n")
	s.dns.TXT["_mta-sts.example.com"] = []string{"v=STSv1; id=3;"}
	s.wants(c, "withdrawn", "", 3)
	s.wants(c, "withdrawn, and known", "", 3)
}

// A policy in use is fetched again once a day, or when half of its time is
// over, while the delivery goes on with the old one.
func TestRefresh(t *testing.T) {
	s := newSite(t)
	s.says(200, "text/plain", strings.Replace(good, "604800", "7200", 1))
	c := s.cache()
	s.wants(c, "first", Enforce, 1)
	s.later(61 * time.Minute) // past half of its time
	if _, ok, err := c.Policy(t.Context(), "example.com"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	c.mu.Lock()
	f := c.flights["example.com"]
	c.mu.Unlock()
	if f != nil {
		<-f.done
	}
	s.later(119 * time.Minute)
	s.dns.Fail["_mta-sts.example.com"] = errs.New(errs.Temporary, "no resolver answers")
	s.wants(c, "longer than the first fetch would let it", Enforce, 2)
}

// What is no policy is none: as though the domain had never announced one.
func TestBadFiles(t *testing.T) {
	for label, change := range map[string]func(*site){
		"redirect":       func(s *site) { s.says(301, "text/plain", good) },
		"not found":      func(s *site) { s.says(404, "text/plain", good) },
		"another status": func(s *site) { s.says(203, "text/plain", good) },
		"web page":       func(s *site) { s.says(200, "text/html", good) },
		"too big":        func(s *site) { s.says(200, "text/plain", good+strings.Repeat("x: y\r\n", 11000)) },
		"endless": func(s *site) {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				for r.Context().Err() == nil {
					if _, err := io.WriteString(w, good); err != nil {
						return
					}
				}
			})
			s.answer.Store(&h)
		},
		"empty":           func(s *site) { s.says(200, "text/plain", "") },
		"no mode":         func(s *site) { s.says(200, "text/plain", strings.Replace(good, "mode", "mood", 1)) },
		"unknown issuer":  func(s *site) { s.roots = x509.NewCertPool() },
		"no address":      func(s *site) { delete(s.dns.Addr, "mta-sts.example.com") },
		"expired":         func(s *site) { s.later(1001 * 24 * time.Hour) },
		"nobody listens":  func(s *site) { s.server.Close() },
		"two records":     func(s *site) { s.dns.TXT["_mta-sts.example.com"] = []string{"v=STSv1; id=1", "v=STSv1; id=2"} },
		"no id":           func(s *site) { s.dns.TXT["_mta-sts.example.com"] = []string{"v=STSv1;"} },
		"another version": func(s *site) { s.dns.TXT["_mta-sts.example.com"] = []string{"v=STSv10; id=1"} },
	} {
		t.Run(label, func(t *testing.T) {
			s := newSite(t)
			change(s)
			if p, ok, err := s.cache().Policy(t.Context(), "example.com"); ok || err != nil {
				t.Errorf("%+v %v %v", p, ok, err)
			}
		})
	}
	s := newSite(t, "example.com", "www.example.com")
	if p, ok, err := s.cache().Policy(t.Context(), "example.com"); ok || err != nil {
		t.Errorf("a certificate for another name: %+v %v %v", p, ok, err)
	}
}

// Many deliveries at a time make one fetch, and who gives up does not end it
// for the others. Not being able to try is not the same as no policy.
func TestOneFetch(t *testing.T) {
	s := newSite(t)
	hold := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-hold
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, good)
	})
	s.answer.Store(&h)
	c := s.cache()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if p, ok, err := c.Policy(t.Context(), "example.com"); !ok || err != nil || p.Mode != Enforce {
				t.Errorf("%+v %v %v", p, ok, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Policy(ctx, "example.com"); !errs.Is(err, errs.Temporary) {
		t.Errorf("given up: %v", err)
	}
	close(hold)
	wg.Wait()
	if n := s.fetched.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	c.Close()
	s.dns.TXT["_mta-sts.other.example"] = []string{"v=STSv1; id=1"}
	if _, _, err := c.Policy(t.Context(), "other.example"); !errs.Is(err, errs.Temporary) {
		t.Errorf("closed: %v", err)
	}
}

// The file of the cache: bounded, and nothing in it is believed blindly.
func TestStore(t *testing.T) {
	s := newSite(t)
	c := s.cache()
	for i := range maxDomains + 10 {
		c.mu.Lock()
		c.keep(fmt.Sprintf("d%d.example", i), entry{policy: Policy{Mode: Enforce, MX: []string{"mx.example"}, MaxAge: time.Hour}, id: "1",
			fetched: c.now(), expires: c.now().Add(time.Hour + time.Duration(i)*time.Second)})
		c.mu.Unlock()
	}
	if len(c.kept) != maxDomains {
		t.Errorf("%d domains kept", len(c.kept))
	}
	if _, first := c.kept["d0.example"]; first {
		t.Error("the one that ends first stayed")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c = s.cache(); len(c.kept) != maxDomains {
		t.Errorf("%d domains read", len(c.kept))
	}
	for _, b := range []string{"broken", "{", `{"version":2}`, `[]`} {
		s.warned = nil
		s.store.b = []byte(b)
		if c = s.cache(); len(c.kept) != 0 || len(s.warned) != 1 {
			t.Errorf("%s: %d kept, warned %q", b, len(c.kept), s.warned)
		}
	}
	s.store.b = []byte(`{"version":1,"policies":[{"domain":"A..b","mode":"enforce","mx":["x.example"]},{"domain":"a.example","mode":"enforce"},
		{"domain":"b.example","mode":"testing","mx":["x.example"],"max_age":99999999999},{"domain":"c.example","mode":"enforce","mx":["x.example"],"max_age":60,"expires":"2999-01-01T00:00:00Z"}]}`)
	if c = s.cache(); len(c.kept) != 1 {
		t.Errorf("%v", c.kept)
	}
	if _, ok, _ := c.Policy(t.Context(), "c.example"); ok {
		t.Error("a policy that lasts for a thousand years is believed")
	}
}
