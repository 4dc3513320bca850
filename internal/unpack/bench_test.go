package unpack_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/unpack"
)

// What one message costs with a worker, all included: the way there and back.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"picture 20 KiB", append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte("pixels!"), 2900)...)},
		{"zip of 4 KiB", zipOf(b, entry{"a.txt", bytes.Repeat([]byte("some text "), 400)})},
		{"docx", docxOf(b, strings.Repeat("some text ", 400))},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newPool(b, unpack.Options{Workers: 1, Messages: 1 << 30})
			open(b, p, "x", c.data)
			for b.Loop() {
				m := p.Message(unpack.Want{Text: true})
				err := m.Unpack(b.Context(), unpack.Object{Name: "x"}, bytes.NewReader(c.data), func(*unpack.Part) error { return nil })
				m.Close()
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a new worker costs.
func BenchmarkStart(b *testing.B) {
	p := newPool(b, unpack.Options{Workers: 1, Messages: 1})
	for b.Loop() {
		open(b, p, "x", []byte("MZ"))
	}
}

// pattern gives bytes that do not compress.
type pattern struct{ n, x uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.x = p.x*6364136223846793005 + 1442695040888963407
		b[i] = byte(p.x >> 56)
	}
	n := min(uint64(len(b)), p.n)
	p.n -= n
	if n == 0 {
		return 0, io.EOF
	}
	return int(n), nil
}

// Fifty mebibytes pass through without either process growing by more than 64.
func TestSEC_C2_Memory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector multiplies memory")
	}
	big, err := io.ReadAll(&pattern{n: 50 << 20})
	must(t, err)
	for name, data := range map[string][]byte{"raw": append([]byte("MZ"), big...), "zip": zipOf(t, entry{"a.exe", big}), "gz": gzOf(t, big), "tar": tarOf(t, entry{"a", big})} {
		p := newPool(t, unpack.Options{Workers: 1})
		m := p.Message(unpack.Want{Content: true, Text: true})
		sum := int64(0)
		peak := 0
		err := m.Unpack(t.Context(), unpack.Object{Name: name}, bytes.NewReader(data), func(part *unpack.Part) error {
			n, err := io.Copy(io.Discard, part.Body)
			sum += n
			peak = max(peak, workerMemory(t))
			return err
		})
		if err != nil || len(m.Report().Findings) > 0 || name != "raw" && sum != int64(len(big)) {
			t.Errorf("%s: %v %v, %d bytes", name, err, m.Report().Findings, sum)
		}
		m.Close()
		p.Close()
		t.Logf("%s: the worker has %d KiB of its own", name, peak)
		if peak == 0 || peak > 64<<10 {
			t.Errorf("%s: the worker has %d KiB", name, peak)
		}
	}
}

// workerMemory gives what children of ours have of memory that is no file's, in KiB.
func workerMemory(t *testing.T) int {
	files, err := filepath.Glob("/proc/[0-9]*/status")
	must(t, err)
	sum := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(b), "\nPPid:\t"+strconv.Itoa(os.Getpid())+"\n") {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
				n, err := strconv.Atoi(strings.Fields(rest)[0])
				must(t, err)
				sum += n
			}
		}
	}
	return sum
}
