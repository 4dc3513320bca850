package scan

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

func opener(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func ask1(t testing.TB, c *Clamd, b []byte) mail.Scan {
	t.Helper()
	got, err := c.Scan(t.Context(), sha256.Sum256(b), int64(len(b)), opener(b))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func letter(name string, body []byte) []byte {
	return fmt.Appendf(nil, "From: a@b.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\nhello\r\n--B\r\nContent-Type: application/octet-stream; name=%q\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n--B--\r\n",
		name, base64.StdEncoding.EncodeToString(body))
}

func zipped(t testing.TB, name string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write(body)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A real clamd: what is clean, infected, encrypted, too deep, too long; a
// session that serves many; clamd gone and back; the cache and its end when
// signatures change.
func TestClamd(t *testing.T) {
	s := testlib.NewClamd(t, "StreamMaxLength 1M", "MaxRecursion 4", "CommandReadTimeout 5", "IdleTimeout 5")
	c := NewClamd(ClamdOptions{Address: s.Socket, CacheSize: 100})
	defer c.Close()
	eicar := []byte(testlib.EICAR())
	deep := eicar
	for range 8 {
		deep = zipped(t, "x.zip", deep)
	}
	locked := zipped(t, "secret.txt", []byte("nothing"))
	locked[6] |= 1                                           // the local header says that it is encrypted
	locked[bytes.Index(locked, []byte("PK\x01\x02"))+8] |= 1 // and the directory
	long := make([]byte, 2<<20)
	for name, c2 := range map[string]struct {
		body []byte
		want mail.Verdict
	}{
		"clean":             {letter("a.txt", []byte("hello")), mail.Clean},
		"empty":             {nil, mail.Clean},
		"in a part":         {letter("e.com", eicar), mail.Infected},
		"alone":             {eicar, mail.Infected},
		"in an archive":     {letter("e.zip", zipped(t, "e.com", eicar)), mail.Infected},
		"too deep":          {letter("d.zip", deep), mail.Unscannable},
		"encrypted archive": {letter("l.zip", locked), mail.Encrypted},
		"too long":          {long, mail.Unscannable},
	} {
		got := ask1(t, c, c2.body)
		if got.Verdict != c2.want || got.Engine != EngineName || got.Database == "" || got.Cached {
			t.Errorf("%s: %+v, want %v", name, got, c2.want)
		}
		if got.Verdict == mail.Infected && !strings.HasPrefix(got.Name, "Lazaret.Eicar") {
			t.Errorf("%s: named %q", name, got.Name)
		}
		if again := ask1(t, c, c2.body); again.Verdict != got.Verdict || !again.Cached {
			t.Errorf("%s: the second time %+v", name, again)
		}
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				body, want := letter("a.txt", fmt.Appendf(nil, "%d-%d", w, i)), mail.Clean
				if i%3 == 0 {
					body, want = letter(fmt.Sprintf("%d-%d.com", w, i), eicar), mail.Infected
				}
				if got := ask1(t, c, body); got.Verdict != want {
					t.Errorf("%d-%d: %+v", w, i, got)
				}
			}
		})
	}
	wg.Wait()
	s.Stop()
	if got := ask1(t, c, []byte("gone")); got.Verdict != mail.Unscanned || got.Name == "" {
		t.Errorf("clamd is gone: %+v", got)
	}
	s.Know(t, "New.Virus", "a text that is a virus from now on")
	s.Start(t, "clamd")
	if got := ask1(t, c, []byte("a text that is a virus from now on")); got.Verdict != mail.Infected {
		t.Errorf("clamd is back: %+v", got)
	}
}

// fake is a clamd that misbehaves.
type fake struct {
	mu      sync.Mutex
	version string
	serve   func(n int, conn net.Conn, in *bufio.Reader) // behind zIDSESSION, for the n-th connection
	conns   int
}

