package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"time"

	"lazaret/internal/errs"
)

// GrepOptions say what to look for, reference 6.7.
type GrepOptions struct {
	Pattern    string // RE2
	IgnoreCase bool   // -i
	Context    int    // -C: lines before and behind a hit, at most 1000
}

// NothingFound is what grep says without a hit.
const NothingFound = "No results were found. Use another regular expression(s) to search."

// maxLine is the longest line that grep and tail read; ours are far shorter.
const maxLine = 256 << 10

// Grep writes the matching lines of all files of a log, oldest first, and
// gives their number. A bad pattern is errs.Invalid.
func Grep(ctx context.Context, dir, prefix string, o GrepOptions, w io.Writer) (int, error) {
	re, err := compile(o)
	if err != nil {
		return 0, err
	}
	files, err := Files(dir, prefix)
	if err != nil {
		return 0, err
	}
	g := grep{re: re, w: w, around: min(max(o.Context, 0), 1000)}
	for _, name := range files {
		if err := g.file(ctx, name); err != nil {
			return g.hits, err
		}
	}
	return g.hits, nil
}

func compile(o GrepOptions) (*regexp.Regexp, error) {
	if len(o.Pattern) > 4096 {
		return nil, errs.New(errs.Invalid, "regular expression is longer than 4096 bytes")
	}
	pattern := o.Pattern
	if o.IgnoreCase {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, errs.New(errs.Invalid, "regular expression: %v", err)
	}
	return re, nil
}

type grep struct {
	re     *regexp.Regexp
	w      io.Writer
	around int
	hits   int
	before [][]byte
	after  int
}

func (g *grep) file(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // rolled over meanwhile
	}
	if err != nil {
		return errs.Wrap(errs.Internal, err, "reading the log")
	}
	defer func() { _ = f.Close() }() // only read
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 64<<10), maxLine)
	for n := 0; s.Scan(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := g.line(s.Bytes()); err != nil {
			return err
		}
	}
	return errs.Wrap(errs.Internal, s.Err(), "reading the log")
}

func (g *grep) line(b []byte) error {
	if !g.re.Match(b) {
		if g.after > 0 {
			g.after--
			return g.put(b)
		}
		if g.around > 0 {
			if len(g.before) == g.around {
				g.before = append(g.before[:0], g.before[1:]...)
			}
			g.before = append(g.before, append([]byte(nil), b...))
		}
		return nil
	}
	g.hits++
	for _, earlier := range g.before {
		if err := g.put(earlier); err != nil {
			return err
		}
	}
	g.before, g.after = g.before[:0], g.around
	return g.put(b)
}

func (g *grep) put(b []byte) error {
	if _, err := g.w.Write(b); err != nil {
		return err
	}
	_, err := g.w.Write([]byte{'\n'})
	return err
}

// Tail writes the last lines of a log and then what is added, over rollovers,
// until ctx ends; that is no error. A pattern, if given, chooses lines.
func Tail(ctx context.Context, dir, prefix string, lines int, o GrepOptions, w io.Writer) error {
	re, err := compile(o)
	if err != nil {
		return err
	}
	t := tail{re: re, w: w}
	defer t.close()
	files, err := Files(dir, prefix)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errs.New(errs.NotFound, "the log %s has no file yet", prefix)
	}
	if err := t.open(files[len(files)-1]); err != nil {
		return errs.Wrap(errs.Internal, err, "reading the log")
	}
	if err := t.back(min(max(lines, 0), 1000)); err != nil {
		return err
	}
	for {
		if err := t.drain(); err != nil {
			return err
		}
		if !wait(ctx, 200*time.Millisecond) {
			return nil
		}
		if err := t.follow(dir, prefix); err != nil {
			return err
		}
	}
}

type tail struct {
	re   *regexp.Regexp
	w    io.Writer
	name string // of f when it was opened; its stem orders it among the others
	f    *os.File
	r    *bufio.Reader
	part []byte // of a line that is not complete yet
}

// open goes to the start of a file, under its closed name if it just got that.
func (t *tail) open(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.Open(closedName(name))
	}
	if err != nil {
		return err
	}
	t.close()
	t.name, t.f, t.r, t.part = name, f, bufio.NewReaderSize(f, 64<<10), t.part[:0]
	return nil
}

func (t *tail) close() {
	if t.f != nil {
		_ = t.f.Close() // only read
	}
}

// back places the reader n lines before the end.
func (t *tail) back(n int) error {
	end, err := t.f.Seek(0, io.SeekEnd)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "reading the log")
	}
	const reach = 256 << 10
	start := max(end-reach, 0)
	b := make([]byte, end-start)
	if _, err := t.f.ReadAt(b, start); err != nil && err != io.EOF {
		return errs.Wrap(errs.Internal, err, "reading the log")
	}
	at := len(b)
	for i := len(b) - 2; i >= 0 && n > 0; i-- {
		if b[i] == '\n' {
			n--
			at = i + 1
		}
	}
	if n > 0 && start == 0 {
		at = 0
	}
	_, err = t.f.Seek(start+int64(at), io.SeekStart)
	t.r.Reset(t.f)
	return errs.Wrap(errs.Internal, err, "reading the log")
}

// drain writes the complete lines there are.
func (t *tail) drain() error {
	for {
		b, err := t.r.ReadSlice('\n')
		t.part = append(t.part, b...)
		if err == bufio.ErrBufferFull && len(t.part) < maxLine {
			continue
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return errs.Wrap(errs.Internal, err, "reading the log")
		}
		line := t.part
		t.part = t.part[:0]
		if t.re.Match(bytes.TrimSuffix(line, []byte{'\n'})) { // so that $ means the end of the line
			if _, err := t.w.Write(line); err != nil {
				return err
			}
		}
	}
}

// follow goes on with the next file when there is one. It takes them one by
// one: under load several may come and go between two looks.
func (t *tail) follow(dir, prefix string) error {
	for {
		files, err := Files(dir, prefix)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(files, func(name string) bool { return stem(name) > stem(t.name) })
		if i < 0 {
			return nil
		}
		if err := t.drain(); err != nil { // what came before the change of files
			return err
		}
		err = t.open(files[i])
		if errors.Is(err, os.ErrNotExist) {
			t.name = files[i] // removed before it was read: on to the next
			continue
		}
		if err != nil {
			return errs.Wrap(errs.Internal, err, "reading the log")
		}
		if err := t.drain(); err != nil {
			return err
		}
	}
}
