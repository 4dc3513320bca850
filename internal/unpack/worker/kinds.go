package worker

import (
	"bytes"
	"path"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"lazaret/internal/unpack"
	"lazaret/internal/unpack/filetype"
)

// openers are the readers of formats.
var openers map[string]func(*session, *file)

// The readers call each other through the table.
func init() {
	openers = map[string]func(*session, *file){
		"zip": (*session).zip, "jar": (*session).zip, "apk": (*session).zip,
		"docx": (*session).zip, "docm": (*session).zip, "xlsx": (*session).zip, "xlsm": (*session).zip, "xlsb": (*session).zip,
		"pptx": (*session).zip, "pptm": (*session).zip, "odt": (*session).zip, "ods": (*session).zip, "odp": (*session).zip,
		"7z": (*session).seven, "rar": (*session).rar, "tar": (*session).tar,
		"gz": (*session).gzip, "bz2": (*session).bzip2, "xz": (*session).xz, "zst": (*session).zstd, "lz4": (*session).lz4,
		"iso": (*session).iso, "cab": (*session).cab, "ar": (*session).ar, "cpio": (*session).cpio,
		"ole": (*session).ole, "doc": (*session).ole, "xls": (*session).ole, "ppt": (*session).ole, "msg": (*session).ole, "msi": (*session).ole,
		"pdf": (*session).pdf, "tnef": (*session).tnef, "rtf": (*session).rtf, "html": (*session).html, "mail": (*session).mail,
	}
	for _, name := range []string{"rar1", "arj", "ace", "lzh", "z", "lz", "xar", "wim", "vhdx", "vhd", "vmdk", "dmg", "udf", "squashfs", "zpaq", "zoo",
		"rpm", "chm", "one", "pst", "mdb", "accdb"} {
		openers[name] = (*session).unsupported
	}
}

func (s *session) unsupported(f *file) { s.found(unpack.Unsupported, f, f.kind.Name) }

// kindOf says what a file is: by its bytes; of a container, by what is in it.
func (s *session) kindOf(f *file) filetype.Type {
	head := f.data.head(filetype.Len)
	k := filetype.Sniff(head)
	switch {
	case k.Name == "zip":
		return zipKind(f.data)
	case k.Name == "ole":
		return oleKind(f.data)
	case k.Name == "text" && s.called(f, ".eml", "message/rfc822"):
		return filetype.Mail
	case (k.Name == "text" || k.Name == "xml") && s.called(f, ".html", "text/html"):
		return filetype.HTML
	case k == filetype.Unknown:
		return longTail(head)
	}
	return k
}

// called reports whether a text goes under the name or type of something more special.
func (s *session) called(f *file, ext, media string) bool {
	e := strings.ToLower(path.Ext(f.name))
	if e == ext || ext == ".html" && (e == ".htm" || e == ".hta" || e == ".shtml" || e == ".xhtml") {
		return true
	}
	for _, t := range f.types {
		if t == media {
			return true
		}
	}
	return false
}

// longTail asks the library for what our own table does not have.
func longTail(head []byte) filetype.Type {
	m := mimetype.Detect(head)
	name := strings.TrimPrefix(m.Extension(), ".")
	if name == "" {
		return filetype.Unknown
	}
	t := filetype.Type{Name: name, Group: filetype.Other}
	switch major, minor, _ := strings.Cut(m.String(), "/"); {
	case major == "image":
		t.Group = filetype.Image
	case major == "audio" || major == "video":
		t.Group = filetype.Media
	case major == "text":
		t.Group = filetype.Text
	case strings.Contains(minor, "executable") || strings.Contains(minor, "sharedlib") || strings.Contains(minor, "x-object"):
		t.Group = filetype.Executable
	case strings.Contains(minor, "document") || strings.Contains(minor, "msword"):
		t.Group = filetype.Document
	}
	return t
}

// selfExtracting is how far an archive is looked for behind a program.
const selfExtracting = 2 << 20

// another looks for an archive that stands behind something else: readers of
// ZIP look at the end of a file first, others search for a mark.
func (s *session) another(f *file) {
	if f.kind.Group == filetype.Compressed || f.kind.Name == "mail" || zipDocument(f.kind.Name) || s.stopped || s.broken != nil || f.depth >= s.b.Limits.Depth {
		return
	}
	if hasZipEnd(f.data) {
		s.found(unpack.Polyglot, f, "zip")
		s.zip(f)
	}
	if f.kind.Group != filetype.Executable || s.stopped {
		return
	}
	head := f.data.head(selfExtracting)
	for _, a := range []struct {
		mark string
		open func(*session, *file)
	}{{"Rar!\x1a\x07", (*session).rar}, {"7z\xbc\xaf\x27\x1c", (*session).seven}} {
		i := bytes.Index(head, []byte(a.mark))
		if i <= 0 || s.stopped {
			continue
		}
		s.found(unpack.Polyglot, f, a.mark[:2])
		inner := *f
		inner.data = &blob{st: f.data.st, mem: tailOf(f.data, i), off: f.data.off + int64(i), size: f.data.size - int64(i)}
		a.open(s, &inner)
		f.kids = inner.kids
	}
}

// tailOf gives the memory behind i of a blob that is in memory.
func tailOf(b *blob, i int) []byte {
	if b.mem == nil {
		return nil
	}
	return b.mem[i:]
}
