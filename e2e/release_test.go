package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The manager is killed again and again while it gives messages back: each is
// released once, neither lost nor doubled (P2, F88).
func TestKillDuringRelease(t *testing.T) {
	const messages = 60
	dir := filepath.Join(t.TempDir(), "demo")
	first := start(t, dir)
	first.stop()
	names := []string{"mailbox", first.Manager.Name, first.Gateways[0].Name, first.Gateways[1].Name}
	procs := map[string]*demo{}
	for _, n := range names {
		procs[n] = start(t, dir, "--only", n)
	}
	for i := range messages {
		if err := send(first.Gateways[i%2].SMTP, "alice@partner.example", []string{"bob@example.com"}, text("HOLDME release", fmt.Sprintf("r-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	d := procs[first.Manager.Name]
	d.layout = first.layout
	var ids []string
	for _, h := range d.bySubject("HOLDME release", messages, 20*time.Second) {
		ids = append(ids, h.id())
	}
	// In three portions, with a kill behind each decision.
	for i := range 3 {
		d.must(d.Manager, "quarantine release "+strings.Join(ids[i*messages/3:(i+1)*messages/3], " "))
		time.Sleep(time.Duration(10+20*i) * time.Millisecond)
		d.kill()
		d = start(t, dir, "--only", first.Manager.Name)
		d.layout = first.layout
		procs[first.Manager.Name] = d
	}
	for i := range messages {
		d.delivered(fmt.Sprintf("r-%d", i), 1, 60*time.Second)
	}
	time.Sleep(time.Second) // a second copy would still be on its way
	for i := range messages {
		d.delivered(fmt.Sprintf("r-%d", i), 1, 0)
	}
	// Each delivery is proven: what the gateways had to say outlived the kills.
	waiting := func() (list []string) {
		for _, h := range d.bySubject("HOLDME release", messages, 0) {
			for _, r := range h.Release {
				if r.State != "accepted" {
					list = append(list, fmt.Sprintf("release of %s is %s: %s", h.id(), r.State, r.Reply))
				}
			}
		}
		return list
	}
	for end := time.Now().Add(patience); len(waiting()) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(strings.Join(waiting(), "\n"))
		}
	}
	for _, p := range procs {
		p.stop()
	}
}
