package pipeline_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
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
		if err != nil || len(d.Quarantine) != len(c.want) || len(c.want) > 0 && !reflect.DeepEqual(d.Quarantine[0], c.want[0]) {
			t.Errorf("%s: %+v %v", name, d.Quarantine, err)
		}
	}
}

// What an ambiguous message gets is a matter of its mail policy, recipient by
// recipient.
func TestAmbiguousByPolicy(t *testing.T) {
	var log written
	next := mail.MID(60)
	p := pipeline.New(pipeline.Options{
		Log:           logs.NewMail(&log, func() time.Time { return time.Date(2026, 4, 7, 9, 15, 0, 0, time.UTC) }),
		HoldAmbiguous: "Policy", NextMID: func() mail.MID { next++; return next },
	})
	p.Set(pipeline.Settings{Inbound: &policy.Table{Name: "inbound", Rows: []policy.Row{
		{Name: "Lab", To: []string{"lab@"}, Ambiguous: policy.Response{Action: policy.Deliver, Tag: "[ODD]", Header: "X-Odd: yes"}},
		{Name: "Board", To: []string{"board@"}, Ambiguous: policy.Response{Action: policy.Drop}},
		{Name: "Sales", To: []string{"sales@"}, Ambiguous: policy.Response{Action: policy.Deliver}},
	}, Default: policy.Row{Name: policy.Default}}})
	in := (&bench{}).input("Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\r\n")
	for _, to := range []string{"lab@example.com", "board@example.com", "sales@example.com"} {
		a, err := mail.ParseAddress(to)
		if err != nil {
			t.Fatal(err)
		}
		in.Env.To = append(in.Env.To, a)
	}
	parts, err := p.Judge(t.Context(), in)
	if err != nil || len(parts) != 4 {
		t.Fatalf("%+v %v", parts, err)
	}
	lab, board, sales, bob := parts[0], parts[1], parts[2], parts[3]
	if len(lab.Quarantine) > 0 || len(lab.Extras) != 1 || lab.Extras[0].Tag != "[ODD]" || lab.Extras[0].Value != "yes" {
		t.Errorf("lab: %+v", lab)
	}
	if !board.Drop || !slices.Contains(log, "Info: Message aborted MID 62 Dropped by MIME inspection") {
		t.Errorf("board: %+v, log %q", board, log)
	}
	if sales.Drop || len(sales.Quarantine)+len(sales.Extras) > 0 {
		t.Errorf("sales: %+v", sales)
	}
	if len(bob.Quarantine) != 1 || bob.Quarantine[0].Reason != "ambiguous: there are two Content-Type fields (duplicate-content-type)" {
		t.Errorf("bob: %+v", bob)
	}
}
