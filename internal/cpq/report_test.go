package cpq

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

func accepted() Report {
	return Report{Action: mail.NewActionKey(mail.NewKey(serial, 23456, hash), 1), ManagerMID: 42, GatewayMID: 23999,
		Recipient: mail.Address{Local: "bob", Domain: "example.org"}, Seq: 3, Fate: Accepted, Attempts: 2, Host: "mx1.example.org (192.0.2.25)",
		At: time.Date(2026, 11, 24, 2, 9, 27, 123e6, time.UTC), Code: 250, Reply: `2.0.0 "ok"`}
}

func waiting() Report {
	r := accepted()
	r.Nth, r.Seq, r.Fate, r.Code, r.Reply = 1, 4, Waiting, 0, "connection refused"
	r.Next = r.At.Add(time.Minute)
	return r
}

const reportBlock = `{"version":1,"reports":[` +
	`{"action":"4223BF43B7C9D2E1-23456-0f343b0931126a20-1","manager_mid":42,"gateway_mid":23999,"recipient":"bob@example.org","nth":0,` +
	`"sequence":3,"fate":"accepted","at":"2026-11-24T02:09:27.123Z","next":"","attempts":2,"host":"mx1.example.org (192.0.2.25)","code":250,"reply":"2.0.0 \"ok\""},` +
	`{"action":"4223BF43B7C9D2E1-23456-0f343b0931126a20-1","manager_mid":42,"gateway_mid":23999,"recipient":"bob@example.org","nth":1,` +
	`"sequence":4,"fate":"waiting","at":"2026-11-24T02:09:27.123Z","next":"2026-11-24T02:10:27.123Z","attempts":2,"host":"mx1.example.org (192.0.2.25)","code":0,"reply":"connection refused"}]}`

// The form on the wire is a promise between versions: this text never changes.
func TestReportForm(t *testing.T) {
	want := []Report{accepted(), waiting()}
	got, err := EncodeReports(ReportPlain, want)
	if err != nil || string(got) != reportBlock {
		t.Fatalf("%v\n%s\n%s", err, got, reportBlock)
	}
	if back, err := DecodeReports(got); err != nil || !reflect.DeepEqual(back, want) {
		t.Fatalf("%v\n%+v", err, back)
	}
}

