package listener

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lazaret/internal/testlib/proof"
)

// number gives a size of a test from the environment, for its longer tiers.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is not a number", name, text)
	}
	return n
}

// flood is many connections from as many addresses of loopback as it takes to
// stay below the limit of one.
type flood struct {
	conns []*talk
	ended sync.WaitGroup
	told  atomic.Int64 // that got a 421
}

func newFlood(r *rig, n, perAddress int) *flood {
	f := &flood{}
	for i := range n {
		a := i/perAddress + 2
		f.conns = append(f.conns, r.from(fmt.Sprintf("127.1.%d.%d", a/250, a%250+1), "Incoming"))
	}
	return f
}

// drain reads all of them to their end.
func (f *flood) drain() {
	for _, d := range f.conns {
		f.ended.Go(func() {
			for {
				got := d.reply()
				if strings.HasPrefix(got, "421") {
					f.told.Add(1)
				}
				if strings.HasSuffix(got, "END") {
					return
				}
			}
		})
	}
}

func (f *flood) close() {
	for _, d := range f.conns {
		d.conn.Close()
	}
}

// Slow connections in their thousands, each with a begun command, more than
// four fifths of the table: an honest client is greeted and delivers while all
// of them are still there, and then the whole-command deadline of stress ends
// them all, with 421. LAZARET_FLOOD=n makes it n connections, 1,000 without.
func TestSEC_B9_SlowConnections(t *testing.T) {
	t.Parallel()
	n := number(t, "LAZARET_FLOOD", 1000)
	s := settings("Incoming", acceptAll)
	s.MaxClients, s.Backlog = n+n/10, 4096
	s.Timeouts.Stress = 10 * time.Second // all of them have to be there before the first is ended
	r := newRig(t, s)
	f := newFlood(r, n, 250)
	defer f.close()
	for _, d := range f.conns {
		d.say("", "220")
		if _, err := d.conn.Write([]byte("E")); err != nil {
			t.Fatal(err)
		}
	}
	honest := r.from("127.0.0.1", "Incoming").upTo("DATA")
	there := r.Clients() - 1
	honest.all("honest\r\n.", "250", "QUIT", "221")
	if t.Logf("%d of %d were there when the honest client was at DATA", there, n); there == 0 {
		t.Error("the flood was over before the honest client came: nothing is shown")
	}
	f.drain()
	f.ended.Wait()
	if f.told.Load() < int64(n*9/10) {
		t.Errorf("%d of %d were told 421", f.told.Load(), n)
	}
	waitFor(t, func() bool { return r.Clients() == 0 })
	if m := r.sink.messages(); len(m) != 1 {
		t.Errorf("%d messages", len(m))
	}
	defer proof.Line(t, "SEC_B9-slow-connections", n)
	if l := r.log.lines(); strings.Count(l, "no messages injected within timeout period\n") < n*9/10 {
		t.Errorf("%d lines about idle clients", strings.Count(l, "no messages injected within timeout period\n"))
	}
}

// A full table of connections that say something now and then, so that no
// deadline ends them: a newcomer takes the place of the one that has brought no
// mail for the longest time. Who delivers keeps his place.
func TestSEC_B9_FullTable(t *testing.T) {
	s := settings("Incoming", acceptAll)
	s.MaxClients = 50
	s.Timeouts.Stress = 5 * time.Minute // no deadline ends anybody here
	c := newClock()
	r := newRigWith(t, func(o *Options) { o.Clock = c.Now }, s)
	worker := r.from("127.0.0.1", "Incoming").upTo("RCPT") // came first: the next to go, if it were idle
	f := &flood{}
	defer f.close()
	for i := range 49 { // one after the other: their order is what is tested
		d := r.from(fmt.Sprintf("127.3.0.%d", i+1), "Incoming")
		d.say("", "220")
		f.conns = append(f.conns, d)
	}
	worker.all("DATA", "354")
	r.from("127.0.0.2", "Incoming").all("", "421 4.3.2 too many connections", "", "END") // nobody has been idle for long
	for range 3 {
		c.pass(2 * time.Minute)
		for _, d := range f.conns {
			d.say("NOOP", "250")
		}
	}
	for i := range 5 {
		r.from("127.0.0.2", "Incoming").upTo("DATA").all("honest "+strconv.Itoa(i)+"\r\n.", "250") // and stays
	}
	if n := r.Clients(); n > 50 {
		t.Errorf("%d connections, more than the table has", n)
	}
	for i, d := range f.conns[:5] {
		if got := d.reply(); got != "END" {
			t.Errorf("connection %d of the flood: %q", i, got)
		}
	}
	f.conns[5].say("NOOP", "250")
	worker.all(".", "250", "QUIT", "221")
	r.stop()
	if n := strings.Count(r.log.lines(), ", exceeded allowable connection time\n"); n != 5 {
		t.Errorf("%d lines", n)
	}
}

