package smtp

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"lazaret/internal/mail"
)

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// connect joins a client to a server over a pipe, greeted.
func connect(t testing.TB, s *Server, sess Session) (*Client, *dialogue) {
	t.Helper()
	d := serve(t, s, sess)
	c := NewClient(d.conn, ClientConfig{})
	ctx := context.Background()
	if r, err := c.Greet(ctx); err != nil || !r.Positive() {
		t.Fatal(r, err)
	}
	if _, r, err := c.Hello(ctx, "client.example.com"); err != nil || !r.Positive() {
		t.Fatal(r, err)
	}
	return c, d
}

func TestClientSendsThroughServer(t *testing.T) {
	b := &box{}
	s := newServer(t, withTLS(t), func(c *ServerConfig) {
		c.MaxSize = 1000
		c.Extensions = []Extension{{Verb: "XTEST", Keyword: "XTEST 1", NeedTLS: true, MaxBlock: 100, Handle: b.block}}
	})
	c, d := connect(t, s, b)
	ctx := context.Background()
	if !c.ext.StartTLS || !c.ext.Pipelining || c.ext.Size != 1000 {
		t.Fatalf("extensions %+v", c.ext)
	}
	if _, ok := c.ext.Keywords["XTEST"]; ok {
		t.Fatal("XTEST announced before TLS")
	}
	if _, err := c.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Hello(ctx, "client.example.com"); err != nil {
		t.Fatal(err)
	}
	b.onTo = func(a mail.Address) Reply {
		if a.Local == "no" {
			return NewReply(550, "5.1.1", "unknown")
		}
		return Reply{}
	}
	res, err := c.Send(ctx, &Transaction{
		Before: []Block{{Verb: "XTEST", Data: []byte("QUIT\r\n")}},
		From:   addr(t, "a@example.com"), To: []mail.Address{addr(t, "no@example.org"), addr(t, "b@example.org")},
		Params: mail.Params{EightBit: true}, Size: 30, Prepend: []byte("X: y\r\n"), Content: strings.NewReader("Subject: x\r\n\r\n.\r\n..a\r\nlast"),
	})
	if err != nil || !res.DotSent {
		t.Fatal(res, err)
	}
	if got := res.Recipient(0).String(); got != "550 5.1.1 unknown" {
		t.Error(got)
	}
	if got := res.Recipient(1).String(); got != "250 2.0.0 ok:  Message 1 accepted" {
		t.Error(got)
	}
	want := "X: y\r\nSubject: x\r\n\r\n.\r\n..a\r\nlast\r\n"
	if len(b.messages) != 1 || b.messages[0] != want || b.blocks[0] != "QUIT\r\n" {
		t.Fatalf("%q %q", b.messages, b.blocks)
	}
	if !b.from[0].EightBit || b.from[0].Size != 30 {
		t.Errorf("%+v", b.from[0])
	}
	// A message that the peer would refuse for its size is not even offered.
	res, err = c.Send(ctx, &Transaction{To: []mail.Address{addr(t, "b@example.org")}, Size: 1001})
	if err != nil || res.Recipient(0).Status != "5.3.4" {
		t.Fatal(res, err)
	}
	if err := c.Quit(ctx); err != nil {
		t.Fatal(err)
	}
	<-d.done
	if d.end != EndQuit {
		t.Fatal(d.end, d.err)
	}
}

// After a refused envelope the next message goes through, on the same connection.
func TestClientResetsAfterRefusal(t *testing.T) {
	b := &box{}
	refuse := true
	b.onTo = func(mail.Address) Reply {
		if refuse {
			return NewReply(450, "4.2.0", "later")
		}
		return Reply{}
	}
	c, _ := connect(t, newServer(t), b)
	tx := func() *Transaction {
		return &Transaction{To: []mail.Address{addr(t, "b@example.org")}, Content: strings.NewReader("x\r\n")}
	}
	res, err := c.Send(context.Background(), tx())
	if err != nil || res.Recipient(0).Code != 450 || res.DotSent || !res.Data.IsZero() {
		t.Fatal(res, err)
	}
	refuse = false
	if res, err = c.Send(context.Background(), tx()); err != nil || !res.Data.Positive() {
		t.Fatal(res, err)
	}
	if len(b.messages) != 1 {
		t.Fatal(b.messages)
	}
	c.Quit(context.Background())
}

func TestClientRefusesBadContent(t *testing.T) {
	for _, content := range []string{"a\nb\r\n", "a\rb\r\n", "a\x00\r\n", "a\r", "\n", "\r\r\n"} {
		b := &box{}
		c, d := connect(t, newServer(t), b)
		res, err := c.Send(context.Background(), &Transaction{To: []mail.Address{addr(t, "b@example.org")}, Content: strings.NewReader(content)})
		if err == nil || res.DotSent {
			t.Fatalf("%q was sent: %v %v", content, res, err)
		}
		c.Close()
		<-d.done
		if len(b.messages) != 0 {
			t.Fatalf("%q arrived", content)
		}
	}
}

// hostile plays a server that says given lines.
func hostile(t *testing.T, says string) *Client {
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Write([]byte(says))
		b.Close()
	}()
	t.Cleanup(func() { a.Close(); b.Close(); <-done })
	return NewClient(a, ClientConfig{})
}

func TestReplyReader(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, c := range []struct{ says, want string }{
		{"220 mx.example.com ESMTP\r\n", "220 mx.example.com ESMTP"},
		{"220\r\n", "220"},
		{"250-2.0.0 a\r\n250 2.0.0 b\r\n", "250 2.0.0 a b"},
		{"250 5.0.0 a\r\n", "250 5.0.0 a"}, // a status of another class is text
		{"554 5.7.1 a\x1b[2J\x00\x7f\xc3\xbc\r\n", "554 5.7.1 a?[2J????"},
		{"220 " + long + "\r\n", "220 " + long[:maxReplyText]},
		{"220 a\n", "!"},            // bare LF
		{"220 a\rb\r\n", "!"},       // bare CR
		{"22 a\r\n", "!"},           // two digits
		{"220a\r\n", "!"},           // no blank
		{"120 a\r\n", "!"},          // 1xx is not SMTP
		{"650 a\r\n", "!"},          //
		{"220-a\r\n221 b\r\n", "!"}, // codes differ
		{"220 " + strings.Repeat("x", 3000) + "\r\n", "!"},
		{strings.Repeat("220-a\r\n", 101), "!"},
		{"", "!"},
		{"220 a", "!"},
	} {
		r, err := hostile(t, c.says).Greet(context.Background())
		got := r.String()
		if err != nil {
			got = "!"
		}
		if got != c.want {
			t.Errorf("%.60q: %q (%v), want %q", c.says, got, err, c.want)
		}
	}
}

// Plain text behind the reply to STARTTLS must not be read inside TLS.
func TestClientStartTLSInjection(t *testing.T) {
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		b.Read(buf)
		b.Write([]byte("220 go\r\n250 injected\r\n"))
		b.Read(buf)
	}()
	c := NewClient(a, ClientConfig{})
	_, err := c.StartTLS(context.Background(), &tls.Config{InsecureSkipVerify: true})
	if err == nil || !strings.Contains(err.Error(), "plain text") {
		t.Fatal(err)
	}
	if _, _, err := c.Hello(context.Background(), "x"); err == nil {
		t.Fatal("client goes on after injection")
	}
	c.Close()
	<-done
}
