package blob

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lazaret/internal/blob/s3"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib"
)

// faulty stands between a store and a real server and spoils what a test wants.
type faulty struct {
	*httptest.Server
	fault atomic.Pointer[fault]
	seen  atomic.Int64 // requests
}

// fault is what happens to the next requests that it is for.
type fault struct {
	method string                                            // empty: any
	times  int64                                             // how often; -1: always
	before func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	after  func(*http.Response)
	hit    atomic.Int64
}

func (f *fault) applies(r *http.Request) bool {
	if f == nil || f.method != "" && f.method != r.Method {
		return false
	}
	return f.hit.Add(1) <= f.times || f.times < 0
}

func newFaulty(t *testing.T, to string) *faulty {
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{}
	type key struct{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(a *http.Response) error {
			if x, _ := a.Request.Context().Value(key{}).(*fault); x != nil && x.after != nil {
				x.after(a)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Transport:    &http.Transport{DisableKeepAlives: true},
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.seen.Add(1)
		x := f.fault.Load()
		if !x.applies(r) {
			x = nil
		}
		if x != nil && x.before != nil && x.before(w, r) {
			return
		}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, x)))
	}))
	t.Cleanup(f.Close)
	return f
}

// says is an answer in the words of S3.
func says(status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>a message with
 a line end and AKIATESTACCESS</Message></Error>`, code)
		return true
	}
}

// abort ends the connection without a word.
func abort(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// cutBody lets an answer end after n bytes.
func cutBody(n int64) func(*http.Response) {
	return func(a *http.Response) {
		body := a.Body
		a.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(body, n), errorReader{}), body}
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errors.New("cut") }

// flipBody changes a byte of an answer.
func flipBody(at int) func(*http.Response) {
	return func(a *http.Response) {
		b, _ := io.ReadAll(a.Body)
		if at < len(b) {
			b[at] ^= 1
		}
		a.Body = io.NopCloser(bytes.NewReader(b))
	}
}

// quick makes waits of a client short, and counts them. A server that is silent
// for stall is taken for away; 0 is the product's own patience, which a busy
// machine does not try.
func quick(n *atomic.Int64, stall time.Duration) func(*BucketOptions) {
	return func(o *BucketOptions) {
		o.S3.Stall = stall
		o.S3.Pause = func(ctx context.Context, _ time.Duration) error { n.Add(1); return ctx.Err() }
	}
}

// F16: whatever the server or the way to it does, Put says nil only for what is
// there whole, Open gives what was put or an error, and what passes is tried
// again.
func TestF16Faults(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	way := newFaulty(t, server.Endpoint)
	var pauses atomic.Int64
	p := bucketPlace{server: server, rest: -time.Minute, change: quick(&pauses, 0)}
	direct := *server
	server.Endpoint = way.URL
	patient := mustOpen(t, p).(*Bucket)
	defer patient.Close()
	p.change = quick(&pauses, 300*time.Millisecond)
	hasty := mustOpen(t, p).(*Bucket)
	defer hasty.Close()
	small, large := mailLike(1, 4000), mailLike(2, 3*chunkSize+5)
	stall := func(http.ResponseWriter, *http.Request) bool { <-time.After(time.Second); panic(http.ErrAbortHandler) }
	flipped := func(_ http.ResponseWriter, r *http.Request) bool { // the server has to refuse it
		body, _ := io.ReadAll(r.Body)
		body[len(body)/2] ^= 1
		r.Body = io.NopCloser(bytes.NewReader(body))
		return false
	}
	for name, c := range map[string]struct {
		f         *fault
		put, read bool // whether it is overcome
	}{
		"SlowDown once":        {&fault{times: 1, before: says(503, "SlowDown")}, true, true},
		"SlowDown three times": {&fault{times: 3, before: says(503, "SlowDown")}, true, true},
		"SlowDown for ever":    {&fault{times: -1, before: says(503, "SlowDown")}, false, false},
		"InternalError once":   {&fault{times: 1, before: says(500, "InternalError")}, true, true},
		"a bare 502":           {&fault{times: 2, before: func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(502); return true }}, true, true},
		"reset once":           {&fault{times: 1, before: abort}, true, true},
		"reset for ever":       {&fault{times: -1, before: abort}, false, false},
		"silent once":          {&fault{times: 1, before: stall}, true, true},
		"silent for ever":      {&fault{times: -1, before: stall}, false, false},
		"answer lost":          {&fault{method: "PUT", times: 1, after: func(*http.Response) { panic(http.ErrAbortHandler) }}, true, true},
		"body changed, once":   {&fault{method: "PUT", times: 1, before: flipped}, true, true},
		"body changed, always": {&fault{method: "PUT", times: -1, before: flipped}, false, true},
		"a portal's page":      {&fault{times: -1, before: func(w http.ResponseWriter, _ *http.Request) bool { w.Write([]byte("<html>Log in")); return true }}, false, false},
		"a proxy's 404": {&fault{times: -1, before: func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(404)
			w.Write([]byte("<html>"))
			return true
		}}, false, false},
		"bucket gone":      {&fault{times: -1, before: says(404, "NoSuchBucket")}, false, false},
		"denied":           {&fault{times: -1, before: says(403, "AccessDenied")}, false, false},
		"expired once":     {&fault{times: 1, before: says(400, "ExpiredToken")}, true, true},
		"expired for ever": {&fault{times: -1, before: says(400, "ExpiredToken")}, false, false},
		"clock":            {&fault{times: -1, before: says(403, "RequestTimeTooSkewed")}, false, false},
		"a redirection": {&fault{times: -1, before: func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, direct.Endpoint+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}}, false, false},
		"hostile code":          {&fault{times: -1, before: says(400, "x\r\n\x1b[2J")}, false, false},
		"cut once":              {&fault{method: "GET", times: 1, after: cutBody(1000)}, true, true},
		"cut again and again":   {&fault{method: "GET", times: 20, after: cutBody(200_000)}, true, true},
		"cut at once, for ever": {&fault{method: "GET", times: -1, after: cutBody(0)}, true, false},
		"changed once":          {&fault{method: "GET", times: 1, after: flipBody(2000)}, true, true},
		"changed for ever":      {&fault{method: "GET", times: -1, after: flipBody(2000)}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := patient
			if strings.HasPrefix(name, "silent") {
				b = hasty
			}
			for _, body := range [][]byte{small, large} {
				way.fault.Store(nil)
				b.felt(nil)
				known := mustPut(t, patient, body)
				c.f.hit.Store(0)
				pauses.Store(0)
				way.fault.Store(c.f)
				id, _, _, err := b.Put(t.Context(), bytes.NewReader(body))
				if (err == nil) != c.put || err != nil && !errs.Is(err, errs.Temporary) {
					t.Errorf("put: %v", err)
				}
				clean(t, err)
				if pauses.Load() > 3 {
					t.Errorf("%d pauses", pauses.Load())
				}
				b.felt(nil)
				c.f.hit.Store(0)
				got, rerr := fetch(b, known)
				if (rerr == nil) != c.read || rerr == nil && !bytes.Equal(got, body) || errs.Is(rerr, errs.NotFound) {
					t.Errorf("read: %d of %d bytes, %v", len(got), len(body), rerr)
				}
				if rerr != nil && bytes.Equal(got, body) {
					t.Error("the whole content was given before the error")
				}
				clean(t, rerr)
				way.fault.Store(nil)
				b.felt(nil)
				if err == nil {
					if got, err := fetch(patient, id); err != nil || !bytes.Equal(got, body) {
						t.Errorf("what was put: %v", err)
					}
				}
			}
		})
	}
}

// clean errors have no control character and no credentials.
func clean(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, bad := range []string{"\n", "\r", "\x1b", "AKIA", "testsecret"} {
		if strings.Contains(err.Error(), bad) {
			t.Errorf("%q is in %q", bad, err)
		}
	}
}

// After a failure nothing is begun for a moment, and the gateways wait with the
// body still at home; then it works again by itself.
func TestBucketSick(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	way := newFaulty(t, server.Endpoint)
	var pauses atomic.Int64
	server.Endpoint = way.URL
	b := mustOpen(t, bucketPlace{server: server, change: quick(&pauses, 0)}).(*Bucket)
	defer b.Close()
	way.fault.Store(&fault{times: -1, before: says(503, "SlowDown")})
	if _, _, _, err := b.Put(t.Context(), strings.NewReader("x")); !errs.Is(err, errs.Temporary) {
		t.Fatal(err)
	}
	seen := way.seen.Load()
	if err := b.Ready(1); !errs.Is(err, errs.Temporary) || !strings.Contains(err.Error(), "asks to slow down") {
		t.Errorf("ready: %v", err)
	}
	if _, _, _, err := b.Put(t.Context(), strings.NewReader("x")); !errs.Is(err, errs.Temporary) || way.seen.Load() > seen+1 { // the deletion of the first may come
		t.Errorf("%d more requests, %v", way.seen.Load()-seen, err)
	}
	way.fault.Store(nil)
	b.mu.Lock()
	b.since = b.since.Add(-sickFor)
	b.mu.Unlock()
	if err := b.Ready(1); err != nil {
		t.Error(err)
	}
	mustPut(t, b, []byte("x"))
}

// A server that is away at the start is waited for; what is wrong with the
// settings is said at once, in a sentence.
func TestBucketStart(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	base := bucketPlace{server: server}
	var pauses atomic.Int64
	ctx := t.Context()
	for name, c := range map[string]struct {
		change func(*BucketOptions)
		want   string
	}{
		"bucket":   {func(o *BucketOptions) { o.S3.Bucket = "nothing-here" }, "there is no bucket nothing-here at " + server.Endpoint},
		"key":      {creds(s3.Credentials{AccessKey: "other", Secret: "x"}), "the access key is unknown at "},
		"secret":   {creds(s3.Credentials{AccessKey: server.Access, Secret: "TOPSECRET"}), "the secret key does not fit the access key at "},
		"no creds": {func(o *BucketOptions) { o.S3.Credentials = s3.Environment(func(string) string { return "" }) }, "there are no S3 credentials"},
		"no file":  {func(o *BucketOptions) { o.S3.Credentials = s3.File("/nowhere/x") }, "the credentials file /nowhere/x cannot be read"},
		"endpoint": {func(o *BucketOptions) { o.S3.Endpoint = "ftp://x" }, "is not the address of an S3 server"},
	} {
		t.Run(name, func(t *testing.T) {
			o := base.options(t, testKey)
			quick(&pauses, 0)(&o)
			c.change(&o)
			for _, check := range []bool{true, false} {
				o.Check = check
				_, err := OpenBucket(ctx, o)
				if err == nil || !strings.Contains(errs.Public(err), c.want) || !errs.Is(err, errs.Invalid) || strings.Contains(err.Error(), "TOPSECRET") {
					t.Errorf("%v", err)
				}
			}
		})
	}
	// Away: a check says so, a start goes on and takes nothing until it is back.
	way := newFaulty(t, server.Endpoint)
	o := base.options(t, testKey)
	quick(&pauses, 0)(&o)
	o.S3.Endpoint = way.URL
	way.fault.Store(&fault{times: -1, before: abort})
	o.Check = true
	if _, err := OpenBucket(ctx, o); err == nil {
		t.Error("a check of a server that is away")
	}
	o.Check = false
	b, err := OpenBucket(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Ready(0); !errs.Is(err, errs.Temporary) {
		t.Errorf("away: %v", err)
	}
	way.fault.Store(nil)
	b.felt(nil)
	mustPut(t, b, []byte("back again"))
}

func creds(c s3.Credentials) func(*BucketOptions) {
	return func(o *BucketOptions) { o.S3.Credentials = func() (s3.Credentials, error) { return c, nil } }
}

// A check of settings writes nothing that stays.
func TestBucketCheck(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	p := bucketPlace{server: server, change: func(o *BucketOptions) { o.Check = true }}
	b := mustOpen(t, p)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	err := fsFiles(server.Dir, func(path string) { t.Errorf("%s is left", path) })
	if err != nil {
		t.Error(err)
	}
}

func fsFiles(dir string, f func(string)) error {
	list, err := os.ReadDir(dir)
	for _, e := range list {
		if e.IsDir() {
			err = errors.Join(err, fsFiles(dir+"/"+e.Name(), f))
		} else {
			f(dir + "/" + e.Name())
		}
	}
	return err
}

// Content whose key nobody knows any more is refused, not hidden.
func TestBucketUnmarked(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	p := bucketPlace{server: server}
	b := mustOpen(t, p)
	mustPut(t, b, []byte("x"))
	b.Close()
	if err := os.RemoveAll(server.Dir + "/quarantine/key"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.open(t, testKey); err == nil || !strings.Contains(err.Error(), "holds content and no mark below quarantine/key/") {
		t.Errorf("%v", err)
	}
}

// A manager with a database of its own is refused before it can sweep what it
// does not know, and without a database nothing is swept.
func TestBucketOwner(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	p := bucketPlace{server: server, rest: -time.Minute}
	b := mustOpen(t, p)
	id := mustPut(t, b, []byte("x"))
	other, err := OpenBucket(t.Context(), p.options(t, testKey))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	nobody := func(_ context.Context, ids []quarantine.ContentID) ([]bool, error) {
		return make([]bool, len(ids)), nil
	}
	if n, err := other.Sweep(t.Context(), nobody); n != 0 || err == nil {
		t.Errorf("a sweep for nobody: %d, %v", n, err)
	}
	if err := other.Own(t.Context(), "database2"); !errs.Is(err, errs.Invalid) || !strings.Contains(errs.Public(err), "belongs to another database") {
		t.Errorf("another database: %v", err)
	}
	if n, err := other.Sweep(t.Context(), nobody); n != 0 || err == nil {
		t.Errorf("a sweep after that: %d, %v", n, err)
	}
	if _, err := fetch(b, id); err != nil {
		t.Error(err)
	}
	b.Close()
}

// Two managers that begin at once with different keys never both go on, and one
// that was refused leaves the bucket usable.
func TestBucketKeyRace(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	for round := range 6 {
		p := bucketPlace{server: server, change: func(o *BucketOptions) { o.Prefix = fmt.Sprintf("race%d/", round) }}
		var won [2]store
		var wg sync.WaitGroup
		for i := range won {
			wg.Go(func() { won[i], _ = p.open(t, bytes.Repeat([]byte{byte(i + 1)}, KeySize)) })
		}
		wg.Wait()
		if won[0] != nil && won[1] != nil {
			t.Error("both went on")
		}
		ok := 0
		for i := range won {
			if won[i] != nil {
				won[i].Close()
			}
			if s, err := p.open(t, bytes.Repeat([]byte{byte(i + 1)}, KeySize)); err == nil {
				s.Close()
				ok++
			}
		}
		if ok != 1 {
			t.Errorf("round %d: %d of two keys fit afterwards", round, ok)
		}
	}
}

// A server refuses requests of a clock that is wrong, and the sentence says so.
// Inside a bubble it is the year 2000.
func TestBucketSkew(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	o := bucketPlace{server: server}.options(t, testKey)
	synctest.Test(t, func(t *testing.T) {
		_, err := OpenBucket(context.Background(), o)
		if err == nil || !strings.Contains(errs.Public(err), "differ by more than 15 minutes: set this machine's clock") {
			t.Errorf("%v", err)
		}
	})
}

// TLS: an authority that is not known is refused, one that is named is taken.
func TestBucketTLS(t *testing.T) {
	cert := testlib.Certificate(t, testlib.CertOptions{Names: []string{"localhost"}})
	server := testlib.NewS3(t, s3TLS(t, cert))
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	var err error
	for range 400 {
		if err = server.MakeBucket(tr, server.Bucket); err == nil {
			break
		}
		<-time.After(25 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := bucketPlace{server: server}
	if _, err := p.open(t, testKey); err == nil || !strings.Contains(errs.Public(err), "is not signed by an authority that is known here: name its ca_file") {
		t.Errorf("%v", err)
	}
	p.change = func(o *BucketOptions) { o.S3.Roots = roots }
	b := mustOpen(t, p)
	defer b.Close()
	id := mustPut(t, b, mailLike(3, chunkSize+1))
	if _, err := fetch(b, id); err != nil {
		t.Error(err)
	}
}

func s3TLS(t *testing.T, c tls.Certificate) testlib.S3Options {
	cert, key := testlib.CertificateFiles(t, c)
	return testlib.S3Options{Cert: cert, Key: key}
}

// A user whose rights do not reach is told so.
func TestBucketDenied(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	server.AddUser(t, "reader", "readersecret")
	o := bucketPlace{server: server}.options(t, testKey)
	creds(s3.Credentials{AccessKey: "reader", Secret: "readersecret"})(&o)
	if _, err := OpenBucket(t.Context(), o); err == nil || !strings.Contains(errs.Public(err), "access to bucket "+server.Bucket+" at "+server.Endpoint+" is denied") {
		t.Errorf("%v", err)
	}
}

// Nothing readable reaches the server, and no name says anything.
func TestBucketEncrypted(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	b := mustOpen(t, bucketPlace{server: server})
	secret := bytes.Repeat([]byte("a secret of the quarantine "), 20000)
	mustPut(t, b, secret)
	mustPut(t, b, secret[:100])
	b.Close()
	n := 0
	err := fsFiles(server.Dir, func(path string) {
		n++
		if c, err := os.ReadFile(path); err != nil || bytes.Contains(c, secret[:9]) {
			t.Errorf("%s: %v", path, err)
		}
	})
	if err != nil || n != 4 {
		t.Errorf("%d files, %v", n, err)
	}
}

// Deletions wait while the server is away, content to be deleted is gone at
// once all the same, and an end does not wait for ever.
func TestBucketDeletes(t *testing.T) {
	server := testlib.NewS3(t, testlib.S3Options{})
	way := newFaulty(t, server.Endpoint)
	var pauses atomic.Int64
	server.Endpoint = way.URL
	p := bucketPlace{server: server, change: quick(&pauses, 0)}
	b := mustOpen(t, p).(*Bucket)
	var ids []quarantine.ContentID
	for i := range 30 {
		ids = append(ids, mustPut(t, b, []byte{byte(i)}))
	}
	way.fault.Store(&fault{method: "POST", times: -1, before: says(501, "NotImplemented")}) // one by one then
	for _, id := range ids[:20] {
		b.Delete(t.Context(), id)
	}
	if n := p.objects(t, b); n != 10 {
		t.Errorf("%d objects are left", n)
	}
	way.fault.Store(&fault{times: -1, before: says(503, "SlowDown")})
	if err := b.Delete(t.Context(), ids[29]); err != nil {
		t.Error(err)
	}
	if _, err := fetch(b, ids[29]); !errs.Is(err, errs.NotFound) {
		t.Errorf("a deletion that waits: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