func (f *fake) dial(context.Context, string, string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.serve == nil {
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	go func() {
		defer b.Close()
		in := bufio.NewReader(b)
		command, err := in.ReadString(0)
		switch {
		case err != nil:
		case command == "zVERSION\x00":
			fmt.Fprintf(b, "%s\x00", f.version)
		default:
			f.mu.Lock()
			f.conns++
			n, serve := f.conns, f.serve
			f.mu.Unlock()
			serve(n, b, in)
		}
	}()
	return a, nil
}

// stream reads one INSTREAM to its end.
func stream(in *bufio.Reader) error {
	if command, err := in.ReadString(0); err != nil || command != "zINSTREAM\x00" {
		return fmt.Errorf("%q, %v", command, err)
	}
	for {
		var n uint32
		if err := binary.Read(in, binary.BigEndian, &n); err != nil || n == 0 {
			return err
		}
		if _, err := in.Discard(int(n)); err != nil {
			return err
		}
	}
}

const goodVersion = "ClamAV 1.4.6/27460/Fri Nov 27 09:26:11 2026"

// Register C5, fault F17: nothing that goes wrong at clamd makes a message
// clean. Each row is one thing that goes wrong.
func TestSEC_C5_NeverClean(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	says := func(text string) func(int, net.Conn, *bufio.Reader) {
		return func(_ int, conn net.Conn, in *bufio.Reader) {
			if stream(in) == nil {
				io.WriteString(conn, text)
			}
		}
	}
	hang := func(_ int, _ net.Conn, in *bufio.Reader) { _, _ = io.Copy(io.Discard, in) }
	rows := map[string]struct {
		version string
		serve   func(int, net.Conn, *bufio.Reader)
		want    mail.Verdict
	}{
		"whole answer":       {goodVersion, says("1: stream: OK\x00"), mail.Clean},
		"cut":                {goodVersion, says("1: stream: OK"), mail.Unscanned},
		"cut earlier":        {goodVersion, says("1: stre"), mail.Unscanned},
		"nothing":            {goodVersion, says(""), mail.Unscanned},
		"nothing but NUL":    {goodVersion, says("\x00"), mail.Unscanned},
		"of another command": {goodVersion, says("2: stream: OK\x00"), mail.Unscanned},
		"without number":     {goodVersion, says("stream: OK\x00"), mail.Unscanned},
		"OK and more":        {goodVersion, says("1: stream: OK FOUND\x00"), mail.Infected},
		"more and OK":        {goodVersion, says("1: stream: x OK\x00"), mail.Unscanned},
		"other words":        {goodVersion, says("1: stream: CLEAN\x00"), mail.Unscanned},
		"no name":            {goodVersion, says("1: stream:  FOUND\x00"), mail.Unscanned},
		"error":              {goodVersion, says("1: Can't allocate memory ERROR\x00"), mail.Unscanned},
		"too long":           {goodVersion, says("1: INSTREAM size limit exceeded. ERROR\x00"), mail.Unscannable},
		"limits":             {goodVersion, says("1: stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\x00"), mail.Unscannable},
		"endless answer":     {goodVersion, says(strings.Repeat("x", 1<<20)), mail.Unscanned},
		"hangs":              {goodVersion, hang, mail.Unscanned},
		"hangs up at once":   {goodVersion, func(int, net.Conn, *bufio.Reader) {}, mail.Unscanned},
		"hangs up half way":  {goodVersion, func(_ int, _ net.Conn, in *bufio.Reader) { in.Discard(100) }, mail.Unscanned},
		"refuses half way": {goodVersion, func(_ int, conn net.Conn, in *bufio.Reader) {
			in.Discard(100)
			go io.Copy(io.Discard, in)
			io.WriteString(conn, "1: INSTREAM size limit exceeded. ERROR\x00")
		}, mail.Unscannable},
		"away":           {"", nil, mail.Unscanned},
		"not clamd":      {"220 mail.example ESMTP", says("1: stream: OK\x00"), mail.Unscanned},
		"old signatures": {"ClamAV 1.4.6/26000/Fri Oct 30 09:26:11 2026", says("1: stream: OK\x00"), mail.Unscanned},
		"no date":        {"ClamAV 1.4.6/26000/yesterday", says("1: stream: OK\x00"), mail.Unscanned},
		"own signatures": {"ClamAV 1.4.6", says("1: stream: OK\x00"), mail.Clean},
		"hostile name":   {goodVersion, says("1: stream: a\r\nb\x1b[2J\xff FOUND\x00"), mail.Infected},
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // more than any buffer
	for name, row := range rows {
		f := &fake{version: row.version, serve: row.serve}
		timeout := time.Minute // a busy machine is not a clamd that hangs
		if name == "hangs" {
			timeout = 200 * time.Millisecond
		}
		c := NewClamd(ClamdOptions{Address: "/x", ScanTimeout: timeout, MaxAge: 7 * 24 * time.Hour, Dial: f.dial, Now: func() time.Time { return now }})
		got := ask1(t, c, body)
		if got.Verdict != row.want || got.Verdict != mail.Clean && got.Name == "" {
			t.Errorf("%s: %+v, want %v", name, got, row.want)
		}
		if strings.ContainsFunc(got.Name, func(r rune) bool { return r < ' ' || r > '~' }) || len(got.Name) > 400 {
			t.Errorf("%s: named %q", name, got.Name)
		}
		if again := ask1(t, c, body); again.Cached != (row.want != mail.Unscanned) {
			t.Errorf("%s: the second time %+v", name, again)
		}
		c.Close()
	}
}

// A verdict is remembered for a time only: clamd does not say when a signature
// of one's own is new.
func TestVerdictsAreForgotten(t *testing.T) {
	for version, after := range map[string]time.Duration{goodVersion: rememberDated, "ClamAV 1.4.6": rememberUndated} {
		now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
		f := &fake{version: version, serve: func(_ int, conn net.Conn, in *bufio.Reader) {
			for id := 1; stream(in) == nil; id++ {
				fmt.Fprintf(conn, "%d: stream: OK\x00", id)
			}
		}}
		c := NewClamd(ClamdOptions{Address: "/x", Dial: f.dial, Now: func() time.Time { return now }})
		for _, step := range []struct {
			pass   time.Duration
			cached bool
		}{{0, false}, {after - time.Second, true}, {2 * time.Second, false}, {time.Second, true}} {
			now = now.Add(step.pass)
			if got := ask1(t, c, []byte("x")); got.Verdict != mail.Clean || got.Cached != step.cached {
				t.Errorf("%s after %v: %+v", version, step.pass, got)
			}
		}
		c.Close()
	}
}

// A kept session that clamd closed meanwhile is not an engine that is away; an
// error of the content is the caller's, and no verdict.
func TestClamdSessions(t *testing.T) {
	var scans atomic.Int32
	f := &fake{version: goodVersion, serve: func(n int, conn net.Conn, in *bufio.Reader) {
		for id := 1; id <= 2 && stream(in) == nil; id++ { // two a session
			scans.Add(1)
			fmt.Fprintf(conn, "%d: stream: OK\x00", id)
		}
	}}
	c := NewClamd(ClamdOptions{Address: "/x", Dial: f.dial, CacheSize: -1})
	defer c.Close()
	for i := range 7 {
		if got := ask1(t, c, fmt.Appendf(nil, "%d", i)); got.Verdict != mail.Clean {
			t.Errorf("%d: %+v", i, got)
		}
	}
	if scans.Load() != 7 {
		t.Errorf("%d scans", scans.Load())
	}
	if _, err := c.Scan(t.Context(), mail.Hash{}, 1, func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("content that cannot be opened: %v", err)
	}
	broken := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("x"), errReader{})), nil
	}
	if _, err := c.Scan(t.Context(), mail.Hash{}, 1, broken); !errors.Is(err, errRead) {
		t.Errorf("content that cannot be read: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := c.Scan(gone, mail.Hash{}, 1, opener([]byte("x"))); err == nil || got.Verdict != mail.Unscanned {
		t.Errorf("given up: %+v, %v", got, err)
	}
}

