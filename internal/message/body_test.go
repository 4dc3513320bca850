package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	parts "mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/text/encoding/htmlindex"
	"pgregory.net/rapid"
)

// patch changes a message.
func patchText(t *testing.T, b Body, msg string) (string, *Patch) {
	t.Helper()
	if b.Boundary == "" {
		b.Boundary = "=_new"
	}
	if b.Why == "" {
		b.Why = "by a filter"
	}
	p, err := b.Patch(strings.NewReader(msg))
	if err != nil {
		t.Fatal(err)
	}
	// Read byte by byte: no place depends on how the stream is cut.
	out, err := io.ReadAll(p.Reader(iotest.OneByteReader(strings.NewReader(msg))))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(p.Reader(strings.NewReader(msg)))
	if err != nil || !bytes.Equal(whole, out) {
		t.Fatalf("%v: read in one piece it is another message", err)
	}
	return string(out), p
}

// foreign reads a message with the reader of Go's library, and gives the types
// and the decoded text of its leaves.
func foreign(t *testing.T, msg string) (out []string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(msg))
	if err != nil {
		t.Fatalf("%v in\n%s", err, msg)
	}
	var walk func(kind, encoding string, r io.Reader)
	walk = func(kind, encoding string, r io.Reader) {
		if kind == "" {
			kind = "text/plain"
		}
		media, params, err := mime.ParseMediaType(kind)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if strings.HasPrefix(media, "multipart/") {
			out = append(out, media)
			mr := parts.NewReader(r, params["boundary"])
			for {
				p, err := mr.NextRawPart()
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Fatalf("%v in\n%s", err, msg)
				}
				walk(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p)
			}
		}
		switch strings.ToLower(encoding) {
		case "base64":
			r = base64.NewDecoder(base64.StdEncoding, r)
		case "quoted-printable":
			r = quotedprintable.NewReader(r)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%v in\n%s", err, msg)
		}
		if cs := params["charset"]; cs != "" && cs != "us-ascii" {
			e, err := htmlindex.Get(cs)
			if err != nil {
				t.Fatalf("%s: %v", cs, err)
			}
			if b, err = e.NewDecoder().Bytes(b); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, media+": "+strings.TrimRight(string(b), "\r\n"))
	}
	walk(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
	return out
}

func same(t *testing.T, name string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n~\n") != strings.Join(want, "\n~\n") {
		t.Errorf("%s:\n%q\nwant\n%q", name, got, want)
	}
}

