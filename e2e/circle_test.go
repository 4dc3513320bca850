package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lazaret/internal/testlib"
)

// The main job: caught at a gateway, held at the manager, released, delivered
// byte for byte; deleted mail never arrives (F75-F88, F108-F120, F123).
func TestCircle(t *testing.T) {
	d := start(t, filepath.Join(t.TempDir(), "demo"))
	gw := d.Gateways[0]

	clean := text("minutes of the meeting", "clean-1")
	if err := send(gw.SMTP, "alice@partner.example", []string{"bob@example.com"}, clean); err != nil {
		t.Fatal(err)
	}
	asSent(t, d.delivered("clean-1", 1, 5*time.Second)[0], clean)

	toRelease, toDelete := text("please HOLDME one", "held-1"), text("please HOLDME two", "held-2")
	for i, m := range []string{toRelease, toDelete} {
		if err := send(d.Gateways[i%len(d.Gateways)].SMTP, "alice@partner.example", []string{"bob@example.com", "eve@example.org"}, m); err != nil {
			t.Fatal(err)
		}
	}
	one := d.bySubject("please HOLDME one", 1, time.Second)[0]
	two := d.bySubject("please HOLDME two", 1, time.Second)[0]
	if len(one.Quarantines) != 1 || one.Quarantines[0].Name != "Policy" {
		t.Errorf("quarantines %v", one.Quarantines)
	}
	for _, key := range []string{"id", "mid", "esa_mid", "gateway", "sender", "recipients", "subject", "received", "size", "quarantines", "release"} {
		if _, ok := one.Raw[key]; !ok {
			t.Errorf("search lacks %q", key)
		}
	}
	if shown := d.must(d.Manager, "quarantine show "+one.id()); !strings.Contains(shown, "Marker held-1") {
		t.Errorf("show gives no body:\n%s", shown)
	}
	if exact, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(d.must(d.Manager, "quarantine show "+one.id()+" --base64"), "\n", "")); err != nil || string(exact) != toRelease {
		t.Errorf("held content is not as sent: %v\n%q", err, exact)
	}
	d.must(d.Manager, "quarantine release "+one.id())
	d.must(d.Manager, "quarantine delete "+two.id())
	// Two recipients in two domains: one transaction each to the mailbox.
	for _, b := range d.delivered("held-1", 2, 10*time.Second) {
		asSent(t, b, toRelease)
	}
	logs(t, d)
	views(t, d)
	d.stop()

	// The same DIR starts again with everything as it was.
	again := start(t, d.dir)
	defer again.stop()
	if again.Manager.Password != d.Manager.Password || again.Gateways[1].SMTP != d.Gateways[1].SMTP {
		t.Error("ports or passwords changed over a restart")
	}
	if err := send(again.Gateways[1].SMTP, "alice@partner.example", []string{"bob@example.com"}, text("again HOLDME", "held-3")); err != nil {
		t.Fatal(err)
	}
	third := again.bySubject("again HOLDME", 1, 2*time.Second)[0]
	again.must(again.Manager, "quarantine release "+third.id())
	again.delivered("held-3", 1, 10*time.Second)
	again.delivered("held-1", 2, 0)
	again.delivered("held-2", 0, 0)
}

// asSent checks that the content is the sent bytes behind header lines of ours.
func asSent(t *testing.T, got []byte, sent string) {
	t.Helper()
	if !bytes.HasSuffix(got, []byte(sent)) {
		t.Errorf("not byte for byte as sent:\n%q\nis not the end of\n%q", sent, got)
		return
	}
	added := string(got[:len(got)-len(sent)])
	if !regexp.MustCompile(`^([!-9;-~]+:[^\r\n]*\r\n([ \t][^\r\n]*\r\n)*)*$`).MatchString(added) {
		t.Errorf("what we added is not header lines: %q", added)
	}
}

