package listener

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/testlib/proof"
)

// outcome is what a client knows of one message of his.
type outcome uint8

const (
	notSent outcome = iota // the content was not asked for, or not sent to its end
	acked                  // 250
	doubt                  // the end was sent and no answer came: it may have been taken
	refused                // an answer that is neither 250 nor 421
)

// deliver sends one message whose body is its name. Whatever ends the
// connection before the dot is allowed; the last reply is given for a refusal.
func deliver(addr, name string) (outcome, string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return notSent, ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	read := func() string {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return ""
			}
			if len(line) > 3 && line[3] == ' ' {
				return line
			}
		}
	}
	if !strings.HasPrefix(read(), "220") {
		return notSent, ""
	}
	for _, step := range [][2]string{{"EHLO c.example", "250"}, {"MAIL FROM:<a@b.example>", "250"}, {"RCPT TO:<x@example.com>", "250"}, {"DATA", "354"}} {
		fmt.Fprintf(c, "%s\r\n", step[0])
		if got := read(); got == "" || strings.HasPrefix(got, "421") {
			return notSent, ""
		} else if !strings.HasPrefix(got, step[1]) {
			return refused, step[0] + ": " + got
		}
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", name); err != nil {
		return notSent, ""
	}
	if _, err := fmt.Fprint(c, ".\r\n"); err != nil {
		return doubt, ""
	}
	switch got := read(); {
	case strings.HasPrefix(got, "250"):
		return acked, ""
	case got == "", strings.HasPrefix(got, "421"):
		return doubt, ""
	default:
		return refused, "dot: " + got
	}
}

// Fault F22 at this room: a hundred clients deliver while the listener is
// suspended, resumed, given new rules, opened anew, taken away and put back. A
// message in hand is finished or ended with 421 before any 250: each that was
// acknowledged is in the sink once, and nothing is there that no client sent to
// its end. LAZARET_RELOAD_ROUNDS=n makes it n rounds, 20 without.
func TestF22SuspendResumeReloadUnderLoad(t *testing.T) {
	rounds := number(t, "LAZARET_RELOAD_ROUNDS", 20)
	s := settings("Incoming", acceptAll)
	s.Backlog = 512
	r := newRig(t, s)
	s.Addr = r.Addr("Incoming") // to be opened again at the same port
	if err := r.Replace([]Settings{s}); err != nil {
		t.Fatal(err)
	}
	var (
		stop     atomic.Bool
		progress atomic.Int64
		clients  sync.WaitGroup
		mu       sync.Mutex
		known    = map[string]outcome{}
	)
	for n := range 100 {
		clients.Go(func() {
			for i := 0; !stop.Load(); i++ {
				name := fmt.Sprintf("message %d of client %d", i, n)
				got, why := deliver(s.Addr.String(), name)
				if got == refused {
					t.Errorf("%s: %s", name, why)
				}
				if got == acked {
					progress.Add(1)
				}
				mu.Lock()
				known[name] = got
				mu.Unlock()
			}
		})
	}
	disturb(t, r, s, rounds, &progress)
	stop.Store(true)
	clients.Wait()
	r.stop()
	count := map[string]int{}
	for _, m := range r.sink.messages() {
		count[strings.TrimSuffix(m.body, "\r\n")]++
	}
	var tally [4]int
	twice := 0 // in doubt, and taken: the client will send it again
	for name, o := range known {
		tally[o]++
		if o == doubt {
			twice += count[name]
		}
		if o == acked && count[name] != 1 || o == doubt && count[name] > 1 || o != acked && o != doubt && count[name] != 0 {
			t.Errorf("%s: outcome %d, %d times in the sink", name, o, count[name])
		}
		delete(count, name)
	}
	if len(count) > 0 {
		t.Errorf("nobody sent %v", count)
	}
	t.Logf("%d acknowledged, %d in doubt (%d of them taken), %d not sent", tally[acked], tally[doubt], twice, tally[notSent])
	defer proof.Line(t, "F22-listener", rounds)
	if tally[acked] < 100 || tally[notSent] == 0 {
		t.Error("the load was not what it should be: nothing is shown")
	}
}

// disturb changes what can be changed of a running listener, each time when
// mail has gone through since the last.
func disturb(t *testing.T, r *rig, s Settings, rounds int, progress *atomic.Int64) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	replace := func(all ...Settings) { check(r.Replace(all)) }
	for i := range rounds {
		seen := progress.Load()
		waitFor(t, func() bool { return progress.Load() >= seen+20 })
		switch i % 5 {
		case 0: // at once
			_, err := r.Suspend(0)
			check(err)
			_, err = r.Resume()
			check(err)
		case 1: // with time to come to an end
			_, err := r.Suspend(5 * time.Millisecond)
			check(err)
			waitFor(t, func() bool { return r.Clients() == 0 })
			_, err = r.Resume()
			check(err)
		case 2: // new rules
			s.HAT = access.DefaultHAT(access.Public)
			replace(s)
		case 3: // a new socket, and little patience with what is in hand
			s.Backlog++
			s.Timeouts.Close = time.Duration(i) * time.Millisecond
			replace(s)
		case 4: // gone, and back
			replace()
			replace(s)
		}
	}
}
