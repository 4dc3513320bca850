// Package testlib holds what tests of several rooms share: a hostile SMTP
// server and certificates made on the spot. It is no part of the product; no
// room imports it, only tests do.
package testlib

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// End is what a sink does with the connection after it has spoken.
type End uint8

// The ends.
const (
	Stay    End = iota // go on
	Close              // close in good order
	Reset              // RST, so that what was sent before may be lost too
	Silence            // read everything, answer nothing, until the peer goes
)

// Act is what a sink does at one event.
type Act struct {
	Say     string // sent as it stands; empty says nothing
	Forever bool   // Say is repeated until the peer goes
	End     End
}

// Behaviour says what a sink does at each event: "connect", a verb in upper
// case, "." for the end of content, "tls" for the first byte of a handshake.
// An event that it does not name gets the answer of an honest server.
type Behaviour struct {
	Name string
	Acts map[string]Act
	TLS  *tls.Config // offers STARTTLS when set
	Plus []string    // more EHLO keywords

	// Keep is after how many messages a connection is closed when the next
	// one begins, without a word: a server that tires of waiting. 0: never.
	Keep int

	// Rcpt gives the reply to the n-th RCPT of a transaction, from 0; nil accepts.
	Rcpt func(n int, path string) string
}

// Message is what a sink took: content holds the bytes of the wire between the
// reply to DATA and the final dot, stuffing undone.
type Message struct {
	Conn    int
	From    string
	To      []string
	Content []byte
	TLS     bool
}

// Sink is an SMTP server on loopback that behaves as badly as it is told.
type Sink struct {
	Addr netip.AddrPort

	behaviour Behaviour
	ln        net.Listener
	wg        sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	count    int
	messages []Message
	commands []string
	closed   bool
}

// NewSink starts a sink that ends with the test.
func NewSink(t testing.TB, b Behaviour) *Sink {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{behaviour: b, ln: ln, conns: map[net.Conn]struct{}{}}
	s.Addr = ln.Addr().(*net.TCPAddr).AddrPort()
	s.wg.Add(1)
	go s.accept()
	t.Cleanup(s.Close)
	return s
}

// Close ends all connections and waits for them.
func (s *Sink) Close() {
	_ = s.ln.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Messages gives what was taken so far.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// Commands gives the command lines of all connections in the order of arrival;
// those inside TLS start with "tls ".
func (s *Sink) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// Connections gives the number of connections accepted so far.
func (s *Sink) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *Sink) accept() {
	defer s.wg.Done()
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = c.Close()
			continue
		}
		s.conns[c] = struct{}{}
		s.count++
		n := s.count
		s.mu.Unlock()
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			(&session{sink: s, conn: c, raw: c, r: bufio.NewReader(c), number: n}).run()
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
	}
}

type session struct {
	sink   *Sink
	conn   net.Conn // raw, or TLS over it
	raw    net.Conn
	r      *bufio.Reader
	number int
	tls    bool
	msg    Message
	rcpts  int
	taken  int
}

func (c *session) run() {
	if !c.act("connect", "220 sink ESMTP\r\n") {
		return
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		c.note(line)
		verb, args, _ := strings.Cut(line, " ")
		if !c.command(strings.ToUpper(verb), args) {
			return
		}
	}
}

func (c *session) note(line string) {
	if c.tls {
		line = "tls " + line
	}
	c.sink.mu.Lock()
	c.sink.commands = append(c.sink.commands, line)
	c.sink.mu.Unlock()
}

