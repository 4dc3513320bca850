package pipeline_test

import (
	"context"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
	"lazaret/internal/testlib/proof"
	"lazaret/internal/unpack"
)

// repeated gives a line again and again.
type repeated struct {
	line string
	at   int
}

// Read implements io.Reader.
func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.line[r.at]
		r.at = (r.at + 1) % len(r.line)
	}
	return len(p), nil
}

// watched looks at the heap while a message is read.
type watched struct {
	io.Reader
	reads int
	most  *uint64
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	if w.reads++; w.reads%64 == 1 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		*w.most = max(*w.most, m.HeapInuse)
	}
	return w.Reader.Read(p)
}

// glutton is an engine that reads everything and finds nothing.
type glutton struct{ bytes *int64 }

// Scan implements pipeline.Engine.
func (g glutton) Scan(_ context.Context, _ mail.Hash, _ int64, open func() (io.ReadCloser, error)) (mail.Scan, error) {
	r, err := open()
	if err != nil {
		return mail.Scan{}, err
	}
	n, err := io.Copy(io.Discard, r)
	*g.bytes += n
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return mail.Scan{Verdict: mail.Clean, Engine: "Glutton"}, err
}

// Register C2, issue 5: a message of 50 MiB goes through the whole pipeline,
// filters about text, bytes and files, attachments opened, an engine, and the
// engine once more for what it may read otherwise, while the heap rises by less
// than 64 MiB; and no more for one twice as large. Two shapes run by themselves,
// LAZARET_MEMORY=1 runs all, of both sizes.
func TestSEC_C2_MemoryOfPipeline(t *testing.T) {
	if proof.Race {
		t.Skip("the race detector has its own idea of memory")
	}
	filters, err := filter.Parse(`a: if (body-contains("nowhere to be found") or attachment-binary-contains("nowhere either") or attachment-filename == "nothing") { drop(); }`)
	if err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, unpack.Options{Workers: 1})
	base64 := strings.Repeat("QUJDREVG", 9) + "\r\n"
	const mixed = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\nContent-Type: text/plain\r\n\r\nhello\r\n--bb\r\n"
	for name, c := range map[string]struct{ head, line string }{
		"text":                  {"Subject: x\r\n\r\n", "a line of text, of which there are many\r\n"},
		"an attachment":         {mixed + "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n", base64},
		"a page":                {mixed + "Content-Type: text/html\r\n\r\n", "<p>a <b>line</b> of a page</p>\r\n"},
		"an attachment, ZIP":    {mixed + "Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBAAA\r\n", base64},
		"with an odd delimiter": {mixed + "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n--bbb\r\n", base64},
		"without an end":        {"Subject: x\r\n\r\n", strings.Repeat("x", 1000)},
	} {
		sizes := []int64{50 << 20, 100 << 20}
		if os.Getenv("LAZARET_MEMORY") == "" {
			if sizes = sizes[:1]; name != "a page" && name != "with an odd delimiter" {
				continue
			}
		}
		for _, size := range sizes {
			var before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			most, scanned := uint64(0), int64(0)
			p := pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind, Opener: opener(pool), HoldAmbiguous: "Policy"})
			p.Set(pipeline.Settings{Filters: filters, Engine: glutton{&scanned}, Inbound: &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}}}})
			in := (&bench{}).input("")
			in.Size = size
			in.Open = func() (io.ReadCloser, error) {
				r := io.MultiReader(strings.NewReader(c.head), io.LimitReader(&repeated{line: c.line}, size))
				return io.NopCloser(&watched{Reader: r, most: &most}), nil
			}
			_, err := p.Judge(t.Context(), in)
			rise := (int64(most) - int64(before.HeapInuse)) >> 20
			if err != nil || rise > 64 {
				t.Errorf("%s of %d MiB: the heap rises by %d MiB, %v", name, size>>20, rise, err)
			}
			if most == 0 || scanned < size {
				t.Errorf("%s of %d MiB: the engine had %d bytes", name, size>>20, scanned)
			}
			t.Logf("%s of %d MiB: %d MiB", name, size>>20, rise)
		}
	}
}
