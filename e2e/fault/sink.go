package fault

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/e2e/history"
)

// Sink is a foreign mail server of ours on loopback that notes what arrives.
type Sink struct {
	Domains []string
	Addr    string

	act    atomic.Pointer[Behaviour]
	h      *history.Writer
	ln     net.Listener
	wg     sync.WaitGroup
	number atomic.Uint64
	Count  atomic.Int64 // arrivals

	mu      sync.Mutex
	conns   map[net.Conn]bool
	refused map[string]bool
	closed  bool
}

// refuse notes, once, that an address is refused for good.
func (s *Sink) refuse(to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.refused[to] {
		s.refused[to] = true
		s.h.Add(history.Event{Who: history.Sink, What: history.Refuses, To: []string{to}})
	}
}

// Behaviour is asked before the reply to each event of a connection: "connect",
// a verb, "." behind the content with the key of the message. An empty Act is
// that of an honest server.
type Behaviour func(event, args string) Act

// Behave changes the behaviour; nil is honest.
func (s *Sink) Behave(b Behaviour) { s.act.Store(&b) }

// holdOnce lets the first event of a name stand still until heal; hit is closed
// when it does.
func (s *Sink) holdOnce(event string) (hit <-chan struct{}, heal func()) {
	reached, gone := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.Behave(func(e, _ string) Act {
		if e == event {
			once.Do(func() {
				close(reached)
				<-gone
			})
		}
		return Act{}
	})
	return reached, func() {
		s.Behave(nil)
		close(gone)
	}
}

func (s *Sink) behaviour(event, args string) Act {
	if b := s.act.Load(); b != nil && *b != nil {
		return (*b)(event, args)
	}
	return Act{}
}

// Act is what a sink does in place of an honest answer.
type Act struct {
	Reply string        // said instead
	Wait  time.Duration // before it
	Slow  time.Duration // between any two octets of the reply
	Flood bool          // the reply again and again, without an end
	End   bool          // the connection is closed behind it
	Reset bool          // and with a reset
}

func (a Act) isFault() bool { return a.End || a.Reset || a.Flood || a.Slow > 0 }

// NewSink starts a sink for some domains.
func NewSink(h *history.Writer, domains ...string) (*Sink, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Sink{Domains: domains, Addr: ln.Addr().String(), h: h, ln: ln, conns: map[net.Conn]bool{}, refused: map[string]bool{}}
	s.wg.Go(s.accept)
	return s, nil
}

// Close ends all connections; what was cut off by that is noted so.
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

// breakAll ends all connections there are.
func (s *Sink) breakAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *Sink) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			v := &visit{s: s, c: c, r: bufio.NewReaderSize(c, 64<<10), n: s.number.Add(1)}
			v.serve()
			v.settle(true)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// visit is one connection.
type visit struct {
	s    *Sink
	c    net.Conn
	r    *bufio.Reader
	n    uint64
	from string
	to   []string
	last *history.Event // arrived, and it is open whether our reply was heard
}

// settle notes the last arrival, now that it is known whether its reply was
// heard: whoever says more has heard it.
func (v *visit) settle(cut bool) {
	if v.last == nil {
		return
	}
	v.last.Cut = v.last.Cut || cut
	v.s.h.Add(*v.last)
	v.last = nil
}

var errEnd = errors.New("the sink ends the connection")

// reply answers an event, honestly or as it is told.
func (v *visit) reply(event, args, honest string) error {
	a := v.s.behaviour(event, args)
	if a.isFault() && v.last != nil {
		v.last.Cut = true
	}
	if a.Wait > 0 {
		time.Sleep(a.Wait)
	}
	text := honest
	if a.Reply != "" || a.End || a.Reset {
		text = a.Reply
	}
	err := v.say(text, a)
	if a.Reset {
		if t, ok := v.c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
	}
	if err == nil && (a.End || a.Reset) {
		err = errEnd
	}
	return err
}

func (v *visit) say(text string, a Act) (err error) {
	for ok := true; ok && err == nil; ok = a.Flood {
		if a.Slow == 0 {
			_, err = io.WriteString(v.c, text)
			continue
		}
		for i := range len(text) {
			if _, err = io.WriteString(v.c, text[i:i+1]); err != nil {
				break
			}
			time.Sleep(a.Slow)
		}
	}
	return err
}

