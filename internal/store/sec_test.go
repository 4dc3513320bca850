package store

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// hostileTexts are texts that mean something to a database, a page or a terminal.
func hostileTexts() []string {
	all := []string{
		`'; DROP TABLE message; --`, `"; DROP TABLE membership; --`, `' OR '1'='1`, `') OR 1=1 --`, `\'; SELECT 1; --`, `x' UNION SELECT key FROM message --`,
		`$1`, `$$`, `:name`, `?1`, `@p`, `E'\\x41'`, `%`, `_`, `%%%`, `[a-z]`, `*`, `MATCH 'x'`, `NEAR(a b)`, `"a" AND "b"`, `a*`, `^a`, `col:val`, `{a b}: c`,
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `{{.}}`, `${7*7}`, `&lt;b&gt;`, `]]>`, `<!--`,
		"a\x1b[2Jb", "a\x07b", "a\tb", "a\r\nX: y", "a\u202eb", "a\u0000b", "\u2028", "\ufeffa", "e\u0301", "é", "İ", "ß", "ſ", "\U0001f600", "\xff\xfe", "a\xc3", "\xed\xa0\x80",
		"../../etc/passwd", `C:\x`, "nul", "`id`", "$(id)", "|id", "a;b", "-rf", "=1+1", "@SUM(A1)", "null", "NULL", "0", "1e9", "true", " ", "  a  ",
	}
	return append(all, strings.Repeat("'", 300), strings.Repeat("ä", 500), strings.Repeat("(", 400))
}

// Register A6: what stands in any field of a message is text to the database,
// also when what it gave back is put into a question again: lists, searches,
// counts, renames, moves by the clock and deletions find what they found before,
// and every record comes back as it was.
func TestSEC_A6_StoredText(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		suiteStoredText(t, 1, func(t *testing.T, c *memContents) backend {
			return openSQLite(t, filepath.Join(t.TempDir(), "q.db"), c)
		})
	})
	t.Run("postgres", func(t *testing.T) {
		suiteStoredText(t, 8, func(t *testing.T, c *memContents) backend { return openPostgres(t, newDatabase(t), c) })
	})
}

// asked: each so-maniest message is searched for.
func suiteStoredText(t *testing.T, asked int, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	texts := hostileTexts()
	var recs []*quarantine.Record
	addresses := 0
	for i, x := range texts {
		shown := strings.ToValidUTF8(strings.ReplaceAll(x, "\x00", ""), "") // as whoever fills the record makes it
		place := fmt.Sprintf("Q%d %s", i, shown)
		r := record(t, s, c, i, fmt.Sprint("body ", i), place, "Policy")
		r.Display, r.Subject, r.MessageID = fmt.Sprintf("%d %s", i, shown), x, "<"+x+">"
		r.Policy, r.Origin.Helo, r.GatewayName = shown, shown, "gw1.example.com"
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(shown) // what is no address is never stored as one
		if a, err := mail.ParseAddress(fmt.Sprintf(`"s%d%s"@example.net`, i, quoted)); err == nil {
			r.Envelope.From, r.Envelope.To[0] = a, a
			addresses++
		}
		shown = strings.ReplaceAll(shown, "\r\n", " ") // names lie in lines
		r.Attachments[0].Names = []string{shown, fmt.Sprintf("n%d%s", i, shown)}
		r.Memberships[0].Reason = fmt.Sprintf("r%d %s", i, shown)
		r.Placements = nil
		add(t, s, r)
		recs = append(recs, r)
	}
	if addresses < 30 {
		t.Errorf("only %d of the texts are in addresses", addresses)
	}
	all, err := find(s, quarantine.Query{Quarantine: "Policy"})
	if err != nil || len(all) != len(recs) {
		t.Fatalf("%d of %d are listed, %v", len(all), len(recs), err)
	}
	back, err := s.Load(ctx, all)
	if err != nil || len(back) != len(recs) {
		t.Fatal(len(back), err)
	}
	is := func(s string) quarantine.Text { return quarantine.Text{Op: quarantine.Is, Text: s} }
	for i, r := range back {
		want := recs[slices.IndexFunc(recs, func(x *quarantine.Record) bool { return x.MID == r.MID })]
		// From here on only what the database itself gave back is used.
		if r.Display != want.Display || r.Subject != want.Subject || r.MessageID != want.MessageID || r.Envelope.From != want.Envelope.From ||
			!slices.Equal(r.Attachments[0].Names, want.Attachments[0].Names) || !reflect.DeepEqual(r.Memberships, want.Memberships) || r.Policy != want.Policy {
			t.Errorf("kept\n%+v\ngot\n%+v", want, r)
		}
		if i%asked != 0 {
			continue
		}
		for name, q := range map[string]quarantine.Query{
			"subject": {Subject: is(r.Display)}, "sender": {Sender: is(r.Envelope.From.String())}, "quarantine": {Quarantine: r.Memberships[0].Quarantine},
			"reason": {Reason: is(r.Memberships[0].Reason)}, "attachment": {Attachment: quarantine.Attachment{Name: is(r.Attachments[0].Names[1])}},
		} {
			if q.Check() != nil {
				continue // too long to be asked for
			}
			if got, err := find(s, q); err != nil || !slices.Equal(got, []mail.MID{r.MID}) {
				t.Errorf("%s %q: %v %v, not %v", name, r.Display, got, err, r.MID)
			}
		}
	}
	for i, r := range back {
		if i%2 == 0 {
			if n, err := s.Rename(ctx, r.Memberships[0].Quarantine, r.Memberships[0].Quarantine+"'", 10); err != nil || n != 1 {
				t.Errorf("renamed %d of %q, %v", n, r.Memberships[0].Quarantine, err)
			}
		}
	}
	if due, err := s.Due(ctx, start.Add(100*time.Hour), 1000); err != nil || len(due) != 2*len(recs) {
		t.Errorf("%d are due, %v", len(due), err)
	}
	again, err := s.Load(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range again[:10] {
		change(t, s, true, remove(r))
	}
	if left, err := find(s, quarantine.Query{Quarantine: "Policy"}); err != nil || len(left) != len(recs)-10 {
		t.Errorf("%d are left, %v", len(left), err)
	}
	counts, err := s.Counts(ctx)
	if err != nil || len(counts) < len(recs) {
		t.Errorf("%d quarantines are counted, %v", len(counts), err)
	}
}
