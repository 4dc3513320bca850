package demo

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/adminssh"
	"lazaret/internal/appliance"
	"lazaret/internal/testlib"
)

// Release and re-scan (reference 2.5, F35) with a real clamd and both
// appliances: the verdict that a message was held for lets it pass; mail waits
// while the engine is away; a new verdict holds it once more, under a new
// number, and the next release lets it go. Filters do not run again.
func TestRescanOnRelease(t *testing.T) {
	scanner := testlib.NewClamd(t)
	dir := filepath.Join(t.TempDir(), "demo")
	a, cancel, done := launch(t, dir)
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
		return strings.Contains(show(mid), "; rescanned: infected Lazaret.Eicar.Part.UNOFFICIAL, as before; accepted by ")
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
		return strings.Contains(show(first), "; rescanned: infected Worm.Part.UNOFFICIAL, held again in Virus; not delivered: it is a message of its own again, MID ")
	})
	notDelivered(t, a.Manager.Dir, gw.Dir, first)
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

// notDelivered looks at all that is said of a release that was held again: nobody
// accepted it, and nothing is proven (the proof of a release, issue 4).
func notDelivered(t *testing.T, sma, gw string, mid uint64) {
	t.Helper()
	n := strconv.FormatUint(mid, 10)
	s := waitShown(t, sma, mid, func(s shown) bool { return s.State == "released" })
	r := s.Release[0]
	if r.State != "held" || !strings.HasPrefix(r.Rescanned, "infected Worm") || r.Taken.IsZero() || r.NewMID == 0 {
		t.Errorf("the manager says %+v", s)
	}
	for _, says := range []string{local(t, sma, "quarantine show "+n), local(t, sma, "where mid "+n), local(t, gw, "where mid "+strconv.FormatUint(r.NewMID, 10))} {
		if strings.Contains(says, "accepted by") || strings.Contains(says, "delivered to") || !strings.Contains(says, "held again in Virus") && !strings.Contains(says, "given to quarantine Virus of the manager") {
			t.Errorf("it is not so:\n%s", says)
		}
	}
	waitFor(t, func() bool {
		return strings.Contains(logged(t, sma), "Release of MID "+n+" ended, and not all of it was delivered\n")
	})
	log := logged(t, sma)
	for _, want := range []string{"to RID 0: rescanned at ", "to RID 0: held at "} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	if strings.Contains(log, "Release of MID "+n+" to RID 0: accepted") || strings.Contains(log, "Release of MID "+n+" proven") {
		t.Errorf("the log claims what is not so:\n%s", log)
	}
}

// What the manager holds is scanned again by the gateway that it came from, by
// hand and when the signatures of that are new to the manager: what is clean now
// is released where that is set, and arrives; the rest is held as it was.
func TestRescanHeld(t *testing.T) {
	scanner := testlib.NewClamd(t)
	scanner.Know(t, "Worm", "lazaret-worm-of-the-test")
	scanner.Restart(t)
	dir := filepath.Join(t.TempDir(), "demo")
	a, cancel, done := launch(t, dir)
	gw, sma := a.Gateways[0], a.Manager.Dir
	local(t, gw.Dir, `antivirusconfig clamd=`+scanner.Socket+`; commit`)
	virus, worm := "Subject: virus\r\n\r\n"+testlib.EICAR()+"\r\n", "Subject: worm\r\n\r\n"+strings.Repeat("line\r\n", 100_000)+"lazaret-worm-of-the-test\r\n"
	send(t, gw.SMTP, virus)
	send(t, gw.SMTP, worm)
	first, second := waitHeld(t, sma, "virus"), waitHeld(t, sma, "worm")
	rescan := func(what string) string {
		var b strings.Builder
		if _, err := adminssh.Local(t.Context(), appliance.SocketPath(sma), "quarantine rescan "+what, strings.NewReader(""), &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	show := func(mid uint64) string { return local(t, sma, fmt.Sprint("quarantine show ", mid)) }
	said := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	said(rescan("--all quarantine Virus gateway "+gw.Name), fmt.Sprintf("MID %d: infected Lazaret.Eicar.Part.UNOFFICIAL, as before", first),
		fmt.Sprintf("MID %d: infected Worm.Part.UNOFFICIAL, as before", second), "2 of 2 messages scanned again, 0 released.")
	scanner.Stop()
	said(rescan(fmt.Sprint(first)), "the gateway cannot scan it again now", "0 of 1 messages scanned again")
	scanner.Unknow(t, "Worm")
	scanner.Restart(t)
	said(rescan(fmt.Sprint(second)), fmt.Sprintf("MID %d: clean", second), "1 of 1 messages scanned again, 0 released.")
	arrived := func() (n int) {
		for _, b := range files(t, a.Mailbox.Maildir) {
			if strings.HasSuffix(string(b), worm) || strings.HasSuffix(string(b), virus) {
				n++
			}
		}
		return n
	}
	if n := arrived(); n != 0 {
		t.Fatalf("%d arrived", n)
	}
	local(t, sma, "quarantineconfig edit Virus release_clean yes; commit") // and so the manager looks at once
	waitFor(t, func() bool { return arrived() == 1 && strings.Contains(show(second), "accepted by") })
	said(show(first), "held")
	if n := arrived(); n != 1 {
		t.Errorf("%d arrived", n)
	}
	said(logged(t, sma), fmt.Sprintf(`MID %d released from quarantine "Virus" (found clean)`, second))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
