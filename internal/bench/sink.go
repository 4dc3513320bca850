package bench

import (
	"bufio"
	"bytes"
	"net"
	"sync"
	"sync/atomic"

	"lazaret/internal/errs"
)

// sinkRequest asks a sink to tell when so many more messages have come.
type sinkRequest struct {
	Expect int `json:"expect"`
}

// sinkAnswer is the end of it.
type sinkAnswer struct {
	Messages int   `json:"messages"`
	Octets   int64 `json:"octets"`
}

// drain is a mail server that takes everything and keeps nothing.
type drain struct {
	messages atomic.Int64
	octets   atomic.Int64
	target   atomic.Int64
	reached  chan struct{} // capacity 1
}

// sink takes mail until it is told to end.
func (p *part) sink(listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return errs.Wrap(errs.Conflict, err, "opening the sink")
	}
	d := &drain{reached: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { d.accept(l) })
	defer wg.Wait()
	defer func() { _ = l.Close() }() // it ends accept
	if err := p.say(ready{Addr: l.Addr().String()}); err != nil {
		return err
	}
	for {
		var r sinkRequest
		if more, err := p.next(&r); !more || err != nil {
			return err
		}
		before, octets := d.messages.Load(), d.octets.Load()
		d.target.Store(before + int64(r.Expect))
		if err := p.say(sinkAnswer{}); err != nil { // ready to count
			return err
		}
		if d.messages.Load() < before+int64(r.Expect) {
			select {
			case <-d.reached:
			case <-p.ctx.Done():
				return nil
			}
		}
		d.clear()
		if err := p.say(sinkAnswer{Messages: int(d.messages.Load() - before), Octets: d.octets.Load() - octets}); err != nil {
			return err
		}
	}
}

func (d *drain) clear() {
	d.target.Store(0)
	select {
	case <-d.reached:
	default:
	}
}

func (d *drain) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go d.serve(c) // it ends with the connection, at the latest with the process
	}
}

// count notes one message.
func (d *drain) count(octets int) {
	d.octets.Add(int64(octets))
	if d.messages.Add(1) == d.target.Load() {
		select {
		case d.reached <- struct{}{}:
		default:
		}
	}
}

// serve is one connection. The peer is ours or Postfix: its commands are
// well-formed. Replies go out together when no more input is there, as RFC
// 2920 section 3.2 wants.
func (d *drain) serve(c net.Conn) {
	defer func() { _ = c.Close() }() // whatever the peer still has to say
	r := bufio.NewReaderSize(c, 16<<10)
	out := []byte("220 sink.example ESMTP\r\n")
	for {
		if r.Buffered() == 0 && len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		line, err := r.ReadSlice('\n')
		if err != nil || len(line) < 4 {
			return
		}
		switch string(bytes.ToUpper(line[:4])) {
		case "EHLO":
			out = append(out, "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n"...)
		case "DATA":
			if _, err := c.Write(append(out, "354 go ahead\r\n"...)); err != nil {
				return
			}
			n, err := readContent(r)
			if err != nil {
				return
			}
			d.count(n)
			out = append(out[:0], "250 2.0.0 taken\r\n"...)
		case "QUIT":
			_, _ = c.Write(append(out, "221 2.0.0 bye\r\n"...)) // the peer may have gone
			return
		default:
			out = append(out, "250 2.0.0 ok\r\n"...)
		}
	}
}

// readContent reads over content up to its final dot.
func readContent(r *bufio.Reader) (n int, err error) {
	start := true
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return n, err
		}
		if start && len(line) == 3 && line[0] == '.' {
			return n, nil
		}
		start = err == nil
		n += len(line)
	}
}
