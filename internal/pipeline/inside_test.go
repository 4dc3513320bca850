package pipeline_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/filter"
	"lazaret/internal/gateway"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack"
	"lazaret/internal/unpack/filetype"
	"lazaret/internal/unpack/worker"
)

// TestMain is the unpack worker when it is told to be; it dies of a file named die.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "unpack-worker" {
		os.Exit(worker.Main(func(name string, _ func(kind, detail string)) {
			if name == "die" {
				panic("as the test asked")
			}
		}))
	}
	os.Exit(m.Run())
}

// kind is Options.Kind as the gateway has it.
func kind(head []byte) []string {
	f := filetype.Sniff(head)
	return []string{f.Name, string(f.Group)}
}

func newPool(t testing.TB, o unpack.Options) *unpack.Pool {
	t.Helper()
	o.Dir, o.Warn = t.TempDir(), func(s string) { t.Log(s) }
	p := unpack.NewPool(o)
	t.Cleanup(p.Close)
	return p
}

// opening makes a pipeline that opens attachments.
func opening(p *unpack.Pool, s pipeline.Settings, log logs.Lines) *pipeline.Pipeline {
	now := func() time.Time { return time.Date(2026, 4, 7, 9, 15, 0, 0, time.UTC) }
	out := pipeline.New(pipeline.Options{Log: logs.NewMail(log, now), Kind: kind, Opener: opener(p)})
	out.Set(s)
	return out
}

// attached gives a part in base64.
func attached(name string, data []byte) string {
	return "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString(data)
}

// Names, types and texts inside of attachments count (reference 7.4).
func TestInsideOfAttachments(t *testing.T) {
	pool := newPool(t, unpack.Options{Workers: 1})
	text := "Content-Type: text/plain\r\n\r\nthe letter itself"
	exe := files.Entry{Name: "dir/evil.exe", Data: []byte("MZ\x00\x00program code")}
	note := files.Entry{Name: "note.txt", Data: []byte("wire transfer of 1000")}
	zip := attached("a.zip", files.Zip(t, exe, note))
	deep := attached("a.tgz", files.Gzip(t, files.Tar(t, files.Entry{Name: "b.zip", Data: files.Zip(t, exe)})))
	docx := attached("a.docx", files.Docx(t, "wire transfer of 2000"))
	docm := attached("a.docm", files.Docx(t, "hello", files.Entry{Name: "word/vbaProject.bin", Data: files.OLE(files.Entry{Name: "VBA/M", Data: files.VBA("Sub AutoOpen()")})}))
	pdf := attached("a.pdf", files.PDF(t, "BT (wire transfer) Tj ET", ""))
	page := attached("page.bin", []byte("<html><p>wire <b>tr</b>ansfer</p></html>"))
	sealed := attached("s.pdf", files.PDF(t, "x", "<< /Encrypt 9 0 R >>"))
	cut := attached("cut.gz", files.Gzip(t, bytes.Repeat([]byte("wire transfer"), 50))[:40])
	wide := attached("w.zip", files.Zip(t, files.Entry{Name: "w.txt", Data: []byte("\xff\xfew\x00i\x00r\x00e\x00 \x00t\x00r\x00a\x00n\x00s\x00f\x00e\x00r\x00")}))
	picture := attached("a.gif", append([]byte("GIF89a....."), files.Zip(t, exe, note)...))
	letter := "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(append([]byte("Dear all,\r\n"), files.Zip(t, exe)...))
	asText := "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(files.Zip(t, note))
	blob := attached("a.bin", []byte("a wire transfer in a text of no type\r\n"))
	for cond, c := range map[string]struct {
		content string
		want    bool
	}{
		`attachment-filename == "^dir/evil\.exe$"`:                             {parts(text, zip), true},
		`attachment-filename == "^evil\.exe$"`:                                 {parts(text, zip), true},
		`attachment-filename == "(?i)\.exe$" and rcpt-count == 1`:              {parts(text, deep), true},
		`attachment-filename == "\.exe$" or attachment-filetype == "docx"`:     {parts(text, docx), true},
		`attachment-filetype == "^executable$"`:                                {parts(text, deep), true},
		`attachment-filetype == "^exe$"`:                                       {parts(text, picture), true},
		`attachment-filetype == "^(exe|zip)$" and attachment-filename == "ev"`: {parts(letter), true},
		`attachment-filetype == "^compressed$"`:                                {parts(text, docx), false}, // a document, though it is a ZIP file
		`attachment-filetype == "^zip$"`:                                       {parts(text, docx), false},
		`attachment-filetype == "^docm$"`:                                      {parts(text, docm), true},
		`attachment-mimetype == "x-msdownload"`:                                {parts(text, zip), true},
		`attachment-size < 25`:                                                 {parts(text, zip), false}, // the attachment's own
		`body-contains("wire transfer of 1000")`:                               {parts(text, zip), true},
		`body-contains("wire transfer of 2000")`:                               {parts(text, docx), true},
		`attachment-contains("wire transfer")`:                                 {parts(text, pdf), true},
		`body-contains("wire transfer")`:                                       {parts(text, page), true},
		`body-contains("wire  ?transfer")`:                                     {parts(text, wide), true},
		`attachment-contains("wire transfer") and valid`:                       {parts(asText), true},
		`attachment-contains("a wire transfer")`:                               {parts(blob), true},
		`attachment-contains("AutoOpen")`:                                      {parts(text, docm), true},
		`only-body-contains("wire transfer")`:                                  {parts(text, zip, docx), false},
		`attachment-contains("program code")`:                                  {parts(text, zip), false},
		`attachment-binary-contains("program code")`:                           {parts(text, deep), true},
		`body-contains("wire transfer", 2)`:                                    {parts(text, zip), false},
		`body-contains("wire transfer", 3)`:                                    {parts(text, zip, docx, pdf), true},
		`every-attachment-contains("wire transfer")`:                           {parts(text, zip, docx, pdf), true},
		`every-attachment-contains("wire +transfer")`:                          {parts(text, zip, sealed), false},
		`every-attachment-contains("wire")`:                                    {parts(text, picture, picture, docm), false},
		`attachment-protected`:                                                 {parts(text, sealed), true},
		`attachment-protected and attachment-unprotected`:                      {parts(text, sealed, zip), true},
		`attachment-unprotected`:                                               {parts(text, sealed), false},
		`attachment-protected or attachment-corrupt`:                           {parts(text, zip, docx, pdf, page), false},
		`attachment-corrupt`:                                                   {parts(text, cut), true},
		`attachment-finding == "^macro$"`:                                      {parts(text, docm), true},
		`attachment-finding == "."`:                                            {parts(text, zip), false},
		`attachment-finding == "^archive-in-other$"`:                           {parts(text, picture), true},
		`unscannable`:                         {parts(text, cut), true},
		`unscannable or attachment-protected`: {parts(text, zip, docx, page), false},
	} {
		set, err := filter.Parse("a: if (" + cond + ") { drop(); }")
		if err != nil {
			t.Errorf("%s: %v", cond, err)
			continue
		}
		d, err := first(opening(pool, pipeline.Settings{Filters: set}, new(written)).Judge(t.Context(), (&bench{}).input(c.content)))
		if err != nil || d.Drop != c.want {
			t.Errorf("%s: %v %v", cond, d.Drop, err)
		}
	}
}

