package demo

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/testlib"
)

// Release and re-scan (reference 2.5, F35) with a real clamd and both
// appliances: the verdict that a message was held for lets it pass; mail waits
// while the engine is away; a new verdict holds it once more, under a new
// number, and the next release lets it go. Filters do not run again.
func TestRescanOnRelease(t *testing.T) {
	scanner := testlib.NewClamd(t)
	dir := filepath.Join(t.TempDir(), "demo")
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Run(ctx, Options{Dir: dir, JSON: true, Stdout: in, Stderr: io.Discard}) }()
	var a announced
	if err := json.NewDecoder(out).Decode(&a); err != nil {
		t.Fatalf("%v, %v", err, <-done)
	}
	gw := a.Gateways[0]
	local(t, gw.Dir, `antivirusconfig clamd=`+scanner.Socket+`; commit`)
	arrived := func(end string) func() bool {
		return func() bool {
			n := 0
			for _, b := range files(t, a.Mailbox.Maildir) {
				if strings.HasSuffix(string(b), end) {
					n++
				}
			}
			if n > 1 {
				t.Errorf("%d times", n)
			}
			return n == 1
		}
	}
	release := func(mid uint64) { local(t, a.Manager.Dir, "quarantine release "+strconv.FormatUint(mid, 10)) }
	show := func(mid uint64) string {
		return local(t, a.Manager.Dir, "quarantine show "+strconv.FormatUint(mid, 10))
	}
	count := func(line string) int { return strings.Count(logged(t, gw.Dir), line) }

	virus := "Subject: known\r\n\r\n" + testlib.EICAR() + "\r\n"
	send(t, gw.SMTP, virus)
	mid := waitHeld(t, a.Manager.Dir, "known")
	release(mid)
	waitFor(t, arrived(virus))
	waitFor(t, func() bool { return count("antivirus positive 'Lazaret.Eicar.Part.UNOFFICIAL'") == 2 })
	waitFor(t, func() bool {
		return strings.Contains(show(mid), "(rescanned: infected Lazaret.Eicar.Part.UNOFFICIAL, as before)")
	})

	worm := "Subject: HOLDME worm\r\n\r\nlazaret-worm-of-the-test\r\n"
	send(t, gw.SMTP, worm)
	first := waitHeld(t, a.Manager.Dir, "HOLDME worm")
	scanner.Stop()
	scanner.Know(t, "Worm", "lazaret-worm-of-the-test")
	release(first)
	waitFor(t, func() bool { return strings.Contains(logged(t, gw.Dir), "unscanned: ") })
	if arrived(worm)() {
		t.Fatal("delivered unscanned")
	}
	scanner.Start(t, "clamd")
	second := first
	waitFor(t, func() bool {
		second = waitHeld(t, a.Manager.Dir, "HOLDME worm")
		return second != first
	})
	waitFor(t, func() bool {
		return strings.Contains(show(first), "(rescanned: infected Worm.Part.UNOFFICIAL, held again in Virus)")
	})
	if text := show(second); !strings.Contains(text, "antivirus:infected Worm.Part.UNOFFICIAL") || strings.Contains(text, "hold_me") || arrived(worm)() {
		t.Errorf("held again:\n%s", text)
	}
	release(second)
	waitFor(t, arrived(worm))
	waitFor(t, func() bool { return count("antivirus positive 'Worm.Part.UNOFFICIAL'") == 2 })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
