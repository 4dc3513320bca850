package fault

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/e2e/history"
)

// Load is a number of clients that send without an end.
type Load struct {
	Sessions int
	Pause    time.Duration // the longest between two messages of a session
	Domains  []string      // recipients are in these
	Hold     int           // of a hundred messages: how many are to be held
	Size     int           // octets of a body; 0: up to 4 KiB
	Only     string        // one class for all; "": mixed

	w                     *World
	n                     atomic.Uint64
	Acked, Refused, Maybe atomic.Int64

	mu   sync.Mutex
	took []time.Duration // dot to 250 of acknowledged clean mail

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Begin starts the clients.
func (w *World) Begin(l *Load) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l.w, l.cancel = w, cancel
	if len(l.Domains) == 0 {
		l.Domains = []string{"a.example", "b.example"}
	}
	if l.Hold == 0 {
		l.Hold = 20
	}
	w.loads++
	prefix := fmt.Sprintf("l%d", w.loads)
	for i := range l.Sessions {
		l.wg.Go(func() { l.session(ctx, prefix+"s"+strconv.Itoa(i)) })
	}
	return l
}

// End waits until each client has finished what it has in hand.
func (l *Load) End() {
	l.cancel()
	l.wg.Wait()
}

// Times gives the times from dot to 250 since it was asked last.
func (l *Load) Times() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.took
	l.took = nil
	return t
}

func (l *Load) session(ctx context.Context, name string) {
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(len(name))))
	var c *client
	defer func() {
		if c != nil {
			_, _ = c.cmd("QUIT")
			_ = c.Close()
		}
	}()
	for ctx.Err() == nil {
		if c == nil {
			var err error
			if c, err = dial(l.w.SMTP); err != nil {
				c = nil
				rest(ctx, 10*time.Millisecond)
				continue
			}
		}
		m := l.message(rng, name)
		if !l.attempt(c, m) || rng.IntN(20) == 0 {
			_ = c.Close()
			c = nil
		}
		if l.Pause > 0 {
			rest(ctx, time.Duration(rng.Int64N(int64(l.Pause))))
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Mail is one message and its envelope.
type Mail struct {
	Key, From string
	To        []string
	Class     string
	Content   []byte
}

// message makes one: some are held, copied or dropped by the filters, some
// have a recipient that does not exist.
func (l *Load) message(rng *rand.Rand, session string) *Mail {
	m := &Mail{Key: session + "n" + strconv.FormatUint(l.n.Add(1), 10), From: session + "@client.example", Class: l.Only}
	if m.Class == "" {
		m.Class = history.Clean
		switch p := rng.IntN(100); {
		case p < l.Hold:
			m.Class = history.Hold
		case p < l.Hold+3:
			m.Class = history.Copy
		case p < l.Hold+5:
			m.Class = history.Drop
		}
	}
	for _, i := range rng.Perm(5)[:1+rng.IntN(4)] {
		m.To = append(m.To, fmt.Sprintf("u%d@%s", i, l.Domains[rng.IntN(len(l.Domains))]))
	}
	if rng.IntN(100) == 0 && m.Class == history.Clean {
		m.To = append(m.To, "nobody@"+l.Domains[0])
	}
	size := l.Size
	if size == 0 {
		size = 100 + rng.IntN(4<<10)
	}
	m.Content = content(m.Key, m.Class, size, rng)
	return m
}

var subjects = map[string]string{history.Clean: "plain", history.Hold: "HOLDME", history.Copy: "COPYME", history.Drop: "DROPME"}

// content makes a message that says who it is.
func content(key, class string, size int, rng *rand.Rand) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, keyField+"%s\r\nFrom: <x@client.example>\r\nSubject: %s %s\r\nMessage-ID: <%s@client.example>\r\n\r\n", key, subjects[class], key, key)
	line := make([]byte, 37)
	for b.Len() < size {
		for i := range line {
			line[i] = byte(33 + rng.IntN(90))
		}
		if rng.IntN(10) == 0 {
			line[0] = '.'
		}
		for n := 1 + rng.IntN(1+size/2000); n > 0; n-- { // long ones repeat a line: random octets cost time
			b.Write(line)
			b.WriteString("\r\n")
		}
	}
	return b.Bytes()
}

// attempt sends one message and notes what became of it; false when the
// connection is of no more use.
func (l *Load) attempt(c *client, m *Mail) bool {
	e, good, took := c.send(m)
	e.Appliance = l.w.Gateway.Host
	l.w.H.Add(e)
	switch e.What {
	case history.Acked:
		l.Acked.Add(1)
		l.mu.Lock()
		l.took = append(l.took, took)
		l.mu.Unlock()
	case history.Refused:
		l.Refused.Add(1)
	default:
		l.Maybe.Add(1)
	}
	return good
}

// client is one SMTP connection.
type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	if r, err := c.reply(); err != nil || r[0] != '2' {
		_ = conn.Close()
		return nil, errors.Join(errors.New("no service: "+r), err)
	}
	if r, err := c.cmd("EHLO client.example"); err != nil || r[0] != '2' {
		_ = conn.Close()
		return nil, errors.Join(errors.New("no EHLO: "+r), err)
	}
	return c, nil
}

func (c *client) reply() (string, error) {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return line, err
		}
		if len(line) < 4 {
			return line, errors.New("a reply of nothing")
		}
		if line[3] != '-' {
			return strings.TrimRight(line, "\r\n"), nil
		}
	}
}

func (c *client) cmd(line string) (string, error) {
	if _, err := io.WriteString(c.Conn, line+"\r\n"); err != nil {
		return "", err
	}
	return c.reply()
}

// send gives one message to the gateway. It is of unknown fate only when the
// final dot was on its way and no whole reply came.
func (c *client) send(m *Mail) (e history.Event, good bool, took time.Duration) {
	sum := sha256.Sum256(m.Content)
	e = history.Event{Who: history.Client, Key: m.Key, Class: m.Class, From: m.From, To: m.To, Hash: hex.EncodeToString(sum[:]),
		Size: int64(len(m.Content)), What: history.Refused}
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	var err error
	steps := []string{"MAIL FROM:<" + m.From + ">"}
	for _, to := range m.To {
		steps = append(steps, "RCPT TO:<"+to+">")
	}
	for _, s := range append(steps, "DATA") {
		if e.Reply, err = c.cmd(s); err != nil || e.Reply[0] > '3' {
			if err == nil {
				_, err = c.cmd("RSET")
			}
			return e, err == nil, 0
		}
	}
	if _, err := c.Write(stuff(m.Content)); err != nil {
		e.Reply = "lost before the dot"
		return e, false, 0
	}
	began := time.Now()
	e.What = history.Unknown
	if _, err := io.WriteString(c.Conn, ".\r\n"); err != nil {
		return e, false, 0
	}
	if e.Reply, err = c.reply(); err != nil {
		return e, false, 0
	}
	took = time.Since(began)
	if e.Reply[0] != '2' {
		e.What = history.Refused
		return e, e.Reply[:3] != "421", took
	}
	e.What = history.Acked
	if _, rest, ok := strings.Cut(e.Reply, "Message "); ok {
		number, _, _ := strings.Cut(rest, " ")
		e.MID, _ = strconv.ParseUint(number, 10, 64)
	}
	return e, true, took
}

func stuff(content []byte) []byte {
	b := bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(b, []byte(".")) {
		b = append([]byte("."), b...)
	}
	return b
}
