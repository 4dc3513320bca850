package fault

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one appliance as a process of its own. Only its owner starts,
// kills and stops it.
type Process struct {
	Role string // gateway or manager
	Host string // its host name
	Dir  string
	Env  []string // added to the driver's own
	Wrap []string // a program and its arguments in front, such as prlimit

	binary string
	cmd    *exec.Cmd
	done   chan struct{}
	stderr *tail
	Lives  int
}

// readyWithin bounds a start on a busy machine; what the product promises is
// measured, not asserted.
const readyWithin = 10 * time.Minute

// Start runs the appliance and waits until it says that it is ready.
func (p *Process) Start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	args := append(append([]string(nil), p.Wrap...), p.binary, p.Role, "--dir", p.Dir)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), p.Env...)
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	p.cmd.Stderr = w
	if err := p.cmd.Start(); err != nil {
		_, _ = r.Close(), w.Close()
		return 0, err
	}
	_ = w.Close()
	p.Lives++
	ready := make(chan struct{})
	p.stderr = &tail{}
	done := make(chan struct{})
	p.done = done
	go func(cmd *exec.Cmd) {
		p.stderr.read(r, ready)
		_ = r.Close()
		_ = cmd.Wait()
		close(done)
	}(p.cmd)
	select {
	case <-ready:
		return time.Since(began), nil
	case <-done:
		return 0, fmt.Errorf("%s ended at its start: %s: %s", p.Host, p.cmd.ProcessState, p.stderr)
	case <-time.After(readyWithin):
		p.Signal(syscall.SIGQUIT) // its stacks are worth having
		<-done
		return 0, fmt.Errorf("%s is not ready after %s: %s", p.Host, readyWithin, p.stderr)
	case <-ctx.Done():
		p.Kill()
		return 0, ctx.Err()
	}
}

// startAndKill lets it live for d from its very first instruction.
func (p *Process) startAndKill(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if _, err := p.Start(ctx); err == nil { // else Start has killed it
		<-ctx.Done()
		p.Kill()
	}
}

// Running reports whether the process is alive.
func (p *Process) Running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Pid gives its process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill is kill -9.
func (p *Process) Kill() {
	if p.done == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Stop is Ctrl-C; the appliance has to end in good order.
func (p *Process) Stop() error {
	if p.done == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(90 * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its stacks are worth having
		<-p.done
		return fmt.Errorf("%s does not end: %s", p.Host, p.stderr)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ends with status %d: %s", p.Host, code, p.stderr)
	}
	return nil
}

// cliWithin bounds one command: the list of all that is held is long.
const cliWithin = 10 * time.Minute

// CLI runs a line of the command language over the local socket.
func (p *Process) CLI(ctx context.Context, line string) (string, int, error) {
	ctx, cancel := context.WithTimeout(ctx, cliWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, "cli", "--dir", p.Dir, line)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return "", -1, err
	}
	code := cmd.ProcessState.ExitCode()
	if code > 2 || code < 0 {
		return out.String(), code, fmt.Errorf("%s> %s: %s", p.Host, line, strings.TrimSpace(errs.String()))
	}
	return out.String(), code, nil
}

// tail keeps the last of what a process said.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) read(r io.Reader, ready chan struct{}) {
	in := bufio.NewReader(r)
	for told := false; ; {
		line, err := in.ReadString('\n')
		t.mu.Lock()
		t.b = append(t.b, line...)
		if len(t.b) > 256<<10 {
			t.b = t.b[len(t.b)-128<<10:]
		}
		t.mu.Unlock()
		if !told && strings.Contains(line, "ready") {
			told = true
			close(ready)
		}
		if err != nil {
			return
		}
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
