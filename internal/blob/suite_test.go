package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"lazaret/internal/blob/s3"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib"
)

// store is what both stores are.
type store interface {
	quarantine.Contents
	Ready(int64) error
	Sweep(context.Context, func(context.Context, []quarantine.ContentID) ([]bool, error)) (int, error)
	Close() error
}

var (
	_ store = (*Store)(nil)
	_ store = (*Bucket)(nil)
)

// place is where a store lies; it may be opened again and again.
type place interface {
	open(t testing.TB, key []byte) (store, error)
	// objects counts contents, known or not; spoil changes the stored bytes of one.
	objects(t testing.TB, s store) int
	spoil(t testing.TB, s store, id quarantine.ContentID, how func([]byte) []byte)
}

type localPlace struct{ fs *roomy }

func (p localPlace) open(t testing.TB, key []byte) (store, error) {
	s, err := Open(Options{Dir: "blob", FS: p.fs, Key: key, MinFree: 1, OnFatal: func(err error) { t.Error(err) }})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (localPlace) objects(t testing.TB, s store) (n int) {
	it, err := s.(*Store).db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if it.Key()[0] == prefixList {
			n++
		}
	}
	return n
}

func (localPlace) spoil(t testing.TB, s store, id quarantine.ContentID, how func([]byte) []byte) {
	o, _ := parseID(id, classSmall, classLarge)
	key := o.key(prefixObject)
	if o[0] == classLarge {
		key = o.chunkKey(1)
	}
	db := s.(*Store).db
	v, err := s.(*Store).get(key)
	if err != nil {
		t.Fatal(err)
	}
	if v = how(v); v == nil {
		err = db.Delete(key, nil)
	} else {
		err = db.Set(key, v, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

type bucketPlace struct {
	server *testlib.S3Server
	rest   time.Duration
	change func(*BucketOptions)
}

func (p bucketPlace) open(t testing.TB, key []byte) (store, error) {
	o := p.options(t, key)
	b, err := OpenBucket(t.Context(), o)
	if err != nil {
		return nil, err
	}
	if err := b.Own(t.Context(), "database1"); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (p bucketPlace) options(t testing.TB, key []byte) BucketOptions {
	o := BucketOptions{
		S3: s3.Options{Endpoint: p.server.Endpoint, Bucket: p.server.Bucket, PathStyle: true,
			Credentials: func() (s3.Credentials, error) {
				return s3.Credentials{AccessKey: p.server.Access, Secret: p.server.Secret}, nil
			}},
		Prefix: "quarantine/", Key: key, Scratch: t.TempDir(), Rest: p.rest, OnFault: func(err error) { t.Log(err) },
	}
	if p.change != nil {
		p.change(&o)
	}
	return o
}

func (p bucketPlace) file(id quarantine.ContentID) string {
	return filepath.Join(p.server.Dir, "quarantine", "content", string(id))
}

func (p bucketPlace) objects(t testing.TB, s store) int {
	s.(*Bucket).deletes.drain(t)
	list, err := os.ReadDir(filepath.Join(p.server.Dir, "quarantine", "content"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(list)
}

// drain deletes what waits, now.
func (d *deletes) drain(t testing.TB) {
	for {
		n, err := d.batch()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

func (p bucketPlace) spoil(t testing.TB, _ store, id quarantine.ContentID, how func([]byte) []byte) {
	b, err := os.ReadFile(p.file(id))
	if err != nil {
		t.Fatal(err)
	}
	if b = how(b); b == nil {
		err = os.Remove(p.file(id))
	} else {
		err = os.WriteFile(p.file(id), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// each runs a test on a local store and on one in a bucket of a real S3 server.
func each(t *testing.T, f func(*testing.T, place)) {
	t.Run("local", func(t *testing.T) { f(t, localPlace{memFS()}) })
	t.Run("s3", func(t *testing.T) {
		f(t, bucketPlace{server: testlib.NewS3(t, testlib.S3Options{}), rest: -time.Minute})
	})
}

func mustOpen(t *testing.T, p place) store {
	t.Helper()
	s, err := p.open(t, testKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPut(t *testing.T, s store, b []byte) quarantine.ContentID {
	t.Helper()
	id, size, hash, err := s.Put(t.Context(), bytes.NewReader(b))
	if err != nil || size != int64(len(b)) || hash != sha256.Sum256(b) {
		t.Fatalf("put %d bytes: %d, %v", len(b), size, err)
	}
	return id
}

func fetch(s store, id quarantine.ContentID) ([]byte, error) {
	r, err := s.Open(context.Background(), id)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// What was put comes back byte for byte, also after the store was opened again;
// what was deleted is not there, and what never was is not.
func TestSuiteRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		s := mustOpen(t, p)
		want := map[quarantine.ContentID][]byte{}
		for i, n := range []int{0, 1, 4096, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 17} {
			b := mailLike(uint64(i), n)
			want[mustPut(t, s, b)] = b
		}
		for range 2 {
			for id, b := range want {
				if got, err := fetch(s, id); err != nil || !bytes.Equal(got, b) {
					t.Errorf("%s: %d of %d bytes, %v", id, len(got), len(b), err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, p)
		}
		defer s.Close()
		for id := range want {
			for range 2 {
				if err := s.Delete(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				if _, err := fetch(s, id); !errs.Is(err, errs.NotFound) {
					t.Errorf("%s after its deletion: %v", id, err)
				}
			}
		}
		if n := p.objects(t, s); n != 0 {
			t.Errorf("%d objects are left", n)
		}
		for id := range want {
			if _, err := fetch(s, id); !errs.Is(err, errs.NotFound) {
				t.Errorf("%s, long deleted: %v", id, err)
			}
		}
		for _, id := range []quarantine.ContentID{"", "x", "../../etc/passwd", "s00", quarantine.ContentID(bytes.Repeat([]byte("b"), 32))} {
			if _, err := s.Open(t.Context(), id); !errs.Is(err, errs.Invalid) {
				t.Errorf("%q: %v", id, err)
			}
			if err := s.Delete(t.Context(), id); !errs.Is(err, errs.Invalid) {
				t.Errorf("deleting %q: %v", id, err)
			}
		}
	})
}

// A content that breaks off, or whose session ends, leaves nothing.
func TestSuiteBreakOff(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		s := mustOpen(t, p)
		defer s.Close()
		for _, cause := range []error{io.ErrUnexpectedEOF, errors.New("connection reset")} {
			for _, n := range []int{0, 10, chunkSize, 2*chunkSize + 5} {
				if _, _, _, err := s.Put(t.Context(), &broken{bytes.NewReader(make([]byte, n)), cause}); !errors.Is(err, cause) {
					t.Errorf("%d bytes, then %v: got %v", n, cause, err)
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, _, err := s.Put(ctx, bytes.NewReader(mailLike(1, 3*chunkSize))); !errors.Is(err, context.Canceled) {
			t.Errorf("a session that ended: %v", err)
		}
		if n := p.objects(t, s); n != 0 {
			t.Errorf("%d objects are left", n)
		}
		mustPut(t, s, []byte("the store still works"))
	})
}

// Whatever is done to the stored bytes, the content is reported damaged and
// never ends as if it were whole.
func TestSuiteDamage(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		s := mustOpen(t, p)
		defer s.Close()
		for _, n := range []int{0, 700, 3*chunkSize + 9} {
			body := mailLike(uint64(n), n)
			id := mustPut(t, s, body)
			var orig []byte
			p.spoil(t, s, id, func(b []byte) []byte { orig = bytes.Clone(b); return b })
			step := max(1, len(orig)/40)
			for i := 0; i < len(orig); i += step {
				for name, how := range map[string]func([]byte) []byte{
					"flip": func([]byte) []byte { c := bytes.Clone(orig); c[i] ^= 1; return c },
					"cut":  func([]byte) []byte { return orig[:i:i] },
					"grow": func([]byte) []byte { return append(bytes.Clone(orig), 'x') },
				} {
					p.spoil(t, s, id, how)
					if got, err := fetch(s, id); !errs.Is(err, errs.Damaged) || len(got) > 0 && bytes.Equal(got, body) {
						t.Fatalf("%d bytes, %s at %d of %d: %d bytes, %v", n, name, i, len(orig), len(got), err)
					}
				}
			}
			p.spoil(t, s, id, func([]byte) []byte { return orig })
			if got, err := fetch(s, id); err != nil || !bytes.Equal(got, body) {
				t.Errorf("mended: %v", err)
			}
		}
		a, b := mustPut(t, s, []byte("one of them")), mustPut(t, s, []byte("the other 1"))
		var first []byte
		p.spoil(t, s, a, func(c []byte) []byte { first = bytes.Clone(c); return c })
		p.spoil(t, s, b, func([]byte) []byte { return first })
		if _, err := fetch(s, b); !errs.Is(err, errs.Damaged) {
			t.Errorf("one content in the place of another: %v", err)
		}
	})
}

// A store opens with its own key only, and a refused start changes nothing.
func TestSuiteKey(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		s := mustOpen(t, p)
		id := mustPut(t, s, []byte("content"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := p.open(t, bytes.Repeat([]byte{8}, KeySize)); !errs.Is(err, errs.Invalid) {
				t.Errorf("another key: %v", err)
			}
		}
		if _, err := p.open(t, testKey[1:]); err == nil {
			t.Error("a short key")
		}
		s = mustOpen(t, p)
		defer s.Close()
		if _, err := fetch(s, id); err != nil {
			t.Error(err)
		}
	})
}

// A crash between content and record: what nobody knows is swept, what is known
// stays.
func TestSuiteSweep(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		s := mustOpen(t, p)
		var ids []quarantine.ContentID
		for i := range 25 {
			ids = append(ids, mustPut(t, s, mailLike(uint64(i), 100+i*20000)))
		}
		s.Close()
		s = mustOpen(t, p)
		defer s.Close()
		asked := 0
		n, err := s.Sweep(t.Context(), func(_ context.Context, l []quarantine.ContentID) ([]bool, error) {
			asked += len(l)
			is := make([]bool, len(l))
			for i := range l {
				is[i] = l[i] == ids[3] || l[i] == ids[24]
			}
			return is, nil
		})
		if err != nil || n != 23 || asked != 25 {
			t.Errorf("%d of %d swept, %v", n, asked, err)
		}
		if n := p.objects(t, s); n != 2 {
			t.Errorf("%d objects are left", n)
		}
		if _, err := fetch(s, ids[24]); err != nil {
			t.Error(err)
		}
		boom := errors.New("the database is away")
		if s, ok := s.(*Bucket); ok { // the local one sweeps once in its life
			if n, err := s.Sweep(t.Context(), func(context.Context, []quarantine.ContentID) ([]bool, error) { return nil, boom }); n != 0 || !errors.Is(err, boom) {
				t.Errorf("nobody to ask: %d, %v", n, err)
			}
		}
	})
}

// Many at once, of the same and of other content: each has its own object.
func TestSuiteParallel(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		s := mustOpen(t, p)
		defer s.Close()
		var mu sync.Mutex
		seen := map[quarantine.ContentID]bool{}
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 10 {
					b := mailLike(uint64(i), 300*(1+i*i*i))
					id, _, _, err := s.Put(t.Context(), bytes.NewReader(b))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if seen[id] {
						t.Errorf("%s twice", id)
					}
					seen[id] = true
					mu.Unlock()
					if got, err := fetch(s, id); err != nil || !bytes.Equal(got, b) {
						t.Errorf("%d of %d bytes, %v", len(got), len(b), err)
					}
					if (w+i)%2 == 0 {
						if err := s.Delete(t.Context(), id); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		if n := p.objects(t, s); n != 40 {
			t.Errorf("%d objects, not 40", n)
		}
	})
}

// endless gives n bytes without holding them, and keeps the highest use of
// memory seen on the way.
type endless struct {
	n    int
	high uint64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.n)
	for i := range p[:n] {
		p[i] = byte((e.n - i) * 7919 >> 3)
	}
	e.n -= n
	e.look()
	return n, nil
}

func (e *endless) Write(p []byte) (int, error) {
	if e.n++; e.n%16 == 0 {
		e.look()
	}
	return len(p), nil
}

func (e *endless) look() {
	if e.n/chunkSize%16 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		e.high = max(e.high, m.HeapAlloc)
	}
}

// A body of 64 MiB passes both ways with a few MiB of memory.
func TestSuiteLarge(t *testing.T) {
	const size = 64 << 20
	each(t, func(t *testing.T, p place) {
		s := mustOpen(t, p)
		defer s.Close()
		mustPut(t, s, mailLike(1, 3*chunkSize))
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		in := &endless{n: size}
		id, n, _, err := s.Put(t.Context(), in)
		if err != nil || n != size {
			t.Fatal(n, err)
		}
		r, err := s.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		out := &endless{}
		if n, err := io.Copy(out, struct{ io.Reader }{r}); err != nil || n != size {
			t.Fatal(n, err)
		}
		// The local engine has its write buffers, 64 MiB each; the content itself is never whole in memory.
		limit := uint64(40 << 20)
		if _, ok := s.(*Store); ok {
			t.Skip("memory of the local engine is its buffers'")
		}
		if high := max(in.high, out.high) - m.HeapAlloc; high > limit && high < 1<<62 {
			t.Errorf("%d MiB of memory", high>>20)
		}
	})
}
