package pipeline_test

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/filter/match"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/outbreak"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack"
)

// threats makes rules ready: each is ID LEVEL KIND and JSON of what it asks for.
func threats(t testing.TB, rules ...string) *pipeline.Threats {
	t.Helper()
	for i, r := range rules {
		w := strings.SplitN(r, " ", 4)
		rules[i] = fmt.Sprintf(`{"id":%q,"level":%s,"kind":%q,"type":"Password","description":"asks for passwörds","published":"2026-04-01T00:00:00Z",%s}`, w[0], w[1], w[2], w[3])
	}
	compile := func(p string) (*regexp.Regexp, error) { return match.Compile(p, false) }
	f, err := outbreak.ParseFeed([]byte(`{"feed":"x","serial":1,"published":"2026-04-01T00:00:00Z","expires":"2026-05-01T00:00:00Z","rules":[`+strings.Join(rules, ",")+`]}`), compile)
	if err != nil {
		t.Fatal(err)
	}
	set, err := outbreak.NewSet(f, compile)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pipeline.NewThreats(set)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func hashOf(s string) string { return mail.Hash(sha256.Sum256([]byte(s))).String() }

// outbreakBench knows programs by their beginning, and numbers parts from 11.
func outbreakBench() *bench {
	b, mid := &bench{}, mail.MID(10)
	now := func() time.Time { return time.Date(2026, 4, 7, 9, 15, 0, 0, time.UTC) }
	b.Pipeline = pipeline.New(pipeline.Options{Log: logs.NewMail(&b.lines, now), Now: now, NextMID: func() mail.MID { mid++; return mid }, Kind: func(head []byte) []string {
		if strings.HasPrefix(string(head), "MZ") {
			return []string{"exe", "executable"}
		}
		return []string{"text"}
	}})
	return b
}

const withFile = "Subject: Your parcel\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee <http://EVIL.example/x>\r\n" +
	"--b\r\nContent-Type: application/octet-stream; name=\"Invoice.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTVpldmls\r\n" +
	"--b\r\nContent-Type: text/plain; name=\"notes.js\"\r\n\r\nvar a\r\n--b--\r\n"

// What rules ask of a message is found in a real one, and the policy says what
// comes of it (reference 7.7).
func TestOutbreak(t *testing.T) {
	custom := func(change func(*policy.Outbreak)) policy.Outbreak {
		o := policy.OutbreakDefaults()
		change(&o)
		return o
	}
	for name, c := range map[string]struct {
		rules  []string
		policy policy.Outbreak
		want   []string // lines behind that of the policy
		held   string
		keep   time.Duration
		tag    string
	}{
		"no rules": {nil, policy.OutbreakDefaults(), nil, "", 0, ""},
		"off":      {[]string{`R1 5 virus "file":{"extension":[".exe"]}`}, policy.Outbreak{}, nil, "", 0, ""},
		"negative": {[]string{`R1 5 virus "file":{"extension":[".scr"]}`}, policy.OutbreakDefaults(), []string{"Outbreak Filters: verdict negative"}, "", 0, ""},
		"extension": {[]string{`R1 3 virus "file":{"extension":[".exe"]}`, `R2 4 phish "body":["no such text"]`}, policy.OutbreakDefaults(),
			[]string{"Outbreak Filters: verdict positive", "Threat Level=3 Category=Virus Type=Password"}, "VOF rule:R1", 24 * time.Hour, ""},
		"host":            {[]string{`R1 3 phish "url_hosts":["evil.example"]`}, policy.OutbreakDefaults(), nil, "VOF rule:R1", 4 * time.Hour, ""},
		"header and text": {[]string{`R1 3 phish "headers":[{"name":"Subject","match":"parcel"}],"body":["see"]`}, policy.OutbreakDefaults(), nil, "VOF rule:R1", 4 * time.Hour, ""},
		"hash of bytes":   {[]string{`R1 3 virus "file":{"sha256":["HASHJS","HASHEXE"]}`}, policy.OutbreakDefaults(), nil, "VOF rule:R1", 24 * time.Hour, ""},
		"hash of text":    {[]string{`R1 3 virus "file":{"name":["notes"],"sha256":["HASHJS"]}`}, policy.OutbreakDefaults(), nil, "VOF rule:R1", 24 * time.Hour, ""},
		"hash of another": {[]string{`R1 3 virus "file":{"name":["Invoice"],"sha256":["HASHJS"]}`}, policy.OutbreakDefaults(), nil, "", 0, ""},
		"bypassed":        {[]string{`R1 3 virus "file":{"extension":[".exe"]}`}, custom(func(o *policy.Outbreak) { o.Bypass = []string{".exe"} }), []string{"Outbreak Filters: verdict negative"}, "", 0, ""},
		"below threshold": {[]string{`R1 2 phish "body":["see"]`}, policy.OutbreakDefaults(), []string{"Outbreak Filters: verdict positive", "Threat Level=2 Category=Phish Type=Password"}, "", 0, ""},
		"modified": {[]string{`R1 2 phish "body":["see"]`}, custom(func(o *policy.Outbreak) {
			o.Modify, o.Subject = 1, "[$threat_verdict $threat_category $threat_type $threat_level]"
		}), nil, "", 0, "[PHISH Phish Password 2]"},
		"delivered":        {[]string{`R1 5 scam "body":["see"]`}, custom(func(o *policy.Outbreak) { o.Through, o.Modify = true, 1 }), nil, "", 0, "[Possible Scam]"},
		"viral is held":    {[]string{`R1 5 malware "body":["see"]`}, custom(func(o *policy.Outbreak) { o.Through, o.Modify = true, 1 }), nil, "VOF rule:R1", 24 * time.Hour, ""},
		"own threshold":    {[]string{`R1 1 phish "body":["see"]`}, custom(func(o *policy.Outbreak) { o.Threshold, o.Other = 1, time.Hour }), nil, "VOF rule:R1", time.Hour, ""},
		"expired":          {[]string{`R1 5 phish "body":["see"],"expires":"2026-04-02T00:00:00Z"`}, policy.OutbreakDefaults(), []string{"Outbreak Filters: verdict negative"}, "", 0, ""},
		"kind and size":    {[]string{`R1 3 virus "file":{"kind":["exe"],"size":{"min":6,"max":6}}`}, policy.OutbreakDefaults(), nil, "VOF rule:R1", 24 * time.Hour, ""},
		"size of another":  {[]string{`R1 3 virus "file":{"kind":["exe"],"size":{"max":5}}`}, policy.OutbreakDefaults(), nil, "", 0, ""},
		"too small a mail": {[]string{`R1 3 phish "body":["see"],"message_size":{"min":10000}`}, policy.OutbreakDefaults(), nil, "", 0, ""},
	} {
		for i := range c.rules {
			c.rules[i] = strings.NewReplacer("HASHEXE", hashOf("MZevil"), "HASHJS", hashOf("var a")).Replace(c.rules[i])
		}
		b := outbreakBench()
		b.Set(pipeline.Settings{Inbound: &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Outbreak: c.policy}}})
		b.SetThreats(threats(t, c.rules...))
		d, err := first(b.Judge(t.Context(), b.input(withFile)))
		if err != nil {
			t.Fatal(name, err)
		}
		held, keep := "", time.Duration(0)
		for _, p := range d.Quarantine {
			if held, keep = p.Reason, p.Keep; p.Quarantine != "Outbreak" {
				t.Errorf("%s: held in %q", name, p.Quarantine)
			}
		}
		tag := ""
		for _, x := range d.Extras {
			tag += x.Tag
		}
		if held != c.held || keep != c.keep || tag != c.tag {
			t.Errorf("%s: %q for %v, tag %q", name, held, keep, tag)
		}
		if (tag != "") != (len(d.Headers) == 2) {
			t.Errorf("%s: headers %v", name, d.Headers)
		}
		var lines []string
		for _, l := range b.lines[1:] {
			lines = append(lines, strings.TrimPrefix(l, "Info: MID 6 "))
		}
		if c.want != nil && !slices.Equal(lines, c.want) || c.policy.Scan == false && len(lines) > 0 {
			t.Errorf("%s: %q", name, lines)
		}
	}
}

