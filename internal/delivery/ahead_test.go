package delivery

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// early is a mail server that notices when commands come behind a final dot
// before it has answered. It answers MAIL of each connection and each early
// envelope as it is told.
type early struct {
	l    net.Listener
	hold chan struct{} // closed: the first MAIL is answered
	then string        // what is said to an early envelope: "" all is well, "cut" nothing, else a reply to MAIL

	mu    sync.Mutex
	came  []string // connection, subject
	ahead int
	conns int
}

func newEarly(t *testing.T, then string) *early {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &early{l: l, hold: make(chan struct{}), then: then}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns++
			n := e.conns
			e.mu.Unlock()
			wg.Go(func() { e.serve(c, n) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return e
}

func (e *early) serve(c net.Conn, n int) {
	defer c.Close()
	r := bufio.NewReader(c)
	say := func(s string) { io.WriteString(c, s+"\r\n") }
	say("220 here")
	isEarly := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
		case "EHLO":
			say("250-here\r\n250 PIPELINING")
		case "MAIL":
			<-e.hold
			if isEarly && e.then != "" {
				say(e.then)
				return
			}
			say("250 ok")
		case "DATA":
			say("354 go")
			subject := ""
			for {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				subject += strings.TrimSpace(line)
			}
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, err := r.Peek(1)
			c.SetReadDeadline(time.Time{})
			isEarly = err == nil
			e.mu.Lock()
			if isEarly {
				e.ahead++
			}
			e.mu.Unlock()
			if isEarly && e.then == "cut" {
				return
			}
			e.mu.Lock()
			e.came = append(e.came, fmt.Sprint(n, " ", subject))
			e.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// aheadWorld has three messages of which the second and third wait while the
// first is on its way, and gives them settled.
func aheadWorld(t *testing.T, e *early) (*world, []*queue.Item) {
	w := newWorld(t)
	w.opt.Timeouts.Command, w.opt.Timeouts.DataDone = time.Minute, time.Minute
	w.routes("ALL [127.0.0.1]:%d", e.l.Addr().(*net.TCPAddr).Port)
	w.set = func(queue.Dest) queue.Settings {
		return queue.Settings{FirstRetry: time.Hour, LongestWait: time.Hour, Concurrency: 1, Idle: time.Second}
	}
	w.start()
	var mids []mail.MID
	for i := range 3 {
		mids = append(mids, w.add(fmt.Sprintf("Subject: %d\r\n", i), nil, "b@example.com"))
	}
	deadline := time.After(time.Minute)
	for w.q.WorkCount() > 0 || w.q.Gauges().ConnectionsOut == 0 {
		select {
		case <-tick():
		case <-deadline:
			t.Fatal("the messages are not scheduled")
		}
	}
	close(e.hold)
	var all []*queue.Item
	for _, mid := range mids {
		all = append(all, w.settled(mid))
	}
	return w, all
}

func (e *early) saw() (came []string, ahead int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.came, e.ahead
}

// What waits goes with the dot of the message before, and all arrives once.
func TestAhead(t *testing.T) {
	e := newEarly(t, "")
	w, all := aheadWorld(t, e)
	for _, it := range all {
		if s := states(it); s != "delivered" {
			t.Errorf("MID %d: %s", it.MID, s)
		}
	}
	came, ahead := e.saw()
	if got := strings.Join(came, ", "); got != "1 Subject: 0, 1 Subject: 1, 1 Subject: 2" || ahead != 2 {
		t.Errorf("came %s, %d early", got, ahead)
	}
	if log := w.log.String(); strings.Count(log, "Delivery start DCID 1") != 3 || strings.Contains(log, "day") {
		t.Errorf("the log:\n%s", log)
	}
}

// A server that does not like it does so once: no mail bounces and none has to
// wait but what may have arrived, and then nothing more is sent ahead.
func TestAheadNotLiked(t *testing.T) {
	for _, c := range []struct{ then, states, came string }{
		{"503 5.5.1 not now", "delivered delivered delivered", "1 Subject: 0, 2 Subject: 1, 2 Subject: 2"},
		{"554 5.5.0 Error: SMTP protocol synchronization", "delivered delivered delivered", "1 Subject: 0, 2 Subject: 1, 2 Subject: 2"},
		{"cut", "deferred delivered delivered", "2 Subject: 1, 2 Subject: 2"},
	} {
		e := newEarly(t, c.then)
		w, all := aheadWorld(t, e)
		var got []string
		for _, it := range all {
			got = append(got, states(it))
			if r := it.Recipients[0]; it.MID > 1 && r.Attempts != 1 {
				t.Errorf("%s: MID %d had %d attempts", c.then, it.MID, r.Attempts)
			}
		}
		came, ahead := e.saw()
		if s := strings.Join(got, " "); s != c.states || strings.Join(came, ", ") != c.came || ahead != 1 {
			t.Errorf("%s: %s, came %q, %d early", c.then, s, came, ahead)
		}
		w.logged("127.0.0.1 " + shyNote)
	}
}
