package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/errs"
)

// loadRequest asks a source for one run.
type loadRequest struct {
	Addr     string `json:"addr"`
	Messages int    `json:"messages"`
	Sessions int    `json:"sessions"`
	Size     int    `json:"size"`
	Rate     int    `json:"rate,omitempty"`
}

// loadAnswer is how it went.
type loadAnswer struct {
	Accepted int     `json:"accepted"`
	Refused  int     `json:"refused"`           // answered with 4xx or 5xx
	Example  string  `json:"example,omitempty"` // one of these answers
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50"` // from the final dot to 250, in milliseconds
	P99      float64 `json:"p99"`
	Worst    float64 `json:"worst"`
}

// The envelope of all messages.
const (
	sender    = "alice@sender.example"
	recipient = "bob@rcpt.example"
)

// source sends mail as it is asked to.
func (p *part) source() error {
	if err := p.say(ready{}); err != nil {
		return err
	}
	for {
		var r loadRequest
		if more, err := p.next(&r); !more || err != nil {
			return err
		}
		a, err := r.run()
		if err != nil {
			return err
		}
		if err := p.say(a); err != nil {
			return err
		}
	}
}

// run makes the load: each session is a connection that is kept and says one
// command at a time, as most mail servers do.
func (r *loadRequest) run() (*loadAnswer, error) {
	g := &generator{loadRequest: r, text: content(r.Size), began: time.Now()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failure error
	var all []time.Duration
	for range min(r.Sessions, r.Messages) {
		wg.Go(func() {
			s := &sending{g: g}
			err := s.work()
			mu.Lock()
			defer mu.Unlock()
			all = append(all, s.waits...)
			if failure == nil {
				failure = err
			}
		})
	}
	wg.Wait()
	if failure != nil {
		return nil, failure
	}
	a := &loadAnswer{Accepted: len(all), Refused: int(g.refused.Load()), Seconds: time.Since(g.began).Seconds()}
	if e := g.example.Load(); e != nil {
		a.Example = *e
	}
	if len(all) > 0 {
		slices.Sort(all)
		at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000 }
		a.P50, a.P99, a.Worst = at(0.5), at(0.99), at(1)
	}
	return a, nil
}

// content is a message of about size octets. The place of its number is marked.
func content(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Message-ID: <" + numberMark + "@sender.example>\r\nFrom: Alice <" + sender + ">\r\nTo: Bob <" + recipient + ">\r\n" +
		"Subject: Measurement " + numberMark + "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n")
	words := []string{"the", "message", "of", "an", "office", "is", "made", "from", "words", "that", "come", "again", "and", "numbers"}
	for n := uint32(1); b.Len() < size; {
		var line bytes.Buffer
		for line.Len() < 64 {
			n = n*1664525 + 1013904223
			line.WriteString(words[n>>16%uint32(len(words))] + " ")
		}
		fmt.Fprintf(&line, "%08x", n)
		line.Truncate(max(0, min(line.Len(), size-b.Len()-2)))
		b.Write(line.Bytes())
		b.WriteString("\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// numberMark stands where each message has its number.
const numberMark = "00000000000000"

// generator is what the sessions of a run share.
type generator struct {
	*loadRequest
	text    []byte
	began   time.Time
	given   atomic.Int64
	refused atomic.Int64
	example atomic.Pointer[string]
}

// sending is one session.
type sending struct {
	g     *generator
	conn  net.Conn
	r     *bufio.Reader
	text  []byte
	waits []time.Duration
}

func (s *sending) work() error {
	s.text = bytes.Clone(s.g.text)
	if err := s.connect(); err != nil {
		return err
	}
	defer func() { _ = s.conn.Close() }() // QUIT was answered, or the run has failed
	for {
		n := s.g.given.Add(1)
		if n > int64(s.g.Messages) {
			_, err := s.command("QUIT\r\n")
			return err
		}
		if rate := s.g.Rate; rate > 0 {
			due := s.g.began.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
			time.Sleep(time.Until(due)) // the load's own clock
		}
		if err := s.one(n); err != nil {
			return err
		}
	}
}

func (s *sending) connect() (err error) {
	if s.conn, err = net.DialTimeout("tcp", s.g.Addr, 10*time.Second); err != nil {
		return errs.Wrap(errs.Temporary, err, "connecting")
	}
	if err := s.conn.SetDeadline(time.Now().Add(24 * time.Hour)); err != nil {
		return errs.Wrap(errs.Internal, err, "connecting")
	}
	s.r = bufio.NewReader(s.conn)
	if _, err := s.reply(); err != nil {
		return err
	}
	_, err = s.command("EHLO source.sender.example\r\n")
	return err
}

// one sends one message.
func (s *sending) one(n int64) error {
	for _, c := range []string{"MAIL FROM:<" + sender + ">\r\n", "RCPT TO:<" + recipient + ">\r\n", "DATA\r\n"} {
		line, err := s.command(c)
		if err != nil {
			return err
		}
		if line[0] > '3' {
			return s.refuse(line)
		}
	}
	number := strconv.AppendInt(nil, n+s.g.began.UnixMicro()*1000, 16) // not the same in two runs
	number = number[max(0, len(number)-len(numberMark)):]
	for rest, i := s.text, 0; i < 2; i++ {
		at := bytes.Index(s.g.text[len(s.text)-len(rest):], []byte(numberMark)) + len(s.text) - len(rest)
		copy(s.text[at:], number)
		rest = s.text[at+len(numberMark):]
	}
	began := time.Now()
	if _, err := s.conn.Write(s.text); err != nil {
		return errs.Wrap(errs.Temporary, err, "sending")
	}
	line, err := s.reply()
	if err != nil {
		return err
	}
	if line[0] != '2' {
		s.note(line)
		return nil
	}
	s.waits = append(s.waits, time.Since(began))
	return nil
}

// refuse counts a message that was refused before its content, and ends its
// transaction.
func (s *sending) refuse(line []byte) error {
	s.note(line)
	if string(line[:3]) == "421" {
		_ = s.conn.Close() // the peer has closed it
		return s.connect()
	}
	_, err := s.command("RSET\r\n")
	return err
}

func (s *sending) note(line []byte) {
	s.g.refused.Add(1)
	text := string(line)
	s.g.example.CompareAndSwap(nil, &text)
}

// command says one line and gives the last line of the reply.
func (s *sending) command(line string) ([]byte, error) {
	if _, err := s.conn.Write([]byte(line)); err != nil {
		return nil, errs.Wrap(errs.Temporary, err, "sending")
	}
	return s.reply()
}

func (s *sending) reply() ([]byte, error) {
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return nil, errs.Wrap(errs.Temporary, err, "reading a reply")
		}
		if len(line) < 4 {
			return nil, errs.New(errs.Invalid, "%q is no reply", line)
		}
		if line[3] != '-' {
			return bytes.TrimRight(line, "\r\n"), nil
		}
	}
}