// A text is put below, above and into a text in every transfer encoding and
// charset; another reader sees what was meant.
func TestTextInEveryEncoding(t *testing.T) {
	steps := []TextStep{
		{Top: "Über\r\n"}, {End: "--\r\n--b\r\nunten €\r\n"},
		{Change: func(s string) (string, bool) {
			return strings.ReplaceAll(s, "geheim", "***"), strings.Contains(s, "geheim")
		}},
	}
	const text = "Grüße, geheim = geheim \r\n--b--\r\n.\r\nFrom here\r\nlast"
	for _, charset := range []string{"", "utf-8", "iso-8859-1", "windows-1252", "utf-16le", "iso-2022-jp", "x-nobody"} {
		raw := text
		if e, err := htmlindex.Get(charset); err == nil {
			if raw, err = e.NewEncoder().String(text); err != nil {
				raw = strings.NewReplacer("ü", "ue", "ß", "ss").Replace(text)
			}
		}
		seen := text
		if charset == "iso-2022-jp" {
			seen = raw
		}
		for _, encoding := range []string{"7bit", "8bit", "binary", "quoted-printable", "base64"} {
			body := raw
			if encoding == "base64" || charset == "utf-16le" {
				encoding, body = "base64", base64.StdEncoding.EncodeToString([]byte(raw))
			} else if encoding == "quoted-printable" {
				body = string(appendQuoted(nil, []byte(raw)))
			}
			kind := "text/plain"
			if charset != "" {
				kind += "; charset=" + charset
			}
			for _, html := range []bool{false, true} {
				for _, nested := range []bool{false, true} {
					if body == raw && nested && strings.Contains(raw, "\r\n--b--") { // it would end the part
						continue
					}
					k, in, top, end := kind, body, "Über\r\n", "--\r\n--b\r\nunten €"
					if html {
						k, top, end = strings.Replace(kind, "plain", "html", 1), "&#220;ber<br>\r\n", "--<br>\r\n--b<br>\r\nunten &#8364;<br>"
					}
					head := "Content-Type: " + k + "\r\nContent-Transfer-Encoding: " + encoding + "\r\n"
					msg := "Subject: x\r\n" + head + "X-Last: 1\r\n\r\n" + in + "\r\n"
					if nested {
						msg = "Content-Type: multipart/mixed; boundary=b\r\n\r\nhi\r\n--b\r\n" + head + "\r\n" + in + "\r\n--b\r\nContent-Type: image/gif\r\nX-A: 1\r\n\r\nGIF\x00\xff--b\n\r\n--b--\r\nbye\r\n"
					}
					out, p := patchText(t, Body{Steps: steps}, msg)
					want := top + strings.ReplaceAll(seen, "geheim", "***") + "\r\n" + end
					if html { // no line end is needed there
						sep := ""
						if !nested && encoding != "base64" && encoding != "quoted-printable" || !nested && body == raw {
							sep = "\r\n"
						}
						want = top + strings.ReplaceAll(seen, "geheim", "***") + sep + end
					}
					got := foreign(t, out)
					name := fmt.Sprintf("%s %s html %v nested %v", charset, encoding, html, nested)
					if html && len(got) == 1 { // whether its last line has an end is of the source
						got[0], want = strings.ReplaceAll(got[0], "last\r\n", "last"), strings.ReplaceAll(want, "last\r\n", "last")
					}
					if nested {
						same(t, name, got, "multipart/mixed", strings.SplitN(k, ";", 2)[0]+": "+want, "image/gif: GIF\x00\xff--b")
						if !strings.Contains(out, "\r\nhi\r\n--b\r\n") || !strings.HasSuffix(out, "\r\n--b\r\nContent-Type: image/gif\r\nX-A: 1\r\n\r\nGIF\x00\xff--b\n\r\n--b--\r\nbye\r\n") {
							t.Errorf("%s: what was not named is changed:\n%q", name, out)
						}
					} else {
						same(t, name, got, strings.SplitN(k, ";", 2)[0]+": "+want)
						if !strings.HasPrefix(out, "Subject: x\r\n") || !strings.Contains(out, "\r\nX-Last: 1\r\n") {
							t.Errorf("%s: %q", name, out)
						}
					}
					if p.Done != 1 || len(p.Undone) > 0 {
						t.Errorf("%s: %+v", name, p)
					}
				}
			}
		}
	}
}

const alternative = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\nplain\r\n--i\r\nContent-Type: text/html\r\n\r\n<html><BODY bgcolor=\">\">rich</body></html>\r\n--i--\r\n" +
	"--o\r\nContent-Type: text/plain; name=a.txt\r\n\r\nplain file\r\n--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nplain inner\r\n--o--\r\n"

// Which texts are meant: each alternative, no attachment, nothing in attached mail.
func TestWhichTexts(t *testing.T) {
	out, p := patchText(t, Body{Steps: []TextStep{{End: "foot <1>\r\n"}, {Top: "head\r\n", HTML: "<b>hé</b>"}, {Change: func(s string) (string, bool) { return strings.ToUpper(s), strings.Contains(s, "plain") }}}}, alternative)
	same(t, "alternative", foreign(t, out), "multipart/mixed", "multipart/alternative", "text/plain: head\r\nPLAIN\r\nfoot <1>",
		"text/html: <html><BODY bgcolor=\">\"><b>h&#233;</b>richfoot &lt;1&gt;<br>\r\n</body></html>", "text/plain: plain file", "message/rfc822: Subject: inner\r\n\r\nplain inner")
	if p.Done != 2 || !strings.HasSuffix(out, alternative[strings.Index(alternative, "--o\r\nContent-Type: text/plain; name"):]) {
		t.Errorf("%+v\n%s", p, out)
	}
	out, _ = patchText(t, Body{Steps: []TextStep{{Plain: true}, {End: "foot\r\n"}}}, alternative)
	same(t, "HTML to text", foreign(t, out)[2:4], "text/plain: plain\r\nfoot", "text/plain: rich\r\nfoot")
}

