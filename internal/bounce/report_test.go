package bounce

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
)

var when = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)

func address(s string) mail.Address {
	local, domain, _ := strings.Cut(s, "@")
	return mail.Address{Local: local, Domain: domain}
}

func sample(content string) *Report {
	return &Report{
		Kind: Failure, Hostname: "gw1.example.com", From: address("MAILER-DAEMON@gw1.example.com"), To: address("alice@partner.example"),
		Now: when, ID: "77.GW1", Secret: "s", Profile: DefaultProfile(),
		Original: Original{
			Params: mail.Params{EnvID: "env 1"}, From: address("alice@partner.example"), Subject: "Hello", MessageID: "<a@b.example>",
			Helo: "mx.partner.example", Arrived: when.Add(-3 * 24 * time.Hour), Content: strings.NewReader(content),
		},
		Recipients: []Recipient{
			{Address: address("bob@example.com"), RcptParams: mail.RcptParams{ORCPT: "rfc822;Bob@Example.com"}, Code: 550, Status: "5.1.1", Reply: "5.1.1 no such user", Remote: "mx.example.com", Last: when},
			{Address: address("eve@example.org"), Status: "4.4.1", Reply: "no route to host", Expired: true, Last: when},
		},
	}
}

// parsed is a report as a program reads it.
type parsed struct {
	header  netmail.Header
	human   string
	message textproto.MIMEHeader
	rcpts   []textproto.MIMEHeader
	kinds   []string
	last    []byte
}

// parse reads a report strictly, by the standard library alone.
func parse(t *testing.T, b []byte) parsed {
	t.Helper()
	for i, line := range bytes.SplitAfter(b, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		if !bytes.HasSuffix(line, []byte("\r\n")) || len(line) > 1000 || bytes.ContainsAny(line[:len(line)-2], "\r\n\x00") {
			t.Fatalf("line %d is not sound: %q", i+1, line[:min(len(line), 100)])
		}
	}
	m, err := netmail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	p := parsed{header: m.Header}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("%s %v %v", kind, params, err)
	}
	mr := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := mr.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		p.kinds = append(p.kinds, part.Header.Get("Content-Type"))
		switch len(p.kinds) {
		case 1:
			p.human = string(body)
		case 2:
			r := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(body, "\r\n\r\n"...))))
			if p.message, err = r.ReadMIMEHeader(); err != nil {
				t.Fatal(err)
			}
			for {
				h, err := r.ReadMIMEHeader()
				if len(h) == 0 {
					break
				}
				if err != nil && err != io.EOF {
					t.Fatal(err)
				}
				p.rcpts = append(p.rcpts, h)
			}
		case 3:
			p.last = body
		}
	}
	if len(p.kinds) != 3 {
		t.Fatalf("parts %q", p.kinds)
	}
	return p
}

func content(t *testing.T, r *Report) []byte {
	t.Helper()
	b, err := r.Content()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > MaxSize {
		t.Fatalf("%d bytes", len(b))
	}
	return b
}

const small = "From: alice@partner.example\r\nSubject: Hello\r\n\r\nText\r\n"

