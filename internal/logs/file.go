package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"lazaret/internal/errs"
)

// FileSettings say how a log subscription is kept. Zero fields get the defaults.
type FileSettings struct {
	MaxSize  int64 // bytes of one file: 10 MiB
	MaxFiles int   // closed files kept: 10
}

// FileOptions name a log file set.
type FileOptions struct {
	Dir      string // such as DIR/log/mail_logs
	Prefix   string // such as mail: files mail.@STAMP.c, link mail.current
	Version  string // for the header
	Serial   string
	Plain    bool // no header and footer lines (audit)
	Settings FileSettings
	Clock    func() time.Time
	Trouble  io.Writer // where to say that the log cannot be written; nil: nowhere
}

// retryWrite is when lines that could not be written are tried again.
const retryWrite = 500 * time.Millisecond

// maxPending bounds the lines that wait for a slow disk; beyond it writers wait.
const maxPending = 8 << 20

// gather is how long lines may wait for others behind a write, so that under
// load one system call takes many of them. A killed process loses no more.
const gather = 3 * time.Millisecond

// gatherBytes is how much may gather before it is written without a pause.
const gatherBytes = 256 << 10

// File is one log subscription on disk: the current file NAME.@STAMP.c, closed
// ones NAME.@STAMP.s, and the link NAME.current. Lines are collected while a
// write is under way and written together, so that a line costs no system call
// under load and is written at once when idle.
type File struct {
	opt FileOptions

	mu      sync.Mutex
	room    *sync.Cond // waits for pending to shrink
	pending []byte
	spare   []byte
	wake    chan struct{}
	hurry   chan struct{} // capacity 1: somebody waits for the writer
	roll    bool
	closed  bool
	done    chan struct{}

	f       *os.File // of the writer goroutine from here on
	size    int64
	broken  bool
	kept    []byte // not written yet
	lost    int    // lines dropped of kept
	flushed *sync.Cond
	written uint64 // bytes accepted and written, for Sync
	queued  uint64
}

// OpenFile opens or makes the current file and starts its writer.
func OpenFile(opt FileOptions) (*File, error) {
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Settings.MaxSize <= 0 {
		opt.Settings.MaxSize = 10 << 20
	}
	if opt.Settings.MaxFiles <= 0 {
		opt.Settings.MaxFiles = 10
	}
	if err := os.MkdirAll(opt.Dir, 0o750); err != nil {
		return nil, errs.Wrap(errs.Internal, err, "log directory")
	}
	w := &File{opt: opt, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), done: make(chan struct{})}
	w.room, w.flushed = sync.NewCond(&w.mu), sync.NewCond(&w.mu)
	if err := w.openCurrent(); err != nil {
		return nil, errs.Wrap(errs.Internal, err, "log file")
	}
	go w.run()
	return w, nil
}

// WriteLine takes one whole line. It waits only when the disk is far behind.
func (w *File) WriteLine(b []byte) {
	w.mu.Lock()
	for len(w.pending) > maxPending && !w.closed {
		w.room.Wait()
	}
	if !w.closed {
		w.pending = append(w.pending, b...)
		w.queued += uint64(len(b))
	}
	w.mu.Unlock()
	w.signal()
}

func (w *File) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// press is signal, and ends the writer's pause.
func (w *File) press() {
	select {
	case w.hurry <- struct{}{}:
	default:
	}
	w.signal()
}

// Rollover closes the current file and starts a new one.
func (w *File) Rollover() {
	w.mu.Lock()
	w.roll = true
	w.mu.Unlock()
	w.press()
	w.Sync()
}

// Sync waits until what was written before is in the file (not on the platter).
func (w *File) Sync() {
	w.press()
	w.mu.Lock()
	defer w.mu.Unlock()
	for target := w.queued; (w.written < target || w.roll) && !w.closed; {
		w.flushed.Wait()
	}
}

// Close writes what is left and ends the writer.
func (w *File) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	w.room.Broadcast()
	w.flushed.Broadcast()
	w.mu.Unlock()
	w.press()
	<-w.done
	return nil
}

