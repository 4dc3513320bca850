package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	mp "mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
)

// shape reads a message as an independent reader does and gives its tree with
// the beginnings of its texts. It refuses what is not well-formed.
func shape(t *testing.T, raw string) string {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	if n := len(m.Header["Mime-Version"]) + len(m.Header["Content-Type"]); n != 2 {
		t.Errorf("%d MIME fields in\n%s", n, raw)
	}
	return part(t, m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
}

func part(t *testing.T, ctype, enc string, body io.Reader) string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(ctype)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		if enc != "quoted-printable" || params["charset"] != "utf-8" {
			t.Errorf("%s in %s", ctype, enc)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(body))
		if err != nil {
			t.Error(err)
		}
		return fmt.Sprintf("%s%q", strings.TrimPrefix(kind, "text/"), strings.TrimRight(string(b), "\r\n"))
	}
	var parts []string
	r := mp.NewReader(body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part(t, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p))
	}
	return strings.TrimPrefix(kind, "multipart/") + "(" + strings.Join(parts, " ") + ")"
}

const gone = " was removed when this message was released from quarantine. ]"

// Each message keeps its text, loses everything else, and says what.
func TestStrip(t *testing.T) {
	mixed := func(kind string, parts ...string) string {
		return "Content-Type: multipart/" + kind + "; boundary=b\r\n\r\n--b\r\n" + strings.Join(parts, "\r\n--b\r\n") + "\r\n--b--\r\n"
	}
	const (
		text = "Content-Type: text/plain\r\n\r\nHello"
		html = "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+Z3L8bjwvYj4="
		pdf  = "Content-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nRVZJTA=="
	)
	for _, c := range []struct {
		name, in, want string
		removed        int
	}{
		{"plain", "Subject: x\r\n\r\nHello\r\n", `plain"Hello"`, 0},
		{"no body", "Subject: x\r\n", `plain""`, 0},
		{"an attachment", mixed("mixed", text, pdf), `mixed(plain"Hello" plain"[ The attachment \"a.pdf\" (application/pdf)` + gone + `")`, 1},
		{"all is attachment", pdf, `plain"[ The attachment \"a.pdf\" (application/pdf)` + gone + `"`, 1},
		{"charset", html, `html"<b>grün</b>"`, 0},
		{"alternatives", mixed("alternative", text, html, pdf), `alternative(plain"Hello" html"<b>grün</b>")`, 1},
		{"no alternative left", mixed("alternative", pdf), `alternative(plain"[ Nothing of this part is left: all of it` + gone[:len(gone)-2] + ` ]")`, 1},
		{"named text", mixed("mixed", text, "Content-Type: text/plain; name=run.bat\r\n\r\nEVIL"), `mixed(plain"Hello" plain"[ The attachment \"run.bat\" (text/plain)` + gone + `")`, 1},
		{"text by disposition", mixed("mixed", text, "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nEVIL"), `mixed(plain"Hello" plain"[ The attachment (text/plain)` + gone + `")`, 1},
		{"related", mixed("related", html, "Content-Type: image/png\r\nContent-ID: <i>\r\n\r\nEVIL"), `mixed(html"<b>grün</b>" plain"[ The attachment (image/png)` + gone + `")`, 1},
		{"attached message", mixed("mixed", text, "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nEVIL"), `mixed(plain"Hello" plain"[ The attachment (message/rfc822)` + gone + `")`, 1},
		{"digest", mixed("digest", "\r\nSubject: in\r\n\r\nEVIL"), `mixed(plain"[ The attachment (message/rfc822)` + gone + `")`, 1},
		{"signed", mixed("signed", text, "Content-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nEVIL"),
			`mixed(plain"Hello" plain"[ The signature, which would not hold any more, \"smime.p7s\" (application/pkcs7-signature)` + gone + `")`, 1},
		{"encrypted", mixed("encrypted", "Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1", "Content-Type: application/octet-stream\r\n\r\nEVIL"),
			`plain"[ The encrypted or signed content (multipart/encrypted)` + gone + `"`, 1},
		{"opaque", "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\r\nEVIL", `plain"[ The encrypted or signed content \"smime.p7m\" (application/pkcs7-mime)` + gone + `"`, 1},
		{"uuencoded", "\r\nHello\r\nbegin 644 evil.exe\r\nEVIL\r\nend\r\nBye\r\n", `plain"Hello\r\n[ The attachment \"evil.exe\"` + gone + `\r\nBye"`, 1},
		{"uuencoded without end", "\r\nHello\r\nbegin 644 evil.exe\r\nEVIL\r\n", `plain"Hello\r\n[ The attachment \"evil.exe\"` + gone + `"`, 1},
		{"nested", mixed("mixed", strings.ReplaceAll(mixed("alternative", text, html), "b", "c"), pdf), "", 1},
		{"two types", "Content-Type: text/plain\r\nContent-Type: application/pdf\r\n\r\nEVIL", `plain"[ The attachment (text/plain)` + gone + `"`, 1},
		{"two boundaries", "Content-Type: multipart/mixed; boundary=b; boundary=d\r\n\r\n--d\r\n" + pdf + "\r\n--d--\r\n", `mixed(plain"[ The attachment \"a.pdf\" (application/pdf)` + gone + `")`, 1},
		{"no boundary in it", "Content-Type: multipart/mixed; boundary=b\r\n\r\nEVIL\r\n", `mixed(plain"[ Nothing of this part is left: all of it` + gone[:len(gone)-2] + ` ]")`, 0},
		{"behind the end", mixed("mixed", text) + "EVIL", `mixed(plain"Hello")`, 0},
		{"our delimiter inside", "\r\n--BOUND-1\r\nContent-Type: application/pdf\r\n\r\nx\r\n", `plain"--BOUND-1\r\nContent-Type: application/pdf\r\n\r\nx"`, 0},
		{"hostile name", "Content-Type: application/pdf; name=\"\x1b[2J..\\\\evil\u202e\"\r\n\r\nEVIL", "", 1},
	} {
		var b bytes.Buffer
		removed, err := Edit{Strip: true, Boundary: "BOUND"}.Copy(&b, strings.NewReader(c.in))
		if err != nil || removed != c.removed {
			t.Errorf("%s: %d removed, %v", c.name, removed, err)
		}
		out := b.String()
		if strings.Contains(out, "EVIL") || strings.Contains(out, "RVZJTA") || strings.ContainsAny(out, "\x00\x1b\u202e") {
			t.Errorf("%s: it came through:\n%s", c.name, out)
		}
		if got := shape(t, out); c.want != "" && got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
		for _, line := range strings.SplitAfter(out, "\n") {
			if line != "" && !strings.HasSuffix(line, "\r\n") || len(line) > 1000 {
				t.Errorf("%s: line %q", c.name, line)
			}
		}
	}
}

