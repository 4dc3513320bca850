package worker

import (
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/unpack"
	"lazaret/internal/unpack/filetype"
	"lazaret/internal/unpack/wire"
)

// file is an object, or something found in one.
type file struct {
	path  string
	name  string
	types []string
	depth int
	kids  int
	kind  filetype.Type
	data  *blob
}

// session is the unpacking of one object.
type session struct {
	c        *wire.Conn
	b        wire.Begin
	st       *store
	parts    int
	bytes    int64
	budget   int64
	ratio    bool // the budget is that of the ratio
	deadline time.Time
	stopped  bool  // a limit is reached: nothing more is opened
	broken   error // of the connection
}

// errStop is an error of ours at a limit. Readers may wrap it or lose it:
// stopped tells.
var errStop = errors.New("limit reached")

// free is how much may come out of an object whatever its size.
const free = 8 << 20

func (s *session) begin(size int64) {
	l := s.b.Limits
	s.deadline = time.Now().Add(time.Duration(l.Millis) * time.Millisecond)
	s.budget = l.Bytes
	if most := max(free, size*l.Ratio); most < s.budget {
		s.budget, s.ratio = most, true
	}
}

// note sends a finding.
func (s *session) note(kind string, f *file, detail string) {
	if s.broken == nil {
		s.broken = s.c.Send(wire.KindNote, wire.Note{Kind: kind, Path: f.path, Detail: clip(detail)})
	}
}

func (s *session) found(k unpack.Kind, f *file, detail string) { s.note(string(k), f, detail) }

// stop ends the unpacking at a limit.
func (s *session) stop(k unpack.Kind, f *file) error {
	if !s.stopped {
		s.stopped = true
		s.found(k, f, "")
	}
	return errStop
}

// fail tells what an error of a reader means for the file.
func (s *session) fail(f *file, err error) {
	if err == nil || s.stopped || s.broken != nil {
		return
	}
	s.found(unpack.Corrupt, f, err.Error())
}

// counted counts what comes out of a reader.
func (s *session) counted(f *file, r io.Reader) io.Reader { return &counter{s, f, r} }

type counter struct {
	s *session
	f *file
	r io.Reader
}

func (c *counter) Read(p []byte) (int, error) {
	s := c.s
	if s.stopped {
		return 0, errStop
	}
	if time.Now().After(s.deadline) {
		return 0, s.stop(unpack.TimeLimit, c.f)
	}
	n, err := c.r.Read(p)
	if s.bytes += int64(n); s.bytes > s.budget {
		if s.ratio {
			return n, s.stop(unpack.RatioLimit, c.f)
		}
		return n, s.stop(unpack.SizeLimit, c.f)
	}
	return n, err
}

// member takes the next file out of a container. Its error is errStop or that
// of the connection: what is wrong with the file is noted.
func (s *session) member(parent *file, name string, types []string, r io.Reader) error {
	if s.stopped {
		return errStop
	}
	if s.parts++; s.parts > s.b.Limits.Parts {
		return s.stop(unpack.PartLimit, parent)
	}
	parent.kids++
	f := &file{name: name, types: types, depth: parent.depth + 1, path: strconv.Itoa(parent.kids)}
	if parent.path != "" {
		f.path = parent.path + "." + f.path
	}
	s.checkName(f)
	data, err := s.st.take(s.counted(f, r))
	f.data = data
	defer data.release()
	s.fail(f, err)
	s.open(f)
	if s.broken != nil {
		return s.broken
	}
	if s.stopped {
		return errStop
	}
	return nil
}

// checkName looks for names that lead out of the directory they are put in.
func (s *session) checkName(f *file) {
	n := strings.ReplaceAll(f.name, `\`, "/")
	if strings.HasPrefix(n, "/") || n == ".." || strings.HasPrefix(n, "../") || strings.Contains(n, "/../") || strings.HasSuffix(n, "/..") ||
		len(n) > 1 && n[1] == ':' || strings.ContainsAny(n, "\x00\r\n") {
		s.found(unpack.MemberPath, f, f.name)
	}
}

// open tells of a file, gives its bytes, and opens it.
func (s *session) open(f *file) {
	f.kind = s.kindOf(f)
	s.mismatch(f)
	send := s.b.Content && f.depth > 0 || s.b.Text && f.depth > 0 && (f.kind.Group == filetype.Text || f.kind.Name == "script" || f.kind.Name == "svg")
	s.part(f, unpack.Content)
	if send {
		s.send(f.data.reader(0))
	}
	s.end(f.data.size)
	if s.stopped || s.broken != nil {
		return
	}
	if f.depth > 0 {
		s.wide(f)
	}
	open := openers[f.kind.Name]
	if open == nil {
		s.another(f)
		return
	}
	if f.depth >= s.b.Limits.Depth {
		// Documents that hold only text are read at any depth.
		_ = s.stop(unpack.DepthLimit, f)
		return
	}
	open(s, f)
	s.another(f)
}

// wide gives text in two bytes a character as text to match, at any depth.
func (s *session) wide(f *file) {
	if head := f.data.head(2); f.kind.Group == filetype.Text && (string(head) == "\xff\xfe" || string(head) == "\xfe\xff") {
		s.text(f, unpack.Text, toUTF8(f.data.bytes()))
	}
}

// mismatch notes a program under the name of something else.
func (s *session) mismatch(f *file) {
	if f.kind.Group != filetype.Executable || f.kind.Name == "script" {
		return
	}
	switch strings.ToLower(path.Ext(f.name)) {
	case ".txt", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".rtf", ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".mp3", ".mp4", ".htm", ".html", ".csv", ".xml", ".zip":
		s.found(unpack.TypeMismatch, f, f.kind.Name)
	}
}

func (s *session) part(f *file, view string) {
	if s.broken == nil {
		s.broken = s.c.Send(wire.KindPart, wire.Part{Path: f.path, Name: clip(f.name), Type: f.kind.Name, Group: string(f.kind.Group), Depth: f.depth, View: view})
	}
}

func (s *session) end(size int64) {
	if s.broken == nil {
		s.broken = s.c.Send(wire.KindEnd, wire.End{Size: size})
	}
}

// send sends bytes of the part under way.
func (s *session) send(r io.Reader) {
	buf := make([]byte, wire.MaxData)
	for s.broken == nil {
		n, err := r.Read(buf)
		if n > 0 {
			s.broken = s.c.Data(buf[:n])
		}
		if err != nil {
			return // a blob's end; the scratch file does not fail otherwise
		}
	}
}

// maxText is how much of one document is read for its text.
const maxText = 8 << 20

// text sends extracted text.
func (s *session) text(f *file, view string, text []byte) {
	if len(text) == 0 || !s.b.Text {
		return
	}
	if len(text) > maxText {
		s.found(unpack.TextLimit, f, "")
		text = text[:maxText]
	}
	s.part(f, view)
	if s.broken == nil {
		s.broken = s.c.Data(text)
	}
	s.end(int64(len(text)))
}

// clip makes a name short enough for a frame.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 1<<10)], "\uFFFD") }
