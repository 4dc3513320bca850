package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lazaret/internal/certs"
	"lazaret/internal/dns"
	"lazaret/internal/gateway"
	"lazaret/internal/manager"
)

// Both CPQ certificates run out while mail is queued for the manager. It waits:
// it is not bounced, does not go in clear, and log and status say why. When the
// sides have told each other their new certificates everything arrives, once
// (register D2, fault F14). LAZARET_EXPIRED_MESSAGES sets how much.
func TestSEC_D2_Expired(t *testing.T) {
	messages := 100
	if n, err := strconv.Atoi(os.Getenv("LAZARET_EXPIRED_MESSAGES")); err == nil {
		messages = n
	}
	a := made(t)
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	m, err := manager.New(manager.Options{Dir: a.Manager.Dir, Clock: clock, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Options{Dir: a.Gateways[0].Dir, Clock: clock, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(errors.Join(err, m.Close()))
	}
	defer func() {
		if err := errors.Join(g.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	}()
	if err := errors.Join(m.Start(t.Context()), g.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	local(t, a.Manager.Dir, "suspendlistener all 0")
	for i := range messages {
		send(t, a.Gateways[0].SMTP, fmt.Sprintf("Subject: HOLDME\r\n\r\nMarker expired-%d\r\n", i))
	}
	log := func() string {
		text := ""
		names, err := filepath.Glob(filepath.Join(a.Gateways[0].Dir, "log", "mail_logs", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if st, err := os.Lstat(n); err != nil || !st.Mode().IsRegular() {
				continue
			}
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			text += string(b)
		}
		return text
	}
	ahead.Store(int64(certs.Lifetime + 24*time.Hour))
	local(t, a.Manager.Dir, "resumelistener all")
	local(t, a.Gateways[0].Dir, "delivernow the.cpq.host")
	waitFor(t, func() bool {
		return strings.Contains(log(), "TLS failed: verify error: certificate of server: expired on ")
	})
	if out := local(t, a.Gateways[0].Dir, "status"); !strings.Contains(out, "Attention:             CPQ certificate of this appliance expired on ") {
		t.Errorf("status:\n%s", out)
	}
	if out := local(t, a.Gateways[0].Dir, "certconfig"); !strings.Contains(out, "CPQ certificate of this appliance expired on ") {
		t.Errorf("certconfig:\n%s", out)
	}
	if n := held(t, a.Manager.Dir); n != 0 {
		t.Fatalf("%d messages passed with expired certificates", n)
	}
	if bad := log(); strings.Contains(bad, "Bounced: ") || strings.Contains(bad, "MID 1 to RID [0] to Centralized") {
		t.Fatalf("bounced, or in clear:\n%s", bad)
	}
	waiting := regexp.MustCompile(`Active Recipients +([0-9,]+)`).FindStringSubmatch(local(t, a.Gateways[0].Dir, "hoststatus the.cpq.host"))
	if waiting == nil {
		t.Fatal("hoststatus does not say how many wait")
	}
	if n, err := strconv.Atoi(strings.ReplaceAll(waiting[1], ",", "")); err != nil || n < messages { // and the samples
		t.Errorf("%s wait, %v", waiting[1], err)
	}
	local(t, a.Manager.Dir, "cpqconfig exchange") // which is what the manager does every five minutes
	if out := local(t, a.Manager.Dir, "cpqconfig"); !strings.Contains(out, "  Before, until ") {
		t.Errorf("not renewed:\n%s", out)
	}
	local(t, a.Gateways[0].Dir, "delivernow the.cpq.host")
	waitFor(t, func() bool { return held(t, a.Manager.Dir) >= messages })
	time.Sleep(100 * time.Millisecond) // one too many would come now
	if n := held(t, a.Manager.Dir); n != messages {
		t.Errorf("%d messages are held, %d were sent", n, messages)
	}
}

// made makes a demonstration's directory and stops it again.
func made(t *testing.T) announced {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	a, cancel, done := launch(t, dir)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return a
}

// held counts what a manager holds of these messages.
func held(t *testing.T, dir string) (n int) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(local(t, dir, "quarantine search --json")))
	for {
		var m struct {
			Subject string `json:"subject"`
		}
		if dec.Decode(&m) != nil {
			return n
		}
		if m.Subject == "HOLDME" {
			n++
		}
	}
}
