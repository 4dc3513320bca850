package demo

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/testlib"
)

// What a manager holds by outbreak rules is judged again by its gateway on each
// update of the rules (reference 2.6, F45): what no rule holds any more is
// released and arrives, what another one holds has a new reason at both ends,
// what a person deleted or a hold keeps stays so, and the gateway keeps a copy
// just as long as the manager holds the message by a rule.
func TestOutbreakAtManager(t *testing.T) {
	f := testlib.NewFeed(t)
	dir := filepath.Join(t.TempDir(), "demo")
	a, cancel, done := launch(t, dir)
	gw, sma := a.Gateways[0], a.Manager.Dir
	f.Publish(`R1 4 virus "body":["one-click"]`, `R2 3 phish "body":["two-parcels"]`, `R3 3 scam "body":["a-prince"]`)
	local(t, gw.Dir, fmt.Sprintf(`outbreakconfig source=%s feed=%s key=%s ca_file=%s; commit; outbreakupdate`, f.URL, f.Name, f.Key, f.CAFile))
	mids := map[string]uint64{}
	for _, name := range []string{"one-click", "two-parcels", "a-prince", "a-prince again", "one-click kept"} {
		send(t, gw.SMTP, "Subject: "+name+"\r\n\r\n"+name+"\r\n")
		mids[name] = waitHeld(t, sma, name)
	}
	copies := func() string { return local(t, gw.Dir, "outbreakstatus") }
	// The manager may hold a message before the gateway has noted that.
	waitFor(t, func() bool { return strings.Contains(copies(), "Copies:     of messages that the manager holds: 5,") })
	show := func(name string) string { return local(t, sma, fmt.Sprint("quarantine show ", mids[name])) }
	arrived := func(name string) (n int) {
		for _, b := range files(t, a.Mailbox.Maildir) {
			if strings.HasSuffix(string(b), "Subject: "+name+"\r\n\r\n"+name+"\r\n") {
				n++
			}
		}
		return n
	}
	local(t, sma, fmt.Sprint("quarantine delete ", mids["a-prince"]))
	local(t, sma, fmt.Sprintf(`quarantine hold %d --why "a case"`, mids["one-click kept"]))
	update := func(rules ...string) {
		t.Helper()
		f.Publish(rules...)
		local(t, gw.Dir, "outbreakupdate")
	}
	update(`R4 4 virus "body":["two-parcels"]`)
	waitFor(t, func() bool { return arrived("one-click") == 1 && arrived("a-prince again") == 1 })
	reason := `quarantine "Outbreak" new reason (VOF rule:R4)`
	waitFor(t, func() bool {
		return strings.Contains(logged(t, sma), fmt.Sprintf("MID %d %s", mids["two-parcels"], reason)) && strings.Contains(logged(t, gw.Dir), reason)
	})
	if text := logged(t, sma); !strings.Contains(text, fmt.Sprintf(`MID %d released from quarantine "Outbreak" (rule update) t=`, mids["one-click"])) {
		t.Error("no line of the release")
	}
	for name, want := range map[string]string{"two-parcels": "VOF rule:R4", "one-click kept": "held", "a-prince": "deleted"} {
		if text := show(name); !strings.Contains(text, want) {
			t.Errorf("%s: no %q in\n%s", name, want, text)
		}
	}
	local(t, sma, fmt.Sprintf("quarantine hold %d --lift", mids["one-click kept"]))
	update() // a feed without rules holds nothing
	waitFor(t, func() bool { return arrived("two-parcels") == 1 && arrived("one-click kept") == 1 })
	if n := arrived("a-prince"); n != 0 {
		t.Errorf("what was deleted arrived %d times", n)
	}
	// What is in the bin can come back yet.
	waitFor(t, func() bool { return strings.Contains(copies(), "Copies:     of messages that the manager holds: 1,") })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
