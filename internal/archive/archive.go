// Package archive keeps copies of messages that filters and mail policies want
// kept (reference 7.4, 7.6): files in mbox form, one for each name, on the
// gateway's own disk.
//
// It is not a journal to search in: whoever wants that sends copies elsewhere
// with bcc. It promises that a message is on stable storage when Add returns
// nil, that no file grows beyond a size, and that no name leads out of its
// directory. After a crash a message may stand there twice.
package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Limits of one archive.
const (
	MaxSize  = 100 << 20 // bytes of a file; behind that the next one begins
	MaxFiles = 10        // kept of one name; the oldest goes
)

// Store is the archives of a gateway. Safe for concurrent use.
type Store struct {
	dir     string
	maxSize int64

	mu sync.Mutex
}

// New gives the store in a directory, which is made when it is needed.
func New(dir string) *Store { return &Store{dir: dir, maxSize: MaxSize} }

// Mail is a message to keep.
type Mail struct {
	MID  mail.MID
	From mail.Address
	To   []mail.Address
	At   time.Time
	By   string // why it is kept, one line
}

// name is a file of an archive: NAME.mbox is the one under way, NAME.3.mbox an
// older one, the oldest with the highest number.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)

func (s *Store) path(archive string, n int) string {
	if n == 0 {
		return filepath.Join(s.dir, archive+".mbox")
	}
	return filepath.Join(s.dir, archive+"."+strconv.Itoa(n)+".mbox")
}

// Add appends a message to an archive, durably.
func (s *Store) Add(archive string, m Mail, content io.Reader) error {
	if !name.MatchString(archive) {
		return errs.New(errs.Invalid, "%q is no name of an archive", archive)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.append(archive, m, content); err != nil {
		return errs.Wrap(errs.Temporary, err, "keeping MID %s in the archive %s", m.MID, archive)
	}
	return nil
}

func (s *Store) append(archive string, m Mail, content io.Reader) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	path := s.path(archive, 0)
	if info, err := os.Stat(path); err == nil && info.Size() >= s.maxSize {
		if err := s.roll(archive); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		err = write(f, m, content)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(size)) // half a message is none
	}
	err = errors.Join(err, f.Close())
	if err == nil && size == 0 {
		err = disk.OS{}.SyncDir(s.dir)
	}
	return err
}

// write writes a message as mboxrd has it: line ends are LF, a line that begins
// with From, behind any number of >, gets one more >. What is put in front says
// who it was for.
func write(f io.Writer, m Mail, content io.Reader) error {
	w := bufio.NewWriterSize(f, 64<<10)
	from := m.From.String()
	if m.From.IsNull() || strings.ContainsAny(from, " \t") {
		from = "MAILER-DAEMON"
	}
	fmt.Fprintf(w, "From %s %s\n", from, m.At.UTC().Format(time.ANSIC))
	fmt.Fprintf(w, "X-Lazaret-MID: %s\nX-Lazaret-Archived: %s\nX-Lazaret-From: <%s>\n", m.MID, m.By, m.From)
	for _, a := range m.To {
		fmt.Fprintf(w, "X-Lazaret-To: <%s>\n", a)
	}
	if err := quoted(w, content); err != nil {
		return err
	}
	return w.Flush()
}

// quoted copies content.
func quoted(w *bufio.Writer, content io.Reader) error {
	r := bufio.NewReaderSize(content, 64<<10)
	start, ended := true, true
	for {
		piece, err := r.ReadSlice('\n')
		if len(piece) > 0 {
			if start && bytes.HasPrefix(bytes.TrimLeft(piece, ">"), []byte("From ")) {
				w.WriteByte('>') // errors stay with w
			}
			if start = piece[len(piece)-1] == '\n'; start {
				piece = bytes.TrimSuffix(piece[:len(piece)-1], []byte{'\r'})
			}
			ended = start
			w.Write(piece)
			if start {
				w.WriteByte('\n')
			}
		}
		switch {
		case err == bufio.ErrBufferFull:
		case err == io.EOF:
			if !ended {
				w.WriteByte('\n')
			}
			return w.WriteByte('\n')
		case err != nil:
			return err
		}
	}
}

// roll gives each file of an archive the next number, and removes the oldest.
func (s *Store) roll(archive string) error {
	if err := os.Remove(s.path(archive, MaxFiles-1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for n := MaxFiles - 2; n >= 0; n-- {
		if err := os.Rename(s.path(archive, n), s.path(archive, n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.OS{}.SyncDir(s.dir)
}

// RollOver ends the file under way of an archive: what comes next begins another.
func (s *Store) RollOver(archive string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Stat(s.path(archive, 0)); !name.MatchString(archive) || errors.Is(err, fs.ErrNotExist) {
		return errs.New(errs.NotFound, "there is no archive %q with a file under way", archive)
	}
	return errs.Wrap(errs.Internal, s.roll(archive), "rolling over the archive %s", archive)
}

// File is one file of an archive.
type File struct {
	Path string
	Size int64
	At   time.Time // last written
}

// List gives all files, by name.
func (s *Store) List() ([]File, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading the archives")
	}
	var out []File
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasSuffix(e.Name(), ".mbox") {
			continue
		}
		out = append(out, File{Path: filepath.Join(s.dir, e.Name()), Size: info.Size(), At: info.ModTime()})
	}
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}
