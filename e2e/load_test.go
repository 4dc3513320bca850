package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// letter makes a message that says itself what its body has to be.
func letter(marker, subject string, size int) string {
	var body strings.Builder
	for n := 0; body.Len() < size || n == 0; n++ {
		fmt.Fprintf(&body, "%s line %d\r\n", marker, n)
	}
	sum := sha256.Sum256([]byte(body.String()))
	return "From: Alice <alice@partner.example>\r\nTo: bob@example.com\r\nSubject: " + subject + "\r\nMessage-ID: <" + marker +
		"@partner.example>\r\nX-Marker: " + marker + "\r\nX-Sum: " + hex.EncodeToString(sum[:]) + "\r\n\r\n" + body.String()
}

// whole reads a message of letter: its marker, and whether it is as it was.
func whole(raw []byte) (marker string, ok bool) {
	head, body, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	for _, line := range strings.Split(string(head), "\r\n") {
		if v, is := strings.CutPrefix(line, "X-Marker: "); is {
			marker = v
		}
		if v, is := strings.CutPrefix(line, "X-Sum: "); is {
			sum := sha256.Sum256(body)
			ok = v == hex.EncodeToString(sum[:])
		}
	}
	return marker, ok && found && marker != ""
}

// takeAll is a mail server that takes everything and remembers it. What was
// never a letter, such as what the demonstration had put in before, counts as
// foreign; a letter that lost its marker is missing, or has its marker in its body.
type takeAll struct {
	l       net.Listener
	mu      sync.Mutex
	seen    map[string]int
	damaged []string
	foreign int
}

func newTakeAll(t testing.TB, addr string) *takeAll {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &takeAll{l: l, seen: map[string]int{}}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *takeAll) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	p := textproto.NewConn(c)
	_ = p.PrintfLine("220 sink")
	for {
		line, err := p.ReadLine()
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "DATA":
			_ = p.PrintfLine("354 go")
			raw, err := readDots(p.R)
			if err != nil {
				return
			}
			s.take(raw)
			_ = p.PrintfLine("250 ok")
		case "QUIT":
			_ = p.PrintfLine("221 bye")
			return
		default:
			_ = p.PrintfLine("250 ok")
		}
	}
}

// readDots reads content to its final dot, with the line ends that it has.
func readDots(r *bufio.Reader) ([]byte, error) {
	var b []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return b, nil
		}
		b = append(b, bytes.TrimPrefix(line, []byte("."))...)
	}
}

func (s *takeAll) take(raw []byte) {
	marker, ok := whole(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	if marker == "" && !bytes.Contains(raw, []byte("X-Sum: ")) && !bytes.Contains(raw, []byte(" line 0\r\n")) {
		s.foreign++
		return
	}
	s.seen[marker]++
	if !ok {
		s.damaged = append(s.damaged, marker)
	}
}

func (s *takeAll) count(marker string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[marker]
}

// load sends mail over some connections until it is stopped, and notes what was
// acknowledged.
type load struct {
	t      testing.TB
	addr   string
	prefix string
	acks   chan string // each marker that heard 250
	stop   chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	codes  map[string]int // replies other than 250 to the end of data or before
}

func newLoad(t testing.TB, addr, prefix string, sessions int) *load {
	l := &load{t: t, addr: addr, prefix: prefix, acks: make(chan string, 1<<16), stop: make(chan struct{}), codes: map[string]int{}}
	for n := range sessions {
		l.wg.Go(func() { l.session(n) })
	}
	return l
}

func (l *load) session(n int) {
	for i := 0; ; {
		select {
		case <-l.stop:
			return
		default:
		}
		c, err := net.DialTimeout("tcp", l.addr, 5*time.Second)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		_ = l.talk(c, n, &i)
		_ = c.Close()
	}
}

// talk sends messages over one connection until something goes wrong.
func (l *load) talk(c net.Conn, n int, i *int) error {
	go func() { // a dead peer must not hold us
		<-l.stop
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	}()
	p := textproto.NewConn(c)
	if _, _, err := p.ReadResponse(220); err != nil {
		return err
	}
	ask := func(want int, format string, args ...any) error {
		if err := p.PrintfLine(format, args...); err != nil {
			return err
		}
		_, msg, err := p.ReadResponse(want)
		if e, ok := err.(*textproto.Error); ok {
			l.mu.Lock()
			l.codes[fmt.Sprint(e.Code)]++
			l.mu.Unlock()
			time.Sleep(20 * time.Millisecond)
			_ = msg
		}
		return err
	}
	if err := ask(250, "EHLO load"); err != nil {
		return err
	}
	for {
		select {
		case <-l.stop:
			return nil
		default:
		}
		*i++
		marker, subject := fmt.Sprintf("%s-%d-%d", l.prefix, n, *i), "flows"
		if *i%3 == 0 {
			subject = "HOLDME flows"
		}
		size := []int{10, 3000, 40000, 700000}[(*i*7+n)%11%4]
		if size > 100000 && *i%5 != 0 {
			size = 500
		}
		for _, s := range []struct {
			want int
			line string
		}{{250, "MAIL FROM:<alice@partner.example>"}, {250, "RCPT TO:<bob@example.com>"}, {354, "DATA"}} {
			if err := ask(s.want, "%s", s.line); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(p.W, letter(marker, subject, size)); err != nil {
			return err
		}
		if err := ask(250, "."); err != nil {
			return err
		}
		if subject != "flows" {
			marker += " held"
		}
		l.acks <- marker
	}
}

// end stops all sessions.
func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
	close(l.acks)
}
