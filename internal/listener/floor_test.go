package listener

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// spoolSink takes mail as a gateway does.
type spoolSink struct{ s *spool.Spool }

func (k spoolSink) NextMID() mail.MID      { return k.s.NextMID() }
func (k spoolSink) Ready(size int64) error { return k.s.Ready(size) }
func (k spoolSink) Receive(ctx context.Context, m *Message) error {
	d, err := k.s.Receive(ctx, m.MID)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.Copy(d, m.Content); err != nil {
		return err
	}
	return d.Commit(ctx, &queue.Item{MID: m.MID, From: m.Envelope.From, Recipients: []queue.Recipient{{Address: m.Envelope.To[0]}}})
}

// disk says how much is free.
type disk struct{ bytes, inodes atomic.Uint64 }

func (d *disk) free(bytes, inodes uint64) { d.bytes.Store(bytes); d.inodes.Store(inodes) }

// Floors of bytes and of inodes at acceptance, through a real spool on an
// injected file system: a message whose SIZE does not fit is refused at MAIL,
// one for which room went meanwhile at DATA, one that outgrows the disk at its dot; always with
// 452 4.3.1, never with the connection; and mail is taken again as soon as there
// is room, without anybody's help (fault F8).
func TestFloorsAtAcceptance(t *testing.T) {
	const floor, many = 256 << 20, 1 << 20
	space, c := &disk{}, newClock()
	space.free(floor+10<<20, many)
	s, err := spool.Open(spool.Options{Dir: "spool", FS: vfs.NewMem(), Log: newLogBuffer(t).mail, Clock: c.Now,
		Space: func() (uint64, uint64, error) { return space.bytes.Load(), space.inodes.Load(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := newRigWith(t, func(o *Options) { o.Sink, o.Clock = spoolSink{s}, c.Now }, settings("Incoming", acceptAll))
	set := func(bytes, inodes uint64) {
		space.free(bytes, inodes)
		c.pass(time.Second) // what was asked a moment ago holds no more
	}
	const full = "452 4.3.1 insufficient system storage"
	d := r.dial("Incoming").upTo("EHLO")
	d.all("MAIL FROM:<a@b.example> SIZE=20000000", full, "MAIL FROM:<a@b.example> SIZE=5000000", "250", bob, "250")
	set(floor+4<<20, many) // somebody else was faster
	d.say("DATA", full)
	d.all("MAIL FROM:<a@b.example>", "250", bob, "250")
	set(floor-1, many)
	d.say("DATA", full)
	set(floor+10<<20, 10)
	d.all("MAIL FROM:<a@b.example> SIZE=100", full+": no inodes", "MAIL FROM:<a@b.example>", full+": no inodes", "NOOP", "250")
	set(floor+10<<20, many)
	d.all("MAIL FROM:<a@b.example>", "250", bob, "250", "DATA", "354")
	part := strings.Repeat(strings.Repeat("x", 98)+"\r\n", 6000) // some chunks
	io.WriteString(d.conn, part)
	set(floor-1, many)
	io.WriteString(d.conn, part)
	d.say(".", full)
	set(floor+10<<20, many)
	d.all("MAIL FROM:<a@b.example> SIZE=5", "250", bob, "250", "DATA", "354", "x\r\n.", "250", "QUIT", "221")
	r.stop()
	var kept []string
	if err := s.Scan(t.Context(), func(it *queue.Item) error {
		kept = append(kept, fmt.Sprintf("%d bytes", it.Size))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(kept) != "[3 bytes]" {
		t.Errorf("in the spool: %v", kept)
	}
	if n := strings.Count(r.log.lines(), "ICID 1 Receiving Failed: Resources Low\n"); n != 6 {
		t.Errorf("%d lines\n%s", n, r.log.lines())
	}
}