// A report has the fields of RFC 3464, the three parts of RFC 6522, and a text
// that says for each recipient what happened and what to do.
func TestReport(t *testing.T) {
	p := parse(t, content(t, sample(small)))
	for name, want := range map[string]string{
		"From": "Mail Delivery System <MAILER-DAEMON@gw1.example.com>", "To": "<alice@partner.example>", "Auto-Submitted": "auto-replied",
		"Subject": "Delivery Status Notification (Failure)", "Message-Id": "<77.GW1@gw1.example.com>", "References": "<a@b.example>", "Mime-Version": "1.0",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if fmt.Sprint(p.kinds) != "[text/plain; charset=utf-8 message/delivery-status message/rfc822]" || strings.TrimSuffix(string(p.last), "\r\n")+"\r\n" != small {
		t.Errorf("%v %q", p.kinds, p.last)
	}
	if got := p.message; got.Get("Reporting-Mta") != "dns; gw1.example.com" || got.Get("Original-Envelope-Id") != "env 1" || got.Get("Received-From-Mta") != "dns; mx.partner.example" || got.Get("Arrival-Date") == "" {
		t.Errorf("%v", got)
	}
	if len(p.rcpts) != 2 {
		t.Fatalf("%d recipients", len(p.rcpts))
	}
	want := textproto.MIMEHeader{
		"Original-Recipient": {"rfc822; Bob@Example.com"}, "Final-Recipient": {"rfc822; bob@example.com"}, "Action": {"failed"}, "Status": {"5.1.1"},
		"Remote-Mta": {"dns; mx.example.com"}, "Diagnostic-Code": {"smtp; 550 5.1.1 no such user"}, "Last-Attempt-Date": {when.Format(dateForm)},
	}
	if fmt.Sprint(p.rcpts[0]) != fmt.Sprint(want) {
		t.Errorf("\n got %v\nwant %v", p.rcpts[0], want)
	}
	if p.rcpts[1].Get("Status") != "5.4.7" || p.rcpts[1].Get("Diagnostic-Code") != "x-local; no route to host" {
		t.Errorf("%v", p.rcpts[1])
	}
	for _, s := range []string{"<bob@example.com>\r\n    was refused by mx.example.com.\r\n    The answer: 550 5.1.1 no such user", "typing errors", "could not be reached for 3 days"} {
		if !strings.Contains(p.human, s) {
			t.Errorf("no %q in\n%s", s, p.human)
		}
	}
}

// A delay says until when we try, and returns the header alone.
func TestDelayAndSuccess(t *testing.T) {
	r := sample(small)
	r.Kind, r.Recipients = Delay, r.Recipients[1:]
	r.Recipients[0].Expired, r.Recipients[0].Until = false, when.Add(time.Hour)
	p := parse(t, content(t, r))
	if g := p.rcpts[0]; g.Get("Action") != "delayed" || g.Get("Status") != "4.4.1" || g.Get("Will-Retry-Until") != when.Add(time.Hour).Format(dateForm) {
		t.Errorf("%v", g)
	}
	if p.kinds[2] != "text/rfc822-headers" || strings.Contains(string(p.last), "Text") || !strings.Contains(p.human, "WARNING") {
		t.Errorf("%v %q", p.kinds, p.last)
	}
	r = sample(small)
	r.Kind, r.Recipients = Success, []Recipient{{Address: address("bob@example.com"), Code: 250, Status: "2.0.0", Reply: "ok", Remote: "mx.example.com"}}
	if g := parse(t, content(t, r)).rcpts[0]; g.Get("Action") != "relayed" || g.Get("Status") != "2.0.0" {
		t.Errorf("%v", g)
	}
}

// A message up to 10 KiB comes back whole, else its header, cut at 10 KiB on a
// line; RET=HDRS asks for the header; content that is no lines gives the header.
func TestReturnedPart(t *testing.T) {
	head := "Subject: x\r\n"
	body := func(n int) string { return head + "\r\n" + strings.Repeat("a", n-len(head)-4) + "\r\n" }
	lines := func(n int) string {
		s := head + "\r\n"
		for len(s)+100 <= n {
			s += strings.Repeat("b", 98) + "\r\n"
		}
		return s + strings.Repeat("c", n-len(s)-2) + "\r\n"
	}
	for name, c := range map[string]struct {
		content string
		ret     mail.Ret
		whole   bool
	}{
		"at the limit": {lines(10 << 10), "", true}, "over it": {lines(10<<10 + 1), "", false}, "RET=FULL, large": {lines(20 << 10), mail.RetFull, false},
		"RET=HDRS": {small, mail.RetHeaders, false}, "RET=FULL": {small, mail.RetFull, true}, "a long line": {body(2000), "", false},
		"bare LF": {head + "\r\na\nb\r\n", "", false}, "bare CR": {head + "\r\na\rb\r\n", "", false}, "NUL": {head + "\r\na\x00b\r\n", "", false},
		"no line end": {head + "\r\nabc", "", false}, "empty": {"", "", true},
	} {
		r := sample(c.content)
		r.Original.Ret = c.ret
		p := parse(t, content(t, r))
		if (p.kinds[2] == "message/rfc822") != c.whole {
			t.Errorf("%s: %s", name, p.kinds[2])
		}
	}
	r := sample(strings.Repeat("X-Long: "+strings.Repeat("y", 900)+"\r\n", 30) + "\r\nbody\r\n")
	if p := parse(t, content(t, r)); len(p.last) > maxHeader+2 || len(p.last) < maxHeader-1000 || p.kinds[2] != "text/rfc822-headers" {
		t.Errorf("%d bytes of header, %s", len(p.last), p.kinds[2])
	}
	r = sample("Subject: a\rInjected: b\r\nX: \x00\r\n\r\n" + strings.Repeat("c", 20000))
	if p := parse(t, content(t, r)); strings.Contains(string(p.last), "\nInjected") {
		t.Errorf("%q", p.last)
	}
}

// SMTPUTF8 mail has the forms of RFC 6533; other mail stays ASCII in the part
// for programs whatever the peer said; 8-bit content is declared.
func TestInternational(t *testing.T) {
	r := sample("Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n\xc3\xa4\r\n")
	r.Original.UTF8, r.Original.Subject = true, "Grüße"
	r.To, r.Original.From = address("jürgen@example.com"), address("jürgen@example.com")
	r.Recipients[0].Address, r.Recipients[0].ORCPT = address("bürgel@example.com"), "utf-8;bürgel@example.com"
	b := content(t, r)
	p := parse(t, b)
	if fmt.Sprint(p.kinds[1:]) != "[message/global-delivery-status message/global]" || p.header.Get("Content-Transfer-Encoding") != "8bit" {
		t.Errorf("%v %v", p.kinds, p.header)
	}
	if g := p.rcpts[0]; g.Get("Final-Recipient") != "utf-8; bürgel@example.com" || g.Get("Original-Recipient") != "utf-8; bürgel@example.com" {
		t.Errorf("%v", g)
	}
	r = sample("Subject: x\r\n\r\n\xe4\xff\r\n")
	r.Recipients[0].Reply = "5.1.1 unbekannter Empf\xe4nger – nein"
	p = parse(t, content(t, r))
	if p.header.Get("Content-Transfer-Encoding") != "8bit" || p.rcpts[0].Get("Diagnostic-Code") != "smtp; 550 5.1.1 unbekannter Empf?nger ? nein" {
		t.Errorf("%v %v", p.header, p.rcpts[0])
	}
}

// hostile are replies, subjects and names as attackers write them: the cases of
// register B3 and B5, and of OpenSMTPD CVE-2020-8794, where a reply with a line
// end became a line of the envelope.
var hostile200 = func() []string {
	seeds := []string{
		"553 no\ntype: mda\nmda-exec: id", "x\r\nBcc: victim@example.net", "x\nBcc: victim@example.net\n\nbody", "x\rSubject: y", "\r\n\r\n--=_boundary\r\nContent-Type: text/html",
		"x\x00y", "\x1b[2J", "a\u2028Bcc: b", "a\u0085Bcc: b", "\u202egpj.exe", strings.Repeat("A", 5000), strings.Repeat("ü", 3000), "{recipients}{subject}",
		"\xff\xfe\r\n.\r\n", "=?utf-8?Q?=0D=0ABcc:_x?=", ".\r\nMAIL FROM:<>\r\n", "<script>alert(1)</script>", "\"; boundary=x", "a\r\n b", "a\r\n\tb",
	}
	var all []string
	for i := range 10 {
		for _, s := range seeds {
			all = append(all, strings.Repeat("p", i)+s+strings.Repeat("\r\nX-Evil: 1", i))
		}
	}
	return all
}()

// Register B5 and B3: whatever stands in subject, replies, names, envelope id
// and original recipient, the report has its planned fields, recipients and
// parts, and no other.
func TestSEC_B5_ReportWithHostileTexts(t *testing.T) {
	plain := parse(t, content(t, sample(small)))
	names := func(h map[string][]string) (all []string) {
		for n, v := range h {
			all = append(all, fmt.Sprint(n, len(v)))
		}
		slices.Sort(all)
		return all
	}
	for _, evil := range hostile200 {
		for _, utf := range []bool{false, true} {
			r := sample(small)
			r.Original.UTF8 = utf
			r.Original.Subject, r.Original.Helo, r.Original.EnvID = evil, evil, evil
			r.Recipients[0].Reply, r.Recipients[0].Remote, r.Recipients[0].Status, r.Recipients[0].ORCPT = evil, evil, evil, "rfc822;"+evil
			r.Recipients[1].Reply = evil
			r.Profile.Subject = "Returned"
			p := parse(t, content(t, r))
			want := names(plain.header)
			got := names(p.header)
			if i := slices.Index(got, "Content-Transfer-Encoding1"); i >= 0 {
				got = slices.Delete(got, i, i+1)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%q: header %q", evil, got)
			}
			if p.header.Get("To") != "<alice@partner.example>" || len(p.rcpts) != 2 {
				t.Fatalf("%q: to %q, %d recipients", evil, p.header.Get("To"), len(p.rcpts))
			}
			if g := p.rcpts[0]; !slices.Equal(names(g), names(plain.rcpts[0])) || g.Get("Status") != "5.0.0" || g.Get("Final-Recipient") != "rfc822; bob@example.com" {
				t.Fatalf("%q: %v", evil, g)
			}
			if strings.Contains(p.human, "\nBcc:") || strings.Contains(p.human, "\x1b") {
				t.Fatalf("%q: %q", evil, p.human)
			}
		}
	}
	if len(hostile200) != 200 {
		t.Error(len(hostile200))
	}
}

// What cannot be an address or a header of ours is refused, not written.
func TestSEC_B5_HeaderIsRefused(t *testing.T) {
	for _, to := range []string{"a\r\nBcc: x@y.example", "a\nb@c.example", "a\x00@b.example"} {
		r := sample(small)
		r.To = address(to)
		if b, err := r.Content(); err == nil {
			t.Errorf("%q: written as %q", to, b)
		}
	}
	r := sample(small)
	r.To = mail.Address{}
	if _, err := r.Content(); err == nil {
		t.Error("a report to the null sender")
	}
}

// Thousands of recipients with long replies make no report beyond MaxSize; it
// says how many it leaves out.
func TestManyRecipients(t *testing.T) {
	r := sample(strings.Repeat("X: "+strings.Repeat("y", 300)+"\r\n", 32) + "\r\n")
	for i := range 5000 {
		r.Recipients = append(r.Recipients, Recipient{Address: address(fmt.Sprintf("user%d@example.com", i)), Code: 550, Status: "5.1.1", Reply: strings.Repeat("long ", 100)})
	}
	p := parse(t, content(t, r))
	if len(p.rcpts) < 50 || !strings.Contains(p.human, fmt.Sprintf("and %d more recipients", 5002-len(p.rcpts))) {
		t.Errorf("%d recipients listed", len(p.rcpts))
	}
}

// The forms of a profile: plain text, own subject and own text.
func TestProfileForms(t *testing.T) {
	r := sample(small)
	r.Profile.Subject, r.Profile.Notification = "Zurück an {sender}", "Dear {sender},\n\n{recipients}\nabout \"{subject}\" at {hostname}"
	r.Original.Subject = "{hostname}"
	p := parse(t, content(t, r))
	if got, _ := new(mime.WordDecoder).DecodeHeader(p.header.Get("Subject")); got != "Zurück an {sender}" {
		t.Errorf("subject %q", got)
	}
	if !strings.HasPrefix(p.human, "Dear alice@partner.example,\r\n") || !strings.Contains(p.human, `about "{hostname}" at gw1.example.com`) {
		t.Errorf("%q", p.human)
	}
	r.Original.Content = strings.NewReader(small)
	r.Profile.Simple = true
	m, err := netmail.ReadMessage(bytes.NewReader(content(t, r)))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(m.Body)
	if m.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(string(body), "bob@example.com") || !strings.Contains(string(body), "Subject: Hello\r\n") || strings.Contains(string(body), "\nText") {
		t.Errorf("%v\n%s", m.Header, body)
	}
}

func TestProfileCheck(t *testing.T) {
	ok := DefaultProfile()
	if err := ok.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Profile){
		"profile_name: ":      func(p *Profile) { p.Name = "" },
		"profile_name: a":     func(p *Profile) { p.Name = "a<b" },
		"max_retries: 0":      func(p *Profile) { p.MaxRetries = 0 },
		"max_time_in_queue: ": func(p *Profile) { p.MaxTime = time.Second },
		"first_retry: ":       func(p *Profile) { p.FirstRetry = 0 },
		"longest_interval: ":  func(p *Profile) { p.LongestWait = time.Second },
		"delay_interval: ":    func(p *Profile) { p.WarnAfter = time.Second },
		"delay_warnings: ":    func(p *Profile) { p.Warnings = -1 },
		"subject: ":           func(p *Profile) { p.Subject = "a\nb" },
		"notification: \"{x}": func(p *Profile) { p.Notification = "{x}" },
		"notification: a":     func(p *Profile) { p.Notification = "{subject" },
	} {
		p := DefaultProfile()
		change(&p)
		if err := p.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