var errRead = errors.New("the disk")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errRead }

// BenchmarkClamd compares the client with a kept session written by hand: both
// in one run, with bodies that clamd has not seen.
func BenchmarkClamd(b *testing.B) {
	s := testlib.NewClamd(b)
	for _, size := range []int{4 << 10, 64 << 10} {
		body := bytes.Repeat([]byte("some words of a letter, and more of them \r\n"), size/43)
		b.Run(fmt.Sprintf("%dKiB/client", size>>10), func(b *testing.B) {
			c := NewClamd(ClamdOptions{Address: s.Socket, CacheSize: -1})
			defer c.Close()
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				mine := bytes.Clone(body)
				for pb.Next() {
					copy(mine, fmt.Sprint(rand.Uint64()))
					if got := ask1(b, c, mine); got.Verdict != mail.Clean {
						b.Error(got)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("%dKiB/alone", size>>10), func(b *testing.B) {
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("unix", s.Socket)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				in := bufio.NewReader(conn)
				out := append([]byte("zIDSESSION\x00"), "zINSTREAM\x00"...)
				mine := bytes.Clone(body)
				for pb.Next() {
					copy(mine, fmt.Sprint(rand.Uint64()))
					out = binary.BigEndian.AppendUint32(out, uint32(len(mine)))
					out = append(append(out, mine...), 0, 0, 0, 0)
					conn.Write(out)
					if a, err := in.ReadString(0); err != nil || !strings.HasSuffix(a, "OK\x00") {
						b.Error(a, err)
						return
					}
					out = append(out[:0], "zINSTREAM\x00"...)
				}
			})
		})
		b.Run(fmt.Sprintf("%dKiB/known", size>>10), func(b *testing.B) {
			c := NewClamd(ClamdOptions{Address: s.Socket})
			defer c.Close()
			hash := mail.Hash(sha256.Sum256(body))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if got, _ := c.Scan(b.Context(), hash, int64(len(body)), opener(body)); got.Verdict != mail.Clean {
						b.Error(got)
					}
				}
			})
		})
	}
}
