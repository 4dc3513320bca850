package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lazaret/internal/errs"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openLog(t *testing.T, dir string, set FileSettings) *File {
	t.Helper()
	f, err := OpenFile(FileOptions{Dir: dir, Prefix: "mail", Version: "1.0", Serial: "GATEWAY001", Settings: set, Clock: at("2025-04-07 09:15:00"), Trouble: failer{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

type failer struct{ t *testing.T }

func (f failer) Write(b []byte) (int, error) { f.t.Errorf("%s", b); return len(b), nil }

func names(t *testing.T, dir string) string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func content(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "mail.current"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const (
	stamp = "Mon Apr  7 09:15:00 2025 "
	head  = stamp + "Info: Begin Logfile\n" + stamp + "Info: Version: 1.0 SN: GATEWAY001\n" + stamp + "Info: Time offset from UTC: 0 seconds\n"
	foot  = stamp + "Info: End Logfile\n"
)

// The life of a file: names, link, first and last lines as in reference 5.1
// and clients 3.1; the next start goes on in it.
func TestFileLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log", "mail_logs")
	f := openLog(t, dir, FileSettings{})
	f.WriteLine([]byte("one\n"))
	f.Sync()
	if got := content(t, dir); got != head+"one\n" {
		t.Errorf("while open: %q", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.WriteLine([]byte("too late\n"))
	if got := content(t, dir); got != head+"one\n"+foot {
		t.Errorf("closed: %q", got)
	}
	if got := names(t, dir); got != "mail.@20250407T091500.c mail.current" {
		t.Errorf("names %s", got)
	}
	f = openLog(t, dir, FileSettings{})
	f.WriteLine([]byte("two\n"))
	f.Sync()
	if got := content(t, dir); got != head+"one\n"+foot+head+"two\n" {
		t.Errorf("second start: %q", got)
	}
}

// A killed process leaves half a line; the next start ends it, so that it
// cannot swallow or colour the first new one.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "mail.@20250401T000000.c")
	if err := os.WriteFile(name, []byte(head+"MID 1 rea"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Base(name), filepath.Join(dir, "mail.current")); err != nil {
		t.Fatal(err)
	}
	f := openLog(t, dir, FileSettings{})
	f.WriteLine([]byte("next\n"))
	f.Sync()
	if got := content(t, dir); got != head+"MID 1 rea\n"+head+"next\n" {
		t.Errorf("got %q", got)
	}
}

// A process killed at any point of a rollover leaves files that the next
// start puts in order: one current file, the link on it, no line lost.
func TestKilledInRollover(t *testing.T) {
	for _, c := range []struct {
		proves, files, link string
		want                string
	}{
		{"next file made, link on the old one", "mail.@1.c=old mail.@2.c=", "mail.@1.c", "mail.@1.c mail.current"},
		{"link moved, old one not renamed", "mail.@1.c=old mail.@2.c=" + "new", "mail.@2.c", "mail.@1.s mail.@2.c mail.current"},
		{"the link is gone", "mail.@1.c=old", "", "mail.@1.s mail.@20250407T091500.c mail.current"},
		{"the link names nothing", "mail.@1.c=old", "mail.@7.c", "mail.@1.s mail.@20250407T091500.c mail.current"},
		{"the link leads out of the directory", "mail.@1.c=old", "../mail.@1.c", "mail.@1.s mail.@20250407T091500.c mail.current"},
	} {
		t.Run(c.proves, func(t *testing.T) {
			dir := t.TempDir()
			for _, w := range strings.Fields(c.files) {
				name, text, _ := strings.Cut(w, "=")
				if text != "" {
					text += "\n"
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			if c.link != "" {
				if err := os.Symlink(c.link, filepath.Join(dir, "mail.current")); err != nil {
					t.Fatal(err)
				}
			}
			f := openLog(t, dir, FileSettings{})
			f.WriteLine([]byte("more\n"))
			f.Sync()
			if got := names(t, dir); got != c.want {
				t.Errorf("names %s, want %s", got, c.want)
			}
			if got := content(t, dir); !strings.HasSuffix(got, "more\n") {
				t.Errorf("current: %q", got)
			}
			if n, err := Grep(context.Background(), dir, "mail", GrepOptions{Pattern: "^(old|new|more)$"}, &bytes.Buffer{}); err != nil || n != 1+strings.Count(c.files, "old")+strings.Count(c.files, "new") {
				t.Errorf("%d lines found, %v", n, err)
			}
		})
	}
}

// Rollover by size: closed files are whole, in order, at most MaxFiles stay.
func TestRollover(t *testing.T) {
	dir := t.TempDir()
	f := openLog(t, dir, FileSettings{MaxSize: 1000, MaxFiles: 3})
	for i := range 40 {
		f.WriteLine([]byte(fmt.Sprintf("%099d\n", i)))
		f.Sync()
	}
	f.Rollover()
	files, err := Files(dir, "mail")
	if err != nil || len(files) != 4 {
		t.Fatalf("%v %v", files, err)
	}
	last := -1
	for i, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if !strings.HasPrefix(text, head) || strings.HasSuffix(text, foot) != (i < 3) {
			t.Errorf("%s: %q", name, text)
		}
		for _, line := range strings.Split(text, "\n") {
			if len(line) != 99 {
				continue
			}
			n, err := strconv.Atoi(line[90:])
			if err != nil || last >= 0 && n != last+1 {
				t.Errorf("line %q behind %d", line, last)
			}
			last = n
		}
	}
	if last != 39 || !strings.HasSuffix(files[3], ".c") {
		t.Errorf("the last line is %d, the last file %s", last, files[3])
	}
}

// Many writers at once: every line whole, none lost, each writer's in order.
func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	f := openLog(t, dir, FileSettings{MaxFiles: 100})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 500 {
				f.WriteLine([]byte(fmt.Sprintf("writer %d line %d\n", w, i)))
				if i == 250 {
					f.Rollover()
				}
			}
		})
	}
	wg.Wait()
	f.Sync()
	var out bytes.Buffer
	if n, err := Grep(context.Background(), dir, "mail", GrepOptions{Pattern: "^writer"}, &out); err != nil || n != 4000 {
		t.Fatalf("%d lines, %v", n, err)
	}
	next := map[int]int{}
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var w, i int
		if _, err := fmt.Sscanf(line, "writer %d line %d", &w, &i); err != nil || i != next[w] {
			t.Fatalf("line %q, expected %d", line, next[w])
		}
		next[w]++
	}
}

// A log that cannot be written says so once and goes on when it can again.
func TestTrouble(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	told := make(chan string, 10)
	f, err := OpenFile(FileOptions{Dir: dir, Prefix: "mail", Plain: true, Settings: FileSettings{MaxSize: 1}, Trouble: tell(told)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.WriteLine([]byte("lost\n")) // each asks for a rollover, which fails
		f.Sync()
	}
	if n := len(told); n != 1 {
		t.Errorf("told %d times", n)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	f.WriteLine([]byte("back\n"))
	f.Sync()
	if n, err := Grep(context.Background(), dir, "mail", GrepOptions{Pattern: "^back$"}, &bytes.Buffer{}); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

type tell chan string

func (c tell) Write(b []byte) (int, error) { c <- string(b); return len(b), nil }

// The seed's two searches, over closed files and the current one, in order.
func TestGrep(t *testing.T) {
	dir := t.TempDir()
	f := openLog(t, dir, FileSettings{})
	m := NewMail(f, at("2025-04-07 09:15:00"))
	m.NewICID("CPQ", 1, "Management", here, there, "unknown", "no")
	m.ICIDClose(1)
	f.Rollover()
	m.NewDCID(9, here, there, 7025)
	m.NewDCID(10, here, there, 25)
	m.NewICID("CPQ", 2, "Management", here, there, "unknown", "no")
	f.Sync()
	for _, c := range []struct {
		proves string
		opt    GrepOptions
		want   string // last words of the lines
		hits   int
	}{
		{"closed file first", GrepOptions{Pattern: "CPQ ICID"}, "ICID 1|ICID 2", 2},
		{"one port is not the other", GrepOptions{Pattern: "port 7025"}, "DCID 9", 1},
		{"-i", GrepOptions{Pattern: "new smtp", IgnoreCase: true}, "DCID 9|DCID 10", 2},
		{"case counts without -i", GrepOptions{Pattern: "new smtp"}, "", 0},
		{"-C 1, also over the end of a file", GrepOptions{Pattern: "ICID 1 close", Context: 1}, "ICID 1|ICID 1 close|End Logfile", 1},
		{"-C 1: lines around two hits come once", GrepOptions{Pattern: "DCID", Context: 1}, "offset from UTC|DCID 9|DCID 10|ICID 2", 2},
		{"$ is the end of a line", GrepOptions{Pattern: "close$"}, "ICID 1 close", 1},
	} {
		var out bytes.Buffer
		n, err := Grep(context.Background(), dir, "mail", c.opt, &out)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		want := strings.Split(c.want, "|")
		if err != nil || n != c.hits || len(lines) != len(want) {
			t.Errorf("%s: %d hits, %v\n%s", c.proves, n, err, out.String())
			continue
		}
		for i := range want {
			if !strings.Contains(lines[i], want[i]) {
				t.Errorf("%s: line %d is %q, want %q", c.proves, i+1, lines[i], want[i])
			}
		}
	}
	for _, bad := range []string{"(", `a\1`, strings.Repeat("a", 5000)} {
		if _, err := Grep(context.Background(), dir, "mail", GrepOptions{Pattern: bad}, &bytes.Buffer{}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Grep(ctx, dir, "mail", GrepOptions{Pattern: "a"}, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// follower hands over what tail writes.
type follower chan string

func (c follower) Write(b []byte) (int, error) { c <- string(b); return len(b), nil }

func (c follower) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-c:
		return s
	case <-time.After(20 * time.Second): // only when it fails
		t.Fatal("tail says nothing")
		return ""
	}
}

// Tail starts at the last lines, follows over several rollovers that happen
// between two looks, loses and repeats nothing, and ends with its context.
func TestTail(t *testing.T) {
	dir := t.TempDir()
	f := openLog(t, dir, FileSettings{MaxFiles: 100})
	put := func(s string) { f.WriteLine([]byte(s + "\n")); f.Sync() }
	put("keep 1")
	put("keep 2")
	put("other")
	put("keep 3")
	ctx, cancel := context.WithCancel(context.Background())
	out := make(follower, 100)
	done := make(chan error, 1)
	go func() { done <- Tail(ctx, dir, "mail", 3, GrepOptions{Pattern: "^keep \\d+$"}, out) }()
	for _, want := range []string{"keep 2\n", "keep 3\n"} {
		if got := out.next(t); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for i := 4; i < 20; i++ {
		put(fmt.Sprintf("keep %d", i))
		if i%3 == 0 {
			f.Rollover()
		}
	}
	for i := 4; i < 20; i++ {
		if got, want := out.next(t), fmt.Sprintf("keep %d\n", i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("end: %v", err)
	}
	if err := Tail(context.Background(), t.TempDir(), "mail", 1, GrepOptions{}, out); !errs.Is(err, errs.NotFound) {
		t.Errorf("no log: %v", err)
	}
}

// F8: lines that find no room are kept and written when there is room, none of
// them torn and in their order; what is too much for memory is counted.
func TestLogOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	w, err := OpenFile(FileOptions{Dir: dir, Prefix: "mail", Serial: "S", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	write := func(from, to int) {
		for i := from; i < to; i++ {
			w.WriteLine([]byte(fmt.Sprintf("line %06d %s\n", i, strings.Repeat("x", 100))))
		}
		w.Sync()
	}
	write(0, 10)
	var old unix.Rlimit // no file may grow: the write fails as on a full disk, with EFBIG
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	st, err := os.Stat(filepath.Join(dir, "mail.current"))
	if err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(uint64(st.Size()) + 50) // half a line
	write(10, 20)
	limit(old.Cur)
	write(20, 30)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "mail.current"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range strings.Split(string(b), "\n") {
		if !strings.HasPrefix(line, "line ") {
			continue
		}
		if want := fmt.Sprintf("line %06d %s", n, strings.Repeat("x", 100)); line != want {
			t.Fatalf("got %q, want %q", line, want)
		}
		n++
	}
	if n != 30 {
		t.Errorf("%d of 30 lines are there:\n%s", n, b)
	}
}

// What does not fit into memory goes from the oldest on, whole lines.
func TestShed(t *testing.T) {
	w := &File{kept: bytes.Repeat([]byte("0123456789abcde\n"), maxPending/16+10)}
	w.shed()
	if w.lost != 10 && w.lost != 11 || len(w.kept) > maxPending || w.kept[0] != '0' {
		t.Errorf("%d lost, %d bytes, %q", w.lost, len(w.kept), w.kept[:20])
	}
}
