package gateway

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// mails gives what a host took, each as "FROM TO\nCONTENT", sorted.
func mails(s *testlib.Sink) (all []string) {
	for _, m := range s.Messages() {
		all = append(all, strings.Trim(m.From, "FROM:<>")+" "+strings.Trim(m.To[0], "TO:<>")+"\n"+string(m.Content))
	}
	slices.Sort(all)
	return all
}

// send injects a message with the subject that its header has.
func (w *world) send(from, content string, relay bool, to ...string) {
	w.t.Helper()
	_, rest, _ := strings.Cut(content, "Subject: ")
	subject, _, _ := strings.Cut(rest, "\r\n")
	w.inject(from, content, func(it *queue.Item) { it.Subject, it.Origin.Relay = subject, relay }, to...)
}

// one gives the only one of them that begins so.
func one(t *testing.T, all []string, start string) string {
	t.Helper()
	var found []string
	for _, m := range all {
		if strings.HasPrefix(m, start) {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d messages begin with %q in %q", len(found), start, all)
	}
	return found[0]
}

// Texts above and below, changed words, single attachments: what goes on is
// mail that everybody reads so; what is copied or archived is what came.
func TestBodyActions(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		c.Texts = []config.TextResource{{Name: "legal", Text: "Legal -- $EnvelopeFrom\n--b\n", HTML: "<i>$Subject</i>"}, {Name: "top", Text: "EXTERN\n"}, {Name: "old", Text: "never"}}
		c.Filters = `edit: if (subject == "edit") { add-footer("old"); add-footer("Legal"); add-heading("top"); edit-body-text("(?i)card (\d+)", "[\1]"); drop-attachments-by-filetype("^executable$", "$dropped_filename is gone"); archive("all"); }
			plain: if (subject == "html") { html-convert(); }
			size: if (subject == "size") { drop-attachments-by-size(4); }
			where: if (subject == "where") { drop-attachments-where-contains("secret", "gone", 2); bcc("copy@other.example", "Copy: $Subject"); }`
		c.ContentFilters = []config.ContentFilter{{Table: config.Inbound, Name: "foot", Conditions: []string{`subject == "size"`}, Actions: []string{`add-footer("top")`, `drop-attachments-by-name("\.pdf$")`}}}
		c.MailPolicies = []config.MailPolicy{{Table: config.Inbound, Name: "DEFAULT", ContentMode: "custom", Content: []string{"foot"}}}
	})
	multi := func(subject, first, second string) string {
		return "Subject: " + subject + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + first + "\r\n--b\r\n" + second + "\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n\x01\x02 \xffsecret\r\n--b--\r\n"
	}
	const exe = "Content-Type: image/gif; name=\"a\r\n b.gif\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\ngAAAAA4fug4AtAnNIbgBTM0hVGhpcyBwcm9ncmFtIGNhbm5vdCBiZSBydW4gaW4gRE9TIG1vZGUuDQ0K\r\nJAAAAAAAAABQRQAA"
	sent := multi("edit", "Content-Transfer-Encoding: 8bit\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe, CARD 42", exe)
	w.send("a@partner.example", sent, false, "bob@one.example")
	w.until("the first", func() bool { return len(w.mailbox.Messages()) == 1 && w.empty() })
	got := one(t, mails(w.mailbox), "a@partner.example bob@one.example")
	want := "Subject: edit\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
		"EXTERN\r\nGr=FC=DFe, [42]\r\nLegal -- a@partner.example\r\n=2D-b\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na b.gif is gone\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n\x01\x02 \xffsecret\r\n--b--\r\n"
	if !strings.HasSuffix(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if b, err := os.ReadFile(w.Path("archive", "all.mbox")); err != nil || !strings.Contains(string(b), strings.ReplaceAll(sent, "\r\n", "\n")) {
		t.Errorf("%v %q", err, b)
	}
	w.send("a@partner.example", "Subject: html\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>one<p>two &amp; three\r\n", false, "html@one.example")
	w.send("a@partner.example", multi("size", "\r\nhi", "Content-Type: text/csv; name=b.csv\r\n\r\n1,2"), false, "size@one.example")
	w.send("a@partner.example", multi("where", "\r\nsecret secret", "Content-Type: text/csv; name=b.csv\r\n\r\nsecret,secret"), false, "where@one.example")
	w.until("all", func() bool { return len(w.mailbox.Messages()) == 5 && w.empty() })
	all := mails(w.mailbox)
	for start, want := range map[string]string{
		"a@partner.example html@":  "Subject: html\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\none\r\ntwo & three\r\n",
		"a@partner.example size@":  "hi\r\nEXTERN\r\n--b\r\nContent-Type: text/csv; name=b.csv\r\n\r\n1,2\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n[ The attachment \"a.pdf\" (application/pdf) was removed by a filter. ]\r\n--b--\r\n",
		"a@partner.example where@": "secret secret\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngone\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n\x01\x02 \xffsecret\r\n--b--\r\n",
		"a@partner.example copy@":  "secret,secret\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n\x01\x02 \xffsecret\r\n--b--\r\n",
	} {
		if m := one(t, all, start); !strings.HasSuffix(strings.ReplaceAll(m, "one=\r\n", "one"), want) {
			t.Errorf("%q\nwant\n%q", m, want)
		}
	}
	if m := one(t, all, "a@partner.example copy@"); !strings.Contains(m, "\r\nSubject: Copy: where\r\n") && !strings.Contains(m, "\nSubject: Copy: where\r\n") || strings.Contains(m, "Subject: where") {
		t.Errorf("%q", m)
	}
	l := w.lines("rewritten to") // three of the messages are judged side by side
	for _, by := range []string{"drop-attachments-by-filetype filter 'edit'", "html-convert filter 'plain'", "drop-attachments-by-name filter 'foot'", "drop-attachments-where-contains filter 'where'"} {
		if !slices.ContainsFunc(l, func(s string) bool { return strings.HasSuffix(s, " by "+by) }) {
			t.Errorf("nothing was rewritten by %s in\n%s", by, strings.Join(l, "\n"))
		}
	}
}

