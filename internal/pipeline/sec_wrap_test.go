package pipeline_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime/quotedprintable"
	"strings"
	"testing"
	"unicode/utf16"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
	"lazaret/internal/scan"
	"lazaret/internal/testlib"
	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack"
)

// wrapping is one way to bring a file into a message.
type wrapping struct {
	name string
	raw  string
}

func one(name string, data []byte) files.Entry { return files.Entry{Name: name, Data: data} }

func b64(data []byte) string {
	s := base64.StdEncoding.EncodeToString(data)
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return b.String() + s + "\r\n"
}

func qp(data []byte) string {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	w.Binary = true
	_, _ = w.Write(data) // a buffer takes all
	_ = w.Close()
	return b.String()
}

// zipBy packs by a method, with or without its list.
func zipBy(t testing.TB, method uint16, e files.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateHeader(&zip.FileHeader{Name: e.Name, Method: method})
	if err == nil {
		_, err = w.Write(e.Data)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func deflated(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gzNamed is gzip with all that its header may have.
func gzNamed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, flate.HuffmanOnly)
	if err != nil {
		t.Fatal(err)
	}
	w.Name, w.Comment, w.Extra = "../../evil.com", "a comment", []byte("extra")
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func wide(s string) []byte {
	out := []byte("\xff\xfe")
	for _, c := range utf16.Encode([]rune(s)) {
		out = append(out, byte(c), byte(c>>8))
	}
	return out
}

// payload is the test virus in a file that gets smaller by packing: nowhere in
// a packed one does it stand as it is.
func payload() []byte {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "This is line %d of a file of which the virus is the last.\r\n", i*i)
	}
	return []byte(b.String() + testlib.EICAR())
}

// wrappings brings the test virus, made at run time, into a message in 60 ways.
func wrappings(t testing.TB) []wrapping {
	v := payload()
	e := one("evil.com", v)
	letter := "Content-Type: text/plain\r\n\r\nhello"
	inMail := func(part string) []byte { return []byte(parts(letter, part)) }
	part := func(head, body string) string { return head + "\r\n\r\n" + body }
	octets := "Content-Type: application/octet-stream; name=evil.com"
	file := func(name string, data []byte) string { return parts(letter, attached(name, data)) }
	z, tar := files.Zip(t, e), files.Tar(t, e)
	rfc := func(m []byte) string { return parts(letter, part("Content-Type: message/rfc822", string(m))) }
	list := z[:bytes.Index(z, []byte("PK\x01\x02"))]
	doc := files.OLE(files.Entry{Name: "WordDocument", Data: []byte("hello")}, files.Entry{Name: "ObjectPool/_1/\x01Ole10Native", Data: files.Ole10("evil.com", v)})
	all := []wrapping{
		{"as the text", "Subject: x\r\n\r\n" + string(v) + "\r\n"},
		{"text in base64", part("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", b64(v))},
		{"text in quoted-printable", part("Content-Transfer-Encoding: quoted-printable", qp(v))},
		{"text in UTF-16", part("Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64", b64(wide(string(v))))},
		{"uuencoded in the text", "Subject: x\r\n\r\nhello\r\n" + files.UU("evil.com", v)},
		{"uuencoded zip in the text", "Subject: x\r\n\r\nhello\r\n" + files.UU("evil.zip", z)},
		{"attached as it is", parts(letter, part(octets, string(v)))},
		{"attached in base64", file("evil.com", v)},
		{"attached in quoted-printable", parts(letter, part(octets+"\r\nContent-Transfer-Encoding: quoted-printable", qp(v)))},
		{"base64 without line ends", parts(letter, part(octets+"\r\nContent-Transfer-Encoding: base64", base64.StdEncoding.EncodeToString(v)))},
		{"base64 in short lines", parts(letter, part(octets+"\r\nContent-Transfer-Encoding: base64", strings.Join(strings.SplitAfter(base64.StdEncoding.EncodeToString(v), "O"), "\r\n")))},
		{"base64 between garbage", parts(letter, part(octets+"\r\nContent-Transfer-Encoding: base64", strings.ReplaceAll(b64(v), "R", "!R?")))},
		{"base64 in pieces with ends", parts(letter, part(octets+"\r\nContent-Transfer-Encoding: base64", b64(v[:100])+b64(v[100:])))},
		{"named by RFC 2231 in pieces", parts(letter, part("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename*0*=utf-8''ev%69; filename*1=l.com\r\nContent-Transfer-Encoding: base64", b64(v)))},
		{"named by an encoded word", parts(letter, part("Content-Disposition: attachment; filename=\"=?utf-8?B?ZXZpbC5jb20=?=\"\r\nContent-Transfer-Encoding: base64", b64(v)))},
		{"a picture by its type", parts(letter, part("Content-Type: image/gif; name=a.gif\r\nContent-Transfer-Encoding: base64", b64(v)))},
		{"in the preamble", strings.Replace(parts(letter), "--b\r\n", string(v)+"\r\n--b\r\n", 1)},
		{"behind the end", parts(letter) + string(v) + "\r\n"},
		{"in a part behind the end", parts(letter) + "--b\r\n" + attached("evil.com", v) + "\r\n--b--\r\n"},
		{"without an end", strings.TrimSuffix(file("evil.com", v), "--b--\r\n")},
		{"multipart in multipart", parts(letter, "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n"+attached("evil.com", v)+"\r\n--c--")},
		{"multipart in base64", parts(letter, part("Content-Type: multipart/mixed; boundary=c\r\nContent-Transfer-Encoding: base64", b64([]byte("--c\r\n"+attached("evil.com", v)+"\r\n--c--\r\n"))))},
		{"two boundaries", strings.Replace(file("evil.com", v), "boundary=b", "boundary=a; boundary=b", 1)},
		{"two types", "Content-Type: text/plain\r\n" + file("evil.com", v)},
		{"two encodings", parts(letter, part(octets+"\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64", b64(v)))},
		{"a message", rfc(inMail(attached("evil.com", v)))},
		{"a message in a message in a message", rfc([]byte(rfc([]byte(rfc(inMail(attached("evil.com", v)))))))},
		{"a message in base64", parts(letter, part("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", b64(inMail(attached("evil.com", v)))))},
		{"a message as a file", file("a.eml", inMail(attached("evil.com", v)))},
		{"zip", file("a.zip", z)},
		{"zip, stored", file("a.zip", zipBy(t, zip.Store, e))},
		{"zip by another name", file("a.txt", z)},
		{"zip as a letter", part("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", b64(z))},
		{"zip in quoted-printable", parts(letter, part("Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: quoted-printable", qp(z)))},
		{"zip in zip", file("a.zip", files.Zip(t, one("b.zip", z)))},
		{"zip, seven deep", file("a.zip", func() []byte {
			b := z
			for range 6 {
				b = files.Zip(t, one("a.zip", b))
			}
			return b
		}())},
		{"zip behind a picture", file("a.gif", append([]byte("GIF89a\x01\x00"), z...))},
		{"zip behind a program", file("a.exe", append([]byte("MZ\x00\x00"), z...))},
		{"zip without its list", file("a.zip", list)},
		{"zip with a file that is not listed", file("a.zip", append(bytes.Clone(list), files.Zip(t, one("a.txt", []byte("nothing")))...))},
		{"zip with a name twice", file("a.zip", files.Zip(t, one("EVIL.COM", nil), e))},
		{"zip with a name that leads out", file("a.zip", files.Zip(t, one("../../../evil.com", v)))},
		{"zip of a message", file("a.zip", files.Zip(t, one("a.eml", inMail(attached("evil.com", v)))))},
		{"tar", file("a.tar", tar)},
		{"tar.gz", file("a.tgz", files.Gzip(t, tar))},
		{"zip in tar in gz", file("a.tgz", files.Gzip(t, files.Tar(t, one("b.zip", z))))},
		{"gz", file("a.gz", files.Gzip(t, v))},
		{"gz with a long header", file("a.gz", gzNamed(t, v))},
		{"gz in gz in gz", file("a.gz", files.Gzip(t, files.Gzip(t, files.Gzip(t, v))))},
		{"two gz in one", file("a.gz", append(files.Gzip(t, []byte("nothing")), files.Gzip(t, v)...))},
		{"xz", file("a.xz", files.XZ(t, v))},
		{"zst", file("a.zst", files.Zstd(t, v))},
		{"rar", file("a.rar", files.Rar(false, e))},
		{"rar behind a program", file("a.exe", append([]byte("MZ\x00\x00"), files.Rar(false, e)...))},
		{"winmail.dat", file("winmail.dat", files.TNEF("evil.com", v))},
		{"docx with an object", file("a.docx", files.Docx(t, "hello", one("word/embeddings/o.bin", files.OLE(one("\x01Ole10Native", files.Ole10("evil.com", v))))))},
		{"docx with a file", file("a.docx", files.Docx(t, "hello", one("word/media/evil.com", v)))},
		{"doc with an object", file("a.doc", doc)},
		{"rtf with an object", file("a.rtf", []byte(`{\rtf1 hello{\object\objemb{\*\objdata 01050000`+hex.EncodeToString(v)+`}}}`))},
		{"pdf with a file", file("a.pdf", files.PDF(t, "x", fmt.Sprintf("3 0 obj << /Type /EmbeddedFile /Filter /FlateDecode >>\nstream\n%s\nendstream endobj", deflated(t, v))))},
	}
	return all
}

