package worker

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/pierrec/lz4/v4"

	"lazaret/internal/unpack"
)

// ar opens an archive of the tool of that name, such as a package of Debian. A
// name that is too long for its place stands in a list, or in front of the file.
func (s *session) ar(f *file) {
	long := ""
	for at := int64(8); at < f.data.size; {
		h := make([]byte, 60)
		if n, _ := f.data.ReadAt(h, at); n < len(h) || string(h[58:]) != "`\n" {
			s.found(unpack.Corrupt, f, "a header is damaged")
			return
		}
		size, err := strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
		if err != nil || size < 0 || size > f.data.size-at-60 {
			s.found(unpack.Corrupt, f, "a header is damaged")
			return
		}
		name, from := strings.TrimRight(string(h[:16]), " "), at+60
		at = from + size + size&1
		switch {
		case name == "//":
			b, _ := io.ReadAll(io.LimitReader(f.data.section(from, size), maxText)) // a blob does not fail
			long = string(b)
			continue
		case strings.HasPrefix(name, "#1/"):
			if n, err := strconv.ParseInt(name[3:], 10, 64); err == nil && n >= 0 && n <= min(size, 1<<16) {
				b, _ := io.ReadAll(f.data.section(from, n))
				name, from, size = string(bytes.TrimRight(b, "\x00")), from+n, size-n
			}
		case len(name) > 1 && name[0] == '/':
			if n, err := strconv.Atoi(name[1:]); err == nil && n >= 0 && n < len(long) {
				name, _, _ = strings.Cut(long[n:], "\n")
			}
		}
		if s.member(f, strings.TrimSuffix(name, "/"), nil, f.data.section(from, size)) != nil {
			return
		}
	}
}

// cpio opens an archive of its newer form, in hexadecimal, or in octal; the
// binary ones nobody writes any more.
func (s *session) cpio(f *file) {
	for at := int64(0); ; {
		h := make([]byte, 110)
		n, _ := f.data.ReadAt(h, at)
		var name, size, head, pad int64
		var err error
		var mode int64
		switch {
		case n >= 110 && (string(h[:6]) == "070701" || string(h[:6]) == "070702"):
			mode, name, size, err = cpioNumbers(16, h[14:22], h[94:102], h[54:62])
			head, pad = 110, 4
		case n >= 76 && string(h[:6]) == "070707":
			mode, name, size, err = cpioNumbers(8, h[18:24], h[59:65], h[65:76])
			head, pad = 76, 1
		case n >= 6 && string(h[:4]) == "0707" || at == 0 && n >= 2 && h[0] != '0':
			s.found(unpack.Unsupported, f, "cpio of an old form")
			return
		default:
			s.found(unpack.Corrupt, f, "a header is damaged")
			return
		}
		up := func(n int64) int64 { return (n + pad - 1) / pad * pad }
		from := up(at + head + name)
		if err != nil || name < 1 || name > 1<<16 || size > f.data.size-from || from > f.data.size {
			s.found(unpack.Corrupt, f, "a header is damaged")
			return
		}
		b, _ := io.ReadAll(f.data.section(at+head, name))
		word := string(bytes.TrimRight(b, "\x00"))
		at = up(from + size)
		if word == "TRAILER!!!" {
			return
		}
		switch mode & 0o170000 {
		case 0o040000:
			continue
		case 0o120000:
			s.found(unpack.Link, f, word)
		}
		if s.member(f, word, nil, f.data.section(from, size)) != nil {
			return
		}
	}
}

func cpioNumbers(base int, fields ...[]byte) (mode, name, size int64, err error) {
	var out [3]int64
	for i, b := range fields {
		n, e := strconv.ParseUint(string(b), base, 40)
		if out[i] = int64(n); e != nil {
			err = e
		}
	}
	return out[0], out[1], out[2], err
}

// lz4 opens a frame of LZ4.
func (s *session) lz4(f *file) {
	br := bufio.NewReaderSize(f.data.reader(0), 64<<10)
	if s.member(f, inner(f.name), nil, lz4.NewReader(br)) == nil {
		s.trailing(f, br)
	}
}