// Notices, copies that are judged, other recipients, hosts and profiles.
func TestElsewhere(t *testing.T) {
	other := testlib.NewSink(t, testlib.Behaviour{})
	w := newWorld(t, nil, func(c *config.Config) {
		holding(c)
		c.SMTPRoutes = append([]config.SMTPRoute{{Domain: "alt.example", Hosts: []string{fmt.Sprintf("[%s]:%d", other.Addr.Addr(), other.Addr.Port())}}}, c.SMTPRoutes...)
		c.Texts = []config.TextResource{{Name: "told", Text: "About $Subject\nfrom $EnvelopeFrom: --x\n"}}
		c.BounceProfiles = append(c.BounceProfiles, config.NewBounceProfile(c.BounceProfile("")))
		p := &c.BounceProfiles[len(c.BounceProfiles)-1]
		p.Name, p.HardBounces = "quiet", "no"
		c.Filters = `told: if (subject == "tell") { notify-copy("admin@one.example, $EnvelopeRecipients", "Held: $Subject", "Boss <boss@example.com>", "told"); notify("$EnvelopeFrom"); quarantine("Policy"); alt-mailhost("first.example"); alt-mailhost("alt.example"); drop-attachments-by-size(1); }
			again: if (rcpt-to == "scan") { bcc-scan("scan2@one.example"); }
			moved: if (subject == "moved") { alt-rcpt-to("nobody@one.example"); alt-rcpt-to("else@one.example"); tag-message("was moved"); }
			tagged: if (message-tag == "^was moved$") { insert-header("X-Tag", "$EnvelopeRecipients"); }
			quiet: if (subject == "quiet") { bounce-profile("quiet"); }`
		c.MailPolicies = []config.MailPolicy{{Table: config.Inbound, Name: "Else", Recipients: []string{"else@"}, ContentMode: "custom", Content: []string{"no"}}}
		c.ContentFilters = []config.ContentFilter{{Table: config.Inbound, Name: "no", Conditions: []string{`rcpt-to == "^else@" and message-tag == "moved"`}, Actions: []string{`insert-header("X-Content", "yes")`}}}
	})
	w.live()
	const content = "Subject: tell\r\nMessage-ID: <a@b>\r\n\r\nline\r\n.\r\n"
	w.send("a@partner.example", content, false, "bob@one.example")
	w.until("it is held and told", func() bool { return len(w.held(quarantine.Held)) == 1 && len(w.mailbox.Messages()) == 2 })
	all := mails(w.mailbox)
	for _, to := range []string{"admin@one.example", "bob@one.example"} {
		m := one(t, all, " "+to)
		for _, want := range []string{"From: Boss <boss@example.com>\r\n", "To: <" + to + ">\r\n", "Subject: Held: tell\r\n", "Auto-Submitted: auto-generated\r\n", "\r\nAbout tell\r\nfrom a@partner.example: --x\r\n", "Content-Type: message/rfc822\r\n", content} {
			if !strings.Contains(m, want) {
				t.Errorf("%q lacks %q", m, want)
			}
		}
	}
	if l := w.lines("not notified"); len(l) != 1 || !strings.Contains(l[0], "MID 1: the sender is not notified by notify filter 'told': its sender is not ours") {
		t.Errorf("%q", l)
	}
	// Where a held message goes is kept with it.
	w.release(w.held(quarantine.Held)[0].MID)
	w.until("the other host has it", func() bool { return len(other.Messages()) == 1 && w.empty() })
	if m := one(t, mails(other), "a@partner.example bob@one.example"); !strings.HasSuffix(m, content) {
		t.Errorf("%q", m)
	}
	w.send("a@partner.example", "Subject: moved\r\n\r\nhi\r\n", false, "x@one.example", "y@one.example")
	w.send("b@partner.example", "Subject: copy\r\n\r\nhi\r\n", false, "scan@one.example")
	w.send("c@partner.example", "Subject: quiet\r\n\r\nhi\r\n", true, "bob@example.com")
	w.send("d@partner.example", "Subject: tell\r\n\r\nhi\r\n", true, "bob@one.example")
	w.until("all are delivered", func() bool { return len(w.mailbox.Messages()) == 8 && len(w.held(quarantine.Held)) == 1 && w.empty() })
	all = mails(w.mailbox)
	if m := one(t, all, "a@partner.example else@one.example"); !strings.Contains(m, "X-Tag: x@one.example, y@one.example\r\n") || !strings.Contains(m, "X-Content: yes\r\n") {
		t.Errorf("%q", m)
	}
	one(t, all, "b@partner.example scan@one.example")
	one(t, all, "b@partner.example scan2@one.example")
	if m := one(t, all, " d@partner.example"); !strings.Contains(m, "Subject: Message notification\r\n") || !strings.Contains(m, "\r\nA message met the filter told.\r\n") {
		t.Errorf("%q", m)
	}
	for _, want := range []string{"by alt-rcpt-to-filter filter 'moved'", "by bcc-scan filter 'again'", "by notify-copy filter 'told'", "the bounce profile quiet tells no sender of failures"} {
		if !strings.Contains(w.log(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// What header-repeats counts is the messages of an hour, each once.
func TestHeaderRepeats(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		c.Filters = `many: if (header-repeats("subject", 3)) { log-entry("three"); }
			mine: if (header-repeats("mail-from", 2, "outgoing")) { log-entry("two of mine"); }`
	})
	send := func(n int, from, subject string, relay bool) {
		t.Helper()
		w.send(from, "Subject: "+subject+"\r\n\r\nhi\r\n", relay, "bob@one.example")
		w.until("delivery", func() bool { return len(w.mailbox.Messages()) == n && w.empty() })
	}
	send(1, "a@partner.example", "same", false)
	send(2, "A@partner.example", "same", true)
	if l := w.lines("Custom Log Entry"); len(l) != 0 {
		t.Errorf("%q", l)
	}
	send(3, "a@partner.example", "same", true)
	if l := w.lines("Custom Log Entry"); len(l) != 2 {
		t.Errorf("%q", l)
	}
	w.shift.Add(int64(time.Hour + 4*time.Minute))
	send(4, "a@partner.example", "same", true)
	if l := w.lines("Custom Log Entry"); len(l) != 2 {
		t.Errorf("after an hour: %q", l)
	}
}
