package smtp

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"lazaret/internal/mail"
)

// sink is a Session that takes everything and keeps nothing.
type sink struct{ box }

func (s *sink) Mail(context.Context, MailCommand) Reply { return NewReply(250, "2.1.0", "ok") }
func (s *sink) Rcpt(context.Context, RcptCommand) Reply { return NewReply(250, "2.1.5", "ok") }
func (s *sink) Data(_ context.Context, r io.Reader) Reply {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return ErrorReply(err)
	}
	return NewReply(250, "2.0.0", "ok:  Message 1 accepted")
}

// One message of 4 KiB after the other over one loopback connection, from our
// client to our server: the cost of the wire alone, both ends.
func BenchmarkLoopback(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); newServer(b).Serve(context.Background(), far, &sink{}) }()
	ctx := context.Background()
	c := NewClient(near, ClientConfig{})
	c.Greet(ctx)
	c.Hello(ctx, "c")
	text := bytes.Repeat(append(bytes.Repeat([]byte("y"), 70), "\r\n"...), 57)
	to := []mail.Address{{Local: "b", Domain: "example.org"}}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		res, err := c.Send(ctx, &Transaction{To: to, Size: int64(len(text)), Content: bytes.NewReader(text)})
		if err != nil || !res.Data.Positive() {
			b.Fatal(res, err)
		}
	}
	c.Quit(ctx)
	<-done
}
