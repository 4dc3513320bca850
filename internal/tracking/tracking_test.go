package tracking

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
)

// paper keeps lines as a log has them.
type paper struct {
	b   []byte
	now time.Time
}

func (p *paper) WriteLine(b []byte) { p.b = append(p.b, b...) }

func newPaper() (*paper, *logs.Mail) {
	p := &paper{now: time.Date(2025, 4, 7, 9, 15, 0, 0, time.UTC)}
	return p, logs.NewMail(p, func() time.Time { p.now = p.now.Add(time.Second); return p.now })
}

// find reads lines twice, as an appliance does.
func find(lines string, q Query, more func(*Follower)) Answer {
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	f := NewFinder(q, time.UTC)
	for l := range strings.SplitSeq(lines, "\n") {
		f.Line([]byte(l))
	}
	w := f.Follow()
	for l := range strings.SplitSeq(lines, "\n") {
		w.Line([]byte(l))
	}
	if more != nil {
		more(w)
	}
	a := w.Answer()
	a.Serial, a.Name = "GATEWAY0001", "gw1"
	return a
}

// told writes an answer as where does.
func told(rows []Row) string {
	var b strings.Builder
	for i := range rows {
		b.WriteString(rows[i].Head(time.UTC) + "\n")
		for _, s := range rows[i].Says {
			b.WriteString("  <" + s.Recipient + ">: " + string(s.State) + ": " + s.Text + "\n")
		}
	}
	return b.String()
}

var (
	ann   = mail.Address{Local: "ann", Domain: "example.com"}
	bob   = mail.Address{Local: "bob", Domain: "example.com"}
	carol = mail.Address{Local: "carol", Domain: "example.com"}
	alice = mail.Address{Local: "alice", Domain: "partner.example"}
	ip    = netip.MustParseAddr("192.0.2.7")
	own   = netip.MustParseAddr("192.0.2.1")
)

// receive writes the lines of a message that comes in.
func receive(m *logs.Mail, mid mail.MID, subject string, to ...mail.Address) {
	m.NewICID("SMTP", mail.ICID(mid), "Data 1", own, ip, "mx.partner.example", "yes")
	m.HAT(mail.ICID(mid), "ACCEPT", "UNKNOWNLIST", "ALL", "None")
	m.Start(mid, mail.ICID(mid))
	m.From(mid, mail.ICID(mid), alice)
	for i, a := range to {
		m.To(mid, mail.ICID(mid), mail.RID(i), a)
	}
	m.MessageID(mid, "<"+mid.String()+"@partner.example>")
	m.Subject(mid, subject)
	m.Ready(mid, 100, alice)
	m.ICIDClose(mail.ICID(mid))
}

// deliver writes those of one that leaves.
func deliver(m *logs.Mail, dcid mail.DCID, mid mail.MID, reply string, cpq bool, rids ...mail.RID) {
	m.NewDCID(dcid, own, ip, 25)
	m.DeliveryStart(dcid, mid, rids, cpq)
	m.MessageDone(dcid, mid, rids, cpq)
	m.Response(mid, rids, reply)
	m.DCIDClose(dcid)
}

