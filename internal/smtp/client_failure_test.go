package smtp

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// puppet is a server that answers each line with the next of its answers, and
// then reads on without a word, or closes after "close".
func puppet(t *testing.T, answers ...string) (*Client, *[]string) {
	t.Helper()
	a, b := net.Pipe()
	said := &[]string{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := bufio.NewReader(b)
		for _, answer := range answers {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			*said = append(*said, strings.TrimSpace(line))
			if answer == "close" {
				b.Close()
				return
			}
			io.WriteString(b, answer)
		}
		io.Copy(io.Discard, r)
	}()
	t.Cleanup(func() { a.Close(); b.Close(); <-done })
	return NewClient(a, ClientConfig{}), said
}

func message(t *testing.T) *Transaction {
	return &Transaction{From: addr(t, "a@b.c"), To: []mail.Address{addr(t, "d@e.f"), addr(t, "g@h.i")}, Content: strings.NewReader("x\r\n")}
}

// A peer that knows no extensions gets HELO, one command at a time, and no parameters.
func TestClientWithOldPeer(t *testing.T) {
	c, said := puppet(t, "502 what\r\n", "250 old\r\n", "250 ok\r\n", "250 ok\r\n", "550 no\r\n", "354 go\r\n", "", "250 kept\r\n")
	ctx := context.Background()
	x, r, err := c.Hello(ctx, "me")
	if err != nil || r.Code != 250 || x.Pipelining {
		t.Fatal(x, r, err)
	}
	tx := message(t)
	tx.Size = 3
	res, err := c.Send(ctx, tx)
	if err != nil || res.Recipient(0).String() != "250 kept" || res.Recipient(1).String() != "550 no" || !res.DotSent {
		t.Fatal(res, err)
	}
	want := "EHLO me|HELO me|MAIL FROM:<a@b.c>|RCPT TO:<d@e.f>|RCPT TO:<g@h.i>|DATA|x|."
	if got := strings.Join(*said, "|"); got != want {
		t.Errorf("said %s\nwant %s", got, want)
	}
}

// 421 in place of a reply stands in all slots that are left.
func TestClientTold421(t *testing.T) {
	c, _ := puppet(t, "250-new\r\n250 PIPELINING\r\n", "250 ok\r\n421 4.3.2 going down\r\n", "", "", "close")
	ctx := context.Background()
	c.Hello(ctx, "me")
	res, err := c.Send(ctx, message(t))
	if err != nil || !c.Closing() || res.DotSent {
		t.Fatal(res, err)
	}
	for i := range 2 {
		if got := res.Recipient(i).String(); got != "421 4.3.2 going down" {
			t.Error(got)
		}
	}
	if err := c.Quit(ctx); err != nil {
		t.Error(err)
	}
}

// A peer that accepts DATA after refusing everybody gets no content, not even none.
func TestClientSendsNothingUnwanted(t *testing.T) {
	c, _ := puppet(t, "250-new\r\n250 PIPELINING\r\n", "250 ok\r\n", "550 no\r\n", "550 no\r\n", "354 go\r\n")
	ctx := context.Background()
	c.Hello(ctx, "me")
	if res, err := c.Send(ctx, message(t)); err == nil || res.DotSent || !errs.Is(err, errs.Invalid) {
		t.Fatal(res, err)
	}
}

// DotSent tells apart what was certainly not taken from what may have been.
func TestClientOutcomeUnknown(t *testing.T) {
	envelope := []string{"250-new\r\n250 PIPELINING\r\n", "250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"}
	for _, c := range []struct {
		after   []string
		dotSent bool
	}{
		{[]string{"close"}, false},    // at the first line of content; the pipe has no buffer
		{[]string{"", "close"}, true}, // at the dot
	} {
		client, _ := puppet(t, append(append([]string{}, envelope...), c.after...)...)
		ctx := context.Background()
		client.Hello(ctx, "me")
		tx := message(t)
		if !c.dotSent {
			tx.Content = strings.NewReader(strings.Repeat("x\r\n", 20000))
		}
		res, err := client.Send(ctx, tx)
		if err == nil || res.DotSent != c.dotSent || !res.Data.IsZero() {
			t.Errorf("%q: %+v %v", c.after, res, err)
		}
		if _, again := client.Send(ctx, message(t)); again == nil {
			t.Error("the client goes on after a failure")
		}
	}
}

// A peer that takes nothing more: the write has a deadline. And a call ends
// with its context.
func TestClientDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		c := NewClient(a, ClientConfig{})
		defer c.Close()
		began := time.Now()
		go io.WriteString(b, "220 x\r\n")
		c.Greet(context.Background())
		if _, err := c.Send(context.Background(), message(t)); !isTimeout(err) || !errs.Is(err, errs.Temporary) {
			t.Error(err)
		}
		if took := time.Since(began); took < 3*time.Minute || took > 3*time.Minute+3*time.Minute/slack {
			t.Error(took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		c := NewClient(a, ClientConfig{})
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := c.Greet(ctx); !errs.Is(err, errs.Closed) {
			t.Error(err)
		}
	})
}

// The log is told what was not understood, raw.
func TestObserverIsTold(t *testing.T) {
	b := &box{}
	d := serve(t, newServer(t), b)
	d.reach(greeted)
	d.ask("XYZZY plugh", "500")
	d.ask("MAIL FROM:x", "501")
	d.ask("NOOP \xff", "500")
	d.ask("QUIT", "221")
	<-d.done
	if strings.Join(b.unknown, "|") != "XYZZY plugh" || strings.Join(b.syntax, "|") != "MAIL FROM:x|NOOP \xff" {
		t.Errorf("%q %q", b.unknown, b.syntax)
	}
}
