package worker

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/bodgit/sevenzip"
	"github.com/nwaples/rardecode/v2"
	"github.com/ulikunitz/xz"

	"lazaret/internal/unpack"
)

func itoa(n int) string { return strconv.Itoa(n) }

// aesCoder is the number of AES in the list of coders of a 7z archive. An
// encrypted list of files says nothing but this.
var aesCoder = []byte{0x06, 0xf1, 0x07, 0x01}

func (s *session) seven(f *file) {
	z, err := sevenzip.NewReader(f.data, f.data.size)
	if err != nil {
		var re *sevenzip.ReadError
		all := f.data.bytes()
		if errors.As(err, &re) && re.Encrypted || bytes.Contains(all[max(0, len(all)-4096):], aesCoder) {
			s.found(unpack.Encrypted, f, "")
			return
		}
		s.fail(f, err)
		return
	}
	for _, e := range z.File {
		if e.FileInfo().IsDir() {
			continue
		}
		if e.Mode()&1<<27 != 0 {
			s.found(unpack.Link, f, e.Name)
		}
		if err := s.sevenEntry(f, e); err != nil {
			return
		}
	}
}

func (s *session) sevenEntry(f *file, e *sevenzip.File) error {
	r, err := e.Open()
	if err != nil {
		return s.sevenError(f, e.Name, err)
	}
	defer func() { _ = r.Close() }() // it was read; there is nothing to lose
	br := bufio.NewReaderSize(r, 64<<10)
	if _, err := br.Peek(1); err != nil && err != io.EOF {
		return s.sevenError(f, e.Name, err)
	}
	return s.member(f, e.Name, nil, br)
}

func (s *session) sevenError(f *file, name string, err error) error {
	var re *sevenzip.ReadError
	switch {
	case errors.As(err, &re) && re.Encrypted:
		return s.sealed(f, name)
	case strings.Contains(err.Error(), "unsupported") || strings.Contains(err.Error(), "algorithm"):
		return s.unread(f, name, unpack.Unsupported, err.Error())
	}
	return s.unread(f, name, unpack.Corrupt, err.Error())
}

func (s *session) rar(f *file) {
	z, err := rardecode.NewReader(bufio.NewReaderSize(f.data.reader(0), 64<<10), rardecode.MaxDictionarySize(maxWindow))
	if err != nil {
		s.rarError(f, err)
		return
	}
	for {
		h, err := z.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			s.rarError(f, err)
			return
		}
		switch {
		case h.IsDir:
			continue
		case h.LinkType != rardecode.LinkTypeNone && h.LinkType != rardecode.LinkTypeFileCopy:
			s.found(unpack.Link, f, h.Name+" "+h.LinkTarget)
		}
		if h.Encrypted {
			err = s.sealed(f, h.Name)
		} else {
			err = s.member(f, h.Name, nil, z)
		}
		if err != nil {
			return
		}
	}
}

func (s *session) rarError(f *file, err error) {
	switch {
	case errors.Is(err, rardecode.ErrArchiveEncrypted) || errors.Is(err, rardecode.ErrArchivedFileEncrypted) || errors.Is(err, rardecode.ErrBadPassword):
		s.found(unpack.Encrypted, f, "")
	case errors.Is(err, rardecode.ErrMultiVolume) || errors.Is(err, rardecode.ErrDictionaryTooLarge) || errors.Is(err, rardecode.ErrUnsupportedDecoder) ||
		errors.Is(err, rardecode.ErrUnknownDecoder) || errors.Is(err, rardecode.ErrUnknownVersion) || errors.Is(err, rardecode.ErrUnknownEncryptMethod):
		s.found(unpack.Unsupported, f, err.Error())
	default:
		s.fail(f, err)
	}
}

func (s *session) tar(f *file) {
	z := tar.NewReader(bufio.NewReaderSize(f.data.reader(0), 64<<10))
	for {
		h, err := z.Next()
		if err == io.EOF {
			return
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			s.fail(f, err)
			return
		}
		switch h.Typeflag {
		case tar.TypeDir:
			continue
		case tar.TypeSymlink, tar.TypeLink:
			s.found(unpack.Link, f, h.Name+" "+h.Linkname)
		}
		if s.member(f, h.Name, nil, z) != nil {
			return
		}
	}
}

// inner gives the name of what a compressed stream holds.
func inner(name string) string {
	ext := path.Ext(name)
	switch strings.ToLower(ext) {
	case ".tgz", ".tbz", ".tbz2", ".txz", ".tzst":
		return strings.TrimSuffix(name, ext) + ".tar"
	}
	return strings.TrimSuffix(name, ext)
}

// gzip joins the streams of the file, as the format has it. What stands behind
// them, some readers take for more of the file and some do not look at.
func (s *session) gzip(f *file) {
	br := bufio.NewReaderSize(f.data.reader(0), 64<<10)
	z, err := gzip.NewReader(br)
	if err != nil {
		s.fail(f, err)
		return
	}
	z.Multistream(false)
	name := z.Name
	if name == "" {
		name = inner(f.name)
	}
	if s.member(f, name, nil, &gzipStreams{br: br, z: z}) == nil {
		s.trailing(f, br)
	}
}

// gzipStreams ends behind the last stream.
type gzipStreams struct {
	br *bufio.Reader
	z  *gzip.Reader
}

func (g *gzipStreams) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	if err != io.EOF {
		return n, err
	}
	if next, _ := g.br.Peek(2); string(next) != "\x1f\x8b" {
		return n, io.EOF
	}
	if err := g.z.Reset(g.br); err != nil {
		return n, err
	}
	g.z.Multistream(false)
	return n, nil
}

// trailing is what stands behind a compressed stream; zeros are padding.
func (s *session) trailing(f *file, r io.Reader) {
	b, err := io.ReadAll(io.LimitReader(r, maxText))
	if err == nil && len(bytes.Trim(b, "\x00")) > 0 {
		s.found(unpack.HiddenMember, f, "behind the stream")
		_ = s.member(f, "", nil, bytes.NewReader(b))
	}
}

// stream opens a format that holds one file.
func (s *session) stream(f *file, r io.Reader, err error) {
	if err != nil {
		s.fail(f, err)
		return
	}
	_ = s.member(f, inner(f.name), nil, r)
}

func (s *session) bzip2(f *file) {
	s.stream(f, bzip2.NewReader(bufio.NewReaderSize(f.data.reader(0), 64<<10)), nil)
}

func (s *session) xz(f *file) {
	r, err := xz.NewReader(bufio.NewReaderSize(f.data.reader(0), 64<<10))
	s.stream(f, r, err)
}

func (s *session) zstd(f *file) {
	r, err := newZstd(bufio.NewReaderSize(f.data.reader(0), 64<<10))
	s.stream(f, r, err)
}
