package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/testlib"
)

// partWord makes this test binary one part of a measurement, as the program's
// own "bench part" does.
const partWord = "bench-part"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == partWord {
		if err := Part(context.Background(), os.Args[2:], nil, os.Stdin, os.Stdout, os.Stderr); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func options(t *testing.T, out io.Writer) Options {
	t.Helper()
	return Options{Dir: t.TempDir(), JSON: true, Stdout: out, Stderr: io.Discard, Program: []string{os.Args[0], partWord}}
}

// decoded reads what --json promises.
func decoded(t *testing.T, b []byte) *result {
	t.Helper()
	var r result
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	for _, f := range r.Figures {
		if f.Min > f.Median || f.Median > f.Max || len(f.Runs) == 0 {
			t.Errorf("figure %+v is not in order", f)
		}
	}
	return &r
}

// want looks for figures that are above zero.
func want(t *testing.T, r *result, names ...string) {
	t.Helper()
	for _, n := range names {
		if f := r.find(n); f == nil || f.Median <= 0 {
			t.Errorf("%s: %+v", n, f)
		}
	}
}

func TestRelay(t *testing.T) {
	var out bytes.Buffer
	o := options(t, &out)
	o.Messages, o.Sessions, o.Size, o.Runs = 60, 5, 2000, 2
	if err := Relay(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r := decoded(t, out.Bytes())
	want(t, r, "lazaret delivered", "lazaret accepted", "lazaret memory", "lazaret final dot to 250, p99", "disk: flushes of 4 KiB")
	if n := len(r.find("lazaret delivered").Runs); n != 2 {
		t.Errorf("%d runs", n)
	}
	empty(t, o.Dir)
}

// A disk on which each flush takes 20 ms: each message waits for one at least, and
// none is refused.
func TestRelayOnAStallingDisk(t *testing.T) {
	var out bytes.Buffer
	o := options(t, &out)
	o.Messages, o.Sessions, o.Runs, o.Rate, o.Stall = 40, 10, 1, 1000, 20*time.Millisecond
	if err := Relay(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r := decoded(t, out.Bytes())
	if f := r.find("lazaret refused"); f == nil || f.Max != 0 {
		t.Errorf("refused %+v", f)
	}
	if f := r.find("lazaret final dot to 250, p50"); f == nil || f.Median < 20 {
		t.Errorf("the flush is not slow: %+v", f)
	}
	if r.Parameters["stall"] != "20ms" {
		t.Errorf("%v", r.Parameters)
	}
}

// empty: nothing is left behind.
func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Every measurement, short: the whole circle to the sink and back, a backlog
// that waits again behind kill -9, a manager filled and searched.
func TestAll(t *testing.T) {
	var out bytes.Buffer
	o := options(t, &out)
	o.Messages, o.Alone = 1, true
	if err := All(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	figures := make(map[string]bool)
	for line := range bytes.Lines(out.Bytes()) {
		for _, f := range decoded(t, line).Figures {
			figures[f.Name] = figures[f.Name] || f.Median > 0
		}
	}
	for _, n := range []string{"lazaret delivered", "lazaret final dot to 250, p99", "held and durable", "last message found after",
		"decided and delivered", "memory, full", "start after kill -9", "filled", "newest 50, p50"} {
		if !figures[n] {
			t.Errorf("no %s in %v", n, figures)
		}
	}
	empty(t, o.Dir)
}

// What was put into the queue of a gateway that does not run is what it finds.
func TestBacklogPutThere(t *testing.T) {
	var out bytes.Buffer
	o := options(t, &out)
	o.Messages, o.Sessions, o.Runs, o.Direct = 50, 5, 1, true
	if err := Backlog(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want(t, decoded(t, out.Bytes()), "put into the queue, durable", "start after kill -9", "memory, full, after a start")
	empty(t, o.Dir)
}

// Postfix beside us: its own instance, which ends with the measurement.
func TestRelayBesidePostfix(t *testing.T) {
	if err := findPostfix(true); err != nil {
		testlib.Absent(t, err)
	}
	var out bytes.Buffer
	o := options(t, &out)
	dir, err := os.MkdirTemp("", "bench") // a test's own directory is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	o.Dir, o.Messages, o.Sessions, o.Runs, o.Peer, o.Tools = dir, 60, 5, 1, peerTuned, true
	if err := Relay(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want(t, decoded(t, out.Bytes()), "lazaret delivered", "postfix delivered", "delivered, lazaret to postfix", "postfix memory")
	empty(t, dir)
}

// A manager is made and filled, filled further, and searched.
func TestFillAndSearch(t *testing.T) {
	var out bytes.Buffer
	o := options(t, &out)
	o.Dir = filepath.Join(o.Dir, "m")
	for range 2 {
		out.Reset()
		o.Messages = 60
		if err := Fill(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		want(t, decoded(t, out.Bytes()), "filled", "disk, with what was there before")
	}
	out.Reset()
	o.Messages, o.Runs = 0, 3
	if err := Search(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r := decoded(t, out.Bytes())
	if r.Parameters["held"] != float64(120) {
		t.Errorf("held: %v", r.Parameters["held"])
	}
	want(t, r, "newest 50, p50", "part of a sender that is nowhere, p99", "counts of all quarantines, p50")
}

// The same number gives the same message, for ever: what was filled by an older
// program can be compared. Each is a whole message, and the languages occur.
func TestWorldIsTheSame(t *testing.T) {
	w := newWorld(4096)
	seen, sum := map[string]int{}, 0
	for n := range uint64(2000) {
		a, b := w.message(n), w.message(n)
		if !bytes.Equal(a.content, b.content) || a.from != b.from {
			t.Fatalf("message %d is not the same twice", n)
		}
		if bytes.Count(a.content, []byte("\n")) != bytes.Count(a.content, []byte("\r\n")) || !bytes.HasSuffix(a.content, []byte("\r\n")) {
			t.Fatalf("message %d has bare line ends", n)
		}
		for i, l := range languages {
			for _, word := range l.words[:3] {
				if bytes.Contains(a.content, []byte(word)) {
					seen[strconv.Itoa(i)]++
				}
			}
		}
		seen[a.from.String()]++
		sum += len(a.content)
	}
	for i := range languages {
		if seen[strconv.Itoa(i)] == 0 {
			t.Errorf("language %d never occurs", i)
		}
	}
	if mean := sum / 2000; mean < 2048 || mean > 8192 {
		t.Errorf("the mean size is %d", mean)
	}
	h := sha256.Sum256(w.message(1).content)
	if got := hex.EncodeToString(h[:8]); got != worldOne {
		t.Errorf("message 1 is %s", got)
	}
}

// worldOne is what message 1 has been since there is a world.
const worldOne = "a7c1ed68faca1b13"

// A part ends with its input: so nothing outlives a measurement that is killed.
func TestPartEndsWithItsInput(t *testing.T) {
	for _, name := range []string{"sink", "source"} {
		cmd := exec.Command(os.Args[0], partWord, name)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		change func(*Options)
		text   string
	}{
		{func(o *Options) { o.Messages = -1 }, "--messages -1: it is 1 to 100000000"},
		{func(o *Options) { o.Size = 100 }, "--size 100: it is 256 to 104857600"},
		{func(o *Options) { o.Peer = "exim" }, `--peer "exim": there are postfix and postfix-default`},
		{func(o *Options) { o.Rate, o.Tools = 5, true }, "--rate: smtp-source has no such thing"},
		{func(o *Options) { o.Rate = -1 }, "--rate -1: it is not negative"},
		{func(o *Options) { o.Stall = -1 }, "--stall -1ns: it is 0 to 1m"},
		{func(o *Options) { o.Stall, o.Peer = time.Second, peerTuned }, "--stall: postfix has no such thing"},
	} {
		o := options(t, io.Discard)
		c.change(&o)
		if err := Relay(t.Context(), o); !errs.Is(err, errs.Invalid) || err.Error() != c.text {
			t.Errorf("%v, want %s", err, c.text)
		}
	}
}

// Postfix would start in a directory that is closed to it and never answer.
func TestPostfixCannotEnter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := openToOthers(filepath.Join(dir, "postfix")); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}

// A directory with something of the same name in it is left alone.
func TestDirectoryIsTaken(t *testing.T) {
	o := options(t, io.Discard)
	if err := os.Mkdir(filepath.Join(o.Dir, "relay"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Relay(t.Context(), o); !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "is there already") {
		t.Error(err)
	}
}

// A part that dies is an error with its last words, not a measurement that hangs.
func TestPartDies(t *testing.T) {
	o := options(t, io.Discard)
	c, err := o.start("gateway", "-dir", filepath.Join(t.TempDir(), "nothing"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.answer(t.Context(), &ready{}); err == nil || !strings.Contains(err.Error(), "config.xml") {
		t.Error(err)
	}
	if err := c.end(); err == nil {
		t.Error("its status was good")
	}
}

func TestFigures(t *testing.T) {
	r := newResult("x", map[string]any{"b": 2, "a": "one"})
	for _, v := range []float64{3, 1, 2, 10} {
		r.add("ours", "u", v)
		r.add("theirs", "u", v/2)
	}
	r.close()
	r.ratio("times", "ours", "theirs")
	if f := r.find("ours"); f.Median != 2.5 || f.Min != 1 || f.Max != 10 {
		t.Errorf("%+v", f)
	}
	if f := r.find("times"); f == nil || f.Median != 2 {
		t.Errorf("%+v", f)
	}
	var out bytes.Buffer
	if err := r.write(&out, false); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"x: a one, b 2; ", "\nours ", "2.50  [1.00 - 10.0]"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in\n%s", text, &out)
		}
	}
}

// A manager that holds nothing is no place to measure searches.
func TestSearchOfNothing(t *testing.T) {
	o := options(t, io.Discard)
	o.Dir = t.TempDir()
	if err := Search(t.Context(), o); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "lazaret bench fill") {
		t.Error(err)
	}
}
