package unpack

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/unpack/wire"
)

// worker is a child process of ours, and nobody else's.
type worker struct {
	cmd      *exec.Cmd
	conn     *wire.Conn
	in, out  *os.File // our ends of its pipes
	scratch  *os.File
	words    tail
	gone     chan struct{} // closed when the process has ended and is waited for
	messages int
}

// tail keeps the last of what a worker says on standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const maxTail = 2 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := maxTail - len(t.b); room > 0 { // the first words say what happened, a stack follows
		t.b = append(t.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// String gives the first line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(string(t.b)), "\n")
	return line
}

// startTime is what a worker has to say that it is ready.
const startTime = 20 * time.Second

// start runs a worker and waits until its walls stand.
func start(o *Options) (w *worker, missing []string, err error) {
	w = &worker{gone: make(chan struct{})}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			err = closeInto(err, f)
		}
		if err != nil && w.cmd == nil {
			w.closeAll()
		}
	}()
	if w.scratch, err = scratchFile(o.Dir); err != nil {
		return nil, nil, err
	}
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	w.in, theirs = in, append(theirs, stdin)
	out, stdout, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	w.out, theirs = out, append(theirs, stdout)
	w.conn = wire.New(out, in)

	cmd := exec.Command(o.Program[0], o.Program[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &w.words
	cmd.ExtraFiles = []*os.File{w.scratch} // descriptor 3
	cmd.Dir = "/"
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=single", "GOGC=100"}
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	w.cmd = cmd
	go func() {
		// How it ended is told by whoever talks with it.
		_ = cmd.Wait()
		close(w.gone)
	}()
	if missing, err = w.ready(); err != nil {
		w.kill()
		return nil, nil, err
	}
	return w, missing, nil
}

// ready waits for the worker's first words.
func (w *worker) ready() ([]string, error) {
	timer := time.AfterFunc(startTime, w.shoot)
	defer timer.Stop()
	var r wire.Ready
	if err := w.conn.Take(wire.KindReady, &r); err != nil {
		w.shoot()
		<-w.gone
		return nil, errs.Wrap(errs.Internal, err, "the worker is not ready: %s (%s)", w.cmd.ProcessState, strconv.Quote(w.words.String()))
	}
	if r.Version != wire.Version {
		return nil, errs.New(errs.Internal, "the worker speaks version %d, this program %d", r.Version, wire.Version)
	}
	return r.Missing, nil
}

// scratchFile makes a file without a name.
func scratchFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "unpack-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, closeInto(err, f)
	}
	return f, nil
}

func closeInto(err error, c io.Closer) error {
	if cerr := c.Close(); err == nil {
		return cerr
	}
	return err
}

func (w *worker) alive() bool {
	select {
	case <-w.gone:
		return false
	default:
		return true
	}
}

// shoot kills the worker's process group and does not wait.
func (w *worker) shoot() {
	if w.alive() {
		killGroup(w.cmd.Process)
	}
}

// kill ends the worker and waits until it is gone.
func (w *worker) kill() {
	w.shoot()
	<-w.gone
	w.closeAll()
}

func (w *worker) closeAll() {
	for _, f := range []*os.File{w.in, w.out, w.scratch} {
		if f != nil {
			_ = f.Close() // pipes and a file without a name: nothing can be lost
		}
	}
}

// obituary says how the worker ended, after it has: of its own words only the
// first line, quoted.
func (w *worker) obituary() string {
	select {
	case <-w.gone:
	case <-time.After(time.Second): // its pipe closed first; it follows, or is killed
		w.shoot()
		<-w.gone
	}
	text := fmt.Sprint(w.cmd.ProcessState)
	if words := w.words.String(); words != "" {
		text += ": " + strconv.Quote(words)
	}
	return text
}
