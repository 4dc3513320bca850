package smtp

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// wanted is a Session whose place others may want.
type wanted struct {
	*box
	on atomic.Bool
}

func (w *wanted) Stressed() bool { return w.on.Load() }

// Who fell silent in calm times is reached by the stress that comes later, in
// the midst of a command and in the midst of content; without stress he has
// his five minutes to the second.
func TestSEC_B9_StressReachesTheSilent(t *testing.T) {
	for _, c := range []struct {
		name  string
		data  bool
		at    time.Duration // when stress begins
		until time.Duration // when the connection ends
	}{
		{"calm command", false, time.Hour, 5 * time.Minute},
		{"calm content", true, time.Hour, 5 * time.Minute},
		{"stressed from the start", false, 0, 10 * time.Second},
		{"content stressed from the start", true, 0, 20 * time.Second},
		{"stress in the first wait", false, 4 * time.Second, 10 * time.Second},
		{"stress later", false, 95 * time.Second, 100 * time.Second},
		{"stress later, in content", true, 95 * time.Second, 100 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &wanted{box: &box{}}
				d := serve(t, newServer(t), w)
				d.reach(inRcpt)
				if c.data {
					d.ask("DATA", "354")
					d.say("Subject: x")
				} else {
					d.say("NOO")
				}
				began := time.Now()
				time.AfterFunc(c.at, func() { w.on.Store(true) })
				if c.at == 0 {
					w.on.Store(true)
				}
				d.expect("421 4.4.2")
				d.closed(EndTimeout)
				if took := time.Since(began); took != c.until {
					t.Errorf("ended after %s, not %s", took, c.until)
				}
				time.Sleep(c.at) // let the timer run out
			})
		})
	}
}

// Stress that passes takes nobody's time away, and content that comes at a
// decent rate is never too slow.
func TestSEC_B9_StressSparesTheBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wanted{box: &box{}}
		d := serve(t, newServer(t), w)
		d.reach(greeted)
		d.say("NOO")
		time.Sleep(5 * time.Second)
		w.on.Store(true)
		time.Sleep(4 * time.Second)
		w.on.Store(false)
		time.Sleep(200 * time.Second)
		d.ask("P", "250")
		w.on.Store(true)
		d.ask("MAIL FROM:<a@example.com>", "250")
		d.ask("RCPT TO:<b@example.org>", "250")
		d.ask("DATA", "354")
		for range 100 {
			time.Sleep(5 * time.Second)
			d.say(strings.Repeat(strings.Repeat("x", 98)+"\r\n", 30))
		}
		d.ask(".", "250")
		d.ask("QUIT", "221")
	})
}

// Under stress one error is enough, and nobody is made to wait.
func TestSEC_B9_StressAllowsOneError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wanted{box: &box{}}
		d := serve(t, newServer(t, func(c *ServerConfig) { c.ErrorLimits = ErrorLimits{} }), w)
		d.reach(greeted)
		d.ask("WHAT", "500")
		w.on.Store(true)
		began := time.Now()
		d.say("WHAT\r\n")
		d.expect("500")
		d.expect("421 4.7.0 too many errors")
		d.closed(EndErrors)
		if took := time.Since(began); took != 0 {
			t.Error(took)
		}
	})
}

// The budgets to the letter: from the tenth error on each is answered a second
// later, the twentieth is the last; a hundred commands that move no mail are
// free, each further one is an error. A message taken wipes the slate.
func TestSEC_B10_ErrorBudget(t *testing.T) {
	real := func(c *ServerConfig) { c.ErrorLimits = ErrorLimits{} }
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, newServer(t, real), &box{})
		d.reach(greeted)
		for n := 1; n <= 20; n++ {
			began := time.Now()
			d.ask("WHAT", "500")
			want := time.Duration(0)
			if n >= 10 {
				want = time.Second
			}
			if took := time.Since(began); took != want {
				t.Errorf("error %d was answered after %s", n, took)
			}
		}
		d.expect("421 4.7.0 too many errors")
		d.closed(EndErrors)
	})
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, newServer(t, real), &box{})
		d.reach(greeted)
		n := 0
		for ; n < 100; n++ {
			d.ask("NOOP", "250")
		}
		d.ask("MAIL FROM:<>", "250")
		d.ask("RCPT TO:<a@b.c>", "250")
		d.ask("DATA", "354")
		d.ask(".", "250")
		for n = 1; n <= 120; n++ {
			d.ask([]string{"NOOP", "VRFY x", "HELP", "RSET"}[n%4], "2")
		}
		d.expect("421 4.7.0 too many errors")
		d.closed(EndErrors)
	})
}

// A dictionary of recipients: each refused one is an error, so twenty end it,
// though they come in one pipeline; those that are taken are not counted.
func TestSEC_B10_DictionaryRcpt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{}
		d := serve(t, newServer(t, func(c *ServerConfig) { c.ErrorLimits = ErrorLimits{} }), b)
		d.reach(inMail)
		var all strings.Builder
		for i := range 500 {
			fmt.Fprintf(&all, "RCPT TO:<user%d>\r\n", i) // no domain
		}
		go func() { d.conn.Write([]byte(all.String())) }()
		for range 20 {
			d.expect("501 5.1.3")
		}
		d.expect("421 4.7.0 too many errors")
		d.closed(EndErrors)
		d.conn.Close()
		if len(b.to) != 0 {
			t.Error(b.to)
		}
	})
}

// A thousand recipients and not one more, by default.
func TestSEC_B10_RecipientCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{}
		d := serve(t, newServer(t), b)
		d.reach(inMail)
		for i := range 1200 {
			want := "250 2.1.5"
			if i >= 1000 {
				want = "452 4.5.3 too many recipients"
			}
			d.ask(fmt.Sprintf("RCPT TO:<u%d@b.c>", i), want)
		}
		d.ask("DATA", "354")
		d.ask(".", "250")
		if len(b.to) != 1000 {
			t.Errorf("%d recipients", len(b.to))
		}
		d.ask("QUIT", "221")
	})
}
