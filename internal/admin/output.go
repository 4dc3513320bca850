package admin

import (
	"strings"
	"unicode/utf8"

	"lazaret/internal/console"
)

const (
	more      = "-Press Any Key For More-" // clients 2.2
	clearMore = "\r                         \r"
	bufferMax = 32 * 1024
)

// output stands between a handler and the console: it makes text harmless,
// gathers it into large writes, and stops after each screen in a shell.
type output struct {
	c      console.Console
	keys   console.KeyReader // nil: never page
	live   bool              // tail: every write goes out at once, without pages
	buf    []byte
	rest   string // an unfinished character
	lines  int    // on this screen
	column int
	err    error // the first failed write, or ErrInterrupt at a page
}

// newOutput pages only in a shell on a terminal with a known size.
func newOutput(c console.Console, shell bool) *output {
	o := &output{c: c}
	if k, ok := c.(console.KeyReader); ok && shell {
		o.keys = k
	}
	return o
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	var clean string
	clean, o.rest = sanitise(o.rest + string(p))
	o.page(clean)
	if o.err == nil && (o.live || len(o.buf) >= bufferMax) {
		o.flush()
	}
	if o.err != nil {
		return 0, o.err
	}
	return len(p), nil
}

// page passes text on, with a stop before each line that would push the first
// one of this screen out.
func (o *output) page(s string) {
	columns, rows := o.c.Size()
	if o.keys == nil || o.live || rows < 2 {
		o.buf = append(o.buf, s...)
		return
	}
	columns = max(columns, 1)
	for s != "" && o.err == nil {
		line, tail, ended := strings.Cut(s, "\n")
		if o.lines >= rows-1 && o.column == 0 {
			o.stop()
			if o.err != nil {
				return
			}
		}
		o.buf = append(o.buf, line...)
		o.column += utf8.RuneCountInString(line)
		if ended {
			o.buf = append(o.buf, '\n')
			o.lines += 1 + max(o.column-1, 0)/columns
			o.column = 0
		}
		s = tail
	}
}

// stop shows a page and waits for a key; q and Ctrl-C end the command.
func (o *output) stop() {
	o.flush()
	if o.err != nil {
		return
	}
	if _, o.err = o.c.Write([]byte(more)); o.err != nil {
		return
	}
	key, err := o.keys.ReadKey()
	if _, werr := o.c.Write([]byte(clearMore)); err == nil {
		err = werr
	}
	if err == nil && (key == 'q' || key == 'Q') {
		err = console.ErrInterrupt
	}
	o.err = err
	o.lines = 0
}

// flush sends what is gathered. A question starts a new screen.
func (o *output) flush() {
	if o.err != nil || len(o.buf) == 0 {
		return
	}
	_, o.err = o.c.Write(o.buf)
	o.buf = o.buf[:0]
}

// finish ends the output of one command: a line that was begun is ended.
func (o *output) finish() {
	if o.rest != "" && o.err == nil {
		var b strings.Builder
		for i := 0; i < len(o.rest); i++ {
			writeRune(&b, utf8.RuneError, o.rest[i:i+1], false)
		}
		o.rest = ""
		o.page(b.String())
	}
	o.flush()
	o.lines, o.column = 0, 0
}
