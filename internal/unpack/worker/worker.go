// Package worker is the child process that opens files: lazaret unpack-worker.
// It reads objects from standard input and answers on standard output (package
// wire), and keeps what it has to read twice in a scratch file without a name
// that it was given as descriptor 3.
//
// It counts what it unpacks and stops at the limits. Against what it cannot
// count, a reader that loops or takes memory, stand the walls of sandbox_linux.go
// and the pool that kills it. It does not try to survive a panic: the pool
// starts another worker.
package worker

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"lazaret/internal/unpack/wire"
)

// Hook is called for each object before it is opened; for tests.
type Hook func(name string, note func(kind, detail string))

// memoryGoal is the heap at which the collector works harder; the wall stands
// at memoryWall.
const memoryGoal = 192 << 20

// Main is the worker's life: it puts up the walls, says that it is ready and
// serves until its input ends. It gives the exit status.
func Main(hook Hook) int {
	debug.SetGCPercent(100)
	debug.SetMemoryLimit(memoryGoal)
	debug.SetMaxStack(64 << 20)
	scratch := os.NewFile(3, "scratch")
	missing := walls()
	if err := Serve(os.Stdin, os.Stdout, scratch, missing, hook); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "unpack-worker:", err)
		return 70
	}
	return 0
}

// Serve answers for objects until in ends.
func Serve(in io.Reader, out io.Writer, scratch *os.File, missing []string, hook Hook) error {
	c := wire.New(in, out)
	if err := c.Send(wire.KindReady, wire.Ready{Version: wire.Version, Missing: missing}); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	for {
		k, p, err := c.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if k != wire.KindBegin {
			return fmt.Errorf("a frame %c where an object was due", k)
		}
		var b wire.Begin
		if err := wire.Decode(p, &b); err != nil {
			return err
		}
		if err := serveOne(c, b, &store{f: scratch}, hook); err != nil {
			return err
		}
	}
}

// serveOne takes an object whole, opens it and tells what is in it.
func serveOne(c *wire.Conn, b wire.Begin, st *store, hook Hook) error {
	s := &session{c: c, b: b, st: st}
	top := &file{name: b.Name, types: b.Types}
	var err error
	if top.data, err = st.take(&dataFrames{c: c}); err != nil {
		return err
	}
	if hook != nil {
		hook(b.Name, func(kind, detail string) { s.note(kind, top, detail) })
	}
	s.begin(top.data.size)
	s.open(top)
	if s.broken != nil {
		return s.broken
	}
	if err := c.Send(wire.KindDone, wire.Done{Parts: s.parts, Bytes: s.bytes}); err != nil {
		return err
	}
	return c.Flush()
}

// dataFrames reads the content of an object.
type dataFrames struct {
	c    *wire.Conn
	rest []byte
	end  bool
}

func (d *dataFrames) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		if d.end {
			return 0, io.EOF
		}
		k, b, err := d.c.Next()
		switch {
		case err == io.EOF:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case k == wire.KindEnd:
			d.end = true
		case k == wire.KindData:
			d.rest = b
		default:
			return 0, fmt.Errorf("a frame %c inside an object", k)
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}