// A flood of newcomers alone finds no place, and one address not more than its
// share: the table is never larger than its limit.
func TestSEC_B9_Caps(t *testing.T) {
	s := settings("Incoming", "$P\n ACCEPT {max_concurrency = 10}\nALL\n $P\n")
	s.MaxClients, s.Backlog = 60, 4096
	r := newRig(t, s)
	var most atomic.Int64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				most.Store(max(most.Load(), int64(r.Clients())))
				runtime.Gosched()
			}
		}
	})
	greeted, share, full := 0, 0, 0
	var kept []*talk
	for i := range 200 {
		d := r.from(fmt.Sprintf("127.2.0.%d", i/20+1), "Incoming")
		switch got := d.reply(); {
		case strings.HasPrefix(got, "220"):
			greeted++
			kept = append(kept, d)
		case strings.HasPrefix(got, "421 4.7.0 too many connections from your address"):
			share++
		case strings.HasPrefix(got, "421 4.3.2 too many connections"):
			full++
		default:
			t.Errorf("%q", got)
		}
	}
	close(stop)
	watch.Wait()
	if most.Load() > 60 || greeted > 60 || greeted+share+full != 200 || greeted < 50 || share < 50 || full == 0 {
		t.Errorf("at most %d at a time, %d greeted, %d over their share, %d found the table full", most.Load(), greeted, share, full)
	}
	for _, d := range kept {
		d.conn.Close()
	}
}

// A session that waits for a command costs less than 64 KiB.
func TestSEC_B9_MemoryOfIdleSessions(t *testing.T) {
	n := number(t, "LAZARET_FLOOD", 1000)
	s := settings("Incoming", acceptAll)
	s.MaxClients, s.Backlog = 2*n, 4096
	r := newRig(t, s)
	used := func() uint64 {
		runtime.GC()
		runtime.GC() // what the first one only set free for pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := used()
	f := newFlood(r, n, 250)
	defer f.close()
	for _, d := range f.conns {
		d.say("", "220")
		d.say("EHLO client.example", "250")
		d.say("MAIL FROM:<a@b.example>", "250")
	}
	each := (used() - before) / uint64(n) // the clients of this test included
	t.Logf("%d octets a session, both ends", each)
	if each > 64<<10 {
		t.Errorf("%d octets for an idle session", each)
	}
}

// The budget of errors holds through the listener, is counted to the letter
// and ends in the log.
func TestSEC_B10_ErrorsEndTheConnection(t *testing.T) {
	t.Parallel() // it waits in the tar-pit, with whoever else waits
	r := newRig(t, settings("Incoming", acceptAll))
	d := r.dial("Incoming").upTo("MAIL")
	var all strings.Builder
	for i := range 400 {
		fmt.Fprintf(&all, "RCPT TO:<user%d@elsewhere.example>\r\n", i)
	}
	go d.conn.Write([]byte(all.String()))
	for range 20 {
		d.say("", "550 5.1.0")
	}
	d.all("", "421 4.7.0 too many errors", "", "END")
	r.stop()
	l := r.log.lines()
	if n := strings.Count(l, " Rejected by RAT\n"); n != 20 || !strings.Contains(l, "ICID 1 Receiving Failed: Too Many Errors\nICID 1 close\n") {
		t.Errorf("%d refused\n%s", n, l)
	}
}
