package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib/proof"
)

// ended are the goroutines of engines that a test broke: they wait for the end
// of the process, as they should.
var ended []goleak.Option

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(ended...); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}

var testKey = bytes.Repeat([]byte{7}, KeySize)

func openAt(t testing.TB, fs vfs.FS, key []byte) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "blob", FS: fs, Key: key, MinFree: 1, OnFatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// roomy gives a memory file system an endless disk.
type roomy struct {
	vfs.FS
	avail uint64
}

func (r *roomy) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: r.avail}, nil
}

func (r *roomy) Unwrap() vfs.FS { return r.FS }

func memFS() *roomy { return &roomy{FS: vfs.NewMem(), avail: 1 << 40} }

// mailLike makes n bytes, half of them compressible.
func mailLike(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(256))
		if i/64%2 == 0 {
			b[i] = "Received: from "[i%15]
		}
	}
	return b
}

func read(s *Store, id quarantine.ContentID) ([]byte, error) {
	r, err := s.Open(context.Background(), id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(struct{ io.Reader }{r})
}

// Sizes around the edges of a chunk come back byte for byte, by Read and by WriteTo.
func TestRoundTrip(t *testing.T) {
	fs := memFS()
	s := openAt(t, fs, testKey)
	defer func() { s.Close() }()
	ctx := context.Background()
	want := map[quarantine.ContentID][]byte{}
	for i, n := range []int{0, 1, 4096, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 17} {
		b := mailLike(uint64(i), n)
		id, size, hash, err := s.Put(ctx, bytes.NewReader(b))
		if err != nil || size != int64(n) || hash != sha256.Sum256(b) {
			t.Fatalf("%d bytes: size %d, %v", n, size, err)
		}
		want[id] = b
	}
	check := func() {
		t.Helper()
		for id, b := range want {
			if got, err := read(s, id); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s: %d of %d bytes, %v", id, len(got), len(b), err)
			}
			r, err := s.Open(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if n, err := r.(io.WriterTo).WriteTo(&out); err != nil || n != int64(len(b)) || !bytes.Equal(out.Bytes(), b) {
				t.Errorf("%s: WriteTo %d, %v", id, n, err)
			}
			r.Close()
		}
	}
	check()
	s.Close()
	s = openAt(t, fs, testKey)
	check()
	for id := range want {
		if err := s.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := read(s, id); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s after deletion: %v", id, err)
		}
		if err := s.Delete(ctx, id); err != nil {
			t.Errorf("second deletion: %v", err)
		}
	}
	if n := keys(t, s); n != 1 {
		t.Errorf("%d keys are left, not only the key check", n)
	}
}

func keys(t *testing.T, s *Store) (n int) {
	t.Helper()
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n
}

