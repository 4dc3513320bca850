package store

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/quarantine"
)

// suiteSearch holds every search against a filter in Go that knows nothing of
// SQL or an index: over messages of few letters, so that everything nearly
// matches, half of them indexed and half not yet.
func suiteSearch(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	rng := rand.New(rand.NewPCG(1, 2))
	var all []*quarantine.Record
	for range 2 {
		for range 150 {
			all = append(all, randomRecord(t, s, c, rng, len(all)))
		}
		var wg sync.WaitGroup
		for _, r := range all[len(all)-150:] {
			wg.Go(func() { add(t, s, r) })
		}
		wg.Wait()
		if i, ok := s.(interface{ indexNow() error }); ok && len(all) == 150 {
			if err := i.indexNow(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range all {
		if i%7 == 3 {
			change(t, s, true, remove(all[i]))
			all[i].State = quarantine.Removed
			for k := range all[i].Memberships {
				all[i].Memberships[k].State = quarantine.Deleted
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		q := randomQuery(t, all)
		want := oracle(q, all)
		if q.Limit > 0 && q.Limit*30 < len(want) {
			q.Limit = 40 // a page for each takes too long
		}
		var got []mail.MID
		for page := q; ; {
			list, next, err := findOn(s, page)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, list...)
			if page.After = next; len(list) < page.Limit || page.Limit == 0 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v\n got %v\nwant %v", q, got, want)
		}
		if n, err := counted(s, q); err != nil || n != (quarantine.Total{Messages: int64(len(want)), Exact: true}) {
			t.Fatalf("%+v\ncounted %+v, %v, of %d", q, n, err, len(want))
		}
	})
}

var (
	letters  = []string{"a", "b", "B", "ab", "1", ".", "-", "Ä", "ä", "a\u0308", "Σ", "ς", "請", "求", "請", "書", "%", "_", "'", " "}
	locals   = []string{"a", "ab", "B", "abba", "b.a", "ä", "請求", "a-b", "bab"}
	hosts    = []string{"ab.example", "b.example", "xn--bcher-kva.example", "a.b.example", "ba.example"}
	kinds    = []string{"application/pdf", "image/png", "text/b"}
	sizes    = []int64{0, 1, 1023, 1024, 1025, 4096, 70_000, 3 << 20}
	gateways = []string{"ab.example.com", "B.example.com", "abc", ""}
)

func randomText(rng *rand.Rand, most int) string {
	var b strings.Builder
	for range rng.IntN(most + 1) {
		b.WriteString(letters[rng.IntN(len(letters))])
	}
	return b.String()
}

func randomRecord(t *testing.T, s backend, c *memContents, rng *rand.Rand, n int) *quarantine.Record {
	names := [][]string{{"Policy"}, {"Virus"}, {"Policy", "Virus"}, {"Virus", "Unclassified"}}[rng.IntN(4)]
	r := record(t, s, c, n, fmt.Sprint("body", n), names...)
	r.Received = start.Add(time.Duration(rng.IntN(5*3600)) * time.Second)
	r.Display = randomText(rng, 7)
	r.GatewayName = gateways[rng.IntN(len(gateways))]
	who := func() mail.Address {
		return mail.Address{Local: locals[rng.IntN(len(locals))], Domain: hosts[rng.IntN(len(hosts))]}
	}
	if r.Envelope.From = who(); rng.IntN(10) == 0 {
		r.Envelope.From = mail.Address{}
	}
	r.Envelope.To = nil
	for range 1 + rng.IntN(3) {
		r.Envelope.To = append(r.Envelope.To, who())
	}
	r.Envelope.Rcpt = nil
	r.Attachments = nil
	for range max(0, rng.IntN(5)-1) {
		a := message.Attachment{Part: fmt.Sprint(len(r.Attachments) + 1), Types: []string{kinds[rng.IntN(len(kinds))]}, Size: sizes[rng.IntN(len(sizes))]}
		for range rng.IntN(3) {
			if n := strings.TrimSpace(randomText(rng, 5)); n != "" {
				a.Names = append(a.Names, n)
			}
		}
		r.Attachments = append(r.Attachments, a)
	}
	r.Attached = len(r.Attachments)
	if r.Text = strings.Join(strings.Fields(randomText(rng, 9)), " "); rng.IntN(3) == 0 {
		r.Text = ""
	}
	r.Size = int64(rng.IntN(4))
	r.MessageID = fmt.Sprintf("<%s@Host%d>", locals[rng.IntN(5)], rng.IntN(3))
	for i := range r.Memberships {
		r.Memberships[i].Reason = []string{"Message filter 'A'", "filter b", "size"}[rng.IntN(3)]
	}
	return r
}

// randomQuery draws conditions, most of them from what is there.
func randomQuery(t *rapid.T, all []*quarantine.Record) (q quarantine.Query) {
	any := func(label string) *quarantine.Record { return rapid.SampledFrom(all).Draw(t, label) }
	part := func(whole string) string {
		rs := []rune(whole)
		from := rapid.IntRange(0, len(rs)).Draw(t, "from")
		to := rapid.IntRange(from, len(rs)).Draw(t, "to")
		if rapid.Bool().Draw(t, "short") { // about as long as a piece of the index
			to = min(len(rs), from+rapid.IntRange(1, 4).Draw(t, "length"))
		}
		s := string(rs[from:to])
		if rapid.Bool().Draw(t, "other case") {
			s = strings.ToUpper(s)
		}
		return s
	}
	text := func(whole string) quarantine.Text {
		x := quarantine.Text{Op: rapid.SampledFrom([]quarantine.Op{quarantine.Contains, quarantine.Is, quarantine.StartsWith, quarantine.EndsWith}).Draw(t, "op"),
			Not: rapid.Bool().Draw(t, "not"), Text: part(whole)}
		if rapid.Bool().Draw(t, "whole") {
			x.Text = whole
		}
		return x
	}
	for _, k := range rapid.SliceOfN(rapid.IntRange(0, 15), 1, 3).Draw(t, "conditions") {
		switch k {
		case 0, 1:
			a := any("sender").Envelope.From
			q.Sender = text(rapid.SampledFrom([]string{a.String(), a.Unicode()}).Draw(t, "form"))
		case 2, 3:
			a := any("recipient").Envelope.To[0]
			q.Recipient = text(rapid.SampledFrom([]string{a.String(), a.Unicode()}).Draw(t, "form"))
		case 4, 5:
			q.Subject = text(any("subject").Display)
		case 6:
			q.Quarantine = rapid.SampledFrom([]string{"Policy", "Virus", "Unclassified"}).Draw(t, "quarantine")
		case 7:
			q.Since, q.Until = any("since").Received.Truncate(time.Minute), time.Time{}
			if rapid.Bool().Draw(t, "until") {
				q.Until = q.Since.Add(90 * time.Minute)
			}
		case 8:
			q.States = []quarantine.State{rapid.SampledFrom([]quarantine.State{quarantine.Held, quarantine.Removed}).Draw(t, "state")}
		case 10:
			q.Reason = text(any("reason").Memberships[0].Reason)
		case 12, 13:
			if a := any("attachment").Attachments; len(a) > 0 {
				q.Attachment.Name = text(rapid.SampledFrom(append(a[0].Names, "")).Draw(t, "file"))
				if rapid.Bool().Draw(t, "type") {
					q.Attachment.Type = text(a[0].Types[0])
				}
			}
		case 15:
			q.Body = quarantine.Text{Text: part(any("text").Text), Not: rapid.Bool().Draw(t, "not")}
		case 14:
			q.Attachment.Min, q.Attachment.Max = rapid.SampledFrom(sizes).Draw(t, "least"), 0 // it may come twice
			if rapid.Bool().Draw(t, "most") {
				q.Attachment.Max = max(q.Attachment.Min, rapid.SampledFrom(sizes).Draw(t, "to"))
			}
		case 11:
			q.MessageID = any("message ID").MessageID
			if rapid.Bool().Draw(t, "bare") {
				q.MessageID = strings.ToUpper(strings.Trim(q.MessageID, "<>"))
			}
		case 9:
			q.Gateway = rapid.SampledFrom([]string{serial, "AB", "b.example.com", "ab.example", "abc", "a"}).Draw(t, "gateway")
		}
	}
	if rapid.Bool().Draw(t, "without") {
		q.NotGateway = rapid.SampledFrom([]string{"AB", "b.example.com", "abc", "x"}).Draw(t, "not from")
	}
	if rapid.IntRange(0, 4).Draw(t, "not in") == 0 {
		q.NotStates = []quarantine.State{rapid.SampledFrom([]quarantine.State{quarantine.Held, quarantine.Removed, quarantine.Failed}).Draw(t, "not state")}
	}
	if rapid.Bool().Draw(t, "sorted") {
		q.By = rapid.SampledFrom([]quarantine.Column{quarantine.BySender, quarantine.ByRecipient, quarantine.BySubject, quarantine.BySize,
			quarantine.ByQuarantine, quarantine.ByExit, quarantine.ByGateway}).Draw(t, "by")
	}
	q.Limit = rapid.SampledFrom([]int{0, 1, 3, 40}).Draw(t, "limit")
	q.Ascending = rapid.Bool().Draw(t, "ascending")
	return q
}

// oracle filters one after the other.
func oracle(q quarantine.Query, all []*quarantine.Record) (out []mail.MID) {
	for _, r := range all {
		if wanted(q, r) {
			out = append(out, r.MID)
		}
	}
	by := make(map[mail.MID]*quarantine.Record, len(all))
	for _, r := range all {
		by[r.MID] = r
	}
	slices.SortFunc(out, func(a, b mail.MID) int {
		x, y := by[a], by[b]
		return cmp.Or(strings.Compare(sortText(q, x), sortText(q, y)), cmp.Compare(sortNumber(q, x), sortNumber(q, y)), cmp.Compare(a, b))
	})
	if !q.Ascending {
		slices.Reverse(out)
	}
	return out
}

// sortText and sortNumber are what a message is sorted by.
func sortText(q quarantine.Query, r *quarantine.Record) string {
	switch q.By {
	case quarantine.BySender:
		return quarantine.Fold(r.Envelope.From.Unicode())
	case quarantine.ByRecipient:
		s := "\n"
		for _, a := range r.Envelope.To {
			s += quarantine.Fold(a.Unicode()) + "\n"
		}
		return s
	case quarantine.BySubject:
		return quarantine.Fold(r.Display)
	case quarantine.ByQuarantine:
		least := "~"
		for _, m := range r.Memberships {
			if q.Quarantine == "" || m.Quarantine == q.Quarantine {
				least = min(least, m.Quarantine)
			}
		}
		return least
	case quarantine.ByGateway:
		return strings.ToLower(cmp.Or(r.GatewayName, r.Gateway))
	}
	return ""
}

func sortNumber(q quarantine.Query, r *quarantine.Record) int64 {
	switch q.By {
	case quarantine.BySize:
		return r.Size
	case quarantine.ByExit:
		next := int64(1 << 62)
		for _, m := range r.Memberships {
			if m.State == quarantine.In && (q.Quarantine == "" || m.Quarantine == q.Quarantine) {
				next = min(next, m.Exit.UnixMilli())
			}
		}
		return next
	}
	return 0
}

func wanted(q quarantine.Query, r *quarantine.Record) bool {
	states := q.States
	if len(states) == 0 {
		states = []quarantine.State{quarantine.Held}
		if len(q.NotStates) > 0 {
			states = []quarantine.State{quarantine.Held, quarantine.Removed}
		}
	}
	from := func(name string) bool {
		label, _, _ := strings.Cut(r.GatewayName, ".")
		return strings.EqualFold(name, r.Gateway) || strings.EqualFold(name, r.GatewayName) || strings.EqualFold(name, label)
	}
	if q.NotGateway != "" && from(q.NotGateway) || slices.Contains(q.NotStates, r.State) {
		return false
	}
	in, why := q.Quarantine == "", false
	for _, m := range r.Memberships {
		in = in || m.Quarantine == q.Quarantine
		why = why || holds(q.Reason, m.Reason) && (q.Quarantine == "" || m.Quarantine == q.Quarantine)
	}
	to := false
	for _, a := range r.Envelope.To {
		to = to || holds(q.Recipient, a.String(), a.Unicode())
	}
	if !q.Body.Any() {
		b := q.Body
		b.Text = strings.Join(strings.Fields(b.Text), " ")
		if (r.Text != "" && r.State == quarantine.Held && holds(b, r.Text)) == b.Not {
			return false
		}
	}
	return attachedSo(q.Attachment, r.Attachments) && in && slices.Contains(states, r.State) && (q.Recipient.Any() || to != q.Recipient.Not) &&
		(q.Sender.Any() || holds(q.Sender, r.Envelope.From.String(), r.Envelope.From.Unicode()) != q.Sender.Not) &&
		(q.Subject.Any() || holds(q.Subject, r.Display) != q.Subject.Not) &&
		(q.Since.IsZero() || !r.Received.Before(q.Since)) && (q.Until.IsZero() || r.Received.Before(q.Until)) &&
		(q.Reason.Any() || why != q.Reason.Not) && (q.MessageID == "" || strings.EqualFold(strings.Trim(q.MessageID, "<>"), strings.Trim(r.MessageID, "<>"))) &&
		(q.Gateway == "" || from(q.Gateway))
}

// attachedSo: one attachment has all that is wanted, and none what is not.
func attachedSo(q quarantine.Attachment, list []message.Attachment) bool {
	asks, one := q.Min > 0 || q.Max > 0 || !q.Name.Any() && !q.Name.Not || !q.Type.Any() && !q.Type.Not, false
	for _, a := range list {
		names := a.Names
		if len(names) == 0 {
			names = []string{""}
		}
		name, kind := holds(q.Name, names...), holds(q.Type, a.Types...)
		if !q.Name.Any() && q.Name.Not && name || !q.Type.Any() && q.Type.Not && kind {
			return false
		}
		one = one || a.Size >= q.Min && (q.Max == 0 || a.Size <= q.Max) && (q.Name.Any() || q.Name.Not || name) && (q.Type.Any() || q.Type.Not || kind)
	}
	return !asks || one
}

// holds compares without a look at Not.
func holds(t quarantine.Text, forms ...string) bool {
	for _, f := range forms {
		f, v := quarantine.Fold(f), quarantine.Fold(t.Text)
		switch t.Op {
		case quarantine.Is:
			if f == v {
				return true
			}
		case quarantine.StartsWith:
			if strings.HasPrefix(f, v) {
				return true
			}
		case quarantine.EndsWith:
			if strings.HasSuffix(f, v) {
				return true
			}
		default:
			if strings.Contains(f, v) {
				return true
			}
		}
	}
	return false
}

// What a quarantine that somebody may not see says of a message is found by
// nobody of them, and excludes nothing either.
func suiteHiddenReason(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	r := record(t, s, c, 1, "a", "Policy", "Virus")
	r.Memberships[0].Reason, r.Memberships[1].Reason = "plain", "secret"
	add(t, s, r)
	set := quarantine.Defaults()
	for i := range set {
		if set[i].Name == "Policy" {
			set[i].Users = []string{"gina"}
		}
	}
	svc, err := quarantine.New(quarantine.Options{Store: opener{s}, Contents: c, Sender: nobody{}, Log: nobody{}, Audit: nobody{}, Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	gina := mail.Principal{Name: "gina", Role: mail.Guest}
	for _, q := range []struct {
		who  mail.Principal
		not  bool
		text string
		n    int
	}{{gina, false, "plain", 1}, {gina, false, "secret", 0}, {gina, true, "secret", 1}, {mail.System(), false, "secret", 1}, {mail.System(), true, "secret", 0}} {
		n := 0
		for _, err := range svc.Search(ctx, q.who, quarantine.Query{Reason: quarantine.Text{Text: q.text, Not: q.not}}) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if n != q.n {
			t.Errorf("%+v finds %d", q, n)
		}
	}
}

// The index never excludes what matches: a text has every term that is asked
// for a piece of it.
func TestTerms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("abÄς請求書\U0010fe01\ufffd")), 0, 30, -1).Draw(t, "text")
		whole := []rune(framed(text))
		has := map[term]bool{}
		for _, g := range grams(nil, subjectField, string(whole)) {
			has[g] = true
		}
		from := rapid.IntRange(0, len(whole)).Draw(t, "from")
		to := rapid.IntRange(from, len(whole)).Draw(t, "to")
		for _, g := range asked(nil, subjectField, string(whole[from:to])) {
			if !has[g] {
				t.Fatalf("%q in %q: %q is not in the index", string(whole[from:to]), string(whole), g.append(nil))
			}
		}
	})
	// What is stored never changes its meaning.
	if got := words(grams(nil, senderField, framed("a請求"))); got != "sjh4q sqbbj ssrkp st5zb" {
		t.Errorf("%s", got)
	}
	if got := match([]term{wholeTerm(gatewayField, "mx1")}); got != "gnrh2" {
		t.Errorf("%s", got)
	}
}
