package worker

import (
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"lazaret/internal/unpack"
	"lazaret/internal/unpack/filetype"
)

// openZip opens an archive with all methods that a reader here knows.
func openZip(b *blob) (*zip.Reader, error) {
	z, err := zip.NewReader(b, b.size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, err
	}
	z.RegisterDecompressor(12, func(r io.Reader) io.ReadCloser { return io.NopCloser(bzip2.NewReader(r)) })
	z.RegisterDecompressor(14, zipLZMA)
	z.RegisterDecompressor(93, func(r io.Reader) io.ReadCloser { return opened(newZstd(r)) })
	z.RegisterDecompressor(95, func(r io.Reader) io.ReadCloser { return opened(xz.NewReader(r)) })
	return z, nil
}

// opened makes a ReadCloser of what a constructor gave; its error comes at the first read.
func opened(r io.Reader, err error) io.ReadCloser {
	if err != nil {
		return io.NopCloser(failing{err})
	}
	return io.NopCloser(r)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// maxWindow is the largest dictionary of a stream that is opened.
const maxWindow = 128 << 20

func newZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
}

// zipLZMA reads method 14, APPNOTE 5.8.8: a version, the size of the
// properties, and a stream whose header lacks the length.
func zipLZMA(r io.Reader) io.ReadCloser {
	var h [9]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return opened(nil, err)
	}
	if h[2] != 5 || h[3] != 0 {
		return opened(nil, errors.New("LZMA properties of a size other than 5"))
	}
	classic := append(bytes.Clone(h[4:]), bytes.Repeat([]byte{0xff}, 8)...)
	return opened(lzma.NewReader(io.MultiReader(bytes.NewReader(classic), r)))
}

// hasZipEnd reports whether the end of the file is that of an archive.
func hasZipEnd(b *blob) bool {
	const tail = 22 + 1<<16
	p := make([]byte, min(tail, b.size))
	n, _ := b.ReadAt(p, b.size-int64(len(p)))
	if !bytes.Contains(p[:n], []byte("PK\x05\x06")) {
		return false
	}
	z, err := openZip(b)
	return err == nil && len(z.File) > 0
}

func zipDocument(name string) bool {
	switch name {
	case "docx", "docm", "xlsx", "xlsm", "xlsb", "pptx", "pptm", "odt", "ods", "odp":
		return true
	}
	return false
}