// broken gives some bytes and then an error that is not the end.
type broken struct {
	r   io.Reader
	err error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

// A content that breaks off is not kept, not even a piece of it, also when its
// error looks like an end.
func TestBreakOff(t *testing.T) {
	s := openAt(t, memFS(), testKey)
	defer s.Close()
	for _, cause := range []error{io.ErrUnexpectedEOF, errors.New("connection reset")} {
		for _, n := range []int{0, 10, chunkSize, 2*chunkSize + 5} {
			if _, _, _, err := s.Put(context.Background(), &broken{bytes.NewReader(make([]byte, n)), cause}); !errors.Is(err, cause) {
				t.Errorf("%d bytes, then %v: got %v", n, cause, err)
			}
		}
	}
	if n := keys(t, s); n != 1 {
		t.Errorf("%d keys are left", n)
	}
}

// Whatever byte of the disk form changes, the content is reported damaged and
// is never given as whole; nor can one content or chunk stand in for another.
func TestDamage(t *testing.T) {
	s := openAt(t, memFS(), testKey)
	defer s.Close()
	ctx := context.Background()
	put := func(n int) object {
		id, _, _, err := s.Put(ctx, bytes.NewReader(mailLike(uint64(n), n)))
		if err != nil {
			t.Fatal(err)
		}
		o, _ := parseID(id, classSmall, classLarge)
		return o
	}
	small, other, large := put(100), put(101), put(2*chunkSize+1)
	damaged := func(what string, o object) {
		t.Helper()
		if _, err := read(s, o.id()); !errs.Is(err, errs.Damaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	set := func(key, val []byte) {
		if err := s.db.Set(key, val, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	orig, _ := s.get(small.key(prefixObject))
	for i := range orig {
		b := bytes.Clone(orig)
		b[i] ^= 1
		set(small.key(prefixObject), b)
		damaged("flipped byte", small)
	}
	for _, n := range []int{0, 1, sealedHeader, len(orig) - 1} {
		set(small.key(prefixObject), orig[:n])
		damaged("cut off", small)
	}
	swap, _ := s.get(other.key(prefixObject))
	set(small.key(prefixObject), swap)
	damaged("another object", small)
	c0, _ := s.get(large.chunkKey(0))
	c1, _ := s.get(large.chunkKey(1))
	set(large.chunkKey(1), c0)
	damaged("another chunk", large)
	set(large.chunkKey(1), c1)
	if _, err := read(s, large.id()); err != nil {
		t.Errorf("the right chunk: %v", err)
	}
	if err := s.db.Delete(large.chunkKey(2), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	damaged("missing chunk", large)
}

// Nothing readable reaches the disk.
func TestEncrypted(t *testing.T) {
	fs := memFS()
	s := openAt(t, fs, testKey)
	secret := []byte("the quick brown fox jumps over the lazy dog, said the secret")
	if _, _, _, err := s.Put(context.Background(), bytes.NewReader(secret)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("blob")
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	for _, n := range names {
		f, err := fs.Open(fs.PathJoin("blob", n))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(f)
		f.Close()
		if bytes.Contains(b, secret[:9]) {
			t.Errorf("%s holds plain content", n)
		}
	}
	if _, err := Open(Options{Dir: "blob", FS: fs, Key: bytes.Repeat([]byte{8}, KeySize), OnFatal: func(error) {}}); !errs.Is(err, errs.Invalid) {
		t.Errorf("another key: %v", err)
	}
}

// What nobody knows is swept, what came in after the start never is.
func TestSweep(t *testing.T) {
	fs := memFS()
	s := openAt(t, fs, testKey)
	ctx := context.Background()
	var ids []quarantine.ContentID
	for i := range 2500 {
		n := 50
		if i%500 == 0 {
			n = chunkSize + 9
		}
		id, _, _, err := s.Put(ctx, bytes.NewReader(mailLike(uint64(i), n)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	lost := newObject(classLarge) // chunks without a record: the crash came in the middle
	if err := errors.Join(s.db.Set(lost.key(prefixList), nil, nil), s.db.Set(lost.chunkKey(0), []byte("x"), nil)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openAt(t, fs, testKey)
	defer s.Close()
	fresh, _, _, err := s.Put(ctx, bytes.NewReader([]byte("new")))
	if err != nil {
		t.Fatal(err)
	}
	keep := map[quarantine.ContentID]bool{ids[3]: true, ids[500]: true}
	n, err := s.Sweep(ctx, func(_ context.Context, l []quarantine.ContentID) ([]bool, error) {
		out := make([]bool, len(l))
		for i, id := range l {
			out[i] = keep[id]
		}
		return out, nil
	})
	if err != nil || n != 2500+1-2 {
		t.Errorf("removed %d, %v", n, err)
	}
	for _, id := range []quarantine.ContentID{ids[3], ids[500], fresh} {
		if _, err := read(s, id); err != nil {
			t.Errorf("%s was swept: %v", id, err)
		}
	}
	if k := keys(t, s); k != 1+2+4+2 { // key check, small, large of two chunks, fresh
		t.Errorf("%d keys are left", k)
	}
}

// A disk below its floor takes nothing, and takes again when there is room.
func TestFull(t *testing.T) {
	fs := memFS()
	fs.avail = 1000
	s, err := Open(Options{Dir: "blob", FS: fs, Key: testKey, MinFree: 1001})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, _, err := s.Put(context.Background(), bytes.NewReader(nil)); !errs.Is(err, errs.Full) {
		t.Errorf("below the floor: %v", err)
	}
	fs.avail = 1 << 20
	s.free.asked = s.free.asked.Add(-2 * freeSpaceAge)
	if err := s.Ready(1 << 20); !errs.Is(err, errs.Full) {
		t.Errorf("size does not fit: %v", err)
	}
	if _, _, _, err := s.Put(context.Background(), bytes.NewReader(nil)); err != nil {
		t.Error(err)
	}
}

// P1: whatever a power cut leaves of unsynced blocks, a content whose Put
// returned is there whole, and a sweep with nothing known leaves nothing.
func TestPowerCut(t *testing.T) {
	rounds := 12
	if testing.Short() || proof.Race {
		rounds = 3
	}
	for round := range rounds {
		mem := vfs.NewCrashableMem()
		s := openAt(t, &roomy{FS: mem, avail: 1 << 40}, testKey)
		var mu sync.Mutex
		acked := map[quarantine.ContentID]uint64{}
		var cut *vfs.MemFS
		var at map[quarantine.ContentID]uint64
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 30 {
					seed := uint64(w*1000 + i)
					n := 200 + w*100
					if i%10 == 9 {
						n = 2*chunkSize + 99
					}
					id, _, _, err := s.Put(context.Background(), bytes.NewReader(mailLike(seed, n)))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					acked[id] = seed<<32 | uint64(n)
					if cut == nil && len(acked) == 10+round*8 {
						at = map[quarantine.ContentID]uint64{}
						for k, v := range acked {
							at[k] = v
						}
						cut = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: round * 30 % 100, RNG: rand.New(rand.NewPCG(uint64(round), 2))})
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		s.Close()
		s = openAt(t, &roomy{FS: cut, avail: 1 << 40}, testKey)
		for id, v := range at {
			if got, err := read(s, id); err != nil || !bytes.Equal(got, mailLike(v>>32, int(v&0xffffffff))) {
				t.Errorf("round %d: acknowledged content is lost: %v", round, err)
			}
		}
		if _, err := s.Sweep(context.Background(), func(_ context.Context, l []quarantine.ContentID) ([]bool, error) {
			return make([]bool, len(l)), nil
		}); err != nil {
			t.Error(err)
		}
		if n := keys(t, s); n != 1 {
			t.Errorf("round %d: %d keys are left after the sweep", round, n)
		}
		s.Close()
	}
}

func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "content.key")
	a, err := LoadKey(path)
	if err != nil || len(a) != KeySize {
		t.Fatal(len(a), err)
	}
	if b, err := LoadKey(path); err != nil || !bytes.Equal(a, b) {
		t.Error("second start has another key", err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", st.Mode().Perm())
	}
	if l, _ := os.ReadDir(filepath.Dir(path)); len(l) != 1 {
		t.Errorf("files are left: %v", l)
	}
	os.Chmod(path, 0o640)
	if _, err := LoadKey(path); !errs.Is(err, errs.Denied) {
		t.Errorf("readable by others: %v", err)
	}
	os.Chmod(path, 0o600)
	os.WriteFile(path, a[:31], 0o600)
	if _, err := LoadKey(path); !errs.Is(err, errs.Damaged) {
		t.Errorf("short key: %v", err)
	}
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(Options{Dir: filepath.Join(b.TempDir(), "blob"), Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	content := mailLike(1, 4096)
	b.SetBytes(int64(len(content)))
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, _, err := s.Put(context.Background(), bytes.NewReader(content)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
