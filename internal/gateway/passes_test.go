package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"os"
	"strings"
	"testing"

	"lazaret/internal/access"
	"lazaret/internal/config"
	"lazaret/internal/dns"
	"lazaret/internal/message"
	"lazaret/internal/testlib"
)

// circle is two gateways that send example.com to each other, and all else to
// a mailbox.
func circle(t *testing.T) (one, two *world, mailbox *testlib.Sink) {
	t.Helper()
	mailbox = testlib.NewSink(t, testlib.Behaviour{})
	var ports [4]int
	for i := range ports {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	both := [2]*world{{t: t, dns: &dns.Fake{}}, {t: t, dns: &dns.Fake{}}}
	for i, w := range both {
		w.open(t.TempDir(), func(c *config.Config) {
			c.SMTPRoutes = []config.SMTPRoute{{Domain: "example.com", Hosts: []string{fmt.Sprintf("[127.0.0.1]:%d", ports[1-i])}},
				{Domain: "ALL", Hosts: []string{fmt.Sprintf("[127.0.0.1]:%d", mailbox.Addr.Port())}}}
			l := c.Listener("IncomingMail")
			l.Port, l.HAT = ports[i], access.CPQHAT(netip.MustParseAddr("127.0.0.1")).String()
			c.Listener("cpq_listener").Port = ports[2+i]
			c.Destinations[0].TLS = "none"
		})
	}
	return both[0], both[1], mailbox
}

// comeIn opens the ports, and closes them before the queue ends.
func (w *world) comeIn() string {
	w.t.Helper()
	if err := w.OpenPorts(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.ClosePorts(); err != nil {
			w.t.Error(err)
		}
	})
	return fmt.Sprintf("127.0.0.1:%d", w.Config.Committed().Listener("IncomingMail").Port)
}

// bring gives a message to a gateway, in clear.
func bring(door, from, content string) error {
	c, err := smtp.Dial(door)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := errors.Join(c.Mail(from), c.Rcpt("bob@example.com")); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, content)
	return errors.Join(err, w.Close(), c.Quit())
}

// Register B7: two gateways that send mail to each other stop after ten rounds.
// The sender hears of it once; nobody of mail that has no sender, which is kept.
func TestSEC_B7_TwoGateways(t *testing.T) {
	one, two, mailbox := circle(t)
	door := one.comeIn()
	two.comeIn()
	forged := strings.Repeat(message.NewPasses(one.serial(), []byte("no such key")).Line(1), 30)
	for i, from := range []string{"alice@partner.example", ""} {
		if err := bring(door, from, forged+letter); err != nil {
			t.Fatal(err)
		}
		rounds := func(w *world) int { return strings.Count(w.log(), "ready ") }
		one.until("the loop ends", func() bool {
			return strings.Count(one.log()+two.log(), "Message loop") == i+1 && one.empty() && two.empty()
		})
		if a, b := rounds(one), rounds(two); a != (i+1)*11 || b != (i+1)*11 {
			t.Errorf("from <%s>: taken %d and %d times in all", from, a, b)
		}
		if n := len(mailbox.Messages()); n != 1 {
			t.Errorf("from <%s>: %d reports in all", from, n)
		}
	}
	report := mailbox.Messages()[0]
	text := string(report.Content)
	if !strings.HasPrefix(report.From, "FROM:<>") || report.To[0] != "TO:<alice@partner.example>" || !strings.Contains(text, "554 5.4.6 message loop") ||
		!strings.Contains(text, message.PassField+": "+two.serial()+" ") {
		t.Errorf("from %s to %v\n%s", report.From, report.To, text)
	}
	if one.keptNumber()+two.keptNumber() != 1 {
		t.Errorf("%d and %d kept", one.keptNumber(), two.keptNumber())
	}
}

// Register B7: a report whose way leads round ends too, and no report follows it.
func TestSEC_B7_ReportGoesRound(t *testing.T) {
	one, two, mailbox := circle(t)
	door := one.comeIn()
	two.comeIn()
	if err := bring(door, "alice@example.com", letter); err != nil {
		t.Fatal(err)
	}
	one.until("both loops end", func() bool {
		return strings.Count(one.log()+two.log(), "Message loop") == 2 && one.empty() && two.empty()
	})
	if n := len(mailbox.Messages()); n != 0 {
		t.Errorf("%d messages left the circle", n)
	}
}

// The key stays over a restart; a damaged one is replaced, and the log says so.
func TestPassKey(t *testing.T) {
	g := newGateway(t, nil)
	path := g.Path("keys", "pass.key")
	before, err := os.ReadFile(path)
	if info, _ := os.Stat(path); err != nil || len(before) != message.PassKeySize || info.Mode().Perm() != 0o600 {
		t.Fatal(err, len(before))
	}
	mark := g.passes.Mark(5)
	if err := g.openPasses(Options{}); err != nil || g.passes.Mark(5) != mark {
		t.Errorf("not the same key: %v", err)
	}
	if err := os.WriteFile(path, before[:7], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.openPasses(Options{Check: true}); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(path); len(b) != 7 {
		t.Error("a check writes")
	}
	if err := g.openPasses(Options{}); err != nil || g.passes.Mark(5) == mark {
		t.Errorf("damaged: %v", err)
	}
	if b, _ := os.ReadFile(path); len(b) != message.PassKeySize || bytes.Equal(b, before) {
		t.Error("no new key")
	}
}
