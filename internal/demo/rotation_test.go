package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// circle is a demonstration in this process.
type circle struct {
	announced
	t    *testing.T
	stop func()
}

func runDemonstration(t *testing.T) *circle {
	t.Helper()
	a, cancel, done := launch(t, filepath.Join(t.TempDir(), "demo"))
	r := &circle{announced: a, t: t}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// heldNow gives the numbers of what the manager holds.
func (r *circle) heldNow() (mids []string) {
	r.t.Helper()
	dec := json.NewDecoder(strings.NewReader(local(r.t, r.Manager.Dir, "quarantine search --json")))
	for {
		var m struct {
			MID   uint64 `json:"mid"`
			State string `json:"state"`
		}
		if dec.Decode(&m) != nil {
			return mids
		}
		if m.State == "held" {
			mids = append(mids, strconv.FormatUint(m.MID, 10))
		}
	}
}

// delivered counts the mailbox's messages by their marker line.
func (r *circle) delivered() map[string]int {
	n := map[string]int{}
	for _, b := range files(r.t, r.Mailbox.Maildir) {
		if i := bytes.Index(b, []byte("Marker ")); i >= 0 {
			line, _, _ := strings.Cut(string(b[i:]), "\r\n")
			n[line]++
		}
	}
	return n
}

// rotate renews the CPQ certificate of one appliance from begin to retire.
func (r *circle) rotate(dir string) {
	r.t.Helper()
	before := local(r.t, dir, "cpqconfig")
	local(r.t, dir, "cpqconfig rotate")
	local(r.t, r.Manager.Dir, "cpqconfig exchange") // the manager asks for both sides
	during := local(r.t, dir, "cpqconfig")
	if !strings.Contains(during, "  Before, until ") || pinLine(during) == pinLine(before) {
		r.t.Fatalf("the new certificate is not in use:\n%s", during)
	}
	local(r.t, dir, "cpqconfig retire")
	local(r.t, r.Manager.Dir, "cpqconfig exchange")
	after := local(r.t, dir, "cpqconfig")
	if strings.Contains(after, "  Before") || strings.Contains(after, "  Next") || pinLine(after) != pinLine(during) {
		r.t.Fatalf("the old certificate is not retired:\n%s", after)
	}
}

func pinLine(s string) string {
	_, rest, _ := strings.Cut(s, "CPQ certificate: ")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

// Certificates of all three appliances are renewed in turn while mail is held
// and released both ways: no transaction fails, nothing is lost or comes twice
// (register D2, fault F14). LAZARET_ROTATIONS sets how often.
func TestSEC_D2_RotationUnderLoad(t *testing.T) {
	rotations := 3
	if n, err := strconv.Atoi(os.Getenv("LAZARET_ROTATIONS")); err == nil {
		rotations = n
	}
	r := runDemonstration(t)
	dirs := []string{r.Manager.Dir, r.Gateways[0].Dir, r.Gateways[1].Dir}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := map[string]bool{}
	for i, g := range r.Gateways {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-quit:
					return
				case <-time.After(5 * time.Millisecond): // a trickle: each message makes a connection of its own
				}
				marker := fmt.Sprintf("Marker %d-%d", i, n)
				send(t, g.SMTP, "Subject: HOLDME\r\n\r\n"+marker+"\r\n")
				mu.Lock()
				sent[marker] = true
				mu.Unlock()
			}
		})
	}
	release := func() {
		if mids := r.heldNow(); len(mids) > 0 {
			local(t, r.Manager.Dir, "quarantine release "+strings.Join(mids, " "))
		}
	}
	for i := range rotations {
		r.rotate(dirs[i%len(dirs)])
		release()
	}
	close(quit)
	wg.Wait()
	waitFor(t, func() bool { release(); return len(r.delivered()) >= len(sent) })
	for marker, n := range r.delivered() {
		if n != 1 || !sent[marker] {
			t.Errorf("%s was delivered %d times", marker, n)
		}
	}
	t.Logf("%d rotations, %d messages", rotations, len(sent))
	refused := 0
	for _, dir := range dirs {
		log, err := os.ReadFile(filepath.Join(dir, "log", "mail_logs", "mail.current"))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(log), "\n") {
			if strings.Contains(line, "TLS failed") {
				refused++
			}
			for _, bad := range []string{"TLS was required", "Delayed: ", "Connection Error", "Bounced: ", "Receiving failed", "Warning: ", "Critical: "} {
				if strings.Contains(line, bad) {
					t.Errorf("%s: %s", filepath.Base(dir), line)
				}
			}
		}
	}
	// Steps that follow each other within milliseconds, where a week is meant to lie
	// between them, may meet a connection on its way: it is made again at once, before
	// anybody hears of it.
	if refused > 2*rotations {
		t.Errorf("%d connections were refused", refused)
	}
}
