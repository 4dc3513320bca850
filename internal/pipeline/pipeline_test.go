package pipeline_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"lazaret/internal/demo"
	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/unpack"
)

// written keeps the lines without their dates.
type written []string

func (w *written) WriteLine(b []byte) {
	_, line, _ := strings.Cut(strings.TrimSpace(string(b)), " 2026 ")
	*w = append(*w, line)
}

type bench struct {
	*pipeline.Pipeline
	lines written
	opens int
}

func newBench(t testing.TB, script string) *bench {
	t.Helper()
	set, err := filter.Parse(script)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{}
	now := func() time.Time { return time.Date(2026, 4, 7, 9, 15, 0, 0, time.UTC) }
	b.Pipeline = pipeline.New(pipeline.Options{Log: logs.NewMail(&b.lines, now)})
	b.Set(pipeline.Settings{Filters: set})
	return b
}

// first gives the disposition of the first part.
func first(parts []pipeline.Part, err error) (mail.Disposition, error) {
	if err != nil {
		return mail.Disposition{}, err
	}
	return parts[0].Disposition, nil
}

// input gives a message with the content.
func (b *bench) input(content string) pipeline.Input {
	from, _ := mail.ParseAddress("eve@partner.example")
	to, _ := mail.ParseAddress("bob@example.com")
	return pipeline.Input{
		MID: 6, Env: mail.Envelope{From: from, To: []mail.Address{to}}, Size: int64(len(content)), Subject: "as the listener saw it",
		Origin: mail.Origin{RemoteIP: netip.MustParseAddr("192.0.2.1")},
		Open: func() (io.ReadCloser, error) {
			b.opens++
			return io.NopCloser(strings.NewReader(content)), nil
		},
	}
}

// Each sample of the demonstration meets the fate that is told of it.
func TestSamples(t *testing.T) {
	all, err := demo.Samples()
	if err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, unpack.Options{Workers: 1})
	for _, s := range all {
		b := newBench(t, demo.SampleFilters)
		set, err := filter.Parse(demo.SampleFilters)
		if err != nil {
			t.Fatal(err)
		}
		b.Pipeline = pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind, Opener: opener(pool), HoldAmbiguous: "Policy"})
		b.Set(pipeline.Settings{Filters: set})
		d, err := first(b.Judge(t.Context(), b.input(string(s.Content))))
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		if got := quarantines(d.Quarantine); !sameNames(got, s.Held) {
			t.Errorf("%s: held in %v, want %v", s.Name, got, s.Held)
		}
		if got := quarantines(d.Copies); !sameNames(got, s.Copied) {
			t.Errorf("%s: copied to %v, want %v", s.Name, got, s.Copied)
		}
		if bulk := bytes.Contains(s.Content, []byte("Precedence: bulk")); bulk != (len(d.Headers) == 1) {
			t.Errorf("%s: headers %v", s.Name, d.Headers)
		}
	}
}

func quarantines(ps []mail.Placement) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Quarantine)
	}
	return out
}

func sameNames(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

const plain = "Subject: hello\r\n\r\ntext\r\n"

// The lines of reference 5.4, to the letter.
func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		relay  bool
		want   []string
	}{
		"no filters":   {"", false, []string{"Info: MID 6 matched all recipients for per-recipient policy DEFAULT in the inbound table"}},
		"outbound":     {"", true, []string{"Info: MID 6 matched all recipients for per-recipient policy DEFAULT in the outbound table"}},
		"drop":         {`x: if (true) { log-entry("seen $MID"); drop(); }`, false, []string{"Info: MID 6 Custom Log Entry: seen 6", "Info: Message aborted MID 6 Dropped by filter 'x'"}},
		"hostile text": {`x: if (true) { log-entry("$Subject"); drop(); }`, false, []string{"Info: MID 6 Custom Log Entry: as the listener saw it", "Info: Message aborted MID 6 Dropped by filter 'x'"}},
	} {
		b := newBench(t, c.script)
		in := b.input(plain)
		in.Origin.Relay = c.relay
		if _, err := b.Judge(t.Context(), in); err != nil || !slices.Equal(b.lines, c.want) {
			t.Errorf("%s: %q %v", name, b.lines, err)
		}
	}
}

// The content is opened only for a rule that needs it, and closed; what cannot
// be read is an error, never clean (promise P3).
func TestReading(t *testing.T) {
	for script, want := range map[string]int{
		"": 0,
		`a: if (mail-from == "nobody") { drop(); }`:                                     0,
		`a! if (body-contains("x")) { drop(); }`:                                        0,
		`a: if (subject == "x" or header("Y")) { drop(); }`:                             1,
		`a: if (body-contains("nowhere")) {} b: if (attachment-filename == "x") {}`:     1,
		`a: if (subject == "no") {} b: if (header("X") or body-contains("nowhere")) {}`: 2,
	} {
		b := newBench(t, script)
		if _, err := b.Judge(t.Context(), b.input(plain)); err != nil || b.opens != want {
			t.Errorf("%s: %d opens, want %d; %v", script, b.opens, want, err)
		}
	}
	for _, script := range []string{`a: if (subject == "x") { drop(); }`, `a: if (body-contains("x")) { drop(); }`} {
		b := newBench(t, script)
		in := b.input(plain)
		damaged := errs.New(errs.Damaged, "the content failed its check")
		closed := 0
		in.Open = func() (io.ReadCloser, error) {
			r := io.MultiReader(strings.NewReader("Sub"), iotest.ErrReader(damaged))
			return struct {
				io.Reader
				io.Closer
			}{r, closer(func() error { closed++; return nil })}, nil
		}
		d, err := first(b.Judge(t.Context(), in))
		if !errs.Is(err, errs.Damaged) || d.Drop || len(b.lines) != 0 || closed != 1 {
			t.Errorf("%s: %+v %v %q, closed %d times", script, d, err, b.lines, closed)
		}
		in.Open = func() (io.ReadCloser, error) { return nil, errors.New("no such thing") }
		if _, err := b.Judge(t.Context(), in); err == nil {
			t.Errorf("%s: judged without content", script)
		}
	}
}