// What no filter could see inside is held (promise P3), and the variables are
// of the attachments themselves.
func TestUnseenInside(t *testing.T) {
	pool := newPool(t, unpack.Options{Workers: 1, Limits: unpack.Limits{Depth: 2}})
	bomb := files.Zip(t, files.Entry{Name: "a.gz", Data: files.Gzip(t, files.Gzip(t, []byte("x")))})
	for script, want := range map[string]string{
		`a: if (attachment-filename == "nowhere") { drop(); }`: "unscannable: archive-depth-limit",
		`a: if (body-contains("nowhere")) { drop(); }`:         "unscannable: archive-depth-limit",
		`a: if (subject == "nowhere") { drop(); }`:             "",
		`a: if (unscannable) { quarantine("Virus"); }`:         "message filter:a",
	} {
		set, err := filter.Parse(script)
		if err != nil {
			t.Fatal(err)
		}
		d, err := first(opening(pool, pipeline.Settings{Filters: set}, new(written)).Judge(t.Context(), (&bench{}).input(parts("\r\nhello", attached("b.zip", bomb)))))
		if err != nil || (want == "") != (len(d.Quarantine) == 0) || want != "" && d.Quarantine[0].Reason != want {
			t.Errorf("%s: %+v %v", script, d.Quarantine, err)
		}
	}
}

// fixed is an engine that always says the same.
type fixed struct{ scan mail.Scan }

func (e fixed) Scan(context.Context, mail.Hash, int64, func() (io.ReadCloser, error)) (mail.Scan, error) {
	return e.scan, nil
}