// Parts go, wherever they stand; the rest stays byte by byte.
func TestDropParts(t *testing.T) {
	for _, c := range []struct {
		drop []string
		gone []string
	}{
		{[]string{"2"}, []string{"--o\r\nContent-Type: text/plain; name=a.txt\r\n\r\nplain file\r\n"}},
		{[]string{"3.1"}, []string{"Subject: inner\r\n\r\nplain inner\r\n"}},
		{[]string{"3", "3.1", "2"}, []string{"Content-Type: text/plain; name=a.txt\r\n\r\nplain file\r\n", "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nplain inner\r\n"}},
		{[]string{"1.2"}, []string{"Content-Type: text/html\r\n\r\n<html><BODY bgcolor=\">\">rich</body></html>\r\n"}},
	} {
		b := Body{}
		for _, path := range c.drop {
			b.Drop = append(b.Drop, Removal{Path: path, Notice: "gone: --o"})
		}
		out, p := patchText(t, b, alternative)
		foreign(t, out)
		rest := alternative
		const notice = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngone: --o\r\n"
		for _, g := range c.gone {
			put := notice
			if strings.HasPrefix(g, "--o\r\n") {
				put = "--o\r\n" + put
			}
			rest = strings.Replace(rest, g, put, 1)
		}
		if out != rest || p.Unclear || len(p.Undone) > 0 {
			t.Errorf("%v: %+v\n%s\nwant\n%s", c.drop, p, out, rest)
		}
	}
	out, _ := patchText(t, Body{Drop: []Removal{{}}}, "From: a@b.example\r\nContent-Type: application/pdf;\r\n name=\"x\"\r\nmime-version: 1.0\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\nTo: c@d.example\r\n\r\nUERG\r\n")
	if want := "From: a@b.example\r\nContent-Disposition: attachment\r\nTo: c@d.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n[ The attachment \"x\" (application/pdf) was removed by a filter. ]\r\n"; out != want {
		t.Errorf("%q", out)
	}
}

// Where no text can hold it, a text is a part of its own; where it would break
// something, nothing is done and that is said.
func TestTextBeside(t *testing.T) {
	steps := []TextStep{{Top: "head\r\n", What: "add-heading"}, {End: "foot\r\n--b\r\n", What: "add-footer"}}
	for name, c := range map[string]struct {
		msg  string
		want []string
	}{
		"a file":  {"Subject: x\r\nContent-Type: image/gif; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lG\r\n", []string{"multipart/mixed", "text/plain: head", "image/gif: GIF", "text/plain: foot\r\n--b"}},
		"files":   {"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: image/gif\r\n\r\nGIF\r\n--b\r\nContent-Type: image/png\r\n\r\nPNG\r\n--b--\r\n", []string{"multipart/mixed", "text/plain: head", "image/gif: GIF", "image/png: PNG", "text/plain: foot\r\n--b"}},
		"related": {"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>hi\r\n--b\r\nContent-Type: image/png\r\n\r\nPNG\r\n--b--\r\n", []string{"multipart/related", "text/html: head<br>\r\n<p>hifoot<br>\r\n--b<br>", "image/png: PNG"}},
	} {
		out, p := patchText(t, Body{Steps: steps}, c.msg)
		same(t, name, foreign(t, out), c.want...)
		if len(p.Undone) > 0 {
			t.Errorf("%s: %v", name, p.Undone)
		}
	}
	change := append(steps, TextStep{What: "edit-body-text", Change: func(string) (string, bool) { return "", true }})
	for name, msg := range map[string]string{
		"signed":      "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n",
		"encrypted":   "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nhi\r\n",
		"two ways":    "Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b--\r\n",
		"two types":   "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nhi\r\n",
		"no boundary": "Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nhi\r\n--b--\r\n",
	} {
		out, p := patchText(t, Body{Steps: change}, msg)
		if out != msg || len(p.Undone) == 0 {
			t.Errorf("%s: %v %q", name, p.Undone, out)
		}
	}
	if _, p := patchText(t, Body{Drop: []Removal{{Path: "2"}}}, "Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b--\r\n"); !p.Unclear {
		t.Error("parts are cut out of a message that is read in two ways")
	}
	if _, p := patchText(t, Body{Drop: []Removal{{Path: "", Loose: true}}}, "Subject: x\r\n\r\nhi\r\nbegin 644 a.exe\r\nend\r\n"); !p.Unclear {
		t.Error("a file in a text is cut out")
	}
	if _, p := patchText(t, Body{Drop: []Removal{{Path: ""}}}, "Subject: x\r\n\r\nhi\r\nbegin 644 a.exe\r\nend\r\n"); p.Unclear {
		t.Error("the text goes, and with it what is in it")
	}
}