// zipKind says what kind of document an archive is.
func zipKind(b *blob) filetype.Type {
	plain := filetype.Type{Name: "zip", Group: filetype.Compressed}
	z, err := openZip(b)
	if err != nil {
		return plain
	}
	kind, macro := "", false
	for _, f := range z.File[:min(len(z.File), 2000)] {
		n := strings.ToLower(strings.ReplaceAll(f.Name, `\`, "/"))
		switch {
		case n == "androidmanifest.xml":
			return filetype.Type{Name: "apk", Group: filetype.Executable}
		case n == "word/document.xml" || n == "word/document2.xml":
			kind = "doc"
		case n == "xl/workbook.xml":
			kind = "xls"
		case n == "xl/workbook.bin":
			return filetype.Type{Name: "xlsb", Group: filetype.Document}
		case n == "ppt/presentation.xml":
			kind = "ppt"
		case n == "mimetype":
			if k := odfKind(f); k != "" {
				return filetype.Type{Name: k, Group: filetype.Document}
			}
		case n == "meta-inf/manifest.mf" && kind == "":
			plain = filetype.Type{Name: "jar", Group: filetype.Executable}
		}
		macro = macro || strings.HasSuffix(n, "/vbaproject.bin") || strings.HasPrefix(n, "xl/macrosheets/")
	}
	switch {
	case kind == "":
		return plain
	case macro:
		return filetype.Type{Name: kind + "m", Group: filetype.Document}
	}
	return filetype.Type{Name: kind + "x", Group: filetype.Document}
}

func odfKind(f *zip.File) string {
	r, err := f.Open()
	if err != nil {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(r, 100)) // what cannot be read is no ODF
	rest, ok := strings.CutPrefix(string(b), "application/vnd.oasis.opendocument.")
	switch {
	case !ok:
		return ""
	case strings.HasPrefix(rest, "spreadsheet"):
		return "ods"
	case strings.HasPrefix(rest, "presentation"):
		return "odp"
	}
	return "odt"
}

// zip opens an archive. Readers differ on which list of files counts, the one
// at the end or the headers in front of the files: the union is taken.
func (s *session) zip(f *file) {
	z, err := openZip(f.data)
	if err != nil {
		s.fail(f, err)
		s.localFiles(f, 0, f.data.size, nil)
		return
	}
	doc := s.newOffice(f)
	names := map[string]bool{}
	spans := zipSpans(f, z)
	s.overlap(f, spans)
	for _, e := range z.File {
		low := strings.ToLower(e.Name)
		if names[low] {
			s.found(unpack.DuplicateMember, f, e.Name)
		}
		names[low] = true
		if err := s.zipEntry(f, e, doc); err != nil {
			return
		}
	}
	doc.done()
	s.gaps(f, spans)
}

// overlap looks for files that share bytes: a few kilobytes that are a thousand
// files each unpack to any size, and only a forger writes such an archive.
func (s *session) overlap(f *file, spans []span) {
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			s.found(unpack.OverlapMember, f, "")
			return
		}
	}
}

func (s *session) zipEntry(f *file, e *zip.File, doc *office) error {
	if strings.HasSuffix(e.Name, "/") && e.UncompressedSize64 == 0 && e.CompressedSize64 == 0 {
		return nil // a directory
	}
	if e.Mode()&1<<27 != 0 {
		s.found(unpack.Link, f, e.Name)
	}
	if e.Flags&1 != 0 || e.Method == 99 {
		return s.sealed(f, e.Name)
	}
	if e.Method != zip.Store && e.Method != zip.Deflate {
		s.found(unpack.UnusualMethod, f, "ZIP method "+itoa(int(e.Method)))
	}
	r, err := e.Open()
	switch {
	case errors.Is(err, zip.ErrAlgorithm):
		return s.unread(f, e.Name, unpack.Unsupported, "ZIP method "+itoa(int(e.Method)))
	case err != nil:
		return s.unread(f, e.Name, unpack.Corrupt, err.Error())
	}
	if doc == nil {
		return s.member(f, e.Name, nil, r)
	}
	return doc.member(e.Name, r)
}

// sealed lists a file that only a password opens.
func (s *session) sealed(f *file, name string) error {
	return s.unread(f, name, unpack.Encrypted, name)
}

// unread lists a file whose bytes do not come out.
func (s *session) unread(f *file, name string, why unpack.Kind, detail string) error {
	s.found(why, f, detail)
	return s.member(f, name, nil, bytes.NewReader(nil))
}

// span is a run of bytes that belongs to a listed file.
type span struct{ from, to int64 }

// zipSpans gives the runs of all listed files, in order.
func zipSpans(f *file, z *zip.Reader) (spans []span) {
	for _, e := range z.File {
		if off, err := e.DataOffset(); err == nil {
			spans = append(spans, span{off, off + int64(min(e.CompressedSize64, uint64(f.data.size)))})
		}
	}
	sort.Slice(spans, func(i, j int) bool { return spans[i].from < spans[j].from })
	return spans
}

// gaps looks between the listed files for others; spans are in order.
func (s *session) gaps(f *file, spans []span) {
	known := map[int64]bool{}
	for _, p := range spans {
		known[p.from] = true
	}
	at := int64(0)
	for _, p := range append(spans, span{f.data.size, f.data.size}) {
		if p.from > at && !s.stopped {
			s.localFiles(f, at, p.from, known)
		}
		at = max(at, p.to)
	}
}

const localHeader = "PK\x03\x04"

// localFiles reads files by the headers in front of them, but for those whose
// data begin at a known place. Only the bytes between from and to are searched.
func (s *session) localFiles(f *file, from, to int64, known map[int64]bool) {
	all := f.data.bytes()
	to = min(to, int64(len(all)))
	for at := from; at < to && !s.stopped && s.broken == nil; {
		i := bytes.Index(all[at:to], []byte(localHeader))
		if i < 0 {
			return
		}
		at += int64(i)
		h := all[at:]
		at += 4
		if len(h) < 30 {
			return
		}
		le := binary.LittleEndian
		nameLen, extra := int(le.Uint16(h[26:])), int(le.Uint16(h[28:]))
		data := at - 4 + 30 + int64(nameLen) + int64(extra)
		if data > int64(len(all)) || known[data] {
			continue
		}
		name := string(h[30 : 30+nameLen])
		s.found(unpack.HiddenMember, f, name)
		at = max(at, s.localFile(f, name, le.Uint16(h[6:]), le.Uint16(h[8:]), int64(le.Uint32(h[18:])), data))
	}
}

// localFile reads one of them and gives the place where its data end, as far as that is known.
func (s *session) localFile(f *file, name string, flags, method uint16, size, data int64) int64 {
	end := f.data.size
	if size > 0 && size < end-data {
		end = data + size
	}
	raw := io.NewSectionReader(f.data, data, end-data)
	switch {
	case flags&1 != 0:
		_ = s.sealed(f, name)
	case method == zip.Deflate:
		_ = s.member(f, name, nil, flate.NewReader(raw))
	case method == zip.Store:
		_ = s.member(f, name, nil, raw)
	default:
		_ = s.unread(f, name, unpack.Unsupported, "ZIP method "+itoa(int(method)))
	}
	if size > 0 && end < f.data.size {
		return end
	}
	return data
}
