package pipeline_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
	"lazaret/internal/scan"
	"lazaret/internal/testlib"
	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack"
)

// What a message with an archive gets that we do not open, or that is damaged,
// says its policy: by default what all that is unscannable gets, with the action
// engine what the engine said, a real clamd. What is beyond a limit, locked or
// infected stays what it is.
func TestUnopened(t *testing.T) {
	pool := newPool(t, unpack.Options{Workers: 1, Limits: unpack.Limits{Depth: 3}})
	clamd := scan.NewClamd(scan.ClamdOptions{Address: testlib.NewClamd(t).Socket})
	defer clamd.Close()
	none, err := filter.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	arj := append([]byte("\x60\xea\x1e\x00\x1e\x0b\x01\x00\x10\x00\x02"), make([]byte, 200)...)
	cut := files.Gzip(t, bytes.Repeat([]byte("hello "), 50))
	cut = cut[:len(cut)-9]
	deep := files.Zip(t, one("a.txt", nil))
	for range 4 {
		deep = files.Zip(t, one("a.zip", deep))
	}
	sealed := files.Rar(true, one("a.txt", []byte("x")))
	msg := func(list ...[]byte) string {
		all := []string{"Content-Type: text/plain\r\n\r\nhello"}
		for _, data := range list {
			all = append(all, attached("a.bin", data))
		}
		return parts(all...)
	}
	now := func() time.Time { return time.Date(2026, 4, 7, 9, 15, 0, 0, time.UTC) }
	const held, gone, passed = "held", "dropped", "passed"
	engine, drop := policy.Response{Action: policy.Engine}, policy.Response{Action: policy.Drop}
	tagged := policy.Response{Action: policy.Deliver, Tag: "[NOT OPENED]"}
	for _, c := range []struct {
		what, raw string
		unopened  policy.Response
		want, log string
	}{
		{"an archive", msg(arj), policy.Response{}, held, "antivirus unscannable 'archive-unsupported'"},
		{"an archive", msg(arj), engine, passed, "antivirus negative"},
		{"an archive", msg(arj), drop, gone, "Dropped by antivirus"},
		{"an archive", msg(arj), tagged, passed + " [NOT OPENED]", "antivirus unscannable 'archive-unsupported'"},
		{"a damaged one", msg(cut), policy.Response{}, held, "antivirus unscannable 'archive-corrupt'"},
		{"a damaged one", msg(cut), engine, passed, "antivirus negative"},
		{"a damaged one", msg(cut), tagged, passed + " [NOT OPENED]", "antivirus unscannable"},
		{"one in another", msg(files.Zip(t, one("a.arj", arj))), engine, passed, "antivirus negative"},
		{"one beyond a limit", msg(deep), engine, held, "antivirus unscannable 'archive-depth-limit'"},
		{"both", msg(arj, deep), engine, held, "antivirus unscannable 'archive-depth-limit'"},
		{"both the other way", msg(deep, arj), tagged, held, "antivirus unscannable 'archive-depth-limit'"},
		{"beside a locked one", msg(arj, sealed), engine, passed + " [WARNING: MESSAGE ENCRYPTED]", "antivirus encrypted"},
		{"a locked one beside", msg(sealed, arj), engine, passed + " [WARNING: MESSAGE ENCRYPTED]", "antivirus encrypted"},
		{"beside a virus that only we see", msg(arj, files.Zstd(t, payload())), engine, held, "antivirus positive 'Lazaret.Eicar"},
		{"beside one that only we see, by default", msg(arj, files.Zstd(t, payload())), policy.Response{}, held, "antivirus positive 'Lazaret.Eicar"},
		{"an archive with a virus", msg(append(bytes.Clone(arj), testlib.EICAR()...)), engine, held, "antivirus positive 'Lazaret.Eicar"},
	} {
		var log written
		table := &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true, Unopened: c.unopened}}}
		p := pipeline.New(pipeline.Options{Log: logs.NewMail(&log, now), Kind: kind, Opener: opener(pool)})
		p.Set(pipeline.Settings{Filters: none, Inbound: table, Engine: clamd})
		d, err := first(p.Judge(t.Context(), (&bench{}).input(c.raw)))
		got := passed
		switch {
		case err != nil:
			got = err.Error()
		case d.Drop:
			got = gone
		case len(d.Quarantine) > 0:
			got = held
		}
		for _, x := range d.Extras {
			got += " " + x.Tag
		}
		if got != c.want || !strings.Contains(strings.Join(log, "\n"), c.log) {
			t.Errorf("%s, %q: %s, not %s\n%s", c.what, c.unopened.Action, got, c.want, strings.Join(log, "\n"))
		}
	}

	// Each part of a split message has what its own policy says, also when it is
	// scanned again.
	table := &policy.Table{Name: "inbound", Rows: []policy.Row{{Name: "Lab", To: []string{"lab@"}, Antivirus: policy.Antivirus{Scan: true, Unopened: engine}}},
		Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}}}
	n := mail.MID(100)
	p := pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind, Opener: opener(pool), NextMID: func() mail.MID { n++; return n }})
	p.Set(pipeline.Settings{Filters: none, Inbound: table, Engine: clamd})
	in := (&bench{}).input(msg(arj))
	in.Env.To = []mail.Address{{Local: "lab", Domain: "example.com"}, {Local: "eve", Domain: "example.com"}}
	out, err := p.Judge(t.Context(), in)
	if err != nil || len(out) != 2 || len(out[0].Quarantine) != 0 || len(out[1].Quarantine) != 1 {
		t.Fatalf("split: %+v, %v", out, err)
	}
	for _, c := range []struct{ policy, want string }{{"Lab", "rescanned: clean"}, {policy.Default, "rescanned: unscannable archive-unsupported, held again in Virus"}} {
		if _, step, err := p.Rescan(t.Context(), pipeline.Again{Input: in, Judged: mail.Judgement{Policy: c.policy}}); err != nil || step != c.want {
			t.Errorf("%s: %q, not %q, %v", c.policy, step, c.want, err)
		}
	}
}