// The fields are those that filters of mail programs know.
func TestOutbreakHeaders(t *testing.T) {
	b := newBench(t, "")
	o := policy.OutbreakDefaults()
	o.Modify = 1
	b.Set(pipeline.Settings{Inbound: &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Outbreak: o}}})
	b.SetThreats(threats(t, `R1 2 phish "body":["see"]`))
	d, err := first(b.Judge(t.Context(), b.input(withFile)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range d.Headers {
		got = append(got, h.String())
	}
	want := []string{"X-IronPort-Outbreak-Status: Yes, level 2, Phish - Password\r\n", "X-IronPort-Outbreak-Description: =?utf-8?q?asks_for_passw=C3=B6rds?=\r\n"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A policy each: what one holds another lets through, of the same message.
func TestOutbreakSplit(t *testing.T) {
	b := outbreakBench()
	strict, lax := policy.OutbreakDefaults(), policy.OutbreakDefaults()
	strict.Threshold, lax.Threshold = 2, 4
	b.Set(pipeline.Settings{Inbound: &policy.Table{Name: "inbound", Rows: []policy.Row{{Name: "Strict", To: []string{"bob@"}, Outbreak: strict}},
		Default: policy.Row{Name: policy.Default, Outbreak: lax}}})
	b.SetThreats(threats(t, `R1 3 phish "body":["see"]`))
	in := b.input(withFile)
	eve, _ := mail.ParseAddress("eve@example.com")
	in.Env.To = append(in.Env.To, eve)
	parts, err := b.Judge(t.Context(), in)
	if err != nil || len(parts) != 2 || len(parts[0].Quarantine) != 1 || len(parts[1].Quarantine) != 0 {
		t.Errorf("%+v %v", parts, err)
	}
}

// What is larger than the limit is not held against rules, and the log says so
// (reference 5.5).
func TestOutbreakTooBig(t *testing.T) {
	b := newBench(t, "")
	b.Set(pipeline.Settings{OutbreakMax: 100, Inbound: &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Outbreak: policy.OutbreakDefaults()}}})
	b.SetThreats(threats(t, `R1 3 phish "body":["see"]`))
	d, err := first(b.Judge(t.Context(), b.input(withFile)))
	want := fmt.Sprintf("Info: MID 6 was too big (%d/100) for scanning by VOF", len(withFile))
	if err != nil || len(d.Quarantine) != 0 || !slices.Contains(b.lines, want) {
		t.Errorf("%v %q", err, b.lines)
	}
}

// What is in archives meets rules as what is attached does: by name, kind, size
// and hash, and by the hosts in a text.
func TestOutbreakInArchives(t *testing.T) {
	pool := newPool(t, unpack.Options{})
	zip := files.Zip(t, files.Entry{Name: "dir/evil.exe", Data: []byte("MZevil")}, files.Entry{Name: "read.me", Data: []byte("go to http://evil.example/")})
	message := parts("\r\nhello", attached("a.zip", zip), attached("b.tgz", files.Gzip(t, files.Tar(t, files.Entry{Name: "b.js", Data: []byte("var a")}))))
	for rule, want := range map[string]bool{
		`"file":{"extension":[".exe"],"kind":["exe"],"size":{"min":6,"max":6}}`: true,
		`"file":{"extension":[".exe"],"size":{"min":7}}`:                        false,
		`"file":{"name":["^evil"],"sha256":["` + hashOf("MZevil") + `"]}`:       true,
		`"file":{"name":["b.js"],"sha256":["` + hashOf("var a") + `"]}`:         true,
		`"file":{"name":["b.js"],"sha256":["` + hashOf("var b") + `"]}`:         false,
		`"url_hosts":["evil.example"]`:                                          true,
		`"body":["go to"]`:                                                      true,
	} {
		var lines written
		p := opening(pool, pipeline.Settings{Inbound: &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Outbreak: policy.OutbreakDefaults()}}}, &lines)
		p.SetThreats(threats(t, "R1 3 virus "+rule))
		d, err := first(p.Judge(t.Context(), (&bench{}).input(message)))
		if err != nil || (len(d.Quarantine) > 0) != want {
			t.Errorf("%s: %+v %v %q", rule, d.Quarantine, err, lines)
		}
	}
}

// What comes from Outbreak and still meets a rule is marked, never held there
// again; what comes from another quarantine is not asked about.
func TestOutbreakReleased(t *testing.T) {
	o := policy.OutbreakDefaults()
	o.Modify = 1
	for _, from := range []bool{true, false} {
		b := newBench(t, "")
		b.Set(pipeline.Settings{Inbound: &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Outbreak: o}}})
		b.SetThreats(threats(t, `R1 5 phish "body":["see"]`))
		part, step, err := b.Rescan(t.Context(), pipeline.Again{Input: b.input(withFile), Judged: mail.Judgement{Policy: policy.Default}, Outbreak: from})
		if err != nil || step != "" || len(part.Quarantine) != 0 || (len(part.Extras) == 1) != from || (len(part.Headers) == 2) != from {
			t.Errorf("from Outbreak %v: %+v %q %v", from, part, step, err)
		}
	}
}
