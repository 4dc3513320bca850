package gateway

import (
	"io"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/access"
	"lazaret/internal/admin"
	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/testlib"
)

// Trace shows the stages behind antivirus too: file analysis, content filters,
// outbreak rules and DLP, and gives nothing to an analyser.
func TestTraceThreats(t *testing.T) {
	f, a := testlib.NewFeed(t), testlib.NewAnalyser(t)
	w := newWorld(t, nil, func(c *config.Config) {
		holding(c)
		c.Outbreak = rulesOf(f)
		c.FileAnalysis = config.FileAnalysis{Analyser: a.URL, Key: a.Key, CAFile: a.CAFile, Kinds: []string{"all"}}
		c.ContentFilters = []config.ContentFilter{{Table: config.Inbound, Name: "parcel", Conditions: []string{`body-contains("parcel")`}, Actions: []string{`insert-header("X-Parcel", "yes")`}}}
		c.DLPPolicies = []config.DLPPolicy{{Name: "Cards", Identifiers: []string{"*credit"}}}
		c.MailPolicies = []config.MailPolicy{{Table: config.Inbound, Name: "DEFAULT", ContentMode: "custom", Content: []string{"parcel"}},
			{Table: config.Outbound, Name: "DEFAULT", DLPMode: "custom", DLP: []string{"Cards"}}}
		for i := range c.Listeners {
			if l := &c.Listeners[i]; l.Name == "IncomingMail" {
				l.RAT = []access.RATEntry{{Address: "ALL", Access: "ACCEPT"}}
			}
		}
	})
	f.Publish(`R1 3 phish "body":["parcel"]`)
	if _, err := w.OutbreakUpdate(t.Context()); err != nil {
		t.Fatal(err)
	}
	trace := func(q admin.TraceQuery) *admin.TracePart {
		t.Helper()
		out, err := tracer{w.Gateway}.Trace(t.Context(), q)
		if err != nil || len(out.Parts) != 1 {
			t.Fatalf("%+v %v", out, err)
		}
		return &out.Parts[0]
	}
	p := trace(w.query(strings.Replace(withFile("x", programOf("x")), "Text", "your parcel", 1), "bob@one.example"))
	if p.Outbreak != "positive: rule R1, level 3, Phish - Test" || len(p.Filters) != 1 || p.Filters[0].Name != "parcel" || !p.Filters[0].Rules[0].Result ||
		p.Files != "pending not known to the analyser" || !slices.ContainsFunc(p.Quarantine, func(q mail.Placement) bool { return q.Quarantine == "Outbreak" }) {
		t.Errorf("%+v", p)
	}
	if names, asked := a.Given(); len(names) != 0 || asked == 0 {
		t.Errorf("given %q, asked %d times", names, asked)
	}
	if p := trace(w.query("Subject: x\r\n\r\nhello\r\n", "bob@one.example")); p.Outbreak != "negative" || p.Files != "" || p.DLP != "" {
		t.Errorf("%+v", p)
	}
	const leak = "Subject: x\r\n\r\n4111 1111 1111 1111\r\n"
	traced, err := w.pipeline.Trace(t.Context(), pipeline.Input{Size: int64(len(leak)), Origin: mail.Origin{Relay: true}, Env: mail.Envelope{To: w.query("", "bob@other.example").To},
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(leak)), nil }})
	if err != nil || len(traced.Parts) != 1 || traced.Parts[0].Leak != "LOW (risk factor 10), DLP policy Cards" {
		t.Errorf("%+v %v", traced, err)
	}
}