// run is the writer. A first line is written at once; those that come soon
// behind it wait for each other.
func (w *File) run() {
	defer close(w.done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for range w.wake {
		if closed := w.round(); closed {
			w.finish()
			return
		}
		pause.Reset(gather)
		select {
		case <-pause.C:
		case <-w.hurry:
		}
	}
}

// round writes what waits; true when that was the last.
func (w *File) round() bool {
	for {
		w.mu.Lock()
		b, roll, closed := w.pending, w.roll, w.closed
		w.pending = w.spare[:0]
		w.room.Broadcast()
		w.mu.Unlock()
		w.write(b)
		if roll {
			w.rollover()
		}
		w.mu.Lock()
		w.written += uint64(len(b))
		w.spare = b[:0]
		if cap(w.spare) > 1<<20 {
			w.spare = nil
		}
		if roll {
			w.roll = false
		}
		more := len(w.pending) > gatherBytes || w.roll || w.closed && !closed
		w.flushed.Broadcast()
		w.mu.Unlock()
		if !more {
			return closed
		}
	}
}

// write puts lines into the file. What cannot be written is kept, as far as
// there is memory for it, and tried again: a full disk costs no line while it
// is full for a time that lines fit in.
func (w *File) write(b []byte) {
	if len(w.kept) > 0 {
		w.kept = append(w.kept, b...)
		b = w.kept
	}
	if len(b) == 0 {
		return
	}
	if err := w.put(b); err != nil {
		if len(w.kept) == 0 {
			w.kept = append(w.kept, b...) // b is the caller's
		}
		w.trouble(err)
		w.shed()
		time.AfterFunc(retryWrite, w.signal)
		return
	}
	if w.broken && w.lost > 0 {
		w.tellLost()
	}
	w.broken, w.lost = false, 0
	if w.kept = w.kept[:0]; cap(w.kept) > 1<<20 {
		w.kept = nil
	}
	if w.size >= w.opt.Settings.MaxSize {
		w.rollover()
	}
}

// put writes all of b or nothing, so that no line is torn.
func (w *File) put(b []byte) error {
	if w.f == nil {
		if err := w.openCurrent(); err != nil {
			if w.f != nil { // its header found no room
				err = errors.Join(err, w.f.Close())
				w.f = nil
			}
			return err
		}
	}
	n, err := w.f.Write(b)
	if err == nil {
		w.size += int64(n)
		return nil
	}
	if n > 0 {
		if e := w.f.Truncate(w.size); e != nil {
			err = errors.Join(err, e)
		}
	}
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		_ = w.f.Close() // it has failed already, and that is told
		w.f = nil
	}
	return err
}

// shed drops the oldest lines beyond what may be kept.
func (w *File) shed() {
	for len(w.kept) > maxPending {
		end := bytes.IndexByte(w.kept[len(w.kept)-maxPending:], '\n')
		if end < 0 {
			w.kept = w.kept[:0]
			return
		}
		end += len(w.kept) - maxPending + 1
		w.lost += bytes.Count(w.kept[:end], []byte{'\n'})
		w.kept = append([]byte(nil), w.kept[end:]...)
	}
}

// tellLost leaves a line where lines are missing.
func (w *File) tellLost() {
	if w.opt.Plain {
		return // the audit log has a form of its own; Trouble has it
	}
	line := w.opt.Clock().Format(stampLayout) + "Warning: " + strconv.Itoa(w.lost) + " log lines were lost while the log could not be written\n"
	n, _ := w.f.WriteString(line) // best effort: trouble comes with the next line
	w.size += int64(n)
}

func (w *File) trouble(err error) {
	if !w.broken && w.opt.Trouble != nil {
		_, _ = fmt.Fprintf(w.opt.Trouble, "log %s cannot be written: %v\n", w.opt.Dir, err)
	}
	w.broken = true
}

// openCurrent goes on with the file that the link names, or starts a new one.
// A torn last line of a killed process is ended first.
func (w *File) openCurrent() error {
	name, err := os.Readlink(w.link())
	if err == nil && w.ours(name) {
		f, err := os.OpenFile(filepath.Join(w.opt.Dir, name), os.O_RDWR|os.O_APPEND, 0o640)
		if err == nil {
			w.closeStale(name)
			return w.resume(f)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	w.closeStale("")
	return w.create()
}

// closeStale gives the closed name to files that a process was killed over
// while it rolled over to the next; empty ones go.
func (w *File) closeStale(current string) {
	open, err := filepath.Glob(filepath.Join(w.opt.Dir, w.opt.Prefix+".@*.c"))
	if err != nil {
		return
	}
	for _, name := range open {
		if filepath.Base(name) == current {
			continue
		}
		if st, err := os.Lstat(name); err == nil && st.Size() == 0 {
			err = os.Remove(name)
			if err != nil {
				w.trouble(err)
			}
			continue
		}
		if err := os.Rename(name, closedName(name)); err != nil {
			w.trouble(err)
		}
	}
}

func closedName(open string) string { return strings.TrimSuffix(open, ".c") + ".s" }

func (w *File) resume(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size = f, st.Size()
	if w.size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], w.size-1); err != nil {
			return errors.Join(err, f.Close())
		}
		if last[0] != '\n' {
			if _, err := f.Write([]byte{'\n'}); err != nil {
				return errors.Join(err, f.Close())
			}
			w.size++
		}
	}
	return w.header()
}

