package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/mail"
)

// traced is a tracer that keeps what it was asked.
type traced struct {
	asked []TraceQuery
	trace Trace
}

func (t *traced) TraceListeners() []string { return []string{"IncomingMail", "OutgoingMail"} }

func (t *traced) Trace(_ context.Context, q TraceQuery) (*Trace, error) {
	t.asked = append(t.asked, q)
	out := t.trace
	out.Parts = slices.Clone(out.Parts)
	if !q.Final {
		for i := range out.Parts {
			out.Parts[i].Final = ""
		}
	}
	return &out, nil
}

func someTrace() Trace {
	return Trace{
		Listener: "IncomingMail",
		Client: TraceClient{IP: netip.MustParseAddr("192.0.2.7"), Host: "mx.partner.example", Verified: true, Group: "UNKNOWNLIST", Match: "ALL", Policy: "ACCEPTED", Behaviour: "ACCEPT",
			MaxSize: 1000, MaxRecipients: 10, TLS: "Preferred"},
		Sender: "250 2.1.0 sender ok",
		Recipients: []TraceRecipient{{Address: "bob@example.com", Match: "example.com", Reply: "250 ok", Accepted: true},
			{Address: "eve@example.org", Reply: "550 5.1.0 rejected"}},
		Filters: []TraceFilter{{Name: "offer", Rules: []TraceRule{{Rule: `body-contains("offer")`, Result: true, Matched: []TraceMatch{{"body", "offer\x1b[2J"}}}}, Actions: []string{`quarantine("Policy")`}}},
		Parts: []TracePart{
			{Table: "inbound", Policy: "DEFAULT", Recipients: []string{"bob@example.com"}, Antispam: "Not scanned", Antivirus: []string{"Message Clean (ClamAV)"},
				Quarantine: []mail.Placement{{Quarantine: "Policy", Reason: "message filter:offer"}}, Next: []TraceDestination{{Name: "the.cpq.host", Recipients: []string{"bob@example.com"}}}},
			{Table: "inbound", Policy: "Lab", Recipients: []string{"lab@example.com"}, Antivirus: []string{"Not scanned"}, Headers: []string{"X-A: b"}, Changes: []string{"subject tag [X]"}},
			{Table: "inbound", Policy: "Board", Recipients: []string{"ceo@example.com"}, Antivirus: []string{"Message infected (ClamAV): V"}, Drop: "Dropped by antivirus"},
		},
	}
}

const someText = `
Listener IncomingMail, source 192.0.2.7 (mx.partner.example, verified yes)
HAT matched on sender group UNKNOWNLIST, host ALL
 - Applying $ACCEPTED policy (ACCEPT behavior).
 - Maximum Message Size: 1000
 - Maximum Number Of Recipients: 10
 - Use TLS: Preferred
Processing MAIL FROM: <a@partner.example>
 - 250 2.1.0 sender ok
Processing Recipient List:
Processing bob@example.com
 - RAT matched on example.com, behavior = ACCEPT: 250 ok
Processing eve@example.org
 - RAT not asked, behavior = REJECT: 550 5.1.0 rejected
Processing filter 'offer':
Evaluating Rule: body-contains("offer")
 Result = True
 Matched: offer\u001b[2J (body)
 Action: quarantine("Policy")
Inbound Recipient Policy Processing: (matched on DEFAULT policy)
Message going to: bob@example.com
AntiSpam Evaluation:
 - Not scanned
AntiVirus Evaluation:
 - Message Clean (ClamAV)
Message Enqueued for quarantine "Policy" (message filter:offer)
 - the.cpq.host: bob@example.com
`

// trace by options and by questions, in words and in JSON.
func TestTraceCommand(t *testing.T) {
	tr := &traced{trace: someTrace()}
	l := language(t, TraceCommand(tr))
	line := "trace --ip ::ffff:192.0.2.7 --host mx.partner.example --from a@partner.example --to 'bob@example.com, <eve@example.org>'"
	exec := func(line string, input ...string) (string, int) {
		s := newScript(input...)
		status := l.Exec(t.Context(), admin, line, s)
		return s.String(), status
	}
	out, status := exec(line, "Subject: x", "", ".", "text")
	out = out[strings.Index(out, "\nListener"):]
	if !strings.HasPrefix(out, someText) || status != 0 {
		t.Errorf("status %d:\n%s\nwant\n%s", status, out, someText)
	}
	wants(t, "parts", out, "(matched on Lab policy)\n", "Added header: X-A: b\nChanged: subject tag [X]\nMessage Enqueued for Delivery\n", "Message aborted: Dropped by antivirus\n")
	q := tr.asked[0]
	if string(q.Content) != "Subject: x\r\n\r\n.\r\ntext\r\n" || q.IP != netip.MustParseAddr("192.0.2.7") || q.Listener != "IncomingMail" || len(q.To) != 2 || q.To[1].Local != "eve" || q.Helo != "localhost" || q.Final {
		t.Errorf("%+v", q)
	}
	out, _ = exec(line+" --json --message --listener OutgoingMail --user joe --helo mx --from ''", "Subject: x")
	var got Trace
	if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &got); err != nil || len(got.Parts) != 3 {
		t.Errorf("%v in %s", err, out)
	}
	if q := tr.asked[1]; !q.Final || q.Listener != "OutgoingMail" || q.User != "joe" || !q.From.IsNull() {
		t.Errorf("%+v", q)
	}
	for line, want := range map[string]string{
		"trace":                                  `"" is not an IP address`,
		"trace --ip 1.2.3 --to a@b.c":            "is not an IP address",
		"trace --ip 192.0.2.1 --to a":            "is not an address",
		"trace --ip 192.0.2.1 --to a@b.c":        "there is no message",
		"trace --ip 192.0.2.1 --to a@b.c x":      "is not an option",
		"trace --ip 192.0.2.1 --ot a@b.c":        "unknown option --ot",
		"trace --ip 192.0.2.1 --to a@b.c,,b@c.d": "is not an address",
	} {
		out, status := exec(line)
		if !strings.Contains(out, want) || status == 0 {
			t.Errorf("%s: %q, want %q", line, out, want)
		}
	}
	if n := len(tr.asked); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// Typed, trace asks for each thing, and whether the message is to be seen.
func TestTraceDialogue(t *testing.T) {
	tr := &traced{trace: someTrace()}
	for i := range tr.trace.Parts {
		tr.trace.Parts[i].Final = fmt.Sprintf("Subject: %d\x1b[2J\r\n", i)
	}
	l := language(t, TraceCommand(tr))
	s := newScript("trace", "192.0.2.7", "", "2", "<>", "bob@example.com", "", "Subject: x", "", "hello", ".", "y")
	l.Shell(t.Context(), admin, s)
	wants(t, "dialogue", s.String(), "Select the listener to trace behavior on:\n1. IncomingMail\n2. OutgoingMail\n", "Enter or paste the message here.",
		"Would you like to see the resulting message? [Y]> y", "Final text for messages matched on policy Lab\nFinal Recipients: lab@example.com\nFinal Message Content:\nSubject: 1\\u001b[2J\n")
	if len(tr.asked) != 2 || tr.asked[0].Listener != "OutgoingMail" || !tr.asked[0].From.IsNull() || string(tr.asked[0].Content) != "Subject: x\r\n\r\nhello\r\n" || tr.asked[0].Final || !tr.asked[1].Final {
		t.Errorf("%+v", tr.asked)
	}
}