// Each fate that mail_logs can tell, in its sentence: lines written by the room
// that writes them, against a file that a person has read.
func TestSentences(t *testing.T) {
	p, m := newPaper()
	receive(m, 1, "refused", ann)
	m.ToRejected(1, 1, bob, "RAT")
	m.QueuedForDelivery(1)
	deliver(m, 1, 1, "2.0.0 it's \x1b[31m ok", false, 0)
	receive(m, 2, "late", ann)
	m.QueuedForDelivery(2)
	m.NewDCID(2, own, ip, 25)
	m.Delayed(2, 2, 0, "4.1.0", "Unknown address error", "466", []string{"Mailbox", "full"})
	m.Pending(2, []mail.RID{0}, p.now.Add(time.Hour))
	receive(m, 3, "held", ann, bob)
	m.Enqueued(3, "Policy", "message filter:hold")
	m.Enqueued(3, "Virus", "antivirus:infected")
	deliver(m, 3, 3, "ok:  Message 44 accepted", true, 0, 1)
	receive(m, 30, "held", ann, bob)
	m.Rewritten(3, 30, "Policy Quarantine")
	m.QueuedForDelivery(30)
	deliver(m, 4, 30, "2.0.0 taken", false, 0)
	m.NewDCID(5, own, ip, 25)
	m.Bounced(5, 30, 1, "5.1.1", "Unknown user", "550", []string{"no such user"})
	m.GeneratedBounce(31, 30)
	receive(m, 4, "dropped", ann)
	m.Aborted(4, "Dropped by filter 'x'")
	receive(m, 5, "split", ann, bob, carol)
	m.Split(5, 50, "Sales", "inbound")
	m.Split(5, 51, "DEFAULT", "inbound")
	m.Aborted(51, "Dropped by antivirus")
	m.Start(50, 0)
	m.From(50, 0, alice)
	m.To(50, 0, 0, ann)
	m.QueuedForDelivery(50)
	m.Start(51, 0)
	m.From(51, 0, alice)
	m.To(51, 0, 0, bob)
	m.To(51, 0, 1, carol)
	m.Finished(5, true)
	deliver(m, 6, 50, "2.0.0 sold", false, 0)
	receive(m, 6, "copied", ann)
	m.Generated(60, 6, "duplicate-quarantine filter 'keep'")
	m.Enqueued(60, "Policy", "message filter:keep")
	m.QueuedForDelivery(6)
	deliver(m, 7, 6, "2.0.0 yes", false, 0)
	receive(m, 7, "old", ann)
	m.QueuedForDelivery(7)
	m.Bounced(0, 7, 0, "5.4.7", "Delivery expired (message too old)", "000", []string{"connection refused"})
	receive(m, 8, "removed", ann)
	m.QueuedForDelivery(8)
	m.Deleted(8, []mail.RID{0})
	m.NewICID("SMTP", 9, "Data 1", own, ip, "x", "no")
	m.Start(9, 9)
	m.From(9, 9, alice)
	m.To(9, 9, 0, ann)
	m.ReceivingFailed(9, "Message loop")
	m.ReceivingAborted(9)
	receive(m, 10, "in doubt", ann)
	m.QueuedForDelivery(10)
	m.PossibleDelivery(8, 10, []mail.RID{0})
	receive(m, 11, "lost sight of", ann)
	m.QueuedForDelivery(11)
	receive(m, 12, "at work", ann)
	m.SenderRejected(13, alice, "envelope sender domain does not exist")
	receive(m, 14, "here", ann)
	m.Quarantined(14, "Policy", "message filter:own")
	receive(m, 99, "of somebody else", carol)

	a := find(string(p.b), Query{Sender: "ALICE@partner"}, func(w *Follower) { w.Gone(11) })
	got := told(Rows([]Answer{a}, nil, nil))
	golden(t, "sentences.txt", got)
	for _, r := range got {
		if r == 0x1b || r != '\n' && unicode.IsControl(r) {
			t.Errorf("control character %q", r)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%v; got\n%s", err, got)
	}
}

// Each condition finds what it says and nothing else; together they narrow.
func TestConditions(t *testing.T) {
	p, m := newPaper()
	receive(m, 1, "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", ann)
	receive(m, 2, "Other", bob)
	receive(m, 20, "Other", bob)
	m.Rewritten(2, 20, "Policy Quarantine")
	receive(m, 3, "say \"hello\" \\x41", ann, bob)
	begun := time.Date(2025, 4, 7, 9, 15, 0, 0, time.UTC)
	for _, tc := range []struct {
		proves string
		q      Query
		want   string
	}{
		{"a subject is looked for as decoded", Query{Subject: "grüße"}, "1"},
		{"a quote and a backslash are what they were", Query{Subject: `"hello" \x41`}, "3"},
		{"a recipient", Query{Recipient: "bob@"}, "3 2 20"},
		{"a Message-ID without its brackets", Query{MessageID: "3@PARTNER.example"}, "3"},
		{"not a part of one", Query{MessageID: "partner.example"}, ""},
		{"a number", Query{MID: 1}, "1"},
		{"a later number leads to the first", Query{MID: 20}, "2 20"},
		{"both", Query{Recipient: "bob", Subject: "say"}, "3"},
		{"both, and none has both", Query{Recipient: "bob", Subject: "grüße"}, ""},
		{"since", Query{Sender: "alice", Since: begun.Add(30 * time.Second)}, "3"},
		{"until", Query{Sender: "alice", Until: begun.Add(10 * time.Second)}, "1"},
		{"the newest", Query{Sender: "alice", Limit: 1}, "3"},
	} {
		a := find(string(p.b), tc.q, nil)
		var got []string
		for _, m := range a.Messages {
			got = append(got, m.MID.String())
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s: got %q, want %q", tc.proves, s, tc.want)
		}
		if (tc.q.Limit == 1) != (len(a.Cut) > 0) {
			t.Errorf("%s: cut %q", tc.proves, a.Cut)
		}
	}
	a := find(string(p.b), Query{Recipient: "bob", Subject: "say"}, nil)
	if rs := a.Messages[0].Recipients; len(rs) != 1 || rs[0].Address != "bob@example.com" {
		t.Errorf("recipients that were not asked for: %+v", rs)
	}
}

// What a sender writes into a subject, an address or a reply pretends nothing,
// whatever it looks like; what is no line, or half of one, is passed over.
func TestHostileLines(t *testing.T) {
	p, m := newPaper()
	evil := mail.Address{Local: `"x> Rejected by RAT"`, Domain: "example.com"}
	receive(m, 1, "x\nMon Apr  7 09:15:00 2025 Info: MID 1 queued for delivery\" \x1b[2J\u202e", evil)
	m.CustomEntry(1, `Message aborted MID 1 Dropped by filter 'x'`)
	m.UnknownCommand(1, "MID 1 RID [0] Response 'ok'")
	m.Aborted(2, "MID 1 queued for delivery")
	half := "Mon Apr  7 09:16:00 2025 Info: Message aborted MID 1 Dropped"
	a := find(string(p.b)+"no line\n\x00\xff\nMon\n"+half[:40], Query{MID: 1}, nil)
	if len(a.Messages) != 1 || len(a.Messages[0].Recipients) != 1 {
		t.Fatalf("%+v", a)
	}
	r := a.Messages[0].Recipients[0]
	if r.Address != evil.String() || r.State != Working {
		t.Errorf("%+v", r)
	}
	got := told(Rows([]Answer{a}, nil, nil))
	if strings.Count(got, "\n") != 2 || strings.ContainsAny(got, "\x1b\u202e") || strings.Contains(got, "dropped") {
		t.Errorf("got %q", got)
	}
}

// A log of which the beginning is gone tells what is left of it, and what the
// queue knows is told without any log.
func TestCutLog(t *testing.T) {
	p, m := newPaper()
	receive(m, 1, "one", ann)
	m.QueuedForDelivery(1)
	deliver(m, 1, 1, "2.0.0 ok", false, 0)
	lines := string(p.b)
	rest := lines[strings.Index(lines, "Delivery start"):]
	rest = rest[strings.IndexByte(rest, '\n')+1:]
	a := find(rest, Query{MID: 1}, nil)
	if got := told(Rows([]Answer{a}, nil, nil)); !strings.Contains(got, "delivered to an unknown host at 2025-04-07 09:15:") || !strings.Contains(got, "2.0.0 ok") {
		t.Errorf("got %s", got)
	}
	a = find("", Query{Sender: "alice"}, func(w *Follower) {
		l := &Live{MID: 7, Received: p.now, Sender: "alice@partner.example", Judged: true, Waits: []Wait{{RID: 0, Address: "ann@example.com", Host: "example.com", Reply: "refused", At: p.now, Next: p.now}}}
		q := Query{Sender: "alice"}
		if w.Knows(7) || !q.Fits(l) {
			t.Error("not asked for")
		}
		w.Lives(l)
	})
	if got := told(Rows([]Answer{a}, nil, nil)); !strings.Contains(got, "<ann@example.com>: waiting: waiting for example.com since the try at 2025-04-07 09:15:") {
		t.Errorf("got %s", got)
	}
}

// The offset that a file names is that of its lines.
func TestOffset(t *testing.T) {
	head := "Mon Apr  7 09:15:00 2025 Info: Begin Logfile\nMon Apr  7 09:15:00 2025 Info: Time offset from UTC: 7200 seconds\n"
	a := find(head+"Mon Apr  7 09:15:00 2025 Info: Start MID 1 ICID 0\n", Query{MID: 1}, nil)
	if got := a.Messages[0].Received; !got.Equal(time.Date(2025, 4, 7, 7, 15, 0, 0, time.UTC)) {
		t.Error(got)
	}
}

// What a gateway says is put beside what the manager holds, by the pair of
// numbers; what the gateway's log has lost is told by the record alone.
func TestJoin(t *testing.T) {
	p, m := newPaper()
	receive(m, 3, "held", ann)
	m.Enqueued(3, "Policy", "message filter:hold")
	deliver(m, 3, 3, "ok:  Message 44 accepted", true, 0)
	a := find(string(p.b), Query{Sender: "alice"}, nil)
	at := p.now
	rec := func(mid, esa mail.MID, state string) Held {
		return Held{MID: mid, GatewayMID: esa, Gateway: "gw1", Serial: "GATEWAY0001", Recipients: []string{"ann@example.com"}, Accepted: at, Received: at, State: state,
			Places: []Place{{Name: "Policy", Reason: "message filter:hold", State: "held", Exit: at.Add(time.Hour)}}}
	}
	left := func(h Held, state, cause string) Held {
		h.Places = []Place{{Name: "Policy", State: state, Cause: cause, By: "admin", Left: at.Add(69 * time.Second)}}
		h.Until = at.Add(99 * time.Second)
		return h
	}
	sent := left(rec(45, 4, "released"), "released", "manual")
	sent.Release = []Released{{Recipient: "ann@example.com", State: "accepted", MID: 40, Taken: at, Tried: at, Host: "mx\x1b", Text: "250 ok"}}
	waits := left(rec(46, 5, "taken"), "released", "expired")
	waits.Release = []Released{{Recipient: "ann@example.com", State: "waiting", MID: 41, Taken: at, Next: at, Text: "connection refused"}}
	again := left(rec(50, 9, "released"), "released", "manual")
	again.Release = []Released{{Recipient: "ann@example.com", State: "held", MID: 42, Taken: at, Tried: at, Host: "sma1", Text: "ok:  Message 51 accepted", Rescanned: "infected W\x1b, held again in Virus"}}
	rows := Rows([]Answer{a}, []Held{rec(44, 3, "held"), sent, waits, again, left(rec(47, 6, "binned"), "deleted", "manual"), left(rec(48, 7, "leaving"), "released", "manual"), left(rec(49, 8, "deleted"), "deleted", "expired")}, nil)
	golden(t, "join.txt", told(rows))
	a.Hide(func(string) bool { return false })
	if got := told(Rows([]Answer{a}, nil, nil)); !strings.Contains(got, "given to a quarantine of the manager at ") || strings.Contains(got, "Policy") || strings.Contains(got, "hold") {
		t.Errorf("a quarantine that may not be seen: %s", got)
	}
	other := rec(44, 3, "held")
	other.Serial = "GATEWAY0002"
	if rows := Rows([]Answer{a}, []Held{other}, nil); len(rows) != 2 {
		t.Errorf("another gateway's message was taken for this one: %d rows", len(rows))
	}
}

// Answers between appliances: whole again, bounded, and believed only from whom
// they were asked.
func TestWire(t *testing.T) {
	q := Query{Subject: "x\x00ü", Since: time.Unix(1, 0).UTC(), Limit: 5}
	word, err := q.Encode()
	if back, e := DecodeQuery(word); err != nil || e != nil || back != q {
		t.Errorf("%v %v %+v", err, e, back)
	}
	for _, bad := range []string{"", "!", strings.Repeat("A", maxQuery+1), "e30"} {
		if _, err := DecodeQuery(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	a := Answer{Version: Version, Serial: "GATEWAY0001"}
	for i := range 3000 {
		a.Messages = append(a.Messages, &Message{MID: mail.MID(i + 1), Subject: strings.Repeat("s", 1000)})
	}
	b, err := a.Encode()
	if err != nil || len(b) > MaxAnswer {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	back, err := DecodeAnswer(b, "GATEWAY0001")
	if err != nil || len(back.Messages) < 900 || len(back.Cut) != 1 {
		t.Errorf("%v: %d messages, cut %q", err, len(back.Messages), back.Cut)
	}
	if _, err := DecodeAnswer(b, "GATEWAY0002"); !errs.Is(err, errs.Denied) {
		t.Error(err)
	}
	for _, bad := range []Answer{
		{Version: Version, Serial: "G", Messages: []*Message{{MID: 1}, {MID: 1}}},
		{Version: Version, Serial: "G", Messages: []*Message{{MID: 1, Of: 2}, {MID: 2, Of: 1}}},
		{Version: Version, Serial: "G", Messages: []*Message{nil}},
	} {
		b, _ := json.Marshal(bad)
		if _, err := DecodeAnswer(b, "G"); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

// However much is read, no more than so much is remembered, and that is said.
func TestBounded(t *testing.T) {
	f := NewFinder(Query{Sender: "a", Limit: 10}, time.UTC)
	p, m := newPaper()
	for i := range maxCandidates + 10 {
		p.b = p.b[:0]
		m.From(mail.MID(i+1), 1, ann)
		f.Line(p.b[:len(p.b)-1])
	}
	a := f.Follow().Answer()
	if len(f.cands) > maxCandidates || len(a.Cut) != 2 || a.Messages[0].MID != maxCandidates+10 {
		t.Errorf("%d remembered, cut %q", len(f.cands), a.Cut)
	}
}

func FuzzLine(f *testing.F) {
	p, m := newPaper()
	receive(m, 3, "held \"x\" ü\x00", ann)
	m.Bounced(5, 30, 1, "5.1.1", "Unknown user", "550", []string{"no such user"})
	for l := range strings.SplitSeq(string(p.b), "\n") {
		f.Add(l)
	}
	f.Add(`Mon Apr  7 09:15:00 2025 Info: MID 1 RID [0, 18446744073709551615] Response '\x`)
	f.Fuzz(func(t *testing.T, line string) {
		q := Query{MID: 1}
		a := find(line+"\n"+line, q, nil)
		for _, r := range told(Rows([]Answer{a}, nil, nil)) {
			if r != '\n' && unicode.IsControl(r) {
				t.Errorf("%q", r)
			}
		}
	})
}

// BenchmarkRead is both readings of the log of 10,000 delivered messages.
func BenchmarkRead(b *testing.B) {
	p, m := newPaper()
	for i := range 10_000 {
		mid := mail.MID(i + 1)
		receive(m, mid, "subject number "+mid.String(), ann)
		m.MatchedPolicy(mid, "DEFAULT", "inbound")
		m.QueuedForDelivery(mid)
		deliver(m, mail.DCID(mid), mid, "2.0.0 ok", false, 0)
		m.Finished(mid, true)
	}
	b.SetBytes(int64(len(p.b)))
	for b.Loop() {
		if a := find(string(p.b), Query{Subject: "number 777"}, nil); len(a.Messages) == 0 {
			b.Fatal("not found")
		}
	}
}
