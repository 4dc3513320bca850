package cpq

import (
	"reflect"
	"strings"
	"testing"

	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// Verdicts have one form, and every other is refused.
func TestVerdictForm(t *testing.T) {
	k := mail.NewKey("4223BF43B7C9D2E1", 501, mail.Hash{1, 2, 3})
	list := []Verdict{{Key: k, ManagerMID: 44, For: ForRules, Stand: ByRule, Rule: "OUTBREAK_0000232"}, {Key: k, ManagerMID: 45, For: ForAnalysis, Stand: Cleared}, {Key: k, ManagerMID: 46, For: ForRules, Stand: NotKnown}}
	b, err := EncodeVerdicts(list)
	want := `{"version":1,"verdicts":[{"key":"4223BF43B7C9D2E1-501-0102030000000000","manager_mid":44,"for":"outbreak","stand":"held","rule":"OUTBREAK_0000232"},` +
		`{"key":"4223BF43B7C9D2E1-501-0102030000000000","manager_mid":45,"for":"file analysis","stand":"cleared","rule":""},` +
		`{"key":"4223BF43B7C9D2E1-501-0102030000000000","manager_mid":46,"for":"outbreak","stand":"unknown","rule":""}]}`
	if err != nil || string(b) != want {
		t.Fatalf("%s, %v", b, err)
	}
	if back, err := DecodeVerdicts(b); err != nil || !reflect.DeepEqual(back, list) {
		t.Errorf("%+v, %v", back, err)
	}
	for name, c := range map[string][2]string{
		"other version":     {`"version":1`, `"version":2`},
		"no number":         {`"manager_mid":44`, `"manager_mid":0`},
		"unknown field":     {`,"stand"`, `,"x":1,"stand"`},
		"unknown stand":     {`"cleared"`, `"freed"`},
		"of nothing":        {`"for":"outbreak"`, `"for":""`},
		"analysis by rule":  {`"for":"outbreak","stand":"held"`, `"for":"file analysis","stand":"held"`},
		"held by nothing":   {`"OUTBREAK_0000232"`, `""`},
		"cleared by a rule": {`"cleared","rule":""`, `"cleared","rule":"R"`},
		"two rules":         {`OUTBREAK_0000232`, `R1; R2`},
		"hostile rule":      {`OUTBREAK_0000232`, `R\u001b[2J`},
		"not ASCII":         {`OUTBREAK_0000232`, "R\u00fc"},
		"long rule":         {`OUTBREAK_0000232`, strings.Repeat("R", maxRule+1)},
		"no key":            {`4223BF43B7C9D2E1-501-0102030000000000`, `x`},
		"more behind":       {`]}`, `]} `},
		"nothing":           {want, `{"version":1,"verdicts":[]}`},
		"torn":              {`"rule":""}]}`, ``},
	} {
		if v, err := DecodeVerdicts([]byte(strings.Replace(want, c[0], c[1], 1))); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for n, ok := range map[int]bool{0: false, 1: true, MaxVerdicts: true, MaxVerdicts + 1: false} {
		many := make([]Verdict, n)
		for i := range many {
			many[i] = Verdict{Key: k, ManagerMID: 1<<64 - 1, For: ForRules, Stand: ByRule, Rule: strings.Repeat("R", maxRule)}
		}
		if b, err := EncodeVerdicts(many); (err == nil) != ok || len(b) > MaxBlock {
			t.Errorf("%d: %d octets, %v", n, len(b), err)
		}
	}
}

// A reply names places of the block, rising, or none; nothing else is taken for
// one, so that no copy is dropped by mistake.
func TestReplyJudged(t *testing.T) {
	all := make([]int, MaxVerdicts)
	for i := range all {
		all[i] = i
	}
	for _, gone := range [][]int{nil, {0}, {3, 99}, all} {
		r := ReplyJudged(gone)
		line := r.String()
		if got, err := ParseJudged(r, MaxVerdicts); err != nil || !reflect.DeepEqual(got, gone) || len(line) > 500 {
			t.Errorf("%v: %q gives %v, %v", gone, line, got, err)
		}
		wired := smtp.NewReply(250, "2.0.0", strings.TrimRight(r.Text[0], " ")) // as it comes from the wire
		if got, err := ParseJudged(wired, MaxVerdicts); err != nil || !reflect.DeepEqual(got, gone) {
			t.Errorf("%v: %q gives %v, %v", gone, line, got, err)
		}
	}
	for _, text := range []string{"gone: 3", "gone: -1", "gone: 1 1", "gone: 2 1", "gone: x", "gone: 1,2", "ok", "gone", "1 2", ""} {
		if got, err := ParseJudged(smtp.NewReply(250, "2.0.0", text), 3); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if got, err := ParseJudged(smtp.NewReply(451, "4.3.0", "gone: 1"), 3); err == nil {
		t.Errorf("%v", got)
	}
}
