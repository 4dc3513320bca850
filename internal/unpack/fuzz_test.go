package unpack

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lazaret/internal/unpack/wire"
)

// FuzzReceive plays a worker in hostile hands: whatever it says, the gateway
// takes what the protocol allows and calls the rest a fault of the worker, within
// the limits, without a panic, and without an end that looks like a clean one: an
// exchange is over only at the frame that says so.
func FuzzReceive(f *testing.F) {
	frames := func(build func(c *wire.Conn)) []byte {
		var b bytes.Buffer
		c := wire.New(&b, &b)
		build(c)
		if err := c.Flush(); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	send := func(c *wire.Conn, k wire.Kind, v any) {
		if err := c.Send(k, v); err != nil {
			f.Fatal(err)
		}
	}
	whole := frames(func(c *wire.Conn) {
		send(c, wire.KindPart, wire.Part{Type: "zip", Group: "compressed"})
		send(c, wire.KindEnd, wire.End{Size: 3})
		send(c, wire.KindPart, wire.Part{Path: "1", Name: "evil.exe", Type: "exe", Group: "executable", Depth: 1})
		if err := c.Data([]byte("MZ and so on")); err != nil {
			f.Fatal(err)
		}
		send(c, wire.KindEnd, wire.End{Size: 12})
		send(c, wire.KindNote, wire.Note{Kind: string(Encrypted), Path: "1", Detail: "x"})
		send(c, wire.KindDone, wire.Done{Parts: 1, Bytes: 12})
	})
	f.Add(whole)
	f.Add(whole[:len(whole)-9])
	f.Add(bytes.Repeat(whole, 3))
	f.Add(frames(func(c *wire.Conn) { send(c, wire.KindNote, wire.Note{Kind: "no-such-finding"}) }))
	f.Add(frames(func(c *wire.Conn) { send(c, wire.KindDone, wire.Done{Parts: -1, Bytes: -1 << 62}) }))
	f.Add(frames(func(c *wire.Conn) { send(c, wire.KindDone, wire.Done{Parts: 1, Bytes: 1 << 62}) }))
	f.Add(frames(func(c *wire.Conn) { send(c, wire.KindReady, wire.Ready{}) }))
	f.Add([]byte("D\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, said []byte) {
		var sink bytes.Buffer
		gone := make(chan struct{})
		close(gone) // there is no process that could be killed
		p := &Pool{o: Options{Limits: Limits{Parts: 50}.filled(), Grace: time.Minute}}
		m := &Message{p: p, want: Want{Content: true, Text: true}}
		w := &worker{cmd: &exec.Cmd{ProcessState: &os.ProcessState{}}, conn: wire.New(bytes.NewReader(said), &sink), gone: gone}
		parts, got := 0, 0
		x := &exchange{m: m, w: w, o: Object{Path: "2", Name: "a"}, visit: func(part *Part) error {
			parts++
			if len(part.Name) > 1<<10 || len(part.Type) > 1<<10 || !strings.HasPrefix(part.Path, "2:") {
				t.Errorf("part %+v", part)
			}
			n, err := io.Copy(io.Discard, part.Body)
			got += int(n)
			return err
		}}
		err := x.judge(t.Context(), x.receive())
		if parts > 3*50+10 || got > len(said) || len(m.report.Findings) > maxFindings || m.report.Parts < 0 || m.report.Bytes < 0 {
			t.Errorf("%d parts, %d bytes, %+v", parts, got, m.report)
		}
		for _, f := range m.report.Findings {
			if !f.Kind.known() || len(f.Detail) > 1<<10 {
				t.Errorf("finding %+v", f)
			}
		}
		if err == nil && !bytes.Contains(said, []byte("F\x00\x00")) {
			t.Error("an end without the frame that says so")
		}
	})
}
