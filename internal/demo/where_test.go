package demo

import (
	"errors"
	"io"
	"net/smtp"
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/appliance"
	"lazaret/internal/dns"
	"lazaret/internal/gateway"
	"lazaret/internal/manager"
	wire "lazaret/internal/smtp"
)

// says waits until an answer of where has all these parts, and gives it.
func says(t *testing.T, dir, line string, parts ...string) (out string) {
	t.Helper()
	missing := ""
	defer func() {
		if t.Failed() {
			t.Logf("%s: %q is not in\n%s", line, missing, out)
		}
	}()
	waitFor(t, func() bool {
		out = local(t, dir, line)
		for _, p := range parts {
			if missing = p; !strings.Contains(out, p) {
				return false
			}
		}
		return true
	})
	return out
}

// Where is it? The whole circle, asked at the manager and at the gateway:
// refused at RCPT, dropped by a filter, delivered, waiting, held, released and
// proven, never seen, and a gateway that does not answer.
func TestWhereCircle(t *testing.T) {
	a := made(t)
	m, err := manager.New(manager.Options{Dir: a.Manager.Dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	var gs []*gateway.Gateway
	closing := []func() error{m.Close}
	defer func() {
		for i := len(closing) - 1; i >= 0; i-- {
			if err := closing[i](); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range 2 {
		g, err := gateway.New(gateway.Options{Dir: a.Gateways[i].Dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		closing, gs = append(closing, g.Close), append(gs, g)
	}
	if err := errors.Join(m.Start(t.Context()), gs[0].Start(t.Context()), gs[1].Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, a.Mailbox.SMTP)
	defer o.close()
	o.set("carol@example.com", wire.NewReply(450, "4.2.0", "come \x1b[31mlater"))
	gw1, sma, addr := a.Gateways[0].Dir, a.Manager.Dir, a.Gateways[0].SMTP
	if _, err := appliance.Command(t.Context(), gw1, "filters new; commit", "drop_me: if (subject == \"DROPME\") { drop(); }\n.\n"); err != nil {
		t.Fatal(err)
	}

	refusedAtRCPT(t, addr, "nobody@elsewhere.example")
	postTo(t, addr, "Subject: DROPME\r\n\r\nx\r\n", "bob@example.com")
	postTo(t, addr, "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= plain\x1b[2J\r\nMessage-ID: <plain@partner.example>\r\n\r\nx\r\n", "bob@example.com", "carol@example.com")
	postTo(t, addr, "Subject: HOLDME where\r\n\r\nx\r\n", "bob@example.com")
	mid := waitHeld(t, sma, "HOLDME where")
	n := strconv.FormatUint(mid, 10)

	for _, dir := range []string{gw1, sma} {
		says(t, dir, "where recipient nobody@elsewhere.example", "<nobody@elsewhere.example>: refused at RCPT by RAT at ")
		says(t, dir, "where subject dropme", "<bob@example.com>: dropped by filter 'drop_me' at ")
		out := says(t, dir, `where subject "grüße plain"`, "<bob@example.com>: delivered to 127.0.0.1 port ", "kept at the office",
			"<carol@example.com>: waiting for example.com (", "4.2.0", `later'`, "(next try ")
		if strings.Contains(out, "\x1b") {
			t.Errorf("a control character in %q", out)
		}
		says(t, dir, "where message-id plain@partner.example recipient carol", "<carol@example.com>: waiting for ")
		says(t, dir, "where sender never@seen.example", "Never seen by ")
	}
	says(t, gw1, "where subject HOLDME", "<bob@example.com>: given to quarantine Policy of the manager at ", ", MID "+n+" there")
	says(t, sma, "quarantine where mid "+n, "<bob@example.com>: MID "+n+" here: held in quarantine Policy since ", "message filter:hold_me")

	local(t, sma, "quarantine release "+n)
	waitShown(t, sma, mid, func(s shown) bool { return s.State == "released" })
	out := says(t, sma, "where mid="+n, "released from quarantine Policy after ", "Reason: manually released by ", "; taken by gw1.lazaret.example as MID ", "; delivered to 127.0.0.1 port ", "kept at the office")
	if strings.Count(out, "<bob@example.com>: ") != 1 {
		t.Errorf("more than one sentence:\n%s", out)
	}
	says(t, gw1, "where subject HOLDME --json", `"complete":true`, `"state":"delivered"`)

	local(t, gw1, "rollovernow mail_logs") // and over a file that was rolled
	says(t, gw1, "where subject HOLDME", "went on from quarantine Policy as MID ", "delivered to 127.0.0.1")
	if err := gs[1].Close(); err != nil {
		t.Fatal(err)
	}
	closing = closing[:2]
	out = says(t, sma, "where sender never@seen.example", "gw2.lazaret.example did not answer: ", "Never seen by sma1.lazaret.example, gw1.lazaret.example since ", ", as far as could be looked.")
	if strings.Contains(out, "by sma1.lazaret.example, gw1.lazaret.example, gw2") {
		t.Errorf("who did not answer has seen nothing:\n%s", out)
	}
	says(t, sma, "where sender never@seen.example --json", `"found":0`, `"complete":false`)
	says(t, sma, "where subject plain", "<bob@example.com>: delivered to ", "gw2.lazaret.example did not answer: ")
}

// refusedAtRCPT gives a gateway a recipient that it does not take.
func refusedAtRCPT(t *testing.T, addr, to string) {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Mail("alice@partner.example"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(to); err == nil {
		t.Fatal("it was taken")
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
}
