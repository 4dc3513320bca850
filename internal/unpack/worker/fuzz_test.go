package worker

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack/wire"
)

// seeds gives a file of each format.
func seeds(f testing.TB) [][]byte {
	e := files.Entry{Name: "evil.exe", Data: []byte("MZ\x00\x00some code, some more code")}
	z := files.Zip(f, e)
	eml := []byte("From: a@b\r\nTo: c@d\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nMZ\r\n--b--\r\n")
	return [][]byte{
		z, files.Zip(f, files.Entry{Name: "../b.zip", Data: z}, files.Entry{Name: "a.eml", Data: eml}), z[:bytes.Index(z, []byte("PK\x01\x02"))], append([]byte("GIF89a"), z...),
		files.Tar(f, e, files.Entry{Name: "b.zip", Data: z}), files.Gzip(f, files.Tar(f, e)), files.XZ(f, e.Data), files.Zstd(f, e.Data), files.Rar(false, e), files.Rar(true, e),
		files.OLE(files.Entry{Name: "WordDocument", Data: []byte("text")}, files.Entry{Name: "VBA/M", Data: files.VBA("Sub AutoOpen()")}, files.Entry{Name: "\x01Ole10Native", Data: files.Ole10("evil.exe", e.Data)}),
		files.Docx(f, "hello", files.Entry{Name: "word/vbaProject.bin", Data: files.OLE(files.Entry{Name: "VBA/M", Data: files.VBA("Sub AutoOpen()")})}),
		files.PDF(f, "BT (wire) Tj ET", "3 0 obj << /OpenAction 4 0 R /JS (x) /Encrypt 1 0 R >> endobj"), files.TNEF("evil.exe", e.Data), eml,
		[]byte(`{\rtf1 a\'e4\u228?{\object{\*\objdata 01050000d0cf11e0a1b11ae1}}}`), []byte("<html><p>wire <b>tr</b>ansfer"), files.ISO(true, []files.Entry{e}, files.Entry{Name: "b.zip", Data: z}), files.Cab(f, 0, e, e), files.Cab(f, 1, e), files.Ar(e, files.Entry{Name: "a name that is longer than its place.exe", Data: z}), files.Cpio(e, e), files.LZ4(f, e.Data),
		[]byte("MZ..Rar!\x1a\x07\x01\x00"), []byte("BZh91AY&SY"), []byte("7z\xbc\xaf\x27\x1c\x00\x04"),
	}
}

// FuzzServe has the worker open any file, under small limits. It answers by the
// protocol, within its limits, and does not panic. (In the test nothing kills
// it: the walls and the pool do, see TestSEC_C2_WorkerFaults.)
func FuzzServe(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add("a.bin", s, true)
	}
	f.Add("a.eml", []byte("Content-Type: message/rfc822\r\n\r\nSubject: x"), false)
	scratch, err := os.CreateTemp(f.TempDir(), "scratch")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte, content bool) {
		if len(data) > 1<<20 {
			return
		}
		serve(t, scratch, name, data, content)
	})
}

// Damaged files of every format, the same ones each time: octets changed, pieces
// cut out, doubled and put elsewhere. LAZARET_DAMAGED=n tries n.
func TestDamagedFiles(t *testing.T) {
	n := 600
	if s := os.Getenv("LAZARET_DAMAGED"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
	}
	scratch, err := os.CreateTemp(t.TempDir(), "scratch")
	if err != nil {
		t.Fatal(err)
	}
	defer scratch.Close()
	rnd := rand.New(rand.NewPCG(11, 12))
	all := seeds(t)
	edges := []byte{0, 1, 0x7f, 0x80, 0xff}
	for i := range n {
		b := bytes.Clone(all[i%len(all)])
		for range 1 + rnd.IntN(4) {
			if len(b) < 2 {
				break
			}
			at := rnd.IntN(len(b))
			if rnd.IntN(2) == 0 { // where heads and lists are
				at = rnd.IntN(min(len(b), 300))
			}
			switch rnd.IntN(5) {
			case 0:
				b[at] = edges[rnd.IntN(len(edges))]
			case 1:
				b[at] ^= byte(1 << rnd.IntN(8))
			case 2:
				b = b[:at]
			case 3:
				end := min(len(b), at+1+rnd.IntN(64))
				b = append(b[:at:at], b[end:]...)
			case 4:
				end := min(len(b), at+1+rnd.IntN(64))
				b = append(append(b[:end:end], b[at:end]...), b[end:]...)
			}
		}
		serve(t, scratch, "a.bin", b, true)
	}
	t.Logf("proof: damaged-files trials=%d violations=0", n)
}

// serve has the worker open a file, and reads its answer.
func serve(t *testing.T, scratch *os.File, name string, data []byte, content bool) {
	t.Helper()
	limits := wire.Limits{Depth: 5, Parts: 200, Bytes: 4 << 20, Ratio: 200, Millis: 10_000}
	var in bytes.Buffer
	c := wire.New(&in, &in)
	if len(name) > 1000 {
		name = name[:1000]
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Send(wire.KindBegin, wire.Begin{Name: name, Limits: limits, Content: content, Text: true}))
	must(c.Data(data))
	must(c.Send(wire.KindEnd, wire.End{}))
	must(c.Flush())
	var out bytes.Buffer
	must(Serve(&in, &out, scratch, nil, nil))
	answered(t, wire.New(&out, io.Discard), limits)
}

// answered reads an answer to its end.
func answered(t *testing.T, c *wire.Conn, l wire.Limits) {
	var ready wire.Ready
	if err := c.Take(wire.KindReady, &ready); err != nil {
		t.Fatal(err)
	}
	parts := 0
	for inside := false; ; {
		k, p, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch k {
		case wire.KindPart:
			var h wire.Part
			if err := wire.Decode(p, &h); err != nil || inside || h.Depth > l.Depth+1 {
				t.Fatalf("part %+v: %v", h, err)
			}
			parts, inside = parts+1, true
		case wire.KindData:
			if !inside {
				t.Fatal("data of no part")
			}
		case wire.KindEnd:
			inside = false
		case wire.KindNote:
			var n wire.Note
			if err := wire.Decode(p, &n); err != nil {
				t.Fatal(err)
			}
		case wire.KindDone:
			var d wire.Done
			if err := wire.Decode(p, &d); err != nil || inside || d.Parts > l.Parts+1 || parts > 3*l.Parts+10 {
				t.Fatalf("%+v, %d parts: %v", d, parts, err)
			}
			return
		default:
			t.Fatalf("a frame %c", k)
		}
	}
}
