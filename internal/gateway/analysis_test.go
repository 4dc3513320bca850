package gateway

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// withFile is a message with a program attached.
func withFile(subject, content string) string {
	return "Subject: " + subject + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nText\r\n--b\r\n" +
		"Content-Type: application/octet-stream; name=" + subject + ".exe\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString([]byte(content)) + "\r\n--b--\r\n"
}

func programOf(name string) string { return "MZ\x90\x00\x03" + strings.Repeat("\x00", 100) + name }

// File Analysis (reference 1.1, F169): a message waits there while the analyser
// looks at its attachment; what is harmless goes on, what is malicious is held by
// Virus, by hand or by time it leaves as it says; while the analyser is away mail
// waits, and what cannot be analysed is never clean.
func TestFileAnalysis(t *testing.T) {
	a := testlib.NewAnalyser(t)
	w := newWorld(t, nil, func(c *config.Config) {
		holding(c)
		c.FileAnalysis = config.FileAnalysis{Analyser: a.URL, Key: a.Key, CAFile: a.CAFile, Kinds: []string{"all"}, MaxSize: "64K"}
		c.MailPolicies = []config.MailPolicy{
			{Table: config.Inbound, Name: "Drop", Recipients: []string{"drop@"}, FileAnalysis: "custom", FileVerdicts: []config.VirusVerdict{{Verdict: "malicious", Action: "drop"}}},
			{Table: config.Inbound, Name: "Off", Recipients: []string{"off@"}, FileAnalysis: "off"},
		}
	})
	w.live()
	a.Say(programOf("known"), "clean")
	a.Say(programOf("bad"), "malicious Evil.Thing")
	inject := func(name, to string) {
		w.inject("a@partner.example", withFile(name, programOf(name)), func(it *queue.Item) { it.Subject = name }, to)
	}
	where := func(name string) string {
		for _, m := range w.held(quarantine.Held) {
			if m.Subject == name {
				return m.Quarantines[0].Name + " " + m.Quarantines[0].Reason
			}
		}
		return ""
	}
	arrived := func(name string) bool {
		for _, m := range w.mailbox.Messages() {
			if strings.Contains(string(m.Content), "\r\nSubject: "+name+"\r\n") || strings.HasPrefix(string(m.Content), "Subject: "+name+"\r\n") {
				return true
			}
		}
		return false
	}
	inject("known", "bob@other.example")
	inject("off", "off@other.example")
	w.until("what is known to be clean, and what nobody wants analysed, goes on", func() bool { return arrived("known") && arrived("off") })
	inject("bad", "bob@other.example")
	w.until("what is known to be bad is held", func() bool { return where("bad") == "Virus file analysis:malicious Evil.Thing" })
	inject("bad", "drop@other.example")
	w.until("or dropped", func() bool { return len(w.lines("Dropped by amp")) == 1 })
	for _, name := range []string{"good", "evil", "slow"} {
		inject(name, "bob@other.example")
	}
	pending := "File Analysis file analysis:pending"
	w.until("the others wait", func() bool { return where("good") == pending && where("evil") == pending && where("slow") == pending })
	if names, _ := a.Given(); len(names) != 3 {
		t.Errorf("given %q", names)
	}
	known := map[mail.MID]*waits{}
	look := func() {
		t.Helper()
		for _, k := range known {
			k.next = w.Now().Add(-1)
		}
		if err := w.lookAnalysed(t.Context(), known); err != nil {
			t.Fatal(err)
		}
	}
	look()
	a.Status(500)
	a.Say(programOf("good"), "clean")
	look()
	if where("good") != pending {
		t.Error("released by a broken analyser")
	}
	a.Status(0)
	a.Say(programOf("evil"), "malicious Evil.Other")
	look()
	w.until("what is clean arrives", func() bool { return arrived("good") })
	w.until("what is malicious is held again", func() bool { return where("evil") == "Virus file analysis:malicious Evil.Other" })
	if got := w.lines(`from quarantine "File Analysis" (analysis over)`); len(got) != 2 || where("slow") != pending {
		t.Errorf("%q, slow: %s", got, where("slow"))
	}
	for _, m := range w.held(quarantine.Held) {
		if m.Subject == "slow" || m.Subject == "evil" {
			w.release(m.MID)
		}
	}
	w.until("what somebody lets go in spite of it arrives", func() bool { return arrived("slow") && arrived("evil") })
	a.Status(503)
	inject("waiting", "bob@other.example")
	w.until("without an analyser mail waits", func() bool {
		return strings.Contains(w.log(), "attachments unscanned: the analyser answers with status 503")
	})
	if arrived("waiting") || where("waiting") != "" {
		t.Error("it did not wait")
	}
	a.Status(0)
	a.Say(programOf("waiting"), "clean")
	w.until("until it is back", func() bool { return arrived("waiting") })
	w.inject("a@partner.example", withFile("large", programOf(strings.Repeat("x", 65<<10))), func(it *queue.Item) { it.Subject = "large" }, "bob@other.example")
	w.until("what is too large is not clean", func() bool { return where("large") == "Virus file analysis:unscannable too large" })
}

// What a manager holds for file analysis it hears of when that is over.
func TestManagerHearsAnalysis(t *testing.T) {
	a := testlib.NewAnalyser(t)
	w := newWorld(t, nil, func(c *config.Config) {
		paired(c)
		c.FileAnalysis = config.FileAnalysis{Analyser: a.URL, Key: a.Key, CAFile: a.CAFile, Kinds: []string{"all"}}
	})
	mid := w.passed(41, withFile("x", programOf("x")), mail.Placement{Quarantine: quarantine.FileAnalysis, Reason: mail.Analysis{Verdict: mail.FilePending}.Reason()})
	m := &holder{}
	w.shadows.open = m.open
	known := map[mail.MID]*judged{}
	pass := func(ask bool, want string) {
		t.Helper()
		if k := known[mid]; k != nil {
			k.next = w.Now().Add(-1)
		}
		if err := w.shadows.pass(context.Background(), known, ask); err != nil {
			t.Error(err)
		}
		if got := m.take(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	pass(true, "41 unknown")
	pass(false, "")
	a.Say(programOf("x"), "malicious Evil")
	pass(false, "41 cleared")
	if n, _ := w.spool.ShadowUse(); n != 0 {
		t.Errorf("%d copies", n)
	}
}