// What the engine calls clean and cannot have seen is not clean; what it found
// itself counts.
func TestVerdictInside(t *testing.T) {
	pool := newPool(t, unpack.Options{Workers: 1, Limits: unpack.Limits{Bytes: 1 << 20}})
	clean := mail.Scan{Verdict: mail.Clean, Engine: "ClamAV"}
	virus := mail.Scan{Verdict: mail.Infected, Engine: "ClamAV", Name: "Virus"}
	sealed := attached("s.pdf", files.PDF(t, "x", "<< /Encrypt 9 0 R >>"))
	big := attached("a.gz", files.Gzip(t, make([]byte, 2<<20)))
	lzw := attached("a.pdf", []byte("%PDF-1.4\n1 0 obj << /Length 3 /Filter /LZWDecode >>\nstream\nabc\nendstream endobj\ntrailer << >>\n%%EOF\n"))
	for name, c := range map[string]struct {
		scan    mail.Scan
		content string
		want    []string
		held    string
	}{
		"clean":             {clean, parts("\r\nhello", attached("a.zip", files.Zip(t, files.Entry{Name: "a", Data: []byte("x")}))), []string{"CLEAN", "antivirus negative"}, ""},
		"nothing inside":    {clean, parts("\r\nhello"), []string{"CLEAN", "antivirus negative"}, ""},
		"encrypted":         {clean, parts("\r\nhello", sealed), []string{"using ClamAV CLEAN", "using Lazaret ENCRYPTED", "antivirus encrypted"}, "antivirus:encrypted encrypted"},
		"limit":             {clean, parts("\r\nhello", big, sealed), []string{"using ClamAV CLEAN", "using Lazaret UNSCANNABLE", "antivirus unscannable 'archive-size-limit'"}, "antivirus:unscannable archive-size-limit"},
		"no reader of ours": {clean, parts("\r\nhello", attached("a.cab", []byte("MSCF\x00\x00\x00\x00........"))), []string{"CLEAN", "Lazaret UNSCANNABLE", "antivirus unscannable 'archive-unsupported'"}, "antivirus:unscannable archive-unsupported"},
		"text not read":     {clean, parts("\r\nhello", lzw), []string{"CLEAN", "antivirus negative"}, ""},
		"virus":             {virus, parts("\r\nhello", sealed), []string{"VIRAL", "antivirus positive 'Virus'"}, "antivirus:infected Virus"},
	} {
		var log written
		v := policy.Defaults()
		v[mail.Encrypted] = policy.Response{Action: policy.Quarantine}
		in := &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true, Verdicts: v}}}
		d, err := first(opening(pool, pipeline.Settings{Inbound: in, Engine: fixed{c.scan}}, &log).Judge(t.Context(), (&bench{}).input(c.content)))
		if err != nil || (c.held == "") != (len(d.Quarantine) == 0) || c.held != "" && (d.Quarantine[0].Quarantine != "Virus" || d.Quarantine[0].Reason != c.held) {
			t.Errorf("%s: %+v %v", name, d.Quarantine, err)
		}
		log = slices.DeleteFunc(log, func(l string) bool { return !strings.Contains(l, "verdict") && !strings.Contains(l, "antivirus") })
		if !slices.EqualFunc(log, c.want, strings.HasSuffix) {
			t.Errorf("%s: %q", name, log)
		}
	}
}

// A message over which the worker dies is not judged: the caller counts.
func TestLethal(t *testing.T) {
	pool := newPool(t, unpack.Options{Workers: 1})
	set, err := filter.Parse(`a: if (attachment-filename == "x") { drop(); }`)
	if err != nil {
		t.Fatal(err)
	}
	p := opening(pool, pipeline.Settings{Filters: set}, new(written))
	_, err = p.Judge(t.Context(), (&bench{}).input(parts("\r\nhello", attached("die", files.Zip(t)), attached("a.zip", files.Zip(t)))))
	var l *pipeline.Lethal
	if !errors.As(err, &l) || l.Why != "unpack-died" {
		t.Errorf("%v", err)
	}
	if _, err := p.Judge(t.Context(), (&bench{}).input(parts("\r\nhello", attached("a.zip", files.Zip(t))))); err != nil {
		t.Error(err)
	}
	// Released by a person it does not go round for ever: what it is held for
	// unseen is a verdict that lets it pass.
	p.Set(pipeline.Settings{Engine: fixed{mail.Scan{Verdict: mail.Clean, Engine: "ClamAV"}},
		Inbound: &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}}}})
	again := pipeline.Again{Input: (&bench{}).input(parts("\r\nhello", attached("die", files.Zip(t)), attached("a.zip", files.Zip(t))))}
	if part, _, err := p.Rescan(t.Context(), again); err != nil || len(part.Quarantine) != 1 {
		t.Errorf("%+v, %v", part, err)
	}
	again.Judged = again.Judged.With(pipeline.Unopened)
	if part, step, err := p.Rescan(t.Context(), again); err != nil || len(part.Quarantine) != 0 || step != "rescanned: unscannable opening it does harm, as before" {
		t.Errorf("%+v, %q, %v", part, step, err)
	}
}

func opener(p *unpack.Pool) pipeline.Opener { return gateway.NewOpener(p) }