// What is taken out and put in leaves every other part as it was, whatever
// parts there are.
func TestPatchProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		bodies := rapid.SliceOfN(rapid.StringMatching(`[a-zA-Z0-9 =.\-\x00-\x08é\r\n]{0,60}`), 1, 5).Draw(r, "bodies")
		msg := "Content-Type: multipart/mixed; boundary=BOUND\r\n\r\n"
		for i, b := range bodies {
			msg += fmt.Sprintf("--BOUND\r\nContent-Type: application/x-%d\r\n\r\n%s\r\n", i, b)
		}
		msg += "--BOUND--\r\n"
		at := rapid.IntRange(1, len(bodies)).Draw(r, "drop")
		notice := rapid.StringMatching(`[ -~é]{1,90}`).Draw(r, "notice")
		b := Body{Drop: []Removal{{Path: fmt.Sprint(at), Notice: notice}}, Steps: []TextStep{{End: notice + "\r\n"}}, Boundary: "X", Why: "y"}
		p, err := b.Patch(strings.NewReader(msg))
		if err != nil {
			r.Fatal(err)
		}
		out, err := io.ReadAll(p.Reader(strings.NewReader(msg)))
		if err != nil {
			r.Fatal(err)
		}
		n := 0
		if _, err := Walk(bytes.NewReader(out), Limits{}, func(part *Part) error {
			if part.Role != Leaf {
				return nil
			}
			n++
			got, err := io.ReadAll(part.Body)
			if err != nil {
				return err
			}
			switch {
			case n == at, n == len(bodies)+1:
				if s := strings.TrimRight(string(got), "\r\n"); s != notice {
					r.Fatalf("notice %q, want %q", s, notice)
				}
			case string(got) != bodies[n-1]:
				r.Fatalf("part %d %q, want %q", n, got, bodies[n-1])
			}
			return nil
		}); err != nil || n != len(bodies)+1 {
			r.Fatalf("%v: %d parts in\n%s", err, n, out)
		}
	})
}

// Lines of quoted-printable have at most 76 characters, none of them begins
// like a boundary, and the library reads what was written.
func TestAppendQuoted(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringMatching(`([ -~éü\t-]{0,200}\r\n)*[ -~]{0,100}`).Draw(r, "text")
		out := appendQuoted(nil, []byte(text))
		for _, l := range strings.Split(string(out), "\r\n") {
			if len(l) > 76 || strings.HasPrefix(l, "--") || strings.HasPrefix(l, "From ") || strings.HasPrefix(l, ".") {
				r.Fatalf("line %q", l)
			}
		}
		back, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(out)))
		if err != nil || string(back) != text {
			r.Fatalf("%v %q, want %q", err, back, text)
		}
	})
}
