package worker

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/richardlehane/mscfb"
	"golang.org/x/text/encoding/charmap"

	"lazaret/internal/unpack"
	"lazaret/internal/unpack/filetype"
)

// oleKind says what kind of document a compound file is, by its streams.
func oleKind(b *blob) filetype.Type {
	t := filetype.Type{Name: "ole", Group: filetype.Document}
	doc, err := mscfb.New(b)
	if err != nil {
		return t
	}
	for i, e := range doc.File {
		if i > 2000 {
			break
		}
		switch e.Name {
		case "WordDocument":
			t.Name = "doc"
		case "Workbook", "Book":
			t.Name = "xls"
		case "PowerPoint Document":
			t.Name = "ppt"
		case "__properties_version1.0":
			if len(e.Path) == 0 {
				t.Name = "msg"
			}
		case "\u4840\u3f3f\u4577\u446c\u3b6a\u45e4\u4824", "\u4840\u3f7f\u4164\u422f\u4836": // !_StringData, !_Tables
			return filetype.Type{Name: "msi", Group: filetype.Executable}
		}
	}
	return t
}

// ole opens a compound file: every stream is a part, for a document, an
// attachment of a message or a program may lie in any of them.
func (s *session) ole(f *file) {
	doc, err := mscfb.New(f.data)
	if err != nil {
		s.fail(f, err)
		return
	}
	names := attachmentNames(doc)
	macro := false
	for _, e := range doc.File {
		if e.FileInfo().IsDir() {
			continue
		}
		dir := strings.Join(e.Path, "/")
		vba := vbaStorage(e.Path)
		if vba && !macro {
			macro = true
			s.found(unpack.Macro, f, "VBA")
		}
		name := strings.TrimPrefix(dir+"/"+e.Name, "/")
		if n := names[dir]; n != "" && strings.HasPrefix(e.Name, "__substg1.0_3701") {
			name = n
		}
		if s.oleStream(f, e, name, vba) != nil {
			return
		}
	}
}

// vbaStorage reports whether streams of the storage are modules of macros.
func vbaStorage(path []string) bool {
	return len(path) > 0 && strings.EqualFold(path[len(path)-1], "VBA")
}

// attachmentNames gives the names of the attachments of an Outlook message by
// their storage.
func attachmentNames(doc *mscfb.Reader) map[string]string {
	out := map[string]string{}
	for _, e := range doc.File {
		if e.Name == "__substg1.0_3707001F" || e.Name == "__substg1.0_3704001F" && out[strings.Join(e.Path, "/")] == "" {
			b, err := io.ReadAll(io.LimitReader(e, 2<<10))
			if err == nil {
				out[strings.Join(e.Path, "/")] = utf16Text(b)
			}
		}
	}
	return out
}

func utf16Text(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(u)), "\x00")
}

// maxStream is how much of one stream is looked into for macros, objects and
// marks; its bytes are given whole.
const maxStream = 32 << 20

func (s *session) oleStream(f *file, e *mscfb.File, name string, vba bool) error {
	if _, err := e.Seek(0, io.SeekStart); err != nil && e.Size > 0 {
		return s.unread(f, name, unpack.Corrupt, err.Error())
	}
	data, err := s.st.take(s.counted(f, e))
	defer data.release()
	s.fail(f, err)
	if s.stopped || s.broken != nil {
		return errStop
	}
	b := data.bytes()
	b = b[:min(len(b), maxStream)]
	switch {
	case vba:
		s.module(f, name, b)
	case strings.HasSuffix(e.Name, "Ole10Native"):
		s.found(unpack.EmbeddedObject, f, name)
		if inner, bytes := ole10(b); bytes != nil {
			if err := s.member(f, inner, nil, reader(bytes)); err != nil {
				return err
			}
		}
	case e.Name == "EncryptedPackage":
		s.found(unpack.Encrypted, f, "Office")
	case e.Name == "WordDocument":
		if len(b) > 11 && b[0] == 0xec && b[1] == 0xa5 && b[11]&1 != 0 { // FibBase.fEncrypted, MS-DOC 2.5.2
			s.found(unpack.Encrypted, f, "Word")
		}
	case e.Name == "Workbook" || e.Name == "Book":
		s.workbook(f, b)
	}
	if len(e.Path) > 0 && (strings.HasPrefix(e.Path[len(e.Path)-1], "_") && e.Path[0] == "ObjectPool") {
		s.found(unpack.EmbeddedObject, f, name)
	}
	if err := s.member(f, name, nil, reader(b)); err != nil {
		return err
	}
	s.text(f, unpack.Text, strayText(b))
	return s.broken
}

