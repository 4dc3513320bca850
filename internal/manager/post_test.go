package manager

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

var root = mail.Principal{Name: "admin", Role: mail.Administrator, From: "192.0.2.7", Via: "ssh"}

// posting is a manager whose mail for refuses.example is refused and whose
// other mail goes to a mailbox.
type posting struct {
	*target
	mailbox, refuses *testlib.Sink
}

func newPosting(t *testing.T, edit func(*config.Config)) *posting {
	t.Helper()
	p := &posting{mailbox: testlib.NewSink(t, testlib.Behaviour{}), refuses: testlib.NewSink(t, testlib.Behaviour{Rcpt: func(int, string) string { return "550 5.1.1 no\x1b[2J such user\r\n" }})}
	p.target = newTarget(t, func(c *config.Config) {
		route := func(s *testlib.Sink) []string { return []string{fmt.Sprintf("[%s]:%d", s.Addr.Addr(), s.Addr.Port())} }
		c.SMTPRoutes = []config.SMTPRoute{{Domain: "refuses.example", Hosts: route(p.refuses)}, {Domain: "ALL", Hosts: route(p.mailbox)}}
		if edit != nil {
			edit(c)
		}
	})
	return p
}

func (p *posting) hold(t *testing.T, content string) mail.MID {
	t.Helper()
	return p.place(t, content, mail.Placement{Quarantine: "Policy", Reason: "message filter:x"})
}

