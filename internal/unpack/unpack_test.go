package unpack_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/message"
	"lazaret/internal/unpack"
	"lazaret/internal/unpack/worker"
)

// TestMain is the worker when it is told to be.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "unpack-worker" {
		os.Exit(worker.Main(misbehave))
	}
	os.Exit(m.Run())
}

func newPool(t testing.TB, o unpack.Options) *unpack.Pool {
	t.Helper()
	o.Dir = t.TempDir()
	if o.Warn == nil {
		o.Warn = func(s string) { t.Log(s) }
	}
	p := unpack.NewPool(o)
	t.Cleanup(func() {
		p.Close()
		left, err := os.ReadDir(o.Dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left in the directory: %v %v", left, err)
		}
	})
	return p
}

// got is what came out of a file.
type got struct {
	parts []unpack.Part
	data  []string
	*unpack.Report
}

func (g *got) String() string {
	var b strings.Builder
	for i, p := range g.parts {
		fmt.Fprintf(&b, "%s %q %s/%s depth %d view %q: %.80q\n", p.Path, p.Name, p.Group, p.Type, p.Depth, p.View, g.data[i])
	}
	for _, f := range g.Findings {
		fmt.Fprintf(&b, "finding %s %s %q\n", f.Kind, f.Path, f.Detail)
	}
	return b.String()
}

func (g *got) has(text string) bool {
	return slices.ContainsFunc(g.data, func(s string) bool { return strings.Contains(s, text) })
}

func open(t testing.TB, p *unpack.Pool, name string, data []byte) *got {
	t.Helper()
	m := p.Message(unpack.Want{Content: true, Text: true})
	defer m.Close()
	g := &got{Report: m.Report()}
	openInto(t, m, g, name, data)
	return g
}