func reader(b []byte) io.Reader { return bytes.NewReader(b) }

// workbook looks at the first records of a BIFF stream, MS-XLS 2.4.
func (s *session) workbook(f *file, b []byte) {
	for range 4000 {
		if len(b) < 4 {
			return
		}
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return
		}
		switch rec := b[4 : 4+n]; {
		case id == 0x2f: // FilePass
			s.found(unpack.Encrypted, f, "Excel")
			return
		case id == 0x85 && n > 5 && rec[5] == 1: // BoundSheet8 of a macro sheet
			s.found(unpack.Macro, f, "XLM")
		}
		b = b[4+n:]
	}
}

// ole10 gives the file inside an Ole10Native stream, or nil: a size, then
// perhaps a label, a file name, a path and the size of the file.
func ole10(b []byte) (name string, data []byte) {
	if len(b) < 6 {
		return "", nil
	}
	rest := b[4:]
	if binary.LittleEndian.Uint16(rest) != 2 {
		return "", rest
	}
	_, rest, _ = bytes.Cut(rest[2:], []byte{0})
	raw, rest, ok := bytes.Cut(rest, []byte{0})
	if !ok || len(rest) < 8 {
		return "", b[4:]
	}
	n := int64(binary.LittleEndian.Uint32(rest[4:]))
	if n > int64(len(rest)-8) {
		return "", b[4:]
	}
	rest = rest[8+n:]
	if len(rest) < 4 {
		return "", b[4:]
	}
	size := int64(binary.LittleEndian.Uint32(rest))
	return latin(raw[:min(len(raw), 1<<10)]), rest[4 : 4+min(size, int64(len(rest)-4))]
}

// latin reads bytes as Windows-1252.
func latin(b []byte) string {
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(out)
}

const shortest = 5 // characters that count as text among other bytes

// strayText gives the runs of text among bytes that are none, in eight bits
// and in UTF-16: what a filter can look for in a format that is not read.
func strayText(b []byte) []byte {
	b = b[:min(len(b), maxText)]
	var out []byte
	run := 0
	for i := 0; i <= len(b); i++ { // eight bits
		if i < len(b) && printable(uint16(b[i])) {
			run++
			continue
		}
		if run >= shortest {
			out = append(append(out, latin(b[i-run:i])...), '\n')
		}
		run = 0
	}
	var wide []uint16
	for i := 0; i < len(b); i++ { // UTF-16, at any place
		if i+1 < len(b) {
			if u := binary.LittleEndian.Uint16(b[i:]); printable(u) {
				wide = append(wide, u)
				i++
				continue
			}
		}
		if len(wide) >= shortest {
			out = append(append(out, string(utf16.Decode(wide))...), '\n')
		}
		wide = wide[:0]
	}
	if len(wide) >= shortest {
		out = append(append(out, string(utf16.Decode(wide))...), '\n')
	}
	return out[:min(len(out), maxText)]
}

// printable reports whether text has the character. Of UTF-16 only the scripts
// of Europe count: two bytes of something else are as likely Chinese.
func printable(c uint16) bool {
	return c >= ' ' && c < 0x7f || c == '\t' || c == '\r' || c == '\n' || c >= 0xa0 && c < 0x530 && c != 0xad
}
