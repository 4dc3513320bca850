package adminssh

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/term"

	"lazaret/internal/console"
)

// terminal is a Console on a pty: lines with an editor and a history, CR LF,
// Ctrl-C.
type terminal struct {
	ch   io.ReadWriter
	in   *keys
	idle time.Duration
	line *term.Terminal
	past term.History

	mu            sync.Mutex
	columns, rows int
	words         func(line string) []string // nil: nothing is completed
}

func newTerminal(ch io.ReadWriter, idle time.Duration) *terminal {
	t := &terminal{ch: ch, in: newKeys(), idle: idle}
	t.renew()
	return t
}

// renew makes the editor anew, with the history it had. An interrupted editor
// keeps the line that was being typed; a new one has none.
func (t *terminal) renew() {
	line := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{editorInput{t}, t.ch}, "")
	if t.past == nil {
		t.past = line.History
	}
	line.History = quietHistory{t.past}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line = line
	if t.columns > 0 {
		line.SetSize(t.columns, max(t.rows, 1))
	}
}

// quietHistory keeps empty lines out.
type quietHistory struct{ term.History }

func (h quietHistory) Add(line string) {
	if line != "" {
		h.History.Add(line)
	}
}

// editorInput feeds the editor byte by byte: what was typed ahead stays with
// us, where a page stop or the next command's Ctrl-C finds it.
type editorInput struct{ t *terminal }

func (e editorInput) Read(p []byte) (int, error) {
	b, err := e.t.in.next(e.t.idle)
	if err != nil || len(p) == 0 {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// pump takes what is typed until the channel closes.
func (t *terminal) pump() {
	buf := make([]byte, 1024)
	for {
		n, err := t.ch.Read(buf)
		t.in.feed(buf[:n])
		if err != nil {
			t.in.end(io.EOF)
			return
		}
	}
}

// resize takes the client's word for its size, within reason.
func (t *terminal) resize(columns, rows uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.columns, t.rows = int(min(columns, 1000)), int(min(rows, 1000))
	if t.columns > 0 {
		t.line.SetSize(t.columns, max(t.rows, 1))
	}
}

func (t *terminal) Size() (columns, rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.columns, t.rows
}

func (t *terminal) Interrupted() <-chan struct{} { return t.in.interrupted() }

// Write ends lines with CR LF.
func (t *terminal) Write(p []byte) (int, error) {
	if _, err := t.ch.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *terminal) ReadLine(prompt string) (string, error) {
	t.in.listen(true)
	defer t.in.listen(false)
	t.line.SetPrompt(prompt)
	return t.ended(t.line.ReadLine())
}

func (t *terminal) ReadPassword(prompt string) (string, error) {
	t.in.listen(true)
	defer t.in.listen(false)
	return t.ended(t.line.ReadPassword(prompt))
}

// ReadKey waits for one key; it is not shown.
func (t *terminal) ReadKey() (byte, error) {
	t.in.listen(true)
	defer t.in.listen(false)
	return t.in.next(t.idle)
}

func (t *terminal) ended(s string, err error) (string, error) {
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, term.ErrPasteIndicator):
		return s, nil
	case errors.Is(err, console.ErrInterrupt):
		t.renew()
		_, werr := t.ch.Write([]byte("^C\r\n"))
		return "", errors.Join(werr, err)
	case errors.Is(err, errIdle):
		t.ch.Write([]byte("\r\nThe session was idle for too long.\r\n"))
		return "", io.EOF
	}
	t.ch.Write([]byte("\r\n"))
	return "", io.EOF
}