func (p *posting) place(t *testing.T, content string, to mail.Placement) mail.MID {
	t.Helper()
	hash := mail.Hash(sha256.Sum256([]byte(content)))
	mid := p.NextMID()
	_, _, err := p.quarantine.Ingest(t.Context(), quarantine.Deposit{MID: mid, Key: mail.NewKey("GATEWAY001", mid, hash), Gateway: "GATEWAY001", GatewayMID: mid, Accepted: p.Now(),
		Envelope: mail.Envelope{From: mail.Address{Local: "alice", Domain: "partner.example"}, To: []mail.Address{{Local: "bob", Domain: "example.com"}}},
		Size:     int64(len(content)), Hash: hash, Subject: "x", Prepend: []byte("Received: by gw1\r\n"), Placements: []mail.Placement{to}}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return mid
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

func address(s string) []mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return []mail.Address{a}
}

const letter = "Subject: x\r\n\r\n.dot\r\nbody\r\n"

// A copy arrives byte for byte, without a sender, from the manager itself; the
// message stays as it is, and only an administrator may send one.
func TestSendCopy(t *testing.T) {
	p := newPosting(t, nil)
	mid := p.hold(t, letter)
	before, err := p.quarantine.Show(t.Context(), root, mid)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.quarantine.Copy(t.Context(), root, []mail.MID{mid, mid, 4711}, append(address("carol@law.example"), address("dave@law.example")...))
	if err != nil || out.Count != 1 || len(out.Missed) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	until(t, "the copy", func() bool { return len(p.mailbox.Messages()) == 1 })
	m := p.mailbox.Messages()[0]
	if !strings.HasPrefix(m.From, "FROM:<>") || len(m.To) != 2 || string(m.Content) != "Received: by gw1\r\n"+letter {
		t.Errorf("%s %v %q", m.From, m.To, m.Content)
	}
	after, err := p.quarantine.Show(t.Context(), root, mid)
	if err != nil || after.State != before.State || !after.Quarantines[0].Exit.Equal(before.Quarantines[0].Exit) {
		t.Errorf("%+v %v", after, err)
	}
	until(t, "the end", func() bool { return !p.outbox.isOwn(mid + 1) })
	log := p.log(t)
	for _, want := range []string{fmt.Sprintf("MID %d was generated based on MID %d by send copy", mid+1, mid), fmt.Sprintf("Message done DCID 1 MID %d to RID [0, 1]\n", mid+1), fmt.Sprintf("Message finished MID %d done", mid+1)} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	if err := p.store.Releases().Scan(t.Context(), func(it *queue.Item) error { return errs.New(errs.Internal, "MID %s", it.MID) }); err != nil {
		t.Error("something went the way of a release")
	}
	for _, c := range []struct {
		by   mail.Principal
		to   []mail.Address
		kind errs.Kind
	}{{mail.Principal{Name: "olga", Role: mail.Operator}, address("a@law.example"), errs.Denied}, {root, nil, errs.Invalid}, {root, []mail.Address{{Local: "root"}}, errs.Invalid}} {
		if out, err := p.quarantine.Copy(t.Context(), c.by, []mail.MID{mid}, c.to); !errs.Is(err, c.kind) || out.Count != 0 {
			t.Errorf("%v to %v: %+v %v", c.by.Role, c.to, out, err)
		}
	}
}

// A copy that is refused makes an alert, which is mailed; an alert that is
// refused makes a line, and nothing goes round.
func TestCopyAndAlertRefused(t *testing.T) {
	p := newPosting(t, func(c *config.Config) {
		c.Alerts.Recipients = []config.AlertRecipient{{Address: "ops@law.example"}, {Address: "gone@refuses.example"}}
	})
	if out, err := p.quarantine.Copy(t.Context(), root, []mail.MID{p.hold(t, letter)}, address("x@refuses.example")); err != nil || out.Count != 1 {
		t.Fatal(out, err)
	}
	until(t, "the alert", func() bool { return len(p.mailbox.Messages()) == 1 })
	if m := p.mailbox.Messages()[0]; m.To[0] != "TO:<ops@law.example>" || !strings.Contains(string(m.Content), "the copy MID 2 to") || strings.Contains(string(m.Content), "\x1b") {
		t.Errorf("%v\n%s", m.To, m.Content)
	}
	until(t, "the line", func() bool { return strings.Contains(p.log(t), "Warning: the alert MID ") })
	until(t, "an empty queue", func() bool { g := p.queue.Gauges(); return g.ActiveRecipients == 0 })
	if log := p.log(t); strings.Count(log, "Bounced: ") != 2 || len(p.mailbox.Messages()) != 1 {
		t.Errorf("%d messages, and in the log\n%s", len(p.mailbox.Messages()), log)
	}
}

// A full pool is told by mail.
func TestPoolAlertByMail(t *testing.T) {
	p := newPosting(t, func(c *config.Config) {
		c.QuarantineRules.Pool = "64M"
		c.Alerts.Recipients = []config.AlertRecipient{{Address: "ops@law.example", Classes: "quarantine"}}
	})
	for i := range 5 {
		p.hold(t, fmt.Sprintf("Subject: %d\r\n\r\n", i)+strings.Repeat("0123456789abcd\r\n", 10<<20/16))
	}
	until(t, "the alert", func() bool { return len(p.mailbox.Messages()) == 1 })
	if m := p.mailbox.Messages()[0]; !strings.Contains(string(m.Content), "the quarantines are 78% full") {
		t.Errorf("%s", m.Content)
	}
}

// What was posted is there after the process was killed: the files as they are
// at that moment are opened by another manager, which delivers it.
func TestOutboxOutlivesKill(t *testing.T) {
	p := newPosting(t, nil)
	mid := p.hold(t, letter)
	p.queue.SuspendDelivery(queue.AllHosts)
	if out, err := p.quarantine.Copy(t.Context(), root, []mail.MID{mid}, address("carol@law.example")); err != nil || out.Count != 1 {
		t.Fatal(out, err)
	}
	if _, err := p.postAlert(t.Context(), address("ops@law.example")[0], func(string) ([]byte, error) { return []byte("Subject: alert\r\n\r\n"), nil }); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err := filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(dir, strings.TrimPrefix(path, p.Dir))
		switch {
		case err != nil || d.IsDir():
			return os.MkdirAll(to, 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.mailbox.Messages()) != 0 {
		t.Fatal("it left already")
	}
	m, err := New(appliance.Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := m.queue.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- m.queue.Run(ctx) }()
	until(t, "both", func() bool { return len(p.mailbox.Messages()) == 2 })
	cancel()
	<-done
}

// Whoever works in Outbreak reports what is in it, to the address that an
// administrator has set, and to no other; without one nothing leaves (F47).
func TestReportToVendor(t *testing.T) {
	p := newPosting(t, nil)
	mid := p.place(t, letter, mail.Placement{Quarantine: "Outbreak", Reason: mail.OutbreakReason("R1")})
	other := p.hold(t, letter)
	report := func(by mail.Principal, o quarantine.Opinion, count int, want string) {
		t.Helper()
		out, err := p.quarantine.Report(t.Context(), by, []mail.MID{mid, other}, o)
		if out.Count != count || want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v %v, want %q", out, err, want)
		}
	}
	report(root, quarantine.FalsePositive, 0, "nobody is to hear of it")
	set := func(change func(*config.Config)) {
		t.Helper()
		if err := p.Config.Change(root, "rules", func(c *config.Config) error { change(c); return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Config.Commit(root, "rules"); err != nil {
			t.Fatal(err)
		}
	}
	set(func(c *config.Config) { c.QuarantineRules.ReportFalse = "fp@vendor.example" })
	report(root, quarantine.FalsePositive, 1, "")
	report(root, quarantine.Suspicious, 0, "nobody is to hear of it")
	report(root, "wrong", 0, "false-positive or suspicious")
	until(t, "the report", func() bool { return len(p.mailbox.Messages()) == 1 })
	m := p.mailbox.Messages()[0]
	if len(m.To) != 1 || !strings.Contains(m.To[0], "<fp@vendor.example>") || !strings.HasSuffix(string(m.Content), letter) {
		t.Errorf("%v %q", m.To, m.Content)
	}
	stranger := mail.Principal{Name: "gina", Role: mail.Operator, Via: "ssh"}
	if out, err := p.quarantine.Report(t.Context(), stranger, []mail.MID{mid}, quarantine.FalsePositive); out.Count != 0 {
		t.Errorf("who may not see it: %+v %v", out, err)
	}
	if got, err := p.quarantine.Show(t.Context(), root, mid); err != nil || got.State != "held" {
		t.Errorf("%+v %v", got, err)
	}
	if err := p.Config.Change(root, "rules", func(c *config.Config) error { c.QuarantineRules.ReportFalse = "nobody"; return nil }); err == nil {
		t.Error("an address without a domain got in")
	}
}
