package message

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// seen is what a walk gave: a line for each part.
func seen(t testing.TB, raw string, lim Limits) ([]*Part, []string, Findings) {
	t.Helper()
	var parts []*Part
	var texts []string
	fs, err := Walk(strings.NewReader(raw), lim, func(p *Part) error {
		var b []byte
		var err error
		if p.IsText() {
			b, err = io.ReadAll(p.Text())
		} else {
			b, err = io.ReadAll(p.Body)
		}
		if err != nil {
			t.Errorf("reading part %q: %v", p.Path, err)
		}
		parts = append(parts, p)
		texts = append(texts, string(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return parts, texts, fs
}

func names(parts []*Part) []string {
	var out []string
	for _, p := range parts {
		out = append(out, p.Names...)
	}
	return out
}

const exe = "TVqQAAMAAAAEAAAA"

// attach gives a message with one part whose header is as given.
func attach(head, boundary, part string) string {
	return "From: a@b\r\nMIME-Version: 1.0\r\n" + head + "\r\n\r\npreamble\r\n--" + boundary + "\r\n" + part + "\r\n\r\n" + exe + "\r\n--" + boundary + "--\r\n"
}

const (
	mixed = "Content-Type: multipart/mixed; boundary=bb"
	evil  = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=evil.exe"
)

// The ways to hide evil.exe of stack.md 3.2 and register C1. Each is found,
// with its bytes, and all but the plain ones are findings.
var evasions = []struct {
	name, raw string
	find      Kind
}{
	{"plain", attach(mixed, "bb", evil), ""},
	{"unfolded continuation line in part header", attach(mixed, "bb", strings.Replace(evil, "; filename", ";\r\nfilename", 1)), UnfoldedLine},
	{"garbage line in top header", attach("this is no field\r\n"+mixed, "bb", evil), GarbageInHeader},
	{"garbage line behind Content-Type", attach(mixed+"\r\ngarbage", "bb", evil), UnfoldedLine},
	{"nonsense Content-Type on the part", attach(mixed, "bb", strings.Replace(evil, "application/octet-stream", "nonsense;;=\"", 1)), MalformedType},
	{"boundary parameter twice, last counts", attach(mixed[:len(mixed)-2]+"aa; boundary=bb", "bb", evil), BoundaryAmbiguous},
	{"boundary parameter twice, first counts", attach(mixed+"; boundary=aa", "bb", evil), BoundaryAmbiguous},
	{"two Content-Types, text/plain first", attach("Content-Type: text/plain\r\n"+mixed, "bb", evil), DuplicateContentType},
	{"two Content-Types, text/plain last", attach(mixed+"\r\nContent-Type: text/plain", "bb", evil), DuplicateContentType},
	{"NUL in Content-Disposition", attach(mixed, "bb", strings.Replace(evil, "filename", "file\x00name", 1)), NULInHeader},
	{"NUL behind the name", attach(mixed, "bb", strings.Replace(evil, "evil.exe", "\"evil.exe\x00.txt\"", 1)), NULInHeader},
	{"space before colon", attach(mixed, "bb", strings.ReplaceAll(evil, ":", " :")), SpaceBeforeColon},
	{"comment in the field name", attach(mixed, "bb", strings.Replace(evil, "Disposition:", "Disposition (x):", 1)), CommentInName},
	{"unquoted name with space", attach(mixed, "bb", strings.Replace(evil, "evil.exe", "a b evil.exe", 1)), NameAmbiguous},
	{"comment after boundary", attach(mixed+" (comment)", "bb", evil), BoundaryAmbiguous},
	{"comment before boundary", attach("Content-Type: multipart/mixed; (x) boundary (y)= bb", "bb", evil), ""},
	{"missing semicolon before boundary", attach("Content-Type: multipart/mixed boundary=bb", "bb", evil), MalformedParameter},
	{"no boundary parameter", attach("Content-Type: multipart/mixed", "bb", evil), BoundaryMissing},
	{"no closing boundary", strings.TrimSuffix(attach(mixed, "bb", evil), "--bb--\r\n"), BoundaryUnclosed},
	{"bare LF", strings.ReplaceAll(attach(mixed, "bb", evil), "\r\n", "\n"), ""},
	{"bare CR in the header", attach(mixed, "bb", strings.Replace(evil, "\r\nContent-D", "\rContent-D", 1)), BareCRInHeader},
	{"RFC 2231 pieces", attach(mixed, "bb", strings.Replace(evil, "filename=evil.exe", "filename*0*=utf-8''ev%69;\r\n\tfilename*1=l.e; filename*2*=%78e", 1)), ""},
	{"RFC 2231 beside a plain name", attach(mixed, "bb", strings.Replace(evil, "filename=evil.exe", "filename=good.txt; filename*=utf-8''evil.exe", 1)), NameAmbiguous},
	{"plain beside RFC 2231", attach(mixed, "bb", strings.Replace(evil, "filename=", "filename*=utf-8''good.txt; filename=", 1)), NameAmbiguous},
	{"RFC 2231 with a gap", attach(mixed, "bb", strings.Replace(evil, "filename=evil.exe", "filename*0=ev; filename*2=il.exe", 1)), NameAmbiguous},
	{"RFC 2047 in the parameter", attach(mixed, "bb", strings.Replace(evil, "evil.exe", `"=?utf-8?B?ZXZpbC5leGU=?="`, 1)), EncodedName},
	{"name in Content-Type only", attach(mixed, "bb", "Content-Type: text/plain; name=evil.exe\r\nContent-Transfer-Encoding: base64"), ""},
	{"two names", attach(mixed, "bb", strings.Replace(evil, "octet-stream", "octet-stream; name=good.txt", 1)), NameAmbiguous},
	{"two Content-Dispositions", attach(mixed, "bb", "Content-Disposition: inline; filename=good.txt\r\n"+evil), DuplicateDisposition},
	{"text behind the quoted name", attach(mixed, "bb", strings.Replace(evil, "evil.exe", `"evil".exe`, 1)), MalformedParameter},
	{"quote never closed", attach(mixed, "bb", strings.Replace(evil, "evil.exe", `"evil.exe`, 1)), MalformedParameter},
	{"final dot", attach(mixed, "bb", strings.Replace(evil, "evil.exe", "evil.exe.", 1)), ""},
	{"unknown encoding", attach(mixed, "bb", strings.Replace(evil, "base64", "x-nonsense", 1)), UnknownEncoding},
	{"two encodings", attach(mixed, "bb", "Content-Transfer-Encoding: 7bit\r\n"+evil), DuplicateEncoding},
	{"base64 on multipart, ignored by some", attach(mixed+"\r\nContent-Transfer-Encoding: base64", "bb", evil), EncodedContainer},
	{"multipart in base64, decoded by some", "Content-Type: multipart/mixed; boundary=bb\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64("--bb\r\n"+evil+"\r\n\r\n"+exe+"\r\n--bb--\r\n"), EncodedContainer},
	{"part behind the closing delimiter", attach(mixed, "bb", "Content-Type: text/plain") + "--bb\r\n" + evil + "\r\n\r\n" + exe + "\r\n", PartAfterClose},
	{"no blank line in front of the first delimiter", strings.Replace(attach(mixed, "bb", evil), "\r\n\r\npreamble", "", 1), MissingBlankLine},
	{"header ends at a delimiter", attach(mixed, "bb", "Content-Type: text/plain\r\n--bb\r\n"+evil), HeaderCut},
	{"blank continuation line", attach(mixed, "bb", strings.Replace(evil, "\r\nContent-D", "\r\n \t\r\nContent-D", 1)), BlankContinuation},
	{"continuation first", attach(mixed, "bb", " folded\r\n"+evil), ContinuationFirst},
	{"attached message", attach(mixed, "bb", "Content-Type: message/rfc822\r\n\r\n"+strings.TrimSuffix(attach(mixed[:len(mixed)-2]+"cc", "cc", evil), "\r\n")), TextAfterClose},
	{"attached message in base64", attach(mixed, "bb", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"+b64(evil+"\r\n\r\n"+exe)), EncodedContainer},
	{"part of a digest", attach("Content-Type: multipart/digest; boundary=bb", "bb", "\r\n"+evil), ""},
	{"boundary in another field", attach("Content-Type: multipart/mixed\r\nContent-Disposition: inline; boundary=bb", "bb", evil), BoundaryMisplaced},
	{"boundary in pieces", attach("Content-Type: multipart/mixed; boundary*0=b; boundary*1=b", "bb", evil), ""},
	{"boundary encoded and plain", attach("Content-Type: multipart/mixed; boundary=aa; boundary*=us-ascii''bb", "bb", evil), BoundaryAmbiguous},
	{"boundary too long", attach("Content-Type: multipart/mixed; boundary="+strings.Repeat("b", 90), strings.Repeat("b", 90), evil), BoundaryMalformed},
	{"boundary with odd characters", attach("Content-Type: multipart/mixed; boundary=\"b{}b\"", "b{}b", evil), BoundaryMalformed},
	{"no MIME-Version", strings.Replace(attach(mixed, "bb", evil), "MIME-Version: 1.0\r\n", "", 1), MIMEVersion},
	{"another MIME-Version", strings.Replace(attach(mixed, "bb", evil), "MIME-Version: 1.0", "MIME-Version: 2.0", 1), MIMEVersion},
	{"two From", "From: x@y\r\n" + attach(mixed, "bb", evil), DuplicateField},
	{"text behind the close", attach(mixed, "bb", evil) + "more", TextAfterClose},
	{"one boundary begins another", attach(mixed, "bb", "Content-Type: multipart/mixed; boundary=bbb\r\n\r\n--bbb\r\n"+evil+"\r\n\r\n"+exe+"\r\n--bbb--"), BoundaryPrefix},
	{"encoded word as Content-Type", attach(mixed, "bb", "Content-Type: =?utf-8?q?text/plain?=; name=evil.exe"), MalformedType},
	{"other characters in base64", strings.Replace(attach(mixed, "bb", evil), exe, "TVqQ!AAM*AAAAEAAAA", 1), DirtyBase64},
	{"escapes that are none", attach(mixed, "bb", "Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; name=evil.exe\r\n\r\na==4D"), DirtyQuoted},
	{"piece of a name twice", attach(mixed, "bb", strings.Replace(evil, "filename=evil.exe", "filename*0=evil; filename*1=.txt; filename*1=.exe", 1)), NameAmbiguous},
	{"base64 behind its end", strings.Replace(attach(mixed, "bb", evil), exe, "QQ==TVqQ", 1), TrailingBase64},
	{"piece of a larger message", attach(mixed, "bb", "Content-Type: message/partial; number=1; total=2; id=x; name=evil.exe"), PartialMessage},
	{"content elsewhere", attach(mixed, "bb", "Content-Type: message/external-body; access-type=URL; URL=\"http://x/\"; name=evil.exe"), ExternalBody},
	{"two charsets", attach(mixed, "bb", "Content-Type: text/plain; charset=utf-7; charset=us-ascii; name=evil.exe"), DuplicateParameter},
	{"unknown charset", attach(mixed, "bb", "Content-Type: text/plain; charset=x-nonsense; name=evil.exe"), UnknownCharset},
	{"boundary that never comes", attach(mixed, "bb", evil+"\r\n\r\n"+exe+"\r\n--bb\r\nContent-Type: multipart/mixed; boundary=cc"), BoundaryNotFound},
	{"base64 between begin and end", "Subject: x\r\n\r\nhello\r\nbegin-base64 644 evil.exe\r\n" + exe + "\r\n====\r\n", UUEncoded},
	{"yEnc in the text", "Subject: x\r\n\r\n=ybegin line=128 size=3 name=evil.exe\r\nabc\r\n=yend size=3\r\n", YEncoded},
	{"uuencoded in the text", "Subject: x\r\n\r\nhello\r\nbegin 644 evil.exe\r\n#0V%T\r\n`\r\nend\r\n", UUEncoded},
}

func b64(s string) string {
	const a = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	for i := 0; i < len(s); i += 3 {
		var v uint32
		n := min(3, len(s)-i)
		for j := range 3 {
			v <<= 8
			if j < n {
				v |= uint32(s[i+j])
			}
		}
		for j := range 4 {
			if j > n {
				b.WriteByte('=')
			} else {
				b.WriteByte(a[v>>(18-6*j)&63])
			}
		}
		if i%57 == 54 {
			b.WriteString("\r\n")
		}
	}
	return b.String() + "\r\n"
}

func TestEvasions(t *testing.T) {
	for _, c := range evasions {
		parts, _, fs := seen(t, c.raw, Limits{})
		if !slices.ContainsFunc(names(parts), func(n string) bool { return strings.HasSuffix(n, "evil.exe") }) {
			t.Errorf("%s: evil.exe is not seen, but %q %v", c.name, names(parts), fs)
		}
		if c.find != "" && !fs.Has(c.find) {
			t.Errorf("%s: no finding %s, but %v", c.name, c.find, fs)
		}
		if c.find == "" && len(fs) > 0 {
			t.Errorf("%s: finds %v in a message that is in order", c.name, fs)
		}
		if _, over := fs.Unscannable(); over {
			t.Errorf("%s: unscannable: %v", c.name, fs)
		}
	}
}

// Each message of testdata gives the parts, texts and findings written in the
// file beside it.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test data", err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		parts, texts, fs := seen(t, strings.ReplaceAll(string(raw), "\n", "\r\n"), Limits{})
		var b strings.Builder
		for i, p := range parts {
			fmt.Fprintf(&b, "part %q role %d reading %d types %q names %q disposition %q attachment %v\n\t%q\n",
				p.Path, p.Role, p.Reading, p.Types, p.Names, p.Disposition, p.IsAttachment(), texts[i])
		}
		for _, x := range fs {
			fmt.Fprintf(&b, "finding %s in %q\n", x.Kind, x.Part)
		}
		golden := strings.TrimSuffix(f, ".eml") + ".golden"
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || string(want) != b.String() {
			t.Errorf("%s:\n%s\nwant\n%s", f, b.String(), want)
		}
	}
}

// Each limit at its value is in order, one more is a finding and ends the
// reading of what is too much, never with an error.
func TestLimits(t *testing.T) {
	nest := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"x%dx\"\r\n\r\n--x%dx\r\n", i, i)
		}
		return b.String() + "\r\ntext\r\n"
	}
	many := func(n int) string {
		return mixed + "\r\n\r\n" + strings.Repeat("--bb\r\n\r\nx\r\n", n) + "--bb--\r\n"
	}
	for _, c := range []struct {
		name     string
		at, over string
		kind     Kind
	}{
		{"depth", nest(30), nest(31), DepthLimit},
		{"parts", many(999), many(1000), PartLimit},
		{"header lines", strings.Repeat("A: b\r\n", 1000) + "\r\n", strings.Repeat("A: b\r\n", 1001) + "\r\n", HeaderLimit},
		{"field", "A: " + strings.Repeat("b", 64<<10-5) + "\r\n\r\n", "A: " + strings.Repeat("b", 64<<10-4) + "\r\n\r\n", HeaderLimit},
		{"folded field", "A:" + strings.Repeat("\r\n b", 600) + "\r\n\r\n", "A:" + strings.Repeat("\r\n "+strings.Repeat("b", 900), 100) + "\r\n\r\n", HeaderLimit},
		{"block", strings.Repeat("A: "+strings.Repeat("b", 1019)+"\r\n", 256) + "\r\n", strings.Repeat("A: "+strings.Repeat("b", 1019)+"\r\n", 256) + "A:b\r\n\r\n", HeaderLimit},
		{"parameters", "Content-Type: a/b" + strings.Repeat("; a=b", 199) + "\r\n\r\n", "Content-Type: a/b" + strings.Repeat("; a=b", 202) + "\r\n\r\n", ParameterLimit},
	} {
		if _, _, fs := seen(t, c.at, Limits{}); fs.Has(c.kind) {
			t.Errorf("%s: %s at the limit", c.name, c.kind)
		}
		_, _, fs := seen(t, c.over, Limits{})
		if k, over := fs.Unscannable(); !over || k != c.kind {
			t.Errorf("%s: beyond the limit: %v", c.name, fs)
		}
	}
	enc := strings.Replace(attach(mixed+"\r\nContent-Transfer-Encoding: base64", "bb", evil), "preamble", strings.Repeat("x", 4000), 1)
	if _, _, fs := seen(t, enc, Limits{Reread: 3000}); !fs.Has(RereadLimit) {
		t.Errorf("reread: %v", fs)
	}
}

// What a field over the limit hides, the fields behind it still say.
func TestFieldBehindLongField(t *testing.T) {
	raw := "X: " + strings.Repeat("y", 200<<10) + "\r\n" + attach(mixed, "bb", evil)
	parts, _, fs := seen(t, raw, Limits{})
	if !slices.Contains(names(parts), "evil.exe") || !fs.Has(HeaderLimit) {
		t.Errorf("%q %v", names(parts), fs)
	}
}

// The line end before a delimiter belongs to the delimiter, wherever pieces
// are cut; everything else is content.
func TestContentExact(t *testing.T) {
	for _, n := range []int{0, 1, 10, pieceSize - 3, pieceSize - 2, pieceSize - 1, pieceSize, pieceSize + 1, 3 * pieceSize} {
		for _, tail := range []string{"", "\r\n", "\n", "\r", "\r\r\n", "\r\n--b", "\r\n--bbb\r\nx", "\r\n -- bb"} {
			want := strings.Repeat("z", n) + tail
			raw := mixed + "\r\n\r\n--bb\r\nContent-Type: image/png\r\n\r\n" + want + "\r\n--bb--\r\n"
			_, texts, _ := seen(t, raw, Limits{})
			if texts[2] != want {
				t.Errorf("%d %q: %d bytes, end %q", n, tail, len(texts[2]), texts[2][max(0, len(texts[2])-9):])
			}
		}
	}
	_, texts, _ := seen(t, "A: b\r\n\r\none\r\n\r\n", Limits{})
	if texts[0] != "one\r\n\r\n" {
		t.Errorf("%q", texts[0])
	}
}

// An error of the reader or of the visitor ends the walk and is given back.
func TestErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	raw := attach(mixed, "bb", evil)
	for cut := 0; cut < len(raw); cut += 7 {
		r := io.MultiReader(strings.NewReader(raw[:cut]), iotest.ErrReader(broken))
		if _, err := Walk(r, Limits{}, func(p *Part) error { return nil }); !errors.Is(err, broken) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	if _, err := Walk(strings.NewReader(raw), Limits{}, func(*Part) error { return broken }); err != broken {
		t.Errorf("visitor: %v", err)
	}
	if _, _, err := ReadHeader(iotest.ErrReader(broken), Limits{}); !errors.Is(err, broken) {
		t.Errorf("header: %v", err)
	}
}

// Double the input, at most about double the work, for shapes that tempt a
// parser to look twice. Work is bytes read and boundaries compared.
func TestLinear(t *testing.T) {
	repeat := func(s string) func(int) string {
		return func(n int) string { return strings.Repeat(s, n/len(s)) }
	}
	head := func(s string) func(int) string {
		return func(n int) string { return s + strings.Repeat("A", 40) + "\r\n\r\n" + strings.Repeat("--x\r\n", n/5) }
	}
	shapes := map[string]func(int) string{
		"multiparts":      repeat("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"),
		"encoded":         repeat("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n--b\r\n"),
		"two encodings":   repeat("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\n--b\r\n"),
		"delimiters":      repeat("--b\r\n"),
		"hyphens":         func(n int) string { return mixed + "\r\n" + strings.Repeat("--x\r\n", n/5) },
		"prefixes":        head("Content-Type: multipart/mixed; boundary=x; boundary=xx; boundary="),
		"fields":          repeat("Content-Type: text/plain; name=x\r\n"),
		"params":          func(n int) string { return "Content-Type: a/b" + strings.Repeat("; a=b", n/5) },
		"bare params":     func(n int) string { return "Content-Type: a/b" + strings.Repeat(" a=b", n/4) },
		"quotes":          func(n int) string { return "Content-Type: a/b; a=" + strings.Repeat(`"`, n) },
		"quoted params":   func(n int) string { return "Content-Type: a/b" + strings.Repeat(` a="`, n/4) },
		"brackets":        func(n int) string { return "Content-Type: a/b " + strings.Repeat("(", n) },
		"folded":          func(n int) string { return "Content-Type: a/b;" + strings.Repeat("\r\n a=b;", n/7) },
		"uu":              func(n int) string { return "\r\n" + strings.Repeat("begin 644 a\r\n", n/13) },
		"attached":        repeat("Content-Type: message/rfc822\r\n\r\n"),
		"carriage return": repeat("a:b\r"),
	}
	for name, shape := range shapes {
		work := func(n int) int64 {
			w := newWalker(strings.NewReader(shape(n)), Limits{}, func(p *Part) error {
				_, err := io.Copy(io.Discard, p.Body)
				return err
			})
			if err := w.entity(place{fallback: "text/plain"}); err != nil && err != errEnough {
				t.Fatal(err)
			}
			return w.st.work
		}
		const n = 1 << 18
		one, two := work(n), work(2*n)
		if float64(two) > 2.2*float64(one)+1e4 || one > 8*n {
			t.Errorf("%s: %d steps for %d bytes, %d for the double", name, one, n, two)
		}
	}
}

// allocations of the parameter parser do not grow with its input beyond its limits.
func TestParamWork(t *testing.T) {
	for _, s := range []string{"; a=b", " a=b", ` a="`, "(", `"`, "; a*1*=b", `;a="b"c`, " ;", "a'b=", `\`} {
		p := parseValue("a/b" + strings.Repeat(s, 60<<10/len(s)))
		if len(p.params) > maxParams {
			t.Errorf("%q: %d params", s, len(p.params))
		}
	}
}