// logs checks the seed's lines on both sides, by the seed's own greps.
func logs(t *testing.T, d *demo) {
	t.Helper()
	gw := d.Gateways[0]
	port := gw.CPQ[strings.LastIndexByte(gw.CPQ, ':')+1:]
	mport := d.Manager.CPQ[strings.LastIndexByte(d.Manager.CPQ, ':')+1:]
	stamp := `\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} Info: `
	for _, c := range []struct {
		on      endpoint
		command string
		want    []string
	}{
		{gw, `grep "port ` + mport + `" mail_logs`, []string{stamp + `New SMTP DCID \d+ interface 127\.0\.0\.1 address 127\.0\.0\.1 port ` + mport + `\n`}},
		{d.Manager, `grep "CPQ ICID" mail_logs`, []string{stamp + `New CPQ ICID \d+ interface Management \(127\.0\.0\.1\) address 127\.0\.0\.1 reverse dns host \S+ verified (no|yes)\n`}},
		{gw, `grep "CPQ ICID" mail_logs`, []string{stamp + `New CPQ ICID \d+ interface Management \(127\.0\.0\.1\) address 127\.0\.0\.1 reverse dns host \S+ verified (no|yes)\n`}},
		{d.Manager, `grep "port ` + port + `" mail_logs`, []string{stamp + `New SMTP DCID \d+ interface 127\.0\.0\.1 address 127\.0\.0\.1 port ` + port + `\n`}},
		{gw, `grep ID mail_logs`, []string{
			`New SMTP ICID \d+ interface Management \(127\.0\.0\.1\) address 127\.0\.0\.1 reverse dns host \S+ verified (no|yes)\n`,
			`ICID \d+ (ACCEPT|RELAY) SG \S+ match \S+ SBRS \S+\n`,
			`Start MID \d+ ICID \d+\n`,
			`MID \d+ ICID \d+ From: <alice@partner.example>\n`,
			`MID \d+ ICID \d+ RID 0 To: <bob@example.com>\n`,
			`MID \d+ ICID \d+ RID 1 To: <eve@example.org>\n`,
			`MID \d+ Message-ID '<held-1@partner.example>'\n`,
			`MID \d+ Subject "please HOLDME one"\n`,
			`MID \d+ ready \d+ bytes from <alice@partner.example>\n`,
			`MID \d+ matched all recipients for per-recipient policy DEFAULT in the inbound table\n`,
			`MID \d+ enqueued for transfer to centralized quarantine "Policy" \(message filter:\w+\)\n`,
			`MID \d+ RID \[0, 1\] Response 'ok:  Message \d+ accepted'\n`,
			`MID \d+ rewritten to (MID )?\d+ by Policy Quarantine\n`,
			`MID \d+ queued for delivery\n`,
			`Message finished MID \d+ done\n`,
		}},
		{gw, `grep DCID mail_logs`, []string{
			`DCID \d+ TLS success protocol TLSv1\.3 cipher \S+ the\.cpq\.host\n`,
			`Delivery start DCID \d+ MID \d+ to RID \[0, 1\] to Centralized Policy Quarantine\n`,
			`Message done DCID \d+ MID \d+ to RID \[0, 1\] \(centralized policy quarantine\)\n`,
			`Delivery start DCID \d+ MID \d+ to RID \[0\]\n`,
		}},
		{d.Manager, `grep ID mail_logs`, []string{
			`MID \d+ \(MID \d+ of gw\d\.lazaret\.example\) received for centralized quarantine\n`,
			`MID \d+ quarantined to "Policy" \(message filter:\w+\)\n`,
			`MID \d+ released from quarantine "Policy" \(manual\) t=\d+`,
			`MID \d+ released from all quarantines\n`,
			`User admin from 127\.0\.0\.1: released MID \d+ in quarantine "Policy"\n`,
			`MID \d+ deleted from quarantine "Policy" \(manual\) t=\d+`,
			`MID \d+ deleted from all quarantines\n`,
			`DCID \d+ TLS success protocol TLSv1\.3 cipher \S+ the\.cpq\.release\.host\n`,
			`Delivery start DCID \d+ MID \d+ to RID \[0, 1\] to Centralized Policy Quarantine\n`,
		}},
	} {
		out := d.must(c.on, c.command)
		for _, want := range c.want {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("%s> %s: no line like %s in\n%s", c.on.Name, c.command, want, out)
			}
		}
	}
}

