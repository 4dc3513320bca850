package testlib

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Dialogue is an SMTP connection in which a test says what it likes, line by
// line, and reads one reply for each.
type Dialogue struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// DialTLS connects, says EHLO and STARTTLS, does the handshake and says EHLO
// again. It ends with the connection as soon as something does not work; then
// the error says what.
func DialTLS(t testing.TB, addr string, conf *tls.Config) (*Dialogue, error) {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = raw.Close() })
	d := &Dialogue{t: t, conn: raw, r: bufio.NewReader(raw)}
	d.Read()
	d.Say("EHLO red.example.net")
	d.Say("STARTTLS")
	c := tls.Client(raw, conf)
	if err := c.Handshake(); err != nil {
		_ = raw.Close()
		return nil, err
	}
	d.conn, d.r = c, bufio.NewReader(c)
	if got := d.Say("EHLO red.example.net"); !strings.HasPrefix(got, "250") {
		_ = raw.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return d, nil
}

// Read gives one whole reply, its lines joined by blanks; "" when the
// connection is closed.
func (d *Dialogue) Read() string {
	var all []string
	_ = d.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				d.t.Errorf("no reply, %d lines of one", len(all))
			}
			return ""
		}
		line = strings.TrimRight(line, "\r\n")
		all = append(all, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(all, " ")
		}
	}
}

// Say sends a line and gives the reply to it.
func (d *Dialogue) Say(line string) string { return d.Send(line + "\r\n") }

// Send sends octets as they are and gives one reply.
func (d *Dialogue) Send(text string) string {
	if _, err := io.WriteString(d.conn, text); err != nil {
		return ""
	}
	return d.Read()
}

// Close ends the connection without a word.
func (d *Dialogue) Close() { _ = d.conn.Close() }