func (v *visit) serve() {
	if v.reply("connect", "", "220 sink ESMTP\r\n") != nil {
		return
	}
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			return
		}
		v.settle(false)
		verb, args, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if v.command(strings.ToUpper(verb), args) != nil {
			return
		}
	}
}

func (v *visit) command(verb, args string) error {
	switch verb {
	case "EHLO":
		return v.reply(verb, args, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
	case "MAIL":
		v.from, v.to = path(args), nil
		return v.reply(verb, args, "250 2.1.0 ok\r\n")
	case "RCPT":
		to := path(args)
		if strings.HasPrefix(to, "nobody@") {
			v.s.refuse(to)
			return v.reply(verb, args, "550 5.1.1 no such user\r\n")
		}
		v.to = append(v.to, to)
		return v.reply(verb, args, "250 2.1.5 ok\r\n")
	case "DATA":
		return v.data()
	case "QUIT":
		_ = v.reply(verb, args, "221 2.0.0 bye\r\n")
		return errEnd
	case "RSET", "NOOP":
		return v.reply(verb, args, "250 2.0.0 ok\r\n")
	}
	return v.reply(verb, args, "500 5.5.1 what?\r\n")
}

// path gives the address of FROM:<a@b> or TO:<a@b>.
func path(args string) string {
	_, rest, _ := strings.Cut(args, "<")
	p, _, _ := strings.Cut(rest, ">")
	return p
}

func (v *visit) data() error {
	if len(v.to) == 0 {
		return v.reply("DATA", "", "503 5.5.1 no recipients\r\n")
	}
	a := v.s.behaviour("DATA", "")
	text := "354 go on\r\n"
	if a.Reply != "" || a.End {
		text = a.Reply
	}
	if err := v.say(text, a); err != nil || a.End {
		return errEnd
	}
	if !strings.HasPrefix(text, "354") {
		return nil
	}
	content, err := v.content()
	if err != nil {
		return err // without a final dot it is no message
	}
	return v.arrived(content)
}

// content reads to CRLF.CRLF and undoes the stuffing.
func (v *visit) content() ([]byte, error) {
	var b bytes.Buffer
	for whole := true; ; {
		line, err := v.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
		if whole && string(line) == ".\r\n" {
			return b.Bytes(), nil
		}
		if whole && line[0] == '.' {
			line = line[1:]
		}
		b.Write(line)
		whole = err == nil && bytes.HasSuffix(line, []byte("\r\n"))
	}
}

// arrived notes a message. The reply decides whether the sender may know of
// it: one that is refused has not arrived.
func (v *visit) arrived(content []byte) error {
	e := history.Event{Who: history.Sink, What: history.Arrived, From: v.from, To: v.to, Domains: v.s.Domains, Conn: v.n, At: time.Now()}
	e.Key, e.Hash, e.Added, e.Size = identify(content)
	if history.HeaderLines(e.Added) {
		e.Added = "" // as it should be: a soak has a million of them
	}
	if e.Key == "" && bytes.Contains(content, []byte("multipart/report")) {
		e.Note = "notice"
	}
	a := v.s.behaviour(".", e.Key)
	if a.Reply != "" && a.Reply[0] != '2' && !a.isFault() {
		return v.say(a.Reply, a)
	}
	e.Cut = a.isFault()
	v.s.Count.Add(1)
	v.last = &e
	if a.Wait > 0 {
		time.Sleep(a.Wait)
	}
	text := "250 2.0.0 ok\r\n"
	if a.Reply != "" || a.End || a.Reset {
		text = a.Reply
	}
	if a.Reset {
		if t, ok := v.c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
	}
	if err := v.say(text, a); err != nil {
		return err
	}
	if a.End || a.Reset {
		return errEnd
	}
	return nil
}

// keyField begins each content that our clients make; what stands in front of
// it was added on the way.
const keyField = "X-Key: "

func identify(content []byte) (key, hash, added string, size int64) {
	at := bytes.Index(content, []byte(keyField))
	if at < 0 {
		return "", "", "", int64(len(content))
	}
	sum := sha256.Sum256(content[at:])
	line, _, _ := bytes.Cut(content[at+len(keyField):], []byte("\r\n"))
	return string(line), hex.EncodeToString(sum[:]), string(content[:at]), int64(len(content) - at)
}
