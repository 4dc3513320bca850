package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	gomessage "github.com/emersion/go-message"
	"lazaret/internal/testlib"
	"lazaret/internal/testlib/files"
	"lazaret/internal/testlib/odd"
	"lazaret/internal/testlib/proof"
)

// eicar gives the test virus; it stands nowhere in one piece.
func eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-" + "FILE!$H+H*"
}

// Register C1: in every message of the collection, with the test virus in the
// place of the file, either the virus comes out whole in some part or the
// message is held as ambiguous; and every kind of finding has a message that
// shows it, and a sentence.
func TestSEC_C1_Collection(t *testing.T) {
	shown := map[Kind]bool{}
	for _, c := range odd.Messages() {
		for _, b := range []struct{ old, new string }{{exe, strings.TrimSpace(strings.ReplaceAll(b64(eicar()), "\r\n", ""))}, {"", ""}} {
			raw := c.Raw
			if b.old != "" {
				raw = strings.ReplaceAll(raw, b.old, b.new)
			}
			_, texts, fs := seen(t, raw, Limits{})
			for _, f := range fs {
				shown[f.Kind] = true
			}
			if b.old == "" || raw == c.Raw {
				continue
			}
			// A part under another encoding than the test takes gives the base64.
			whole := slices.ContainsFunc(texts, func(s string) bool {
				return strings.Contains(s, eicar()) || strings.Contains(strings.ReplaceAll(s, "\r\n", ""), strings.TrimRight(b.new, "="))
			})
			if _, held := fs.Ambiguous(); !whole && !held {
				t.Errorf("%s: neither seen nor held: %v", c.Name, fs)
			}
		}
	}
	for _, e := range kinds {
		if _, limit := (Findings{{Kind: e.Kind}}).Unscannable(); !shown[e.Kind] && !limit {
			t.Errorf("no message of the collection shows %s", e.Kind)
		}
		if len(e.sentence) < 10 || strings.HasSuffix(e.sentence, ".") || e.Kind.Sentence() != e.sentence {
			t.Errorf("%s: sentence %q", e.Kind, e.sentence)
		}
	}
}

// Register C1: what is in a text between lines comes out, byte for byte.
func TestSEC_C1_FilesInText(t *testing.T) {
	uu := strings.TrimSuffix(strings.TrimPrefix(files.UU("evil.com", []byte(eicar())), "begin 644 evil.com\r\n"), "`\r\nend\r\n")
	for name, raw := range map[string]string{
		"uuencode":      "\r\nhello\r\nbegin 644 evil.com\r\n" + uu + "`\r\nend\r\nbye\r\n",
		"never ends":    "\r\nbegin 644 evil.com\r\n" + uu,
		"second":        "\r\nbegin 644 a\r\nbegin 644 evil.com\r\n" + uu + "end\r\n",
		"base64":        "\r\nbegin-base64 644 evil.com\r\n" + b64(eicar()) + "====\r\n",
		"lines between": "\r\nbegin 644 evil.com\r\nthis is a line of text that is much too long for its first letter\r\n" + uu + "end\r\n",
	} {
		parts, texts, fs := seen(t, raw, Limits{})
		n := slices.IndexFunc(parts, func(p *Part) bool { return p.Role == Embedded && slices.Contains(p.Names, "evil.com") })
		if n < 0 || texts[n] != eicar() || !fs.Has(UUEncoded) {
			t.Errorf("%s: %q %v", name, texts, fs)
		}
	}
	_, _, fs := seen(t, "\r\n"+strings.Repeat("begin 644 a\r\nend\r\n", 1200), Limits{})
	if !fs.Has(PartLimit) {
		t.Errorf("no limit: %v", fs)
	}
}

