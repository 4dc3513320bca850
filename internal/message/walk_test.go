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

	"lazaret/internal/testlib/odd"
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

const (
	exe   = odd.File
	mixed = odd.Mixed
	evil  = odd.Evil
)

func attach(head, boundary, part string) string { return odd.Attach(head, boundary, part) }

func b64(s string) string { return odd.Base64(s) }

func TestEvasions(t *testing.T) {
	for _, c := range odd.Messages() {
		parts, _, fs := seen(t, c.Raw, Limits{})
		name := "evil.exe"
		if c.Find == odd.Any {
			name = ".exe"
		}
		_, held := fs.Ambiguous()
		seen := slices.ContainsFunc(names(parts), func(n string) bool { return strings.HasSuffix(n, name) })
		if !seen && c.Find != odd.Nobody && (c.Find != odd.Any || !held) {
			t.Errorf("%s: evil.exe is not seen, but %q %v", c.Name, names(parts), fs)
		}
		if c.Find != "" && c.Find != odd.Any && c.Find != odd.Nobody && !fs.Has(Kind(c.Find)) {
			t.Errorf("%s: no finding %s, but %v", c.Name, c.Find, fs)
		}
		if c.Find == "" && len(fs) > 0 {
			t.Errorf("%s: finds %v in a message that is in order", c.Name, fs)
		}
		if _, over := fs.Unscannable(); over {
			t.Errorf("%s: unscannable: %v", c.Name, fs)
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
