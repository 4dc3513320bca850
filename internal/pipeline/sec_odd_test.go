package pipeline_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
	"lazaret/internal/scan"
	"lazaret/internal/testlib"
	"lazaret/internal/testlib/odd"
	"lazaret/internal/unpack"
)

// asText are messages of the collection whose file no reader decodes: it stays
// base64, and a name is all there is of it.
var asText = []string{"unknown encoding", "escapes that are none", "content elsewhere", "comment in front of a name", "underscores in a name", "encoding empty",
	"encoding in Content-Encoding", "encoding without Content"}

// Register A5: odd mail does not walk past a filter about the names of attached
// files, nor past a real clamd: every message of the collection whose file some
// reader sees is held. In the plain one of them it is the rule that holds, and
// what has another file passes.
func TestSEC_A5_OddMail(t *testing.T) {
	pool := newPool(t, unpack.Options{Workers: 1})
	byName, err := filter.Parse(`exe: if (attachment-filename == "\.exe\"?$") { quarantine("Policy"); }`)
	if err != nil {
		t.Fatal(err)
	}
	none, err := filter.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	clamd := scan.NewClamd(scan.ClamdOptions{Address: testlib.NewClamd(t).Socket})
	defer clamd.Close()
	virus := base64.StdEncoding.EncodeToString([]byte(testlib.EICAR()))
	table := &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}}}
	for by, s := range map[string]pipeline.Settings{"name": {Filters: byName}, "clamd": {Filters: none, Inbound: table, Engine: clamd}} {
		p := pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind, Opener: opener(pool), HoldAmbiguous: "Policy"})
		p.Set(s)
		holds := func(raw string) string {
			d, err := first(p.Judge(t.Context(), (&bench{}).input(raw)))
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Quarantine) == 0 {
				return ""
			}
			return d.Quarantine[0].Reason
		}
		tried := 0
		for _, m := range odd.Messages() {
			raw := strings.ReplaceAll(m.Raw, odd.File, virus)
			if m.Find == odd.Nobody || by == "clamd" && (raw == m.Raw || slices.Contains(asText, m.Name)) {
				continue
			}
			tried++
			if holds(raw) == "" {
				t.Errorf("%s: %s: passes", by, m.Name)
			}
		}
		if tried < 200 {
			t.Errorf("%s: only %d messages were tried", by, tried)
		}
		plain := odd.Messages()[0].Raw
		if why := holds(strings.ReplaceAll(plain, odd.File, virus)); why == "" || strings.HasPrefix(why, "ambiguous") {
			t.Errorf("%s: the plain message: %q", by, why)
		}
		if why := holds(strings.ReplaceAll(plain, "evil.exe", "evil.txt")); why != "" {
			t.Errorf("%s: what is harmless: %q", by, why)
		}
	}
}