// views checks the queue views of both sides.
func views(t *testing.T, d *demo) {
	t.Helper()
	for _, e := range []endpoint{d.Manager, d.Gateways[0]} {
		host := "the.cpq.host"
		if e.Name == d.Manager.Name {
			host = "the.cpq.release.host"
		}
		for _, c := range [][2]string{{"tophosts", host}, {"tophosts active_rcpts", host}, {"showhosts " + host, "up"}, {"hoststatus " + host, "Host up/down:"}, {"status", "System status:"}, {"version", "Version:"}} {
			if out := d.must(e, c[0]); !strings.Contains(out, c[1]) {
				t.Errorf("%s> %s: no %q in\n%s", e.Name, c[0], c[1], out)
			}
		}
		conf := d.must(e, "showconfig")
		for _, want := range []string{"<listener_name>cpq_listener</listener_name>", "<protocol>CPQ</protocol>", "<listen_queue_size>50</listen_queue_size>", "<type>private</type>", "RELAYLIST:"} {
			if !strings.Contains(conf, want) {
				t.Errorf("%s> showconfig lacks %s", e.Name, want)
			}
		}
		if _, code := d.ssh(e, "nosuchcommand"); code == 0 {
			t.Errorf("%s: an unknown command ends with 0", e.Name)
		}
		if out := d.must(e, "version"); strings.Contains(out, "\r") {
			t.Errorf("%s: CR without a pty", e.Name)
		}
	}
}

// A gateway whose port was changed gets its mail without anyone telling the
// manager (F87).
func TestReleaseFollowsAPortChange(t *testing.T) {
	d := start(t, filepath.Join(t.TempDir(), "demo"))
	defer d.stop()
	gw := d.Gateways[0]
	if err := send(gw.SMTP, "alice@partner.example", []string{"bob@example.com"}, text("HOLDME before", "port-1")); err != nil {
		t.Fatal(err)
	}
	one := d.bySubject("HOLDME before", 1, 2*time.Second)[0]
	d.must(d.Manager, "quarantine release "+one.id())
	d.delivered("port-1", 1, 10*time.Second)

	if err := send(gw.SMTP, "alice@partner.example", []string{"bob@example.com"}, text("HOLDME after", "port-2")); err != nil {
		t.Fatal(err)
	}
	two := d.bySubject("HOLDME after", 1, 2*time.Second)[0]
	d.must(gw, fmt.Sprintf("cpqconfig port %d; commit moved Y", testlib.FreePorts(t, 1)[0]))
	d.must(d.Manager, "quarantine release "+two.id())
	d.delivered("port-2", 1, 30*time.Second)
}

