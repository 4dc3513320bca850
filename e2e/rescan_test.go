package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazaret/internal/testlib"
)

// Gateway and manager are killed while held mail is scanned again, and between
// the finding and the release that it leads to: what was under way is held as it
// was, what was decided arrives, once (P2, P3).
func TestKillDuringRescan(t *testing.T) {
	if os.Getenv("LAZARET_CRASH_ROUNDS") == "" {
		t.Skip("set LAZARET_CRASH_ROUNDS: what was under way waits for its next try, up to some minutes")
	}
	const messages = 6
	s := testlib.NewClamd(t)
	s.Know(t, "Worm", "lazaret-worm-of-the-test")
	s.Restart(t)
	dir := filepath.Join(t.TempDir(), "demo")
	first := start(t, dir)
	first.stop()
	sma, gw := first.Manager, first.Gateways[0]
	procs := map[string]*demo{}
	again := func(name string) *demo {
		if p := procs[name]; p != nil {
			p.kill()
		}
		d := start(t, dir, "--only", name)
		d.layout = first.layout
		procs[name] = d
		return d
	}
	again("mailbox")
	g, d := again(gw.Name), again(sma.Name)
	g.must(gw, "antivirusconfig clamd="+s.Socket+"; commit")
	for i := range messages {
		if err := send(gw.SMTP, "alice@partner.example", []string{"bob@example.com"}, text("worm", fmt.Sprintf("w-%d", i))+"lazaret-worm-of-the-test\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	d.bySubject("worm", messages, patience)
	d.must(sma, "quarantineconfig edit Virus release_clean yes; commit")
	s.Unknow(t, "Worm")

	log := func() string {
		b, err := os.ReadFile(filepath.Join(gw.Dir, "log", "mail_logs", "mail.current"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	rescan := func() string { // the exit status says that not all were scanned
		out, _ := cli(sma.Dir, "quarantine rescan --all subject worm quarantine Virus")
		return out
	}
	// interrupt kills one of them while the engine hangs over held mail.
	interrupt := func(name string) {
		s.Restart(t)
		s.Pause(t)
		there := strings.Count(log(), " ready ")
		said := make(chan string, 1)
		go func() { said <- rescan() }()
		for end := time.Now().Add(patience); strings.Count(log(), " ready ") == there; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("nothing comes to the gateway: %s", <-said)
			}
		}
		p := again(name)
		s.Resume(t)
		if name == sma.Name {
			d = p
		}
		if out := <-said; strings.Contains(out, fmt.Sprintf("%d of %d messages scanned", messages, messages)) && name == sma.Name {
			t.Errorf("killed %s, and it said %s", name, out)
		}
	}
	interrupt(sma.Name)
	for _, h := range d.bySubject("worm", messages, patience) {
		if h.Raw["state"] != "held" {
			t.Errorf("%s is %v", h.id(), h.Raw["state"])
		}
	}
	interrupt(gw.Name) // what waited for it may go on when it is back
	rescan()
	again(gw.Name)
	d = again(sma.Name) // last: it asks at once, not after a pause
	// Nobody looks again but the one that asks: what was found clean is released.
	for end := time.Now().Add(patience); len(d.search("subject worm state held")) > 0; time.Sleep(50 * time.Millisecond) {
		if rescan(); time.Now().After(end) {
			t.Fatalf("not released: %s", rescan())
		}
	}
	for i := range messages {
		d.delivered(fmt.Sprintf("w-%d", i), 1, patience)
	}
	time.Sleep(time.Second) // a second copy would still be on its way
	for i := range messages {
		d.delivered(fmt.Sprintf("w-%d", i), 1, 0)
	}
}