// Register C1, C5: the test virus in 60 wrappings does not pass a filter that
// looks for its text, nor a real clamd: each message is held.
func TestSEC_C1_Wrappings(t *testing.T) {
	all := wrappings(t)
	if len(all) != 60 {
		t.Errorf("%d wrappings", len(all))
	}
	pool := newPool(t, unpack.Options{Workers: 1})
	byFilter, err := filter.Parse(`virus: if (body-contains("EICAR-STANDARD-") or attachment-binary-contains("EICAR-STANDARD-")) { quarantine("Virus"); }`)
	if err != nil {
		t.Fatal(err)
	}
	none, err := filter.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	clamd := scan.NewClamd(scan.ClamdOptions{Address: testlib.NewClamd(t).Socket})
	defer clamd.Close()
	table := &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}}}
	for by, s := range map[string]pipeline.Settings{"filter": {Filters: byFilter}, "clamd": {Filters: none, Inbound: table, Engine: clamd}} {
		p := pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind, Opener: opener(pool), HoldAmbiguous: "Policy"})
		p.Set(s)
		for _, w := range all {
			d, err := first(p.Judge(t.Context(), (&bench{}).input(w.raw)))
			if err != nil || len(d.Quarantine) == 0 {
				t.Errorf("%s: %s: passes, %v", by, w.name, err)
			}
		}
		// What is like these and has no virus passes.
		if d, err := first(p.Judge(t.Context(), (&bench{}).input(parts("\r\nhello", attached("a.zip", files.Zip(t, one("a.com", payload()[:500]))))))); err != nil || len(d.Quarantine) > 0 {
			t.Errorf("%s: held without a virus: %+v %v", by, d.Quarantine, err)
		}
	}
}