func openInto(t testing.TB, m *unpack.Message, g *got, name string, data []byte) {
	t.Helper()
	err := m.Unpack(t.Context(), unpack.Object{Path: "2", Name: name}, bytes.NewReader(data), func(p *unpack.Part) error {
		b, err := io.ReadAll(p.Body)
		g.parts, g.data = append(g.parts, *p), append(g.data, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each format gives what is in it; what it hides, and what cannot be opened, is
// a finding.
func TestFormats(t *testing.T) {
	p := newPool(t, unpack.Options{Workers: 1})
	e := entry{"evil.exe", append([]byte("MZ"), eicar()...)}
	mark := string(eicar())
	vba := oleOf(entry{"VBA/dir", []byte("x")}, entry{"VBA/Module1", vbaOf("Sub AutoOpen()\r\nShell \"calc\"\r\nEnd Sub")})
	eml := []byte("From: a@b\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\nContent-Type: text/plain\r\n\r\nhello\r\n--bb\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\n" + string(e.data) + "\r\n--bb--\r\n")
	for _, c := range []struct {
		name  string
		data  func(t *testing.T) []byte
		typ   string
		find  []unpack.Kind
		wants []string // in some part
	}{
		{"zip", func(t *testing.T) []byte { return zipOf(t, e) }, "zip", nil, []string{mark}},
		{"tar", func(t *testing.T) []byte { return tarOf(t, e) }, "tar", nil, []string{mark}},
		{"gz", func(t *testing.T) []byte { return gzOf(t, e.data) }, "gz", nil, []string{mark}},
		{"gz of two streams", func(t *testing.T) []byte { return append(gzOf(t, e.data[:20]), gzOf(t, e.data[20:])...) }, "gz", nil, []string{mark}},
		{"gz with a tail", func(t *testing.T) []byte { return append(gzOf(t, nil), e.data...) }, "gz", []unpack.Kind{unpack.HiddenMember}, []string{mark}},
		{"xz", func(t *testing.T) []byte { return xzOf(t, e.data) }, "xz", nil, []string{mark}},
		{"zst", func(t *testing.T) []byte { return zstOf(t, e.data) }, "zst", nil, []string{mark}},
		{"bz2", func(t *testing.T) []byte { return tool(t, "evil.exe.bz2", e, "bzip2", "evil.exe") }, "bz2", nil, []string{mark}},
		{"tar.gz", func(t *testing.T) []byte { return gzOf(t, tarOf(t, e)) }, "gz", nil, []string{mark}},
		{"rar", func(*testing.T) []byte { return rarOf(false, e) }, "rar", nil, []string{mark}},
		{"rar with a password", func(*testing.T) []byte { return rarOf(true, e) }, "rar", []unpack.Kind{unpack.Encrypted}, nil},
		{"7z", func(t *testing.T) []byte { return tool(t, "x.7z", e, "7z", "a", "x.7z", "evil.exe") }, "7z", nil, []string{mark}},
		{"7z by PPMd", func(t *testing.T) []byte { return tool(t, "x.7z", e, "7z", "a", "-m0=PPMd", "x.7z", "evil.exe") }, "7z", nil, []string{mark}},
		{"7z by bzip2", func(t *testing.T) []byte { return tool(t, "x.7z", e, "7z", "a", "-m0=BZip2", "x.7z", "evil.exe") }, "7z", nil, []string{mark}},
		{"7z with a password", func(t *testing.T) []byte { return tool(t, "x.7z", e, "7z", "a", "-psecret", "x.7z", "evil.exe") }, "7z", []unpack.Kind{unpack.Encrypted}, nil},
		{"7z with a hidden list", func(t *testing.T) []byte {
			return tool(t, "x.7z", e, "7z", "a", "-psecret", "-mhe=on", "x.7z", "evil.exe")
		}, "7z", []unpack.Kind{unpack.Encrypted}, nil},
		{"zip with a password", func(t *testing.T) []byte {
			return tool(t, "x.zip", e, "7z", "a", "-tzip", "-psecret", "x.zip", "evil.exe")
		}, "zip", []unpack.Kind{unpack.Encrypted}, nil},
		{"zip with AES", func(t *testing.T) []byte {
			return tool(t, "x.zip", e, "7z", "a", "-tzip", "-psecret", "-mem=AES256", "x.zip", "evil.exe")
		}, "zip", []unpack.Kind{unpack.Encrypted}, nil},
		{"zip by LZMA", func(t *testing.T) []byte {
			return tool(t, "x.zip", entry{"evil.exe", bytes.Repeat(e.data, 100)}, "7z", "a", "-tzip", "-mm=LZMA", "x.zip", "evil.exe")
		}, "zip", []unpack.Kind{unpack.UnusualMethod}, []string{mark}},
		{"zip by bzip2", func(t *testing.T) []byte {
			return tool(t, "x.zip", entry{"evil.exe", bytes.Repeat(e.data, 100)}, "7z", "a", "-tzip", "-mm=BZip2", "x.zip", "evil.exe")
		}, "zip", []unpack.Kind{unpack.UnusualMethod}, []string{mark}},
		{"zip by Deflate64", func(t *testing.T) []byte {
			big := entry{"evil.exe", bytes.Repeat(e.data, 100)}
			return tool(t, "x.zip", big, "7z", "a", "-tzip", "-mm=Deflate64", "x.zip", "evil.exe")
		}, "zip", []unpack.Kind{unpack.Unsupported, unpack.UnusualMethod}, nil},
		{"zip behind a picture", func(t *testing.T) []byte { return append([]byte("GIF89a......"), zipOf(t, e)...) }, "gif", []unpack.Kind{unpack.Polyglot}, []string{mark}},
		{"rar behind a program", func(*testing.T) []byte { return append([]byte("MZ......"), rarOf(false, e)...) }, "exe", []unpack.Kind{unpack.Polyglot}, []string{mark}},
		{"zip without its list", func(t *testing.T) []byte { b := zipOf(t, e); return b[:bytes.Index(b, []byte("PK\x01\x02"))] }, "zip", []unpack.Kind{unpack.Corrupt, unpack.HiddenMember}, []string{mark}},
		{"zip with a file that is not listed", func(t *testing.T) []byte {
			hidden := zipOf(t, e)
			return append(hidden[:bytes.Index(hidden, []byte("PK\x01\x02"))], zipOf(t, entry{"a.txt", []byte("nothing here")})...)
		}, "zip", []unpack.Kind{unpack.HiddenMember}, []string{mark, "nothing here"}},
		{"zip with a name twice", func(t *testing.T) []byte { return zipOf(t, entry{"Evil.exe", nil}, e) }, "zip", []unpack.Kind{unpack.DuplicateMember}, []string{mark}},
		{"zip that leads out", func(t *testing.T) []byte { return zipOf(t, entry{"../../evil.exe", e.data}) }, "zip", []unpack.Kind{unpack.MemberPath}, []string{mark}},
		{"program named as a text", func(t *testing.T) []byte { return zipOf(t, entry{"a.pdf", e.data}) }, "zip", []unpack.Kind{unpack.TypeMismatch}, []string{mark}},
		{"zip in zip in zip", func(t *testing.T) []byte {
			return zipOf(t, entry{"b.zip", zipOf(t, entry{"c.zip", zipOf(t, e)})})
		}, "zip", nil, []string{mark}},
		{"cut zip", func(t *testing.T) []byte { b := gzOf(t, bytes.Repeat(e.data, 10)); return b[:len(b)-9] }, "gz", []unpack.Kind{unpack.Corrupt}, []string{mark}},
		{"docx", func(t *testing.T) []byte { return docxOf(t, "wire transfer &amp; more") }, "docx", nil, []string{"wire transfer & more"}},
		{"docm", func(t *testing.T) []byte { return docxOf(t, "hello", entry{"word/vbaProject.bin", vba}) }, "docm", []unpack.Kind{unpack.Macro}, []string{"Sub AutoOpen()\r\nShell \"calc\""}},
		{"docx with a template elsewhere", func(t *testing.T) []byte {
			return docxOf(t, "hello", entry{"word/_rels/settings.xml.rels", []byte(`<Relationships><Relationship Type="http://x/attachedTemplate" Target="http://evil.example/t.dotm" TargetMode="External"/></Relationships>`)})
		}, "docx", []unpack.Kind{unpack.ExternalTemplate}, nil},
		{"docx with DDE", func(t *testing.T) []byte { return docxOf(t, "DDEAUTO c:\\\\calc.exe") }, "docx", []unpack.Kind{unpack.DDE}, nil},
		{"docx with an object", func(t *testing.T) []byte {
			return docxOf(t, "hello", entry{"word/embeddings/o.bin", oleOf(entry{"\x01Ole10Native", ole10Of("evil.exe", e.data)})})
		}, "docx", []unpack.Kind{unpack.EmbeddedObject}, []string{mark}},
		{"doc with macros", func(*testing.T) []byte {
			return oleOf(entry{"WordDocument", []byte("wire transfer")}, entry{"VBA/Module1", vbaOf("Sub Document_Open()")})
		}, "doc", []unpack.Kind{unpack.Macro}, []string{"Sub Document_Open()", "wire transfer"}},
		{"doc with a password", func(*testing.T) []byte {
			return oleOf(entry{"WordDocument", []byte("\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x13\x00")})
		}, "doc", []unpack.Kind{unpack.Encrypted}, nil},
		{"docx with a password", func(*testing.T) []byte {
			return oleOf(entry{"EncryptedPackage", []byte("x")}, entry{"EncryptionInfo", nil})
		}, "ole", []unpack.Kind{unpack.Encrypted}, nil},
		{"xls with a macro sheet", func(*testing.T) []byte {
			return oleOf(entry{"Workbook", []byte("\x09\x08\x02\x00\x00\x06\x85\x00\x08\x00\x00\x00\x00\x00\x00\x01\x01\x00\xff\x00\x00\x00")})
		}, "xls", []unpack.Kind{unpack.Macro}, nil},
		{"pdf", func(t *testing.T) []byte {
			return pdfOf(t, "BT /F1 12 Tf (wire ) Tj [(tr) -20 (ans) 3 (fer)] TJ ET", "")
		}, "pdf", nil, []string{"wire transfer"}},
		{"pdf in hex", func(t *testing.T) []byte { return pdfOf(t, "BT <0077006900720065> Tj ET", "") }, "pdf", nil, []string{"wire"}},
		{"pdf with a script", func(t *testing.T) []byte {
			return pdfOf(t, "x", "3 0 obj << /OpenAction 4 0 R /S /J#61vaScript /JS (app.alert(1)) >> endobj 5 0 obj << /S /Launch >> endobj")
		}, "pdf", []unpack.Kind{unpack.PDFScript, unpack.PDFOpenAction, unpack.PDFLaunch}, nil},
		{"pdf with a file", func(t *testing.T) []byte {
			return pdfOf(t, "x", "3 0 obj << /Type /EmbeddedFile >>\nstream\n"+string(e.data)+"\nendstream endobj")
		}, "pdf", []unpack.Kind{unpack.EmbeddedObject}, []string{mark}},
		{"pdf with a password", func(t *testing.T) []byte { return pdfOf(t, "x", "<< /Encrypt 9 0 R >>") }, "pdf", []unpack.Kind{unpack.Encrypted}, nil},
		{"rtf with an object", func(*testing.T) []byte {
			return fmt.Appendf(nil, `{\rtf1 wire\~trans{}fer{\object{\*\objdata 01050000 %x}}}`, e.data)
		}, "rtf", []unpack.Kind{unpack.EmbeddedObject}, []string{mark}},
		{"html", func(*testing.T) []byte { return []byte("<html><p>wire <b>tr</b>ansfer</p></html>") }, "html", nil, []string{"wire transfer"}},
		{"winmail.dat", func(*testing.T) []byte { return tnefOf("evil long.exe", e.data) }, "tnef", nil, []string{mark}},
		{"mail", func(*testing.T) []byte { return eml }, "mail", nil, []string{mark, "hello"}},
		{"mail in zip", func(t *testing.T) []byte { return zipOf(t, entry{"a.eml", eml}) }, "zip", nil, []string{mark, "hello"}},
		{"mail that has several readings, in zip", func(t *testing.T) []byte {
			return zipOf(t, entry{"a.eml", append([]byte("Content-Type: text/plain\r\n"), eml...)})
		}, "zip", []unpack.Kind{unpack.Kind(message.DuplicateContentType)}, []string{mark, "hello"}},
		{"text", func(*testing.T) []byte { return []byte("hello\r\nworld\r\n") }, "text", nil, nil},
		{"empty", func(*testing.T) []byte { return nil }, "empty", nil, nil},
		{"png", func(*testing.T) []byte { return []byte("\x89PNG\r\n\x1a\n.....") }, "png", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := open(t, p, "attachment", c.data(t))
			if len(g.parts) == 0 || g.parts[0].Type != c.typ || g.parts[0].Depth != 0 || g.parts[0].Path != "2:" {
				t.Errorf("want type %s", c.typ)
			}
			for _, k := range c.find {
				if !g.Has(k) {
					t.Errorf("no finding %s", k)
				}
			}
			for _, f := range g.Findings {
				if !slices.Contains(c.find, f.Kind) {
					t.Errorf("finding %s", f.Kind)
				}
			}
			for _, w := range c.wants {
				if !g.has(w) {
					t.Errorf("does not give %q", w)
				}
			}
			_, un := g.Unscannable()
			if want := slices.Contains(c.find, unpack.Corrupt) || slices.Contains(c.find, unpack.Unsupported); un != want {
				t.Errorf("unscannable: %v", un)
			}
			if t.Failed() {
				t.Log("\n" + g.String())
			}
		})
	}
}

// misbehave does, inside the worker, what its object is named after.
func misbehave(name string, note func(kind, detail string)) {
	switch name {
	case "panic":
		panic("as the test asked")
	case "loop":
		for n := 0; ; n++ {
			if n < 0 {
				note("", "")
			}
		}
	case "eat":
		var kept [][]byte
		for {
			b := make([]byte, 16<<20)
			for i := range b {
				b[i] = byte(i)
			}
			kept = append(kept, b)
			if len(kept) > 1<<20 {
				note("", "")
			}
		}
	case "stack":
		misbehave(deeper(name), note)
	case "junk":
		_, _ = os.Stdout.WriteString(strings.Repeat("junk!", 1000))
	case "long frame":
		_, _ = os.Stdout.WriteString("P\xff\xff\xff\xff")
	case "unknown finding":
		note("no-such-finding", "x")
	case "close":
		_ = os.Stdout.Close()
		time.Sleep(time.Hour)
	case "exit":
		os.Exit(0)
	case "escape":
		for _, w := range attempts() {
			note(string(unpack.Link), w)
		}
	}
}

func deeper(s string) string { return s }

// What the worker does takes down its own message only, and that message is
// unscannable, with the reason; the next one is fine.
func TestSEC_C2_WorkerFaults(t *testing.T) {
	grace := 500 * time.Millisecond
	if raceDetector {
		grace = 3 * time.Second // it takes a second for its farewell
	}
	quick := newPool(t, unpack.Options{Workers: 1, Grace: grace, Limits: unpack.Limits{Time: 500 * time.Millisecond}})
	patient := newPool(t, unpack.Options{Workers: 1, Grace: time.Minute}) // for what ends by itself, however slow the machine
	for _, c := range []struct {
		name   string
		kind   unpack.Kind
		detail string
	}{
		{"panic", unpack.WorkerDied, "as the test asked"},
		{"loop", unpack.WorkerHung, ""},
		{"eat", unpack.WorkerDied, "memory"},
		{"stack", unpack.WorkerDied, "stack"},
		{"junk", unpack.WorkerLied, ""},
		{"long frame", unpack.WorkerLied, ""},
		{"unknown finding", unpack.WorkerLied, ""},
		{"close", unpack.WorkerDied, ""},
		{"exit", unpack.WorkerDied, "exit status 0"},
	} {
		if c.name == "eat" && raceDetector {
			continue // its memory has no wall there
		}
		p := patient
		if c.kind == unpack.WorkerHung {
			p = quick
		}
		g := open(t, p, c.name, []byte("MZ"))
		f, un := g.Unscannable()
		if !un || f.Kind != c.kind || !strings.Contains(f.Detail, c.detail) || f.Path != "2" {
			t.Errorf("%s: %+v, want %s (%s)", c.name, g.Findings, c.kind, c.detail)
		}
		next := open(t, p, "x.zip", zipOf(t, entry{"a", eicar()}))
		if _, un := next.Unscannable(); un || !next.has(string(eicar())) {
			t.Errorf("behind %s: %s", c.name, next)
		}
	}
}

// A message in a file that could not be read to its end is not seen either.
func TestLimitOfMailInside(t *testing.T) {
	p := newPool(t, unpack.Options{Workers: 1})
	deep := "From: a@b\r\nTo: c@d\r\n" + strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 50)
	if f, un := open(t, p, "x.zip", zipOf(t, entry{"a.eml", []byte(deep)})).Unscannable(); !un || f.Kind != unpack.Kind(message.DepthLimit) {
		t.Errorf("%+v", f)
	}
}

// A message whose parts kill two workers costs no third.
func TestFaultsOfOneMessage(t *testing.T) {
	p := newPool(t, unpack.Options{Workers: 1})
	m := p.Message(unpack.Want{})
	defer m.Close()
	g := &got{Report: m.Report()}
	for _, name := range []string{"panic", "exit", "fine"} {
		openInto(t, m, g, name, []byte("x"))
	}
	if len(g.parts) != 0 || len(g.Findings) != 3 {
		t.Errorf("%s", g)
	}
}

// The limits, at their value and one beyond.
func TestSEC_C2_Bombs(t *testing.T) {
	nest := func(n int) []byte {
		b := []byte("bottom")
		for range n {
			b = gzOf(t, b)
		}
		return b
	}
	many := func(n int) []byte {
		var es []entry
		for i := range n {
			es = append(es, entry{fmt.Sprint(i), nil})
		}
		return tarOf(t, es...)
	}
	zeros := make([]byte, 3<<20)
	for _, c := range []struct {
		name     string
		lim      unpack.Limits
		at, over []byte
		kind     unpack.Kind
	}{
		{"depth", unpack.Limits{}, nest(8), nest(9), unpack.DepthLimit},
		{"members", unpack.Limits{Parts: 50}, many(50), many(51), unpack.PartLimit},
		{"bytes", unpack.Limits{Bytes: 3 << 20}, gzOf(t, zeros), gzOf(t, append(zeros, 0)), unpack.SizeLimit},
		{"ratio", unpack.Limits{}, gzOf(t, make([]byte, 8<<20)), gzOf(t, make([]byte, 9<<20)), unpack.RatioLimit},
		{"all in each other", unpack.Limits{Bytes: 3 << 20}, nest(3), zipOf(t, entry{"a", gzOf(t, zeros)}, entry{"b", gzOf(t, zeros)}), unpack.SizeLimit},
	} {
		p := newPool(t, unpack.Options{Workers: 1, Limits: c.lim})
		if g := open(t, p, "x", c.at); g.Has(c.kind) {
			t.Errorf("%s at its limit:\n%.500s", c.name, g)
		}
		g := open(t, p, "x", c.over)
		if f, un := g.Unscannable(); !un || f.Kind != c.kind {
			t.Errorf("%s beyond its limit: %v", c.name, g.Findings)
		}
	}
}

// The limit of bytes is that of the whole message.
func TestLimitOfMessage(t *testing.T) {
	p := newPool(t, unpack.Options{Workers: 1, Limits: unpack.Limits{Bytes: 1 << 20}})
	m := p.Message(unpack.Want{})
	defer m.Close()
	g := &got{Report: m.Report()}
	z := gzOf(t, make([]byte, 600<<10))
	openInto(t, m, g, "a.gz", z)
	if _, un := g.Unscannable(); un {
		t.Fatalf("%s", g)
	}
	openInto(t, m, g, "b.gz", z)
	if f, _ := g.Unscannable(); f.Kind != unpack.SizeLimit {
		t.Errorf("%s", g)
	}
}

// Cancelling ends the wait and the worker, as an error that lets the message wait.
func TestCancel(t *testing.T) {
	p := newPool(t, unpack.Options{Workers: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	m := p.Message(unpack.Want{})
	defer m.Close()
	err := m.Unpack(ctx, unpack.Object{Name: "loop"}, strings.NewReader("x"), func(*unpack.Part) error { return nil })
	if err == nil || len(m.Report().Findings) > 0 {
		t.Errorf("%v %v", err, m.Report().Findings)
	}
	if g := open(t, p, "x.zip", zipOf(t, entry{"a", eicar()})); !g.has(string(eicar())) {
		t.Errorf("%s", g)
	}
}

// An error of the caller's comes back as it is.
func TestCallerErrors(t *testing.T) {
	p := newPool(t, unpack.Options{Workers: 1})
	m := p.Message(unpack.Want{Content: true})
	defer m.Close()
	z := zipOf(t, entry{"a", bytes.Repeat(eicar(), 5000)})
	if err := m.Unpack(t.Context(), unpack.Object{}, io.MultiReader(bytes.NewReader(z[:9]), broken{}), func(*unpack.Part) error { return nil }); err != errBroken {
		t.Errorf("content: %v", err)
	}
	if err := m.Unpack(t.Context(), unpack.Object{}, bytes.NewReader(z), func(*unpack.Part) error { return errBroken }); err != errBroken {
		t.Errorf("visit: %v", err)
	}
	if len(m.Report().Findings) > 0 {
		t.Errorf("%v", m.Report().Findings)
	}
	seen := 0
	err := m.Unpack(t.Context(), unpack.Object{}, bytes.NewReader(z), func(*unpack.Part) error { seen++; return nil }) // reads nothing
	if err != nil || seen != 2 {
		t.Errorf("%d %v", seen, err)
	}
}

type broken struct{}

var errBroken = fmt.Errorf("disk on fire")

func (broken) Read([]byte) (int, error) { return 0, errBroken }