// Register C2: a message of 50 MiB streams: the heap grows by less than 64 MiB.
func TestSEC_C2_Memory(t *testing.T) {
	if proof.Race {
		t.Skip("the race detector has its own idea of memory")
	}
	line := strings.Repeat("QUJD", 19) + "\r\n"
	big := func(head string) io.Reader {
		return io.MultiReader(strings.NewReader(head), io.LimitReader(&endless{s: line}, 50<<20))
	}
	for name, r := range map[string]func() io.Reader{
		"base64": func() io.Reader { return big("Content-Transfer-Encoding: base64\r\n\r\n") },
		"two encodings": func() io.Reader {
			return big("Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
		},
		"encoded parts": func() io.Reader { return big("Content-Transfer-Encoding: base64\r\n" + mixed + "\r\n\r\n") },
		"uuencoded": func() io.Reader {
			return io.MultiReader(strings.NewReader("\r\nbegin 644 a\r\n"), io.LimitReader(&endless{s: "#QUJD\r\n"}, 50<<20))
		},
		"one line":   func() io.Reader { return io.LimitReader(&endless{s: "x"}, 50<<20) },
		"one header": func() io.Reader { return io.LimitReader(&endless{s: "Received: x\r\n"}, 50<<20) },
		"empty parts": func() io.Reader {
			return io.MultiReader(strings.NewReader(mixed+"\r\n\r\n"), io.LimitReader(&endless{s: "--bb\r\n\r\n"}, 50<<20))
		},
	} {
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		most := uint64(0)
		buf := make([]byte, 64<<10)
		_, err := Walk(r(), Limits{}, func(p *Part) error {
			for n := 0; ; n++ {
				_, err := p.Body.Read(buf)
				if n%64 == 0 {
					runtime.ReadMemStats(&now)
					most = max(most, now.HeapInuse)
				}
				if err == io.EOF {
					return nil
				}
			}
		})
		if rise := int64(most) - int64(before.HeapInuse); err != nil || rise > 64<<20 {
			t.Errorf("%s: the heap grows by %d MiB, %v", name, rise>>20, err)
		}
	}
}

type endless struct {
	s  string
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.s[e.at]
		e.at = (e.at + 1) % len(e.s)
	}
	return len(p), nil
}

// Register C4: the work for double the input is not more than 2.5 times, for
// generated shapes: a message of random pieces, repeated. Work is counted, not
// timed.
func TestSEC_C4_GeneratedShapes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	shapes := 200
	if proof.Race {
		shapes = 40
	}
	for range shapes {
		unit := ""
		for range 1 + rnd.IntN(6) {
			unit += pieces[rnd.IntN(len(pieces))]
		}
		head := ""
		if rnd.IntN(2) == 0 {
			head = mixed + "\r\n\r\n"
		}
		work := func(n int) int64 {
			w := newWalker(strings.NewReader(head+strings.Repeat(unit, n/len(unit)+1)), Limits{}, func(p *Part) error {
				_, err := io.Copy(io.Discard, p.Body)
				return err
			})
			if err := w.entity(place{fallback: "text/plain"}); err != nil && err != errEnough {
				t.Fatal(err)
			}
			return w.st.work
		}
		const n = 1 << 17
		one, two := work(n), work(2*n)
		if float64(two) > 2.5*float64(one)+1e5 || two > 100*n {
			t.Errorf("%q: %d steps, for the double %d", unit, one, two)
		}
	}
}

// pieces are what random messages are made of.
var pieces = []string{
	"Content-Type: multipart/mixed; boundary=bb\r\n", "Content-Type: multipart/mixed; boundary=cc; boundary=bb\r\n", "Content-Type: text/plain\r\n",
	"Content-Type: message/rfc822\r\n", "Content-Type: multipart/digest; boundary=\"b b\"\r\n", "Content-Type: application/octet-stream; name=evil.exe\r\n",
	"Content-Transfer-Encoding: base64\r\n", "Content-Transfer-Encoding: quoted-printable\r\n", "Content-Transfer-Encoding : 7bit\r\n",
	"Content-Disposition: attachment; filename=\"evil.exe\"\r\n", "Content-Disposition: attachment;\r\n filename*0=ev; filename*1*=il%2eexe\r\n",
	"Content-Type (x): text/html; name=evil.exe\r\n", "X: y\r\n", " folded\r\n", "garbage\r\n", "\r\n", "\r\n\r\n", "--bb\r\n", "\r\n--bb\r\n", "--bb--\r\n", "--cc\r\n",
	"--b b\r\n", "--bbb\r\n", "-- bb\r\n", "TVqQAAMA\r\n", "=4D=5A\r\n", "begin 644 evil.exe\r\n#0V%T\r\nend\r\n", "\n", "\x00", "\"", "(", ";", "boundary=", "--",
}

