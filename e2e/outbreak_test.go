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

// Outbreak rules clear what the manager holds while it is away, and both sides
// are killed: what is cleared arrives once, what is not is held, and who is back
// begins where it was (P2, F45).
func TestKillDuringRuleUpdate(t *testing.T) {
	if os.Getenv("LAZARET_CRASH_ROUNDS") == "" {
		t.Skip("set LAZARET_CRASH_ROUNDS: what was under way waits for its next try, up to some minutes")
	}
	f := testlib.NewFeed(t)
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
	f.Publish(`R1 4 virus "body":["cleared"]`, `R2 4 virus "body":["stays"]`)
	g.must(gw, fmt.Sprintf("outbreakconfig source=%s feed=%s key=%s ca_file=%s; commit; outbreakupdate", f.URL, f.Name, f.Key, f.CAFile))
	const messages = 5
	for i := range messages {
		for _, what := range []string{"cleared", "stays"} {
			if err := send(gw.SMTP, "alice@partner.example", []string{"bob@example.com"}, text(what, fmt.Sprintf("%s-%d", what, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.bySubject("cleared", messages, patience)
	d.bySubject("stays", messages, patience)
	procs[sma.Name].kill()
	f.Publish(`R2 4 virus "body":["stays"]`)
	g.must(gw, "outbreakupdate")
	waits := func() {
		t.Helper()
		for end := time.Now().Add(patience); !strings.Contains(g.must(gw, "outbreakstatus"), "verdicts that wait"); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("nothing waits: %s", g.must(gw, "outbreakstatus"))
			}
		}
	}
	waits()
	g = again(gw.Name)
	waits()
	d = again(sma.Name)
	again(gw.Name) // it asks at once, and may have done so already
	for i := range messages {
		d.delivered(fmt.Sprintf("cleared-%d", i), 1, patience)
	}
	d = again(sma.Name)
	g = again(gw.Name)
	d.bySubject("stays", messages, patience)
	for i := range messages {
		d.delivered(fmt.Sprintf("cleared-%d", i), 1, patience)
		d.delivered(fmt.Sprintf("stays-%d", i), 0, 0)
	}
	for end := time.Now().Add(patience); !strings.Contains(g.must(gw, "outbreakstatus"), fmt.Sprintf("Copies:     of messages that the manager holds: %d,", messages)); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s", g.must(gw, "outbreakstatus"))
		}
	}
}