type closer func() error

func (c closer) Close() error { return c() }

// What hides from one reader is found all the same.
func TestReadings(t *testing.T) {
	const find = `s: if (subject == "HOLDME") { quarantine("Subject"); }
t: if (body-contains("wire transfer")) { quarantine("Text"); }
n: if (attachment-filename == "[.]exe$") { quarantine("Name"); }
twice: if (body-contains("wire transfer", 2)) { quarantine("Twice"); }
m: if (malformed-header) { quarantine("Malformed"); }
b: if (duplicate_boundaries) { quarantine("Boundaries"); }
u: if (mime-finding == "^base64|garbage-in-base64$") { quarantine("Finding"); }`
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"plain":            {plain, nil},
		"second subject":   {"Subject: hello\r\nSubject: HOLDME\r\n\r\n", []string{"Subject"}},
		"encoded subject":  {"Subject: =?utf-8?q?H=4FL?=\r\n =?utf-8?b?RE1F?=\r\n\r\n", []string{"Subject"}},
		"quoted-printable": {"Content-Transfer-Encoding: quoted-printable\r\n\r\nwire tran=\r\nsfer", []string{"Text"}},
		"base64 utf-16":    {"Content-Type: text/plain; charset=utf-16le\r\nContent-Transfer-Encoding: base64\r\n\r\ndwBpAHIAZQAgAHQAcgBhAG4AcwBmAGUAcgA=\r\n", []string{"Text"}},
		"tags between":     {"Content-Type: text/html\r\n\r\n<p>wi<b></b>re&#32;transfer</p>\r\n", []string{"Text"}},
		"html counts once": {"Content-Type: text/html\r\n\r\n<p>wire transfer</p>\r\n", []string{"Text"}},
		"alternatives":     {"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nwire transfer\r\n--b\r\nContent-Type: text/html\r\n\r\nwire transfer\r\n--b--\r\n", []string{"Text", "Twice"}},
		"two boundaries": {"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment; filename=x.exe\r\n\r\n\r\n--b--\r\n--a--\r\n",
			[]string{"Boundaries", "Malformed", "Name"}},
		"RFC 2231": {"Content-Type: application/octet-stream;\r\n name*0*=utf-8''x%2e;\r\n name*1=exe\r\n\r\n\r\n", []string{"Name"}},
	} {
		b := newBench(t, find)
		d, err := first(b.Judge(t.Context(), b.input(c.content)))
		if got := quarantines(d.Quarantine); err != nil || !sameNames(got, c.want) {
			t.Errorf("%s: %v %v, want %v", name, got, err, c.want)
		}
	}
}

// Beyond a limit nothing is clean.
func TestUnscannable(t *testing.T) {
	deep := "Content-Type: message/rfc822\r\n\r\n"
	for name, c := range map[string]struct{ script, content, reason string }{
		"depth":  {`a: if (attachment-filename == "x") { drop(); }`, strings.Repeat(deep, 200), "unscannable: depth-limit"},
		"header": {`a: if (subject == "HOLDME") { drop(); }`, strings.Repeat("X: y\r\n", 100_000) + "Subject: HOLDME\r\n\r\n", "unscannable: header-limit"},
		"html":   {`a: if (body-contains("x")) { drop(); }`, "Content-Type: text/html\r\n\r\n<!--" + strings.Repeat("yyyyyyyy\r\n", 1<<20), "unscannable: html-limit"},
		"parts":  {`a: if (body-contains("x")) { drop(); }`, "Content-Type: multipart/mixed; boundary=b\r\n" + strings.Repeat("\r\n--b\r\n", 5000), "unscannable: part-limit"},
	} {
		b := newBench(t, c.script)
		d, err := first(b.Judge(t.Context(), b.input(c.content)))
		if err != nil || len(d.Quarantine) != 1 || d.Quarantine[0].Quarantine != "Policy" || d.Quarantine[0].Reason != c.reason {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
}

// Filters change under judgements without a pause.
func TestSet(t *testing.T) {
	b := newBench(t, "")
	p := pipeline.New(pipeline.Options{Log: logs.Discard()})
	drop, err := filter.Parse(`a: if (true) { drop(); }`)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			p.Set(pipeline.Settings{Filters: drop})
			p.Set(pipeline.Settings{})
		}
	}()
	in := b.input(plain)
	for range 1000 {
		if d, err := first(p.Judge(t.Context(), in)); err != nil || d.Drop != (d.DropReason != "") {
			t.Fatal(d, err)
		}
	}
	<-done
	p.Set(pipeline.Settings{Filters: drop})
	if d, _ := first(p.Judge(t.Context(), in)); !d.Drop {
		t.Error("the filters in force are not used")
	}
}