// random gives a message of random pieces.
func random(rnd *rand.Rand) string {
	s := "From: a@b\r\nMIME-Version: 1.0\r\n"
	if rnd.IntN(4) > 0 {
		s += mixed + "\r\n\r\n--bb\r\n"
	}
	for range 2 + rnd.IntN(14) {
		s += pieces[rnd.IntN(len(pieces))]
	}
	return s
}

// mutated gives a message of the collection with something put in, taken out or
// moved, a few times.
func mutated(rnd *rand.Rand, all []odd.Message) string {
	s := all[rnd.IntN(len(all))].Raw
	s = s[:min(len(s), 4<<10)]
	for range 1 + rnd.IntN(3) {
		a, b := rnd.IntN(len(s)+1), rnd.IntN(len(s)+1)
		a, b = min(a, b), max(a, b)
		switch rnd.IntN(5) {
		case 0, 1:
			s = s[:a] + pieces[rnd.IntN(len(pieces))] + s[a:]
		case 2:
			s = s[:a] + s[min(a+1+rnd.IntN(12), len(s)):]
		case 3: // a line twice
			from := strings.LastIndexByte(s[:a], '\n') + 1
			if n := strings.IndexByte(s[from:], '\n'); n >= 0 {
				s = s[:from+n+1] + s[from:from+n+1] + s[from+n+1:]
			}
		case 4: // a stretch in another place
			if b > a+60 {
				b = a + 60
			}
			s = s[:a] + s[b:] + s[a:b]
		}
	}
	return s
}

// view is what a parser sees of a message: names of files, and the first bytes
// of each leaf's content.
type view struct {
	Names  []string
	Bodies []string
}