// Beyond the limits of reading, what was not read does not come through either.
func TestStripLimits(t *testing.T) {
	var in bytes.Buffer
	in.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for range 1200 {
		in.WriteString("--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n")
	}
	in.WriteString("--b\r\nContent-Type: application/pdf\r\n\r\nEVIL\r\n--b--\r\n")
	var b bytes.Buffer
	if _, err := (Edit{Strip: true, Boundary: "BOUND"}).Copy(&b, &in); err != nil {
		t.Fatal(err)
	}
	if got := shape(t, b.String()); strings.Contains(got, "EVIL") || !strings.HasSuffix(got, `plain"[ There was more, which could not be read. It was removed when this message was released from quarantine. ]")`) {
		t.Error(got[len(got)-200:])
	}
	long := "X: " + strings.Repeat("x", MaxHeaderBlock) + "\r\n\r\nbody"
	if _, err := (Edit{Strip: true, Boundary: "BOUND"}).Copy(io.Discard, strings.NewReader(long)); err == nil || !strings.Contains(err.Error(), "header is longer") {
		t.Errorf("a header beyond the limit: %v", err)
	}
	bad := errors.New("broken")
	if _, err := (Edit{Strip: true, Boundary: "BOUND"}).Copy(io.Discard, io.MultiReader(strings.NewReader("A: b\r\n\r\nx"), failing{bad})); !errors.Is(err, bad) {
		t.Errorf("an error of the reader: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A subject is changed wherever it stands; all else stays as it came, to the byte.
func TestEditSubject(t *testing.T) {
	tag := func(raw string) string { return strings.TrimSpace("[early] " + raw) }
	for _, c := range []struct{ in, want string }{
		{"From: a\r\nSubject: Offer\r\nTo: b\r\n\r\nbody\r\n\x00\xff", "From: a\r\nSubject: [early] Offer\r\nTo: b\r\n\r\nbody\r\n\x00\xff"},
		{"SUBJECT : a\r\n b\r\n\r\n", "Subject: [early] a b\r\n\r\n"},
		{"From: a\r\n\r\nSubject: no\r\n", "From: a\r\nSubject: [early]\r\n\r\nSubject: no\r\n"},
		{"Subject: 1\r\nSubject: 2\r\n\r\n", "Subject: [early] 1\r\nSubject: [early] 2\r\n\r\n"},
		{"Subject: x", "Subject: [early] x\r\n"},
		{"", "Subject: [early]\r\n"},
		{"Subject: " + strings.Repeat("word ", 30) + "\r\n\r\n", "Subject: [early]" + strings.Repeat(" word", 12) + "\r\n" + strings.Repeat(" word", 15) + "\r\n" + strings.Repeat(" word", 3) + "\r\n\r\n"},
	} {
		var b bytes.Buffer
		if _, err := (Edit{Subject: tag}).Copy(&b, strings.NewReader(c.in)); err != nil || b.String() != c.want {
			t.Errorf("%q gives\n%q, want\n%q, %v", c.in, b.String(), c.want, err)
		}
	}
	var b bytes.Buffer
	if _, err := (Edit{Subject: tag}).Copy(&b, strings.NewReader("Subject: "+strings.Repeat("x", 5000)+"\r\n\r\n")); err != nil || slices.ContainsFunc(strings.Split(b.String(), "\r\n"), func(l string) bool { return len(l) > mostLine }) {
		t.Errorf("%v: lines too long", err)
	}
}

// Whatever comes in, a stripped message is well-formed and no attachment is in it.
func FuzzStrip(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n--b--\r\n"))
	f.Add([]byte("Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\nx"))
	f.Add([]byte(" \r\nSubject\r\nContent-Type:x\r\n\t\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var b bytes.Buffer
		if _, err := (Edit{Strip: true, Boundary: "BOUND"}).Copy(&b, bytes.NewReader(in)); err != nil {
			return
		}
		_, err := Walk(bytes.NewReader(b.Bytes()), Limits{}, func(p *Part) error {
			if p.Role == Leaf && p.IsAttachment() || p.Role == Container && !multipart(p.Types[0]) {
				t.Errorf("%s %v came through:\n%q", p.Path, p.Types, b.String())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// Fields that are to go do, however they are written; nothing else changes.
func TestEditDrop(t *testing.T) {
	in := "Received: x\r\nAUTHENTICATION-results : gw.example;\r\n\tspf=pass\r\nAuthentication-Results: other.example; none\r\nSubject: gw.example\r\n\r\nAuthentication-Results: gw.example\r\n"
	var b bytes.Buffer
	drop := func(name, value string) bool {
		return name == "authentication-results" && strings.HasPrefix(value, "gw.example;")
	}
	if _, err := (Edit{Drop: drop}).Copy(&b, strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	if want := "Received: x\r\nAuthentication-Results: other.example; none\r\nSubject: gw.example\r\n\r\nAuthentication-Results: gw.example\r\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
}