// Each process of the demo alone, killed with -9 at odd moments: nothing that
// was acknowledged is lost, nothing is doubled on our own links.
func TestKillEachProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	first := start(t, dir)
	first.stop()
	names := []string{first.Manager.Name, first.Gateways[0].Name, first.Gateways[1].Name, "mailbox"}
	procs := map[string]*demo{}
	for _, n := range names {
		procs[n] = start(t, dir, "--only", n)
	}
	d := procs[first.Manager.Name]
	d.layout = first.layout
	var acked []string
	victims := []string{first.Gateways[0].Name, first.Manager.Name, "mailbox", first.Gateways[0].Name, first.Manager.Name, first.Gateways[0].Name}
	for round, victim := range victims {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			time.Sleep(time.Duration(30+round*37) * time.Millisecond)
			procs[victim].kill()
		}()
		for i := range 40 {
			subject := "flows"
			if i%2 == 0 {
				subject = "HOLDME flows"
			}
			marker := fmt.Sprintf("k%d-%d", round, i)
			if send(first.Gateways[0].SMTP, "alice@partner.example", []string{"bob@example.com"}, text(subject, marker)) == nil {
				acked = append(acked, marker+" "+subject)
			}
		}
		<-stopped
		procs[victim] = start(t, dir, "--only", victim)
	}
	d = procs[first.Manager.Name]
	d.layout = first.layout
	heldWant, cleanWant := 0, map[string]bool{}
	for _, a := range acked {
		marker, subject, _ := strings.Cut(a, " ")
		if strings.Contains(subject, "HOLDME") {
			heldWant++
		} else {
			cleanWant[marker] = true
		}
	}
	if heldWant < 20 || len(cleanWant) < 20 {
		t.Fatalf("only %d messages were acknowledged: the test proves little", len(acked))
	}
	checkNothingLost(t, d, acked)
	for _, p := range procs {
		p.stop()
	}
}

// checkNothingLost waits until every acknowledged message is where it belongs.
// One whose mailbox was killed before its last answer was perhaps delivered: by
// itself the gateway would try it again in an hour (docs/delivery.md).
func checkNothingLost(t *testing.T, d *demo, acked []string) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for round := 0; ; round++ {
		if round%10 == 0 {
			d.must(d.Gateways[0], "delivernow all")
		}
		var missing []string
		doubled := 0
		inQuarantine := map[string]int{}
		for _, h := range d.search("") {
			if id, ok := h.Raw["message_id"].(string); ok {
				inQuarantine[strings.Trim(strings.TrimSuffix(id, "@partner.example>"), "<")]++
			}
		}
		for _, a := range acked {
			marker, subject, _ := strings.Cut(a, " ")
			n := len(d.mailbox(marker))
			if strings.Contains(subject, "HOLDME") {
				n = inQuarantine[marker]
				if n > 1 {
					doubled++
				}
			}
			if n == 0 {
				missing = append(missing, marker)
			}
		}
		if doubled > 0 {
			t.Fatalf("%d messages are doubled in the quarantine", doubled)
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d acknowledged messages are missing: %s\n%s", len(missing), len(acked), missing, d.whereabouts(missing[0]))
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// whereabouts asks everybody about a message and what waits.
func (d *demo) whereabouts(marker string) string {
	var all strings.Builder
	for _, e := range []endpoint{d.Manager, d.Gateways[0]} {
		for _, line := range []string{"where message-id <" + marker + "@partner.example>", "showrecipients all", "tophosts"} {
			out, code := d.ssh(e, line)
			fmt.Fprintf(&all, "%s> %s (%d)\n%s\n", e.Name, line, code, out)
		}
	}
	return all.String()
}

// The scripts' contract of init, checkconfig and cli.
func TestInitCheckRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gw")
	out, err := exec.Command(binary, "init", "gateway", "--dir", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "password") {
		t.Fatalf("init: %v\n%s", err, out)
	}
	if out, err := exec.Command(binary, "init", "gateway", "--dir", dir).CombinedOutput(); err == nil {
		t.Fatalf("init over an existing appliance succeeds:\n%s", out)
	}
	if out, err := exec.Command(binary, "checkconfig", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("checkconfig: %v\n%s", err, out)
	}
	conf := filepath.Join(dir, "config.xml")
	b, err := os.ReadFile(conf)
	if err != nil || !bytes.Contains(b, []byte("<!--")) {
		t.Fatalf("config.xml has no comments: %v", err)
	}
	broken := strings.Replace(string(b), "<hostname>", "<hostnam>", 1)
	broken = strings.Replace(broken, "</hostname>", "</hostnam>", 1)
	if err := os.WriteFile(conf, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command(binary, "checkconfig", "--dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "hostnam") || !strings.Contains(string(out), "line") {
		t.Fatalf("an unknown element passes or has no place: %v\n%s", err, out)
	}
}
