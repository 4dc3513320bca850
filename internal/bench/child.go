package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
)

// child is one part in a process of its own. It is asked in lines of JSON on
// its standard input and answers in lines on its standard output. The end of
// its input is its end: so it does not outlive us, whatever happens to us.
type child struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   chan []byte // closed when the process says no more
	words tail
}

// tail keeps the last of what a process says on standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - 4096; n > 0 {
		t.b = t.b[n:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

// start runs a part.
func (o *Options) start(part string, args ...string) (*child, error) {
	words := append(append([]string{}, o.Program[1:]...), part)
	cmd := exec.Command(o.Program[0], append(words, args...)...)
	c := &child{name: part, cmd: cmd, out: make(chan []byte, 16)}
	cmd.Stderr = &c.words
	cmd.WaitDelay = time.Second
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, errs.Wrap(errs.Internal, err, "starting %s", part)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "starting %s", part)
	}
	if err := cmd.Start(); err != nil {
		return nil, errs.Wrap(errs.Internal, err, "starting %s", part)
	}
	go c.read(out)
	return c, nil
}

func (c *child) read(r io.Reader) {
	defer close(c.out)
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		c.out <- bytes.Clone(s.Bytes())
	}
}

// pid is the number of the process.
func (c *child) pid() int { return c.cmd.Process.Pid }

// ask sends a request.
func (c *child) ask(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = c.in.Write(append(b, '\n'))
	}
	if err != nil {
		return errs.New(errs.Internal, "%s does not listen: %v: %s", c.name, err, &c.words)
	}
	return nil
}

// answer waits for the next line and reads it into v.
func (c *child) answer(ctx context.Context, v any) error {
	select {
	case b, ok := <-c.out:
		if !ok {
			return errs.New(errs.Internal, "%s has ended: %s", c.name, &c.words)
		}
		if err := json.Unmarshal(b, v); err != nil {
			return errs.Wrap(errs.Internal, err, "%s says %q", c.name, b)
		}
		return nil
	case <-ctx.Done():
		return errs.Context(context.Cause(ctx), "waiting for %s", c.name)
	}
}

// end lets the process finish, and kills it when it does not.
func (c *child) end() error {
	if c == nil {
		return nil
	}
	_ = c.in.Close() // it may have ended before
	timer := time.AfterFunc(30*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	for range c.out { // what it still says
	}
	if err := c.cmd.Wait(); err != nil {
		return errs.New(errs.Internal, "%s: %v: %s", c.name, err, &c.words)
	}
	return nil
}

// endAll ends children in their order.
func endAll(cs ...*child) (err error) {
	for _, c := range cs {
		if e := c.end(); err == nil {
			err = e
		}
	}
	return err
}
