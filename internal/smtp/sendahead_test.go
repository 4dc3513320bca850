package smtp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// chain gives messages of which each names the next.
func chain(t *testing.T, n int) []*Transaction {
	all := make([]*Transaction, n)
	for i := n - 1; i >= 0; i-- {
		all[i] = &Transaction{From: addr(t, "a@b.example"), To: []mail.Address{addr(t, fmt.Sprintf("to%d@c.example", i))}, Content: strings.NewReader(fmt.Sprintf("Subject: %d\r\n", i))}
		if i+1 < n {
			all[i].Ahead = func() *Transaction { return all[i+1] }
		}
	}
	return all
}

// Messages whose envelopes leave behind the dot of the one before arrive like
// all others, and each has its own replies; also behind one that was refused as
// a whole, or for its recipient.
func TestAheadThroughServer(t *testing.T) {
	b := &box{}
	b.onTo = func(a mail.Address) Reply {
		if a.Local == "to2" {
			return NewReply(550, "5.1.1", "unknown")
		}
		return Reply{}
	}
	c, d := connect(t, newServer(t, func(c *ServerConfig) { c.MaxSize = 100 }), b)
	all := chain(t, 6)
	all[4].Content = strings.NewReader(strings.Repeat("x", 200) + "\r\n")
	for i, tx := range all {
		res, err := c.Send(context.Background(), tx)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		want := map[int]int{2: 550, 4: 552}[i]
		if got := res.Recipient(0); want == 0 && !got.Positive() || want != 0 && got.Code != want {
			t.Errorf("message %d: %s", i, got)
		}
		if i < 5 && i != 2 && c.ahead != all[i+1] { // nothing leaves behind a message without content
			t.Errorf("message %d: the next one did not leave with it", i)
		}
	}
	if want := "Subject: 0\r\n|Subject: 1\r\n|Subject: 3\r\n|Subject: 5\r\n"; strings.Join(b.messages, "|") != want {
		t.Errorf("%q", b.messages)
	}
	if err := c.Quit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if <-d.done; d.end != EndQuit {
		t.Fatal(d.end, d.err)
	}
}

// overheard is a puppet that gives what it heard when the connection is closed; it
// closes by itself behind the last answer when that is "close".
func overheard(t *testing.T, answers ...string) (*Client, func() []string) {
	t.Helper()
	a, b := net.Pipe()
	heard := make(chan []string, 1)
	go func() {
		defer b.Close()
		r := bufio.NewReader(b)
		var said []string
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				heard <- said
				return
			}
			said = append(said, strings.TrimSpace(line))
			if len(said) > len(answers) {
				continue
			}
			answer, end := strings.CutSuffix(answers[len(said)-1], "close")
			io.WriteString(b, answer)
			if end {
				heard <- said
				return
			}
		}
	}()
	client := NewClient(a, ClientConfig{})
	var said []string
	end := func() []string {
		if said == nil {
			a.Close()
			said = <-heard
		}
		return said
	}
	t.Cleanup(func() { end() })
	return client, end
}

// The group on the wire: dot, envelope, DATA in one piece, in this order.
func TestAheadOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name, hello string
		change      func(*Transaction)
		ahead       bool
	}{
		{"pipelining", "250-new\r\n250 PIPELINING\r\n", func(*Transaction) {}, true},
		{"none", "250 old\r\n", func(*Transaction) {}, false},
		{"a block that is none", "250-new\r\n250 PIPELINING\r\n", func(n *Transaction) { n.Before = []Block{{Verb: "X\r\n"}} }, false},
		{"needs what the peer lacks", "250-new\r\n250 PIPELINING\r\n", func(n *Transaction) { n.UTF8 = true }, false},
		{"too many", "250-new\r\n250 PIPELINING\r\n", func(n *Transaction) {
			for len(n.To) < maxGroup-1 {
				n.To = append(n.To, n.To[0])
			}
		}, false},
	} {
		all := chain(t, 2)
		c.change(all[1])
		answers := []string{c.hello, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "", "250 taken\r\n"}
		if c.ahead {
			answers = append(answers, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "", "250 taken too\r\n")
		}
		client, end := overheard(t, answers...)
		ctx := context.Background()
		client.Hello(ctx, "me")
		res, err := client.Send(ctx, all[0])
		if err != nil || res.Recipient(0).String() != "250 taken" {
			t.Errorf("%s: %+v %v", c.name, res, err)
		}
		if (client.ahead != nil) != c.ahead {
			t.Errorf("%s: ahead %v", c.name, client.ahead)
		}
		if !c.ahead {
			continue
		}
		if res, err = client.Send(ctx, all[1]); err != nil || res.Recipient(0).String() != "250 taken too" {
			t.Errorf("%s: %+v %v", c.name, res, err)
		}
		want := "EHLO me|MAIL FROM:<a@b.example>|RCPT TO:<to0@c.example>|DATA|Subject: 0|.|MAIL FROM:<a@b.example>|RCPT TO:<to1@c.example>|DATA|Subject: 1|."
		if got := strings.Join(end(), "|"); got != want {
			t.Errorf("%s: said %s", c.name, got)
		}
	}
}

// Whatever becomes of the connection behind the dot, it is clear what each of the
// two messages had: the first its reply or none, the second nothing.
func TestAheadLost(t *testing.T) {
	for _, c := range []struct {
		name, first string // the peer's last words, and it closes
		known       bool   // the first has its reply
		closing     bool
	}{
		{"without a word", "", false, false},
		{"behind its reply", "250 taken\r\n", true, false},
		{"behind a refusal", "554 no\r\n", true, false},
		{"in the midst of replies", "250 taken\r\n250 o", true, false},
		{"421 for the first", "421 bye\r\n", true, true},
		{"421 for the second", "250 taken\r\n421 bye\r\n", true, true},
	} {
		client, end := overheard(t, "250-new\r\n250 PIPELINING\r\n", "", "", "250 ok\r\n250 ok\r\n354 go\r\n", "", "", "", "", c.first+"close")
		ctx := context.Background()
		client.Hello(ctx, "me")
		all := chain(t, 2)
		res, err := client.Send(ctx, all[0])
		if (err == nil) != c.known || res.Data.IsZero() == c.known || !res.DotSent {
			t.Errorf("%s: first %+v %v", c.name, res, err)
		}
		res, err = client.Send(ctx, all[1])
		if c.closing && (err != nil || !client.Closing()) || !c.closing && err == nil || res.DotSent || res.Recipient(0).Positive() {
			t.Errorf("%s: second %+v %v", c.name, res, err)
		}
		end()
	}
}

// Nothing else may be said while an envelope waits: it would be taken for content.
func TestAheadHoldsTheConnection(t *testing.T) {
	ctx := context.Background()
	for i, f := range []func(*Client) error{
		func(c *Client) error { _, err := c.Send(ctx, message(t)); return err },
		func(c *Client) error { return c.Reset(ctx) },
		func(c *Client) error { _, err := c.Extend(ctx, Block{Verb: "XTEST"}); return err },
	} {
		client, end := overheard(t, "250-new\r\n250 PIPELINING\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "", "250 taken\r\n")
		client.Hello(ctx, "me")
		if _, err := client.Send(ctx, chain(t, 2)[0]); err != nil {
			t.Fatal(err)
		}
		if err := f(client); !errs.Is(err, errs.Internal) {
			t.Errorf("%d: %v", i, err)
		}
		if err := client.Quit(ctx); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if said := end(); said[len(said)-1] != "DATA" {
			t.Errorf("%d: %q", i, said)
		}
	}
}
