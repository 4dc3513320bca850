package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dialogue sends lines and gives the last reply to each.
type dialogue struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, m *Mailbox) *dialogue {
	c, err := net.Dial("tcp", m.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	d := &dialogue{t, c, bufio.NewReader(c)}
	d.want("220")
	return d
}

func (d *dialogue) want(code string) string {
	d.t.Helper()
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			d.t.Fatalf("waiting for %s: %v", code, err)
		}
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if !strings.HasPrefix(line, code) {
			d.t.Fatalf("got %q, want %s", line, code)
		}
		return line
	}
}

func (d *dialogue) say(code, format string, args ...any) string {
	d.t.Helper()
	if _, err := fmt.Fprintf(d.c, format+"\r\n", args...); err != nil {
		d.t.Fatal(err)
	}
	return d.want(code)
}

func startMailbox(t *testing.T, dir string) *Mailbox {
	m, err := NewMailbox(dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- m.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return m
}

// A file holds the bytes received, dots unstuffed, CR LF kept, nothing added;
// it is in new when 250 is said, and tmp is empty.
func TestMailboxKeepsBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mailbox")
	d := dial(t, startMailbox(t, dir))
	d.say("250", "EHLO test.example")
	bodies := []string{"Subject: one\r\n\r\n.\r\n..two\r\nlast line, 8 bit: \xe4\r\n", "no header at all\r\n"}
	for i, body := range bodies {
		d.say("250", "MAIL FROM:<> BODY=8BITMIME")
		d.say("250", "RCPT TO:<a%d@example.com>", i)
		d.say("250", "RCPT TO:<b@anywhere.example>")
		d.say("354", "DATA")
		stuffed := strings.ReplaceAll("\r\n"+body, "\r\n.", "\r\n..")[2:]
		reply := d.say("250", "%s.", stuffed)
		name := strings.TrimSpace(reply[strings.LastIndexByte(reply, ' ')+1:])
		got, err := os.ReadFile(filepath.Join(dir, "new", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != body {
			t.Errorf("file has %q, sent was %q", got, body)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) > 0 {
		t.Errorf("%d files in tmp", len(left))
	}
	d.say("221", "QUIT")
}

// A broken transfer leaves nothing behind, and Close ends open connections.
func TestMailboxBrokenOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mailbox")
	m := startMailbox(t, dir)
	d := dial(t, m)
	d.say("250", "EHLO test.example")
	d.say("250", "MAIL FROM:<a@example.com>")
	d.say("250", "RCPT TO:<b@example.com>")
	d.say("354", "DATA")
	if _, err := io.WriteString(d.c, strings.Repeat("half a message\r\n", 10000)); err != nil {
		t.Fatal(err)
	}
	_ = d.c.Close()
	idle := dial(t, m)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.r.ReadByte(); err == nil {
		// 421 may be said first
		_, _ = io.Copy(io.Discard, idle.r)
	}
	for _, sub := range []string{"new", "tmp"} {
		if left, _ := os.ReadDir(filepath.Join(dir, sub)); len(left) > 0 {
			t.Errorf("%d files in %s after a broken transfer", len(left), sub)
		}
	}
}

// When the disk refuses, the sender keeps the mail.
func TestMailboxDiskRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mailbox")
	d := dial(t, startMailbox(t, dir))
	d.say("250", "EHLO test.example")
	if err := os.RemoveAll(filepath.Join(dir, "tmp")); err != nil {
		t.Fatal(err)
	}
	d.say("250", "MAIL FROM:<a@example.com>")
	d.say("250", "RCPT TO:<b@example.com>")
	d.say("354", "DATA")
	d.say("451", "hello\r\n.")
}
