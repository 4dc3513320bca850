package fault

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy stands between a gateway and its manager and is the link between them.
type Proxy struct {
	Addr string

	to   string
	ln   net.Listener
	wg   sync.WaitGroup
	mode atomic.Int32

	mu     sync.Mutex
	pairs  map[*pair]bool
	cutAt  int64 // of the next connection: reset behind so many octets; 0: never
	holdAt int64 // of the next connection: it stands still behind so many octets; 0: never
	hit    chan struct{}
	closed bool
	last   int64 // octets of the dialogue that ended last
	longed int64 // octets of the longest dialogue so far, both ways
}

// Mode is how the link is.
type Mode int32

// The modes.
const (
	Up       Mode = iota
	Down          // nobody answers: connections are refused with a reset
	HalfOpen      // connections stay, and nothing passes
	OneWay        // what the client says passes, what the server says does not
)

// NewProxy starts a link to an address.
func NewProxy(to string) (*Proxy, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: ln.Addr().String(), to: to, ln: ln, pairs: map[*pair]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Set changes how the link is. Going down breaks what is open.
func (p *Proxy) Set(m Mode) {
	p.mode.Store(int32(m))
	if m == Down {
		p.breakAll()
	}
}

// CutAt makes the next connection break behind so many octets of both
// directions together.
func (p *Proxy) CutAt(n int64) {
	p.mu.Lock()
	p.cutAt = n
	p.mu.Unlock()
}

// HoldAt lets the next connection stand still behind so many octets of both
// directions together, until breakAll; the channel is closed when it does.
func (p *Proxy) HoldAt(n int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holdAt, p.hit = n, make(chan struct{})
	return p.hit
}

// Longest gives the octets of the longest dialogue so far.
func (p *Proxy) Longest() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.longed
}

// Last gives the octets of the dialogue that ended last.
func (p *Proxy) Last() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// Close ends the link.
func (p *Proxy) Close() {
	_ = p.ln.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.breakAll()
	p.wg.Wait()
}

// breakAll resets all connections.
func (p *Proxy) breakAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.reset()
	}
}

// pair is one connection and its other half.
type pair struct {
	p      *Proxy
	a, b   net.Conn
	cutAt  int64
	holdAt int64
	hit    chan struct{}
	passed atomic.Int64
	once   sync.Once
	held   sync.Once
	gone   chan struct{} // closed by reset
}

// reset ends both halves with RST.
func (c *pair) reset() {
	c.once.Do(func() {
		close(c.gone)
		for _, conn := range []net.Conn{c.a, c.b} {
			if t, ok := conn.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			_ = conn.Close()
		}
	})
}

func (p *Proxy) accept() {
	for {
		a, err := p.ln.Accept()
		if err != nil {
			return
		}
		if Mode(p.mode.Load()) == Down {
			if t, ok := a.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			_ = a.Close()
			continue
		}
		p.wg.Go(func() { p.serve(a) })
	}
}

func (p *Proxy) serve(a net.Conn) {
	b, err := net.Dial("tcp", p.to)
	if err != nil {
		_ = a.Close()
		return
	}
	c := &pair{p: p, a: a, b: b, gone: make(chan struct{})}
	p.mu.Lock()
	c.cutAt, p.cutAt = p.cutAt, 0
	c.holdAt, p.holdAt, c.hit = p.holdAt, 0, p.hit
	if p.closed {
		p.mu.Unlock()
		c.reset()
		return
	}
	p.pairs[c] = true
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.pass(b, a, false)
	}()
	c.pass(a, b, true)
	<-done
	c.reset()
	p.mu.Lock()
	delete(p.pairs, c)
	p.last = c.passed.Load()
	p.longed = max(p.longed, c.passed.Load())
	p.mu.Unlock()
}

// pass copies one direction; back says that it is the server's.
func (c *pair) pass(dst, src net.Conn, back bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		for m := Mode(c.p.mode.Load()); n > 0 && (m == HalfOpen || m == OneWay && back); m = Mode(c.p.mode.Load()) {
			time.Sleep(5 * time.Millisecond) // the octets wait, as they would in a retransmission
			if c.isClosed() {
				return
			}
		}
		if n > 0 {
			if !c.write(dst, buf[:n]) {
				return
			}
		}
		if err != nil {
			if err == io.EOF {
				if t, ok := dst.(*net.TCPConn); ok {
					_ = t.CloseWrite()
				}
				return
			}
			c.reset()
			return
		}
	}
}

func (c *pair) isClosed() bool {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.p.closed
}

// write passes octets on, up to the one behind which the connection breaks.
func (c *pair) write(dst net.Conn, b []byte) bool {
	if c.holdAt > 0 {
		left := c.holdAt - c.passed.Add(int64(len(b))) + int64(len(b))
		if left <= int64(len(b)) {
			_, _ = dst.Write(b[:max(left, 0)])
			c.held.Do(func() { close(c.hit) })
			<-c.gone
			return false
		}
	} else if c.cutAt > 0 {
		left := c.cutAt - c.passed.Add(int64(len(b))) + int64(len(b))
		if left <= int64(len(b)) {
			_, _ = dst.Write(b[:max(left, 0)])
			time.Sleep(time.Millisecond) // so that they are read before the reset
			c.reset()
			return false
		}
	} else {
		c.passed.Add(int64(len(b)))
	}
	_, err := dst.Write(b)
	return err == nil
}