// Each block is one step away from a good one and is refused, with a place or a name.
func TestReportIsStrict(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(reportBlock, old, new, 1) }
	for name, c := range map[string]struct{ block, want string }{
		"empty":            {"", `octet 0: {"version": is expected`},
		"other version":    {with(`"version":1`, `"version":3`), "reports: version 3 is not understood, only 1 and 2"},
		"none":             {`{"version":1,"reports":[]}`, "{ is expected"},
		"deposit":          {depositBlock, `"reports":[ is expected`},
		"repeated field":   {with(`"nth":0`, `"nth":0,"nth":0`), `,"sequence": is expected`},
		"unknown field":    {with(`,"host"`, `,"x":1,"host"`), `,"host": is expected`},
		"trailing":         {reportBlock + " ", "nothing is expected"},
		"action":           {with("126a20-1", "126a20-01"), "action"},
		"no number":        {with(`"gateway_mid":23999`, `"gateway_mid":0`), "mid is 0"},
		"fate":             {with(`"fate":"accepted"`, `"fate":"lost"`), "no such fate"},
		"accepted with 5x": {with(`"code":250`, `"code":550`), "accepted is what has a reply of 2xx"},
		"accepted unsaid":  {with(`"code":250`, `"code":0`), "accepted is what has a reply of 2xx"},
		"250 but waiting":  {with(`"code":0`, `"code":250`), "accepted is what has a reply of 2xx"},
		"next of an end":   {with(`"next":""`, `"next":"2026-11-24T02:10:27.123Z"`), "only what waits"},
		"sequence":         {with(`"sequence":3`, `"sequence":0`), "sequence"},
		"sequence too big": {with(`"sequence":3`, `"sequence":9007199254740992`), "a number up to"},
		"no recipient":     {with(`"recipient":"bob@example.org"`, `"recipient":""`), "recipient"},
		"source route":     {with(`"recipient":"bob@example.org"`, `"recipient":"@a:bob@example.org"`), "recipient"},
		"upper case":       {with(`bob@example.org`, `bob@EXAMPLE.org`), "normal form"},
		"line feed":        {with(`connection`, "connection\n"), "control character"},
		"time":             {with(`02:09:27.123Z`, `02:09:27Z`), "a time is not of the form"},
		"long reply":       {with(`connection refused`, strings.Repeat("x", MaxReply+1)), "longer than"},
		"code":             {with(`"code":250`, `"code":600`), "a number up to 599"},
	} {
		if _, err := DecodeReports([]byte(c.block)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// heldAgain is what became of a release that scanning again held once more.
func heldAgain() Report {
	r := accepted()
	r.Fate, r.Host, r.Reply, r.Rescanned = HeldAgain, "sma1.example.net", "2.0.0 ok:  Message 45 accepted", `infected Worm, held again in Virus`
	return r
}

const stepsBlock = `{"version":2,"reports":[` +
	`{"action":"4223BF43B7C9D2E1-23456-0f343b0931126a20-1","manager_mid":42,"gateway_mid":23999,"recipient":"bob@example.org","nth":0,` +
	`"sequence":3,"fate":"held","at":"2026-11-24T02:09:27.123Z","next":"","attempts":2,"host":"sma1.example.net","code":250,` +
	`"reply":"2.0.0 ok:  Message 45 accepted","rescanned":"infected Worm, held again in Virus"},` +
	`{"action":"4223BF43B7C9D2E1-23456-0f343b0931126a20-1","manager_mid":42,"gateway_mid":23999,"recipient":"bob@example.org","nth":1,` +
	`"sequence":4,"fate":"waiting","at":"2026-11-24T02:09:27.123Z","next":"2026-11-24T02:10:27.123Z","attempts":2,"host":"mx1.example.org (192.0.2.25)","code":0,"reply":"connection refused","rescanned":""}]}`

// The second version says in fields what the first had in words. It never claims
// a delivery of what was held again, and the first one neither: to a manager that
// knows no more it is discarded.
func TestReportSteps(t *testing.T) {
	want := []Report{heldAgain(), waiting()}
	got, err := EncodeReports(ReportSteps, want)
	if err != nil || string(got) != stepsBlock {
		t.Fatalf("%v\n%s\n%s", err, got, stepsBlock)
	}
	if back, err := DecodeReports(got); err != nil || !reflect.DeepEqual(back, want) {
		t.Fatalf("%v\n%+v", err, back)
	}
	with := func(old, new string) string { return strings.Replace(stepsBlock, old, new, 1) }
	for name, c := range map[string]struct{ block, want string }{
		"in the first version": {with(`"version":2`, `"version":1`), "} is expected"},
		"field missing":        {with(`,"rescanned":""`, ``), `,"rescanned": is expected`},
		"not scanned":          {with(`"rescanned":"infected Worm, held again in Virus"`, `"rescanned":""`), "what is held again was scanned again"},
		"held without reply":   {with(`"code":250`, `"code":0`), "accepted and held are what has a reply of 2xx"},
		"held with 5xx":        {with(`"code":250`, `"code":550`), "accepted and held are what has a reply of 2xx"},
		"long":                 {with(`infected Worm`, strings.Repeat("x", MaxReply)), "longer than"},
	} {
		if _, err := DecodeReports([]byte(c.block)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := DecodeReports([]byte(strings.Replace(reportBlock, "accepted", "held", 1))); err == nil || !strings.Contains(err.Error(), "no such fate") {
		t.Errorf("held in the first version: %v", err)
	}
	clean, later, dropped := accepted(), waiting(), accepted()
	clean.Rescanned, later.Rescanned, later.Reply = "clean", "clean", ""
	dropped.Fate, dropped.Code, dropped.Reply, dropped.Rescanned = Discarded, 0, "rescanned: infected Worm, dropped by antivirus", "infected Worm, dropped by antivirus"
	b, err := EncodeReports(ReportPlain, []Report{heldAgain(), clean, later, dropped})
	old, err2 := DecodeReports(b)
	if err != nil || err2 != nil || len(old) != 4 {
		t.Fatal(err, err2)
	}
	for i, want := range []Report{
		{Fate: Discarded, Reply: "rescanned: infected Worm, held again in Virus"},
		{Fate: Accepted, Code: 250, Host: clean.Host, Reply: `2.0.0 "ok" (rescanned: clean)`},
		{Fate: Waiting, Host: later.Host, Reply: "rescanned: clean"},
		{Fate: Discarded, Host: dropped.Host, Reply: "rescanned: infected Worm, dropped by antivirus"},
	} {
		r := old[i]
		if got := (Report{Fate: r.Fate, Code: r.Code, Host: r.Host, Reply: r.Reply, Rescanned: r.Rescanned}); got != want {
			t.Errorf("an older manager hears %+v, not %+v", got, want)
		}
	}
}

// A block takes as many as fit, whatever they say, and all come through.
func TestReportBlocks(t *testing.T) {
	r := waiting()
	r.Reply, r.Host = strings.Repeat("\x01", 2*MaxReply)+"\xff", strings.Repeat("\xff", 300)
	list := make([]Report, 250)
	for i := range list {
		list[i] = r
		list[i].Nth = i
	}
	blocks, seen := 0, 0
	for rest := list; len(rest) > 0; blocks++ {
		b, n, err := ReportBlock(ReportSteps, rest)
		if err != nil || n == 0 || len(b.Data) > MaxBlock {
			t.Fatal(n, len(b.Data), err)
		}
		got, err := DecodeReports(b.Data)
		if err != nil || len(got) != n || got[0].Nth != seen || len(got[0].Reply) > MaxReply {
			t.Fatal(len(got), n, err)
		}
		seen, rest = seen+n, rest[n:]
	}
	if seen != 250 || blocks < 25 {
		t.Error(seen, blocks)
	}
	if _, n, err := ReportBlock(ReportPlain, []Report{{}}); err == nil || n != 0 {
		t.Error(n, err)
	}
}

// A sound block comes to the session; an unsound one gets the place, and both
// leave the session where it was.
func TestReportDialogue(t *testing.T) {
	var got []Report
	ext := NewReportExtension(func(_ context.Context, _ smtp.Session, list []Report) smtp.Reply {
		got = list
		return ReplyReported(len(list))
	})
	say := func(s string) string {
		return ext.Handle(context.Background(), nil, "", strings.NewReader(s)).String()
	}
	if r := say(reportBlock); r != "250 2.0.0 2 reports taken" || len(got) != 2 {
		t.Error(r, len(got))
	}
	if r := say(strings.Replace(reportBlock, "waiting", "waitin", 1)); !strings.HasPrefix(r, "554 5.6.0 reports: there is no such fate") {
		t.Error(r)
	}
	if r := say(`{"version":7,`); r != "554 5.5.4 reports: version 7 is not understood, only 1 and 2" {
		t.Error(r)
	}
}

// Gateways that know the first version alone called what they held again
// accepted: their words behind the reply are read, and only theirs.
func TestReportHeldInWords(t *testing.T) {
	var got []Report
	ext := NewReportExtension(func(_ context.Context, _ smtp.Session, list []Report) smtp.Reply {
		got = list
		return ReplyReported(len(list))
	})
	const held = "2.0.0 ok:  Message 45 accepted (rescanned: infected Worm, held again in Virus)"
	for _, c := range []struct {
		version              int
		reply                string
		fate                 Fate
		wantReply, rescanned string
	}{
		{1, held, HeldAgain, "2.0.0 ok:  Message 45 accepted", "infected Worm, held again in Virus"},
		{1, "2.0.0 ok (rescanned: infected Worm, as before)", Accepted, "2.0.0 ok (rescanned: infected Worm, as before)", ""},
		{1, held + " not at the end", Accepted, held + " not at the end", ""},
		{2, held, Accepted, held, ""},
	} {
		r := accepted()
		r.Reply = c.reply
		b, err := EncodeReports(c.version, []Report{r})
		if err != nil {
			t.Fatal(err)
		}
		if says := ext.Handle(context.Background(), nil, "", strings.NewReader(string(b))); !says.Positive() {
			t.Fatal(says)
		}
		if g := got[0]; g.Fate != c.fate || g.Reply != c.wantReply || g.Rescanned != c.rescanned {
			t.Errorf("version %d, %q: %+v", c.version, c.reply, g)
		}
	}
}

// FuzzReports: what is taken is exactly what would be written.
func FuzzReports(f *testing.F) {
	f.Add([]byte(reportBlock))
	f.Add([]byte(stepsBlock))
	f.Add([]byte(`{"version":1,"reports":[{"action":`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeReports(b)
		if err != nil {
			return
		}
		version := ReportPlain
		if strings.HasPrefix(string(b), `{"version":2`) {
			version = ReportSteps
		}
		again, err := EncodeReports(version, list)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%v\n%s\n%s", err, b, again)
		}
	})
}