// command answers one command; false ends the connection.
func (c *session) command(verb, args string) bool {
	switch verb {
	case "EHLO":
		return c.act(verb, c.ehlo())
	case "HELO":
		return c.act(verb, "250 sink\r\n")
	case "STARTTLS":
		if !c.act(verb, "220 go ahead\r\n") {
			return false
		}
		if a, ok := c.sink.behaviour.Acts[verb]; ok && !strings.HasPrefix(a.Say, "220") {
			return true
		}
		return c.handshake()
	case "MAIL":
		if k := c.sink.behaviour.Keep; k > 0 && c.taken >= k {
			return false
		}
		c.msg = Message{Conn: c.number, From: args, TLS: c.tls}
		c.rcpts = 0
		return c.act(verb, "250 2.1.0 ok\r\n")
	case "RCPT":
		return c.rcpt(args)
	case "DATA":
		return c.data()
	case "QUIT":
		c.act(verb, "221 2.0.0 bye\r\n")
		return false
	case "RSET", "NOOP":
		return c.act(verb, "250 2.0.0 ok\r\n")
	}
	return c.act(verb, "500 5.5.1 what?\r\n")
}

func (c *session) ehlo() string {
	words := append([]string{"sink", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"}, c.sink.behaviour.Plus...)
	if c.sink.behaviour.TLS != nil && !c.tls {
		words = append(words, "STARTTLS")
	}
	var b strings.Builder
	for i, w := range words {
		sep := "-"
		if i == len(words)-1 {
			sep = " "
		}
		b.WriteString("250" + sep + w + "\r\n")
	}
	return b.String()
}

func (c *session) rcpt(args string) bool {
	reply := "250 2.1.5 ok\r\n"
	if f := c.sink.behaviour.Rcpt; f != nil {
		if r := f(c.rcpts, args); r != "" {
			reply = r
		}
	}
	c.rcpts++
	if strings.HasPrefix(reply, "250") {
		c.msg.To = append(c.msg.To, args)
	}
	return c.act("RCPT", reply)
}

func (c *session) data() bool {
	if len(c.msg.To) == 0 {
		return c.act("DATA", "503 5.5.1 no recipients\r\n")
	}
	if !c.act("DATA", "354 go on\r\n") {
		return false
	}
	if a, ok := c.sink.behaviour.Acts["DATA"]; ok && !strings.HasPrefix(a.Say, "354") {
		return true
	}
	content, err := c.content()
	if err != nil {
		return false
	}
	c.msg.Content = content
	c.sink.mu.Lock()
	c.sink.messages = append(c.sink.messages, c.msg)
	c.taken++
	c.sink.mu.Unlock()
	return c.act(".", "250 2.0.0 ok: queued\r\n")
}

// content reads to CRLF.CRLF and undoes the stuffing; a bare LF stays in.
func (c *session) content() ([]byte, error) {
	var out bytes.Buffer
	start := true
	for {
		line, err := c.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if start && string(line) == ".\r\n" {
			return out.Bytes(), nil
		}
		if start && line[0] == '.' {
			line = line[1:]
		}
		out.Write(line)
		start = bytes.HasSuffix(line, []byte("\r\n"))
	}
}

func (c *session) handshake() bool {
	if a, ok := c.sink.behaviour.Acts["tls"]; ok {
		if _, err := c.r.Peek(1); err != nil {
			return false
		}
		return c.do(a)
	}
	if c.sink.behaviour.TLS == nil || c.tls {
		return true
	}
	t := tls.Server(c.raw, c.sink.behaviour.TLS)
	if err := t.Handshake(); err != nil {
		return false
	}
	c.conn, c.r, c.tls = t, bufio.NewReader(t), true
	return true
}

func (c *session) act(event, honest string) bool {
	if a, ok := c.sink.behaviour.Acts[event]; ok {
		return c.do(a)
	}
	return c.do(Act{Say: honest})
}

// do speaks and ends; false when the connection is over.
func (c *session) do(a Act) bool {
	for once := true; a.Say != "" && (once || a.Forever); once = false {
		if _, err := io.WriteString(c.conn, a.Say); err != nil {
			return false
		}
	}
	switch a.End {
	case Close:
		return false
	case Reset:
		if tcp, ok := c.raw.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return false
	case Silence:
		_, _ = io.Copy(io.Discard, c.conn)
		return false
	}
	return true
}
