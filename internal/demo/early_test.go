package demo

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// filler has ten mebibytes: seven of them do not fit into the smallest pool.
var filler = "Subject: HOLDME filler\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 10<<20/72)

// A full pool lets the oldest message go home early: tagged, marked and without
// its attachment in the mailbox, the way from a setting at the manager to what
// the gateway does.
func TestEarlyRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	a, cancel, done := launch(t, dir)
	local(t, a.Manager.Dir, `quarantineconfig edit Policy action release early_subject "[released early]" early_header "X-Early: True" early_strip yes; quarantineconfig rules pool_size 64M; commit`)
	send(t, a.Gateways[0].SMTP, "Subject: HOLDME first\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nEVIL\r\n--b--\r\n")
	waitHeld(t, a.Manager.Dir, "HOLDME first")
	for range 7 {
		send(t, a.Gateways[0].SMTP, filler)
	}
	waitFor(t, func() bool {
		for _, b := range files(t, a.Mailbox.Maildir) {
			if bytes.Contains(b, []byte("Subject: [released early] HOLDME first\r\n")) {
				if bytes.Contains(b, []byte("EVIL")) || !bytes.Contains(b, []byte("X-Early: True\r\n")) || !bytes.Contains(b, []byte(`"a.pdf" (application/pdf) was removed`)) {
					t.Errorf("%s", b)
				}
				return true
			}
		}
		return false
	})
	fullPoolWaits(t, a)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// fullPoolWaits: when the pool is full of what may make no room, mail waits at
// the gateway, and comes when there is room: nothing is lost, nobody gets a
// bounce (F17). The pool is nearly full already.
func fullPoolWaits(t *testing.T, a announced) {
	local(t, a.Manager.Dir, "quarantineconfig edit Policy exempt yes; quarantineconfig rules pool_size 64M delete_rest 0; commit")
	send(t, a.Gateways[0].SMTP, filler)
	waitFor(t, func() bool {
		return strings.Contains(local(t, a.Manager.Dir, `grep "mail waits at the gateways" mail_logs`), "nothing in them may make room")
	})
	send(t, a.Gateways[0].SMTP, "Subject: HOLDME late\r\n\r\nbody\r\n")
	waitFor(t, func() bool {
		return strings.Contains(local(t, a.Gateways[0].Dir, `grep "Delayed: " mail_logs`), "the quarantines are full, and nothing in them may make room")
	})
	if got := local(t, a.Manager.Dir, "quarantine search subject late"); strings.Contains(got, "HOLDME late") {
		t.Errorf("it came in:\n%s", got)
	}
	local(t, a.Manager.Dir, "quarantine delete --all subject filler")
	waitFor(t, func() bool {
		local(t, a.Gateways[0].Dir, "delivernow the.cpq.host")
		return strings.Contains(local(t, a.Manager.Dir, "quarantine search subject late"), "HOLDME late")
	})
	if got := local(t, a.Gateways[0].Dir, `grep "Bounced: " mail_logs`); strings.Contains(got, "Bounced: DCID") {
		t.Error(got)
	}
}