// create starts a new file and points the link at it.
func (w *File) create() error {
	name, err := w.nextName()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(w.opt.Dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if err := w.pointAt(name); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	w.f, w.size = f, 0
	return w.header()
}

// nextName gives a name that sorts behind all others, whatever the clock says:
// the order of the names is the order of the lines for grep and tail. A second
// file of one second, or one after the clock went back, gets a number.
func (w *File) nextName() (string, error) {
	stamp := w.opt.Clock().UTC().Format("20060102T150405")
	files, err := Files(w.opt.Dir, w.opt.Prefix)
	if err != nil {
		return "", err
	}
	if len(files) > 0 {
		last := strings.TrimPrefix(filepath.Base(stem(files[len(files)-1])), w.opt.Prefix+".@")
		if stamp <= last {
			at, digits, _ := strings.Cut(last, "-")
			n, _ := strconv.Atoi(digits) // no number is 0
			stamp = fmt.Sprintf("%s-%06d", at, n+1)
		}
	}
	return w.opt.Prefix + ".@" + stamp + ".c", nil
}

// pointAt replaces the link NAME.current in one step.
func (w *File) pointAt(name string) error {
	tmp := w.link() + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(name, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, w.link())
}

func (w *File) link() string { return filepath.Join(w.opt.Dir, w.opt.Prefix+".current") }

// ours reports whether name is a file of this set.
func (w *File) ours(name string) bool {
	return strings.HasPrefix(name, w.opt.Prefix+".@") && !strings.ContainsRune(name, os.PathSeparator)
}

// header writes the first lines of reference 5.1.
func (w *File) header() error {
	if w.opt.Plain {
		return nil
	}
	now := w.opt.Clock()
	_, offset := now.Zone()
	stamp := now.Format(stampLayout)
	text := stamp + "Info: Begin Logfile\n" +
		stamp + "Info: Version: " + Escape(w.opt.Version) + " SN: " + Escape(w.opt.Serial) + "\n" +
		stamp + fmt.Sprintf("Info: Time offset from UTC: %d seconds\n", offset)
	n, err := w.f.WriteString(text)
	if err != nil && n > 0 {
		return errors.Join(err, w.f.Truncate(w.size)) // no torn line
	}
	w.size += int64(n)
	return err
}

// finish ends the file's life in this process.
func (w *File) finish() {
	if w.f == nil {
		return
	}
	if !w.opt.Plain {
		if _, err := w.f.WriteString(w.opt.Clock().Format(stampLayout) + "Info: End Logfile\n"); err != nil {
			w.trouble(err)
		}
	}
	if err := w.f.Close(); err != nil {
		w.trouble(err)
	}
	w.f = nil
}

// rollover ends the current file, starts the next, and removes the oldest
// beyond the number to keep. The link never names a file that is not there:
// the old one gets its closed name when the link has moved on.
func (w *File) rollover() {
	if w.f == nil {
		return
	}
	old := w.f.Name()
	w.finish()
	if err := w.create(); err != nil {
		w.trouble(err)
		return // the link still names the old one: the next write goes on there
	}
	if err := os.Rename(old, closedName(old)); err != nil {
		w.trouble(err)
	}
	w.prune()
}

// prune removes the oldest closed files beyond the number to keep.
func (w *File) prune() {
	closed, err := Files(w.opt.Dir, w.opt.Prefix)
	if err != nil {
		return
	}
	closed = slices.DeleteFunc(closed, func(name string) bool { return !strings.HasSuffix(name, ".s") })
	for len(closed) > w.opt.Settings.MaxFiles {
		if err := os.Remove(closed[0]); err != nil {
			w.trouble(err)
			return
		}
		closed = closed[1:]
	}
}

// Files gives the files of a log in the order they were written.
func Files(dir, prefix string) ([]string, error) {
	var all []string
	for _, end := range []string{".s", ".c"} {
		found, err := filepath.Glob(filepath.Join(dir, prefix+".@*"+end))
		if err != nil {
			return nil, errs.Wrap(errs.Internal, err, "log files")
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(stem(a), stem(b)) })
	return all, nil
}

func stem(path string) string { return path[:len(path)-len(filepath.Ext(path))] }

// wait pauses for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
