package e2e

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A stranger at the CPQ port gets the banner, and nothing else: no command
// before TLS, no way on without a pinned certificate (F79, F80, P4).
func TestStrangerAtTheCPQPort(t *testing.T) {
	d := start(t, filepath.Join(t.TempDir(), "demo"))
	defer d.stop()
	conn, err := net.Dial("tcp", d.Manager.CPQ)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	expect := func(send, want string) {
		t.Helper()
		if send != "" {
			if _, err := conn.Write([]byte(send + "\r\n")); err != nil {
				t.Fatal(err)
			}
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%q: %v", send, err)
			}
			if len(line) > 3 && line[3] == '-' {
				continue
			}
			if !strings.HasPrefix(line, want) {
				t.Errorf("%q: %q, want %s", send, line, want)
			}
			return
		}
	}
	expect("", "220 ")
	expect("EHLO stranger.example", "250 ")
	expect("NOOP", "250 ")
	expect("MAIL FROM:<a@b>", "530 ")
	expect("XCPQ 3", "530 ")

	out, _ := exec.Command("sh", "-c", "(sleep 1; printf 'EHLO x\\r\\n'; sleep 1) | openssl s_client -quiet -starttls smtp -connect "+d.Manager.CPQ+" 2>&1").CombinedOutput()
	if strings.Contains(string(out), "250-XCPQ") || strings.Contains(string(out), "250 XCPQ") {
		t.Errorf("a client without a certificate is heard:\n%s", out)
	}
	log := d.must(d.Manager, `grep "TLS failed" mail_logs`)
	if !strings.Contains(log, "TLS failed: no certificate from client") {
		t.Errorf("the accepting side does not say why:\n%s", log)
	}
}

// Suspending all listeners closes cpq_listener too and outlives a restart;
// quarantined mail waits at the gateway, says why, and arrives after resume
// (F84, F106).
func TestSuspendedManager(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	d := start(t, dir)
	d.must(d.Manager, "suspendlistener all 0")
	if c, err := net.Dial("tcp", d.Manager.CPQ); err == nil {
		_ = c.Close()
		t.Error("the CPQ port is open after suspendlistener all")
	}
	if out := d.must(d.Manager, "status"); !strings.Contains(out, "Receiving Suspended") {
		t.Errorf("status:\n%s", out)
	}
	d.stop()
	d = start(t, dir)
	defer d.stop()
	if err := send(d.Gateways[0].SMTP, "alice@partner.example", []string{"bob@example.com"}, text("HOLDME waits", "waits-1")); err != nil {
		t.Fatal(err)
	}
	down := regexp.MustCompile(`(?s)the\.cpq\.host.*(down|refused)`)
	eventually(t, func() string { return d.must(d.Gateways[0], "showhosts the.cpq.host") }, down)
	if out := d.must(d.Gateways[0], "tophosts"); !regexp.MustCompile(`\d\* the\.cpq\.host\s+1 `).MatchString(out) {
		t.Errorf("tophosts does not mark the.cpq.host as down with one recipient:\n%s", out)
	}
	if got := d.mailbox("waits-1"); len(got) > 0 {
		t.Error("quarantined mail was delivered")
	}
	d.must(d.Manager, "resumelistener all")
	d.must(d.Gateways[0], "delivernow the.cpq.host")
	d.bySubject("HOLDME waits", 1, 10*time.Second)
}

// Suspended delivery outlives a restart as well, and resume lets it go on.
func TestSuspendedDelivery(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	d := start(t, dir)
	d.must(d.Gateways[0], "suspend 0")
	if out := d.must(d.Gateways[0], "status"); !strings.Contains(out, "Offline") {
		t.Errorf("status after suspend:\n%s", out)
	}
	d.stop()
	d = start(t, dir)
	defer d.stop()
	if out := d.must(d.Gateways[0], "status"); !strings.Contains(out, "Offline") {
		t.Errorf("status after suspend and a restart:\n%s", out)
	}
	if out := d.must(d.Gateways[0], "resume"); !strings.Contains(out, "cpq_listener") {
		t.Errorf("resume does not name cpq_listener:\n%s", out)
	}
	if err := send(d.Gateways[0].SMTP, "alice@partner.example", []string{"bob@example.com"}, text("goes", "goes-1")); err != nil {
		t.Fatal(err)
	}
	d.delivered("goes-1", 1, 10*time.Second)
}

// deleterecipients takes quarantined mail out of the queue by the name of its
// destination (F131, F151).
func TestDeleteRecipients(t *testing.T) {
	d := start(t, filepath.Join(t.TempDir(), "demo"))
	defer d.stop()
	d.must(d.Manager, "suspendlistener all 0")
	if err := send(d.Gateways[0].SMTP, "alice@partner.example", []string{"bob@example.com"}, text("HOLDME deleted", "del-1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return d.must(d.Gateways[0], "showrecipients host the.cpq.host") }, regexp.MustCompile(`HOLDME deleted`))
	d.must(d.Gateways[0], "deleterecipients host the.cpq.host Y")
	if out := d.must(d.Gateways[0], "grep Deleted: mail_logs"); !regexp.MustCompile(`Deleted: MID \d+ to \[0\]\n`).MatchString(out) {
		t.Errorf("no line:\n%s", out)
	}
	d.must(d.Manager, "resumelistener all")
	d.must(d.Gateways[0], "delivernow all")
	time.Sleep(500 * time.Millisecond)
	d.bySubject("HOLDME deleted", 0, 0)
}

// Mail that fails for good is kept, since nobody is told of it (P3).
func TestUndeliveredIsKept(t *testing.T) {
	d := start(t, filepath.Join(t.TempDir(), "demo"))
	gw := d.Gateways[0]
	conf := filepath.Join(gw.Dir, "config.xml")
	d.stop()
	b, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	// A route to ourselves is a loop: it fails for good without any network.
	broken := regexp.MustCompile(`(<domain>example\.org</domain>\s*<host>)[^<]*`).ReplaceAll(b, []byte("${1}["+strings.Replace(gw.SMTP, ":", "]:", 1)))
	if err := os.WriteFile(conf, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	d = start(t, d.dir)
	defer d.stop()
	sent := text("lost?", "kept-1")
	if err := send(gw.SMTP, "alice@partner.example", []string{"bob@example.com", "ines@example.org"}, sent); err != nil {
		t.Fatal(err)
	}
	d.delivered("kept-1", 1, 10*time.Second)
	eventually(t, func() string {
		files, _ := filepath.Glob(filepath.Join(gw.Dir, "undelivered", "*.txt"))
		if len(files) != 1 {
			return ""
		}
		b, _ := os.ReadFile(files[0])
		return string(b)
	}, regexp.MustCompile(`From: <alice@partner\.example>\nTo: <ines@example\.org>\n  \S`))
	files, _ := filepath.Glob(filepath.Join(gw.Dir, "undelivered", "*.eml"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	b, err = os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	asSent(t, b, sent)
}

func eventually(t *testing.T, get func() string, want *regexp.Regexp) {
	t.Helper()
	var got string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if got = get(); want.MatchString(got) {
			return
		}
	}
	t.Fatalf("no %s in\n%s", want, got)
}
