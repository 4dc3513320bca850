package gateway

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/access"
	"lazaret/internal/admin"
	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
	"lazaret/internal/testlib/files"
)

const traceFilters = `
program: if (attachment-filename == "(?i)\.exe$") { quarantine("Policy"); log-entry("a program"); }
offer: if (subject == "^Offer" AND body-contains("free +offer")) { insert-header("X-Offer", "yes"); }
bulk: if (header("Precedence")) { drop(); }
`

func (w *world) query(content string, to ...string) admin.TraceQuery {
	w.t.Helper()
	q := admin.TraceQuery{Listener: "IncomingMail", IP: netip.MustParseAddr("192.0.2.7"), Helo: "mx", Content: []byte(content), From: mail.Address{Local: "a", Domain: "partner.example"}}
	for _, s := range to {
		a, err := mail.ParseAddress(s)
		if err != nil {
			w.t.Fatal(err)
		}
		q.To = append(q.To, a)
	}
	return q
}

// Trace says what becomes of a message, by the code that judges others: a real
// clamd, four policies, filters that look into attachments. Nothing is sent,
// stored, numbered, logged or counted.
func TestTrace(t *testing.T) {
	s := testlib.NewClamd(t)
	w := newWorld(t, nil, func(c *config.Config) {
		policies(s.Socket)(c)
		c.Filters = traceFilters
		for i := range c.Listeners {
			if c.Listeners[i].Name == "IncomingMail" {
				c.Listeners[i].RAT = []access.RATEntry{{Address: "one.example", Access: "ACCEPT"}, {Address: "ALL", Access: "REJECT"}}
			}
		}
	})
	counts := func() string {
		b, err := w.Stats.Save()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	trace := func(q admin.TraceQuery) *admin.Trace {
		t.Helper()
		out, err := tracer{w.Gateway}.Trace(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	// A first worker may have something to say about the machine.
	trace(w.query(letterWith("a.zip", files.Zip(t)), "bob@one.example"))
	log, mid, counted := w.log(), w.spool.LastMID(), counts()
	virus := trace(w.query("Subject: Offer\r\n\r\na free offer, FREE  offer, free  offer\r\n"+testlib.EICAR()+"\r\n", "sales@one.example", "lab@one.example", "board@one.example", "x@two.example", "bob@one.example"))
	if virus.Client.Group == "" || virus.Client.Behaviour != "ACCEPT" || virus.Refused != "" || virus.Sender != "250 2.1.0 sender <a@partner.example> ok" {
		t.Errorf("%+v", virus)
	}
	if r := virus.Recipients; len(r) != 5 || r[3].Accepted || r[3].Match != "ALL" || !strings.HasPrefix(r[3].Reply, "550 ") || !r[0].Accepted || r[0].Match != "one.example" {
		t.Errorf("%+v", r)
	}
	if len(virus.Filters) != 3 || len(virus.Filters[1].Rules) != 2 || !virus.Filters[1].Rules[1].Result || !slices.Contains(virus.Filters[1].Rules[1].Matched, admin.TraceMatch{Part: "body", Text: "free offer"}) ||
		!slices.Equal(virus.Filters[1].Actions, []string{`insert-header("X-Offer", "yes")`}) || len(virus.Filters[0].Actions) > 0 {
		t.Errorf("%+v", virus.Filters)
	}
	var fates []string
	for _, p := range virus.Parts {
		held := ""
		for _, q := range p.Quarantine {
			held += q.Quarantine + " " + q.Reason
		}
		fates = append(fates, strings.Join([]string{p.Policy, strings.Join(p.Recipients, ","), strings.Join(p.Antivirus, ","), held, p.Drop, strings.Join(p.Changes, ","), next(p)}, "|"))
	}
	const found = "Message infected (ClamAV): Lazaret.Eicar.Part.UNOFFICIAL"
	want := []string{
		"Sales|sales@one.example|" + found + "|||subject tag [WARNING: VIRUS DETECTED],header X-Virus: yes|one.example",
		"Lab|lab@one.example|Not scanned||||one.example",
		"Board|board@one.example|" + found + "||Dropped by antivirus||",
		"DEFAULT|bob@one.example|" + found + "|Virus antivirus:infected Lazaret.Eicar.Part.UNOFFICIAL|||the.cpq.host",
	}
	if !slices.Equal(fates, want) {
		t.Errorf("got  %q\nwant %q", fates, want)
	}
	q := w.query(letterWith("a.zip", files.Zip(t, files.Entry{Name: "evil.exe", Data: []byte("MZ")})), "lab@one.example")
	if p := trace(q); len(p.Parts) != 1 || len(p.Parts[0].Quarantine) != 1 || !slices.Equal(p.Parts[0].Notes, []string{"a program"}) {
		t.Errorf("%+v", p)
	}
	if p := trace(w.query("Precedence: bulk\r\n\r\n", "lab@one.example")); len(p.Parts) != 1 || p.Parts[0].Drop != "Dropped by filter 'bulk'" || p.Parts[0].Table != "" {
		t.Errorf("%+v", p)
	}
	if p := trace(w.query("Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n", "bob@one.example")); !strings.Contains(p.Ambiguous, "two Content-Type fields") || len(p.Parts[0].Quarantine) != 1 {
		t.Errorf("%+v", p)
	}
	if p := trace(w.query("Subject: x\r\n\r\n", "bob@two.example")); p.Refused != "no recipient is accepted" || len(p.Parts) > 0 {
		t.Errorf("%+v", p)
	}
	if p := trace(w.query(letterWith("die", files.Zip(t)), "lab@one.example")); !strings.Contains(p.Waits, "unpack-died") || len(p.Parts) > 0 {
		t.Errorf("%+v", p)
	}
	final := w.query("Subject: Offer\r\n\r\n"+testlib.EICAR()+"\r\n", "sales@one.example")
	final.Final = true
	if p := trace(final).Parts[0].Final; !strings.HasPrefix(p, "X-Virus: yes\r\nReceived: from mx (") || !strings.Contains(p, "\r\nSubject: [WARNING: VIRUS DETECTED] Offer\r\n\r\nX5O") {
		t.Errorf("%s", p)
	}
	other := q
	other.Listener = "nobody"
	if _, err := (tracer{w.Gateway}).Trace(t.Context(), other); err == nil {
		t.Error("a listener that there is not")
	}
	s.Stop()
	if p := trace(w.query("Subject: no engine\r\n\r\n", "bob@one.example")); !strings.Contains(p.Waits, "unscanned: ") {
		t.Errorf("%+v", p)
	}
	if w.log() != log || w.spool.LastMID() != mid || !w.empty() || counts() != counted {
		t.Errorf("something was left behind: %s", w.log())
	}
}

// next names the first destination of a part.
func next(p admin.TracePart) string {
	if len(p.Next) == 0 {
		return ""
	}
	return p.Next[0].Name
}