func ours(t testing.TB, raw string) (v view, fs Findings) {
	fs, err := Walk(strings.NewReader(raw), Limits{}, func(p *Part) error {
		v.Names = append(v.Names, p.Names...)
		b, err := io.ReadAll(p.Body)
		v.Bodies = append(v.Bodies, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v, fs
}

// theirs is what go-message sees.
func theirs(raw string) (v view) {
	e, err := gomessage.Read(strings.NewReader(raw))
	if e == nil || err != nil && !gomessage.IsUnknownCharset(err) {
		return v
	}
	// What goes wrong ends the walk; what it saw before counts.
	_ = e.Walk(func(_ []int, p *gomessage.Entity, err error) error {
		if p == nil || err != nil && !gomessage.IsUnknownCharset(err) {
			return err
		}
		for _, kv := range []struct{ field, param string }{{"Content-Disposition", "filename"}, {"Content-Type", "name"}} {
			if _, params, err := p.Header.ContentDisposition(); kv.field == "Content-Disposition" && err == nil {
				v.Names = append(v.Names, params[kv.param])
			}
			if _, params, err := p.Header.ContentType(); kv.field == "Content-Type" && err == nil {
				v.Names = append(v.Names, params[kv.param])
			}
		}
		if p.MultipartReader() == nil {
			b, _ := io.ReadAll(p.Body)
			v.Bodies = append(v.Bodies, string(b))
		}
		return nil
	})
	return v
}

// python is the parser of Python's library: messages go in and views come out
// as lines of JSON.
const python = `
import sys, json, email, email.policy, base64
for line in sys.stdin:
    raw = base64.b64decode(line)
    out = {"Names": [], "Bodies": []}
    try:
        m = email.message_from_bytes(raw)
        for p in m.walk():
            try:
                n = p.get_filename()
            except Exception:
                n = None
            if n: out["Names"].append(n)
            if not p.is_multipart():
                b = p.get_payload(decode=True)
                if b is not None: out["Bodies"].append(base64.b64encode(b).decode())
    except Exception:
        pass
    print(json.dumps(out), flush=True)
`

// pythonViews has Python read all messages.
func pythonViews(t testing.TB, raws []string) []view {
	if _, err := exec.LookPath("python3"); err != nil {
		testlib.Absent(t, "python3 is not installed")
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", python)
	var in bytes.Buffer
	for _, r := range raws {
		line, _ := json.Marshal([]byte(r)) // base64 in quotes
		in.Write(bytes.Trim(line, `"`))
		in.WriteByte('\n')
	}
	cmd.Stdin = &in
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []view
	d := json.NewDecoder(bytes.NewReader(out))
	for d.More() {
		var v struct {
			Names  []string
			Bodies [][]byte
		}
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		w := view{Names: v.Names}
		for _, b := range v.Bodies {
			w.Bodies = append(w.Bodies, string(b))
		}
		all = append(all, w)
	}
	if len(all) != len(raws) {
		t.Fatalf("%d answers for %d messages", len(all), len(raws))
	}
	return all
}

// missed names what the other parser sees and we do not: content that stands
// neither in a part of ours nor, for one who decodes nothing, in the message as
// it is, which is scanned too. A message that is held as ambiguous is not
// delivered on the strength of what we saw.
func missed(raw string, us, them view, fs Findings) string {
	if _, held := fs.Ambiguous(); held {
		return ""
	}
	if _, un := fs.Unscannable(); un {
		return ""
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, "\x00", "")), "") }
	ourText := squeeze(strings.Join(us.Bodies, "\n") + raw)
	name := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 0x80 { // what is no UTF-8 is shown in many ways
				return -1
			}
			return r
		}, squeeze(s))
	}
	for _, n := range them.Names {
		if strings.TrimSpace(n) != "" && !slices.ContainsFunc(us.Names, func(o string) bool {
			return name(o) == name(n) ||
				fs.Has(MalformedParameter) && strings.HasSuffix(name(o), name(n)[max(0, len(name(n))-5):]) || // only in the middle
				fs.Has(NameAmbiguous) && fs.Has(MalformedParameter) && strings.ContainsAny(n, "\r\n") || // Python takes a line end for a part of a name
				len(n) > maxValue && strings.HasSuffix(n, o[max(0, len(o)-20):]) || // cut in the middle
				fs.Has(DuplicateParameter) && strings.HasPrefix(n, o) // Python joins what is given twice
		}) {
			return fmt.Sprintf("the name %q", n)
		}
	}
	if fs.Has(DirtyQuoted) {
		return "" // readers differ in what they make of such an escape; that is the finding
	}
	for _, b := range them.Bodies {
		for line := range strings.Lines(b) {
			if l := squeeze(line); len(l) > 3 && !strings.Contains(ourText, l) && !strings.Contains(ourText, strings.TrimRight(l, "=")) {
				return fmt.Sprintf("the line %q", line)
			}
		}
	}
	return ""
}

// Register C1: what go-message or Python's library sees of a message, we see
// too. LAZARET_DIFF=n compares n random messages, 3,000 without.
func TestSEC_C1_Differential(t *testing.T) {
	n := 3000
	if s := os.Getenv("LAZARET_DIFF"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if os.Getenv("LAZARET_DIFF") == "" {
		seed = 1
	}
	rnd := rand.New(rand.NewPCG(seed, 7))
	all := odd.Messages()
	raws := make([]string, 0, n+len(all))
	for _, c := range all {
		raws = append(raws, c.Raw)
	}
	for i := range n {
		if i%2 == 0 {
			raws = append(raws, random(rnd))
		} else {
			raws = append(raws, mutated(rnd, all))
		}
	}
	bad := 0
	py := pythonViews(t, raws)
	for i, raw := range raws {
		us, fs := ours(t, raw)
		for who, them := range map[string]view{"go-message": theirs(raw), "Python": py[i]} {
			if what := missed(raw, us, them, fs); what != "" && bad < 10 {
				bad++
				t.Errorf("%s sees %s, we do not, in\n%q\nwe: %q %v", who, what, raw, us, fs)
			}
		}
	}
	t.Logf("proof: differential trials=%d violations=%d (seed %d)", 2*len(raws), bad, seed)
}
