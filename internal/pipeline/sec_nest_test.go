package pipeline_test

import (
	"strings"
	"testing"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
	"lazaret/internal/scan"
	"lazaret/internal/testlib"
	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack"
)

// container packs a file; every kind that is opened has one.
type container struct {
	name string // the kind, and the name of the file
	pack func(t testing.TB, e files.Entry) []byte
}

var containers = []container{
	{"a.zip", func(t testing.TB, e files.Entry) []byte { return files.Zip(t, e) }},
	{"a.7z", func(t testing.TB, e files.Entry) []byte { return files.Tool(t, "x.7z", e, "7z", "a", "x.7z", e.Name) }},
	{"a.rar", func(_ testing.TB, e files.Entry) []byte { return files.Rar(false, e) }},
	{"a.tar", func(t testing.TB, e files.Entry) []byte { return files.Tar(t, e) }},
	{"a.gz", func(t testing.TB, e files.Entry) []byte { return files.Gzip(t, e.Data) }},
	{"a.bz2", func(t testing.TB, e files.Entry) []byte { return files.Tool(t, e.Name+".bz2", e, "bzip2", e.Name) }},
	{"a.xz", func(t testing.TB, e files.Entry) []byte { return files.XZ(t, e.Data) }},
	{"a.zst", func(t testing.TB, e files.Entry) []byte { return files.Zstd(t, e.Data) }},
	{"a.lz4", func(t testing.TB, e files.Entry) []byte { return files.LZ4(t, e.Data) }},
	{"a.iso", func(_ testing.TB, e files.Entry) []byte { return files.ISO(true, []files.Entry{e}) }},
	{"a.cab", func(t testing.TB, e files.Entry) []byte { return files.Cab(t, 1, e) }},
	{"a.deb", func(_ testing.TB, e files.Entry) []byte { return files.Ar(e) }},
	{"a.cpio", func(_ testing.TB, e files.Entry) []byte { return files.Cpio(e) }},
	{"a.docx", func(t testing.TB, e files.Entry) []byte {
		return files.Docx(t, "hello", files.Entry{Name: "word/embeddings/o.bin", Data: files.OLE(files.Entry{Name: "\x01Ole10Native", Data: files.Ole10(e.Name, e.Data)})})
	}},
	{"a.doc", func(_ testing.TB, e files.Entry) []byte {
		return files.OLE(files.Entry{Name: "WordDocument", Data: []byte("hello")}, files.Entry{Name: "ObjectPool/_1/\x01Ole10Native", Data: files.Ole10(e.Name, e.Data)})
	}},
	{"winmail.dat", func(_ testing.TB, e files.Entry) []byte { return files.TNEF(e.Name, e.Data) }},
	{"a.eml", func(_ testing.TB, e files.Entry) []byte {
		return []byte(parts("Content-Type: text/plain\r\n\r\nhello", attached(e.Name, e.Data)))
	}},
}

// Register C1, issue 5 item 6: the test virus in each kind of container, in each
// of them inside of a ZIP archive, and in a ZIP archive inside of each; in the
// source of a macro and in a PDF file, alone and packed: all are held, by a
// filter about their bytes and by a real clamd.
func TestSEC_C1_Nested(t *testing.T) {
	v := payload()
	e := files.Entry{Name: "evil.com", Data: v}
	zipped := files.Entry{Name: "in.zip", Data: files.Zip(t, e)}
	var all []wrapping
	file := func(what, name string, data []byte) {
		all = append(all, wrapping{what, parts("Content-Type: text/plain\r\n\r\nhello", attached(name, data))})
	}
	for _, c := range containers {
		packed := c.pack(t, e)
		file(c.name, c.name, packed)
		file(c.name+" in zip", "b.zip", files.Zip(t, files.Entry{Name: c.name, Data: packed}))
		file("zip in "+c.name, c.name, c.pack(t, zipped))
		file(c.name+" under another name", "report.txt", packed)
	}
	macro := files.Docx(t, "hello", files.Entry{Name: "word/vbaProject.bin", Data: files.OLE(files.Entry{Name: "VBA/M", Data: files.VBA("Sub AutoOpen()\r\n' " + testlib.EICAR() + "\r\nEnd Sub")})})
	pdf := files.PDF(t, "x", "3 0 obj << /Type /EmbeddedFile /Filter /FlateDecode >>\nstream\n"+string(deflated(t, v))+"\nendstream endobj")
	for name, data := range map[string][]byte{"a.docm": macro, "a.pdf": pdf} {
		file(name, name, data)
		file(name+" in zip", "b.zip", files.Zip(t, files.Entry{Name: name, Data: data}))
		file(name+" in mail in zip", "b.zip", files.Zip(t, files.Entry{Name: "a.eml", Data: []byte(parts("Content-Type: text/plain\r\n\r\nhello", attached(name, data)))}))
	}
	pool := newPool(t, unpack.Options{Workers: 1})
	byFilter, err := filter.Parse(`virus: if (body-contains("EICAR-STANDARD-") or attachment-binary-contains("EICAR-STANDARD-")) { quarantine("Found"); }`)
	if err != nil {
		t.Fatal(err)
	}
	clamd := scan.NewClamd(scan.ClamdOptions{Address: testlib.NewClamd(t).Socket})
	defer clamd.Close()
	table := &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}}}
	for by, s := range map[string]pipeline.Settings{"filter": {Filters: byFilter}, "clamd": {Inbound: table, Engine: clamd}} {
		if s.Filters == nil {
			s.Filters, _ = filter.Parse("")
		}
		p := pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind, Opener: opener(pool), HoldAmbiguous: "Policy"})
		p.Set(s)
		for _, w := range all {
			d, err := first(p.Judge(t.Context(), (&bench{}).input(w.raw)))
			switch {
			case err != nil || len(d.Quarantine) == 0:
				t.Errorf("%s: %s: passes, %v", by, w.name, err)
			case by == "clamd" && !strings.Contains(d.Quarantine[0].Reason, "Lazaret.Eicar") || by == "filter" && d.Quarantine[0].Quarantine != "Found":
				t.Errorf("%s: %s: held, but not for the virus: %+v", by, w.name, d.Quarantine)
			}
		}
		// What is like these and has no virus passes.
		for _, c := range containers {
			raw := parts("Content-Type: text/plain\r\n\r\nhello", attached(c.name, c.pack(t, files.Entry{Name: "a.txt", Data: v[:500]})))
			if d, err := first(p.Judge(t.Context(), (&bench{}).input(raw))); err != nil || len(d.Quarantine) > 0 {
				t.Errorf("%s: %s without a virus: %+v %v", by, c.name, d.Quarantine, err)
			}
		}
	}
}
