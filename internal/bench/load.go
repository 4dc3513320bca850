package bench

import (
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/loopback"
)

func cpus() int { return runtime.NumCPU() }

// loader makes load: a generator and a sink.
type loader interface {
	// send gives messages to a server and returns when the sink has all that
	// were accepted.
	send(ctx context.Context, r loadRequest) (*loadAnswer, error)
	cpu() time.Duration // of both so far
	close() error
}

// openLoad starts a sink, and a source, and gives the sink's address.
func (o *Options) openLoad(ctx context.Context) (loader, string, error) {
	if o.Tools {
		p, err := loopback.FreePorts(1)
		if err != nil {
			return nil, "", err
		}
		return &tools{sink: at(p[0])}, at(p[0]), nil
	}
	sink, addr, err := o.startSink(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	source, err := o.start("source")
	if err == nil {
		err = source.answer(ctx, &ready{})
	}
	if err != nil {
		_ = endAll(source, sink) // the first failure tells
		return nil, "", err
	}
	return &pairOfParts{source, sink}, addr, nil
}

// pairOfParts is our own load.
type pairOfParts struct{ source, sink *child }

func (l *pairOfParts) cpu() time.Duration { return cpu(l.source.pid()) + cpu(l.sink.pid()) }
func (l *pairOfParts) close() error       { return endAll(l.source, l.sink) }

func (l *pairOfParts) send(ctx context.Context, r loadRequest) (*loadAnswer, error) {
	if err := l.sink.ask(sinkRequest{Expect: r.Messages}); err != nil {
		return nil, err
	}
	if err := l.sink.answer(ctx, &sinkAnswer{}); err != nil {
		return nil, err
	}
	a, err := l.only(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.Refused > 0 {
		return nil, errs.New(errs.Temporary, "%d messages were refused: %s", a.Refused, a.Example)
	}
	return a, l.sink.answer(ctx, &sinkAnswer{})
}

// only sends and does not wait for what comes out.
func (l *pairOfParts) only(ctx context.Context, r loadRequest) (*loadAnswer, error) {
	if err := l.source.ask(r); err != nil {
		return nil, err
	}
	a := new(loadAnswer)
	return a, l.source.answer(ctx, a)
}

// tools is the load that comes with Postfix. Each run has processes of its own.
type tools struct {
	sink string
	used time.Duration
}

func (l *tools) cpu() time.Duration { return l.used }
func (l *tools) close() error       { return nil }

func (l *tools) send(ctx context.Context, r loadRequest) (*loadAnswer, error) {
	sink := exec.CommandContext(ctx, sbin("smtp-sink"), "-4", "-u", "nobody", "-M", strconv.Itoa(r.Messages), l.sink, "1000")
	if os.Geteuid() != 0 {
		sink.Args = append(sink.Args[:2], sink.Args[4:]...)
	}
	if err := l.begin(sink); err != nil {
		return nil, err
	}
	defer func() { l.finish(sink) }()
	if err := listening(ctx, l.sink); err != nil {
		return nil, err
	}
	source := exec.CommandContext(ctx, sbin("smtp-source"), "-4", "-d", "-s", strconv.Itoa(r.Sessions), "-m", strconv.Itoa(r.Messages),
		"-l", strconv.Itoa(r.Size), "-f", sender, "-t", recipient, r.Addr)
	var words tail
	source.Stderr = &words
	began := time.Now()
	if err := l.begin(source); err != nil {
		return nil, err
	}
	if err := l.finish(source); err != nil {
		return nil, errs.New(errs.Temporary, "smtp-source: %v: %s", err, &words)
	}
	a := &loadAnswer{Accepted: r.Messages, Seconds: time.Since(began).Seconds()}
	if err := l.finish(sink); err != nil {
		return nil, errs.New(errs.Temporary, "smtp-sink: %v", err)
	}
	return a, nil
}

// begin starts a tool that dies with us.
func (l *tools) begin(c *exec.Cmd) error {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return errs.Wrap(errs.Internal, c.Start(), "starting %s", c.Path)
}

// finish waits for a tool, once, and counts its CPU time.
func (l *tools) finish(c *exec.Cmd) error {
	if c.ProcessState != nil {
		return nil
	}
	err := c.Wait()
	if s := c.ProcessState; s != nil {
		l.used += s.UserTime() + s.SystemTime()
	}
	return err
}

// listening waits until somebody takes connections at an address.
func listening(ctx context.Context, addr string) error {
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return errs.Wrap(errs.Temporary, err, "nobody listens at %s", addr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// sbin finds a tool that may not be in the path of an ordinary user.
func sbin(name string) string {
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	return "/usr/sbin/" + name
}

// findPostfix says what is missing for Postfix, or for its tools alone.
func findPostfix(server bool) error {
	need := []string{"smtp-source", "smtp-sink"}
	if server {
		need = append(need, "postfix", "postconf", "postsuper")
	}
	var missing []string
	for _, n := range need {
		if _, err := os.Stat(sbin(n)); err != nil {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		return errs.New(errs.NotFound, "Postfix is not installed here: there is no %s (on Debian: apt-get install postfix)", strings.Join(missing, ", "))
	}
	if server && os.Geteuid() != 0 {
		return errs.New(errs.Denied, "Postfix can be started by root only")
	}
	return nil
}
