package pipeline_test

import (
	"strings"
	"testing"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
)

// Register C1: what two readers would understand differently is held, in
// words, unless a filter decided or the setting lets it pass; what is only
// untidy passes.
func TestSEC_C1_AmbiguousIsHeld(t *testing.T) {
	two := "Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
	held := []mail.Placement{{Quarantine: "Policy", Reason: "ambiguous: there are two Content-Type fields (duplicate-content-type)"}}
	for name, c := range map[string]struct {
		setting, script, content string
		want                     []mail.Placement
	}{
		"held":              {"Policy", "", two, held},
		"filters looked":    {"Policy", `a: if (body-contains("nowhere")) { drop(); }`, two, held},
		"filter holds":      {"Policy", `a: if (true) { quarantine("Virus"); }`, two, []mail.Placement{{Quarantine: "Virus", Reason: "message filter:a"}}},
		"filter drops":      {"Policy", `a: if (true) { drop(); }`, two, nil},
		"setting lets pass": {"", "", two, nil},
		"plain":             {"Policy", "", plain, nil},
		"untidy":            {"Policy", "", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n", nil},
		"not seen":          {"Policy", "", strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 50), []mail.Placement{{Quarantine: "Policy", Reason: "unscannable: depth-limit"}}},
	} {
		b := newBench(t, c.script)
		set, err := filter.Parse(c.script)
		if err != nil {
			t.Fatal(err)
		}
		p := pipeline.New(pipeline.Options{Log: logs.Discard(), HoldAmbiguous: c.setting})
		p.Set(pipeline.Settings{Filters: set})
		d, err := first(p.Judge(t.Context(), b.input(c.content)))
		if err != nil || len(d.Quarantine) != len(c.want) || len(c.want) > 0 && d.Quarantine[0] != c.want[0] {
			t.Errorf("%s: %+v %v", name, d.Quarantine, err)
		}
	}
}
