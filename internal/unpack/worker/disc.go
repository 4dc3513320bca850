package worker

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"lazaret/internal/unpack"
)

const sector = 2048

// iso opens a disc image by ISO 9660 (ECMA-119). It may have a second list of
// its files, in Unicode (Joliet), which is the one that Windows shows: the
// files of both are given, those that both have once. A bridge to UDF has a third
// one, which is not read: the finding says so when there is one.
func (s *session) iso(f *file) {
	seen := map[discFile]bool{}
	volumes := 0
	for at := int64(16 * sector); ; at += sector {
		d := make([]byte, sector)
		if n, _ := f.data.ReadAt(d, at); n < sector || string(d[1:6]) != "CD001" || d[0] == 255 {
			break
		}
		if d[0] != 1 && d[0] != 2 { // a boot record, or a piece of a volume
			continue
		}
		volumes++
		joliet := d[0] == 2 && d[88] == 0x25 && d[89] == 0x2f // an escape sequence for UCS-2
		s.discDir(f, "", d[156:190], joliet, seen, map[uint32]bool{}, 0)
	}
	if volumes == 0 {
		s.found(unpack.Corrupt, f, "a disc without a volume")
	}
	if s.udf(f) {
		s.found(unpack.Unsupported, f, "UDF")
	}
}

// udf reports whether the image has the mark of a UDF volume (ECMA-167, 3/9.1).
func (s *session) udf(f *file) bool {
	for at := int64(16 * sector); at < 40*sector; at += sector {
		d := make([]byte, 6)
		if n, _ := f.data.ReadAt(d, at); n < 6 {
			return false
		}
		if m := string(d[1:6]); m == "NSR02" || m == "NSR03" {
			return true
		}
	}
	return false
}

// discFile is a file of a disc by its place and size.
type discFile struct{ at, size uint32 }

// maxDirDepth is how deep directories of a disc are looked into; the standard has 8.
const maxDirDepth = 32

// discDir reads a directory, whose record is given (ECMA-119 9.1). dirs are the
// places of those that were read, for a directory may stand in itself.
func (s *session) discDir(f *file, path string, record []byte, joliet bool, seen map[discFile]bool, dirs map[uint32]bool, depth int) {
	at, size := binary.LittleEndian.Uint32(record[2:]), binary.LittleEndian.Uint32(record[10:])
	if dirs[at] || s.stopped || s.broken != nil {
		return
	}
	dirs[at] = true
	if depth > maxDirDepth || len(dirs) > s.b.Limits.Parts {
		_ = s.stop(unpack.DepthLimit, f)
		return
	}
	start := int64(at) * sector
	if start >= f.data.size {
		s.found(unpack.Corrupt, f, "a directory behind the end")
		return
	}
	d := make([]byte, sector)
	for done := int64(0); done < int64(size); done += sector {
		n, _ := f.data.ReadAt(d, start+done)
		if n == 0 {
			s.found(unpack.Corrupt, f, "a directory is cut")
			return
		}
		// A record does not reach into the next sector; a zero ends those of one.
		for rest := d[:n]; len(rest) > 33 && rest[0] >= 34; rest = rest[rest[0]:] {
			if int(rest[0]) > len(rest) || 33+int(rest[32]) > int(rest[0]) {
				s.found(unpack.Corrupt, f, "a directory entry is cut")
				break
			}
			if s.discEntry(f, path, rest[:rest[0]], joliet, seen, dirs, depth); s.stopped || s.broken != nil {
				return
			}
		}
	}
}

func (s *session) discEntry(f *file, path string, r []byte, joliet bool, seen map[discFile]bool, dirs map[uint32]bool, depth int) {
	raw := r[33 : 33+int(r[32])]
	if len(raw) == 1 && raw[0] <= 1 {
		return // the directory itself, and the one above
	}
	name := discName(raw, joliet)
	if path != "" {
		name = path + "/" + name
	}
	if r[25]&2 != 0 {
		s.discDir(f, name, r, joliet, seen, dirs, depth+1)
		return
	}
	x := discFile{binary.LittleEndian.Uint32(r[2:]), binary.LittleEndian.Uint32(r[10:])}
	if seen[x] {
		return
	}
	seen[x] = true
	if binary.BigEndian.Uint32(r[6:]) != x.at || binary.BigEndian.Uint32(r[14:]) != x.size {
		s.found(unpack.HiddenMember, f, name) // each number stands there twice; readers use one or the other
		y := discFile{binary.BigEndian.Uint32(r[6:]), binary.BigEndian.Uint32(r[14:])}
		if !seen[y] {
			seen[y] = true
			s.discContent(f, name, y)
		}
	}
	switch {
	case r[25]&0x80 != 0:
		_ = s.unread(f, name, unpack.Unsupported, "a file in several pieces")
	case r[26] != 0 || r[27] != 0:
		_ = s.unread(f, name, unpack.Unsupported, "an interleaved file")
	default:
		s.discContent(f, name, x)
	}
}

func (s *session) discContent(f *file, name string, x discFile) {
	start, size := int64(x.at)*sector, int64(x.size)
	if start+size > f.data.size {
		s.found(unpack.Corrupt, f, name)
		start = min(start, f.data.size)
		size = f.data.size - start
	}
	_ = s.member(f, name, nil, f.data.section(start, size))
}

// discName gives a name without its version.
func discName(raw []byte, joliet bool) string {
	name := string(raw)
	if joliet {
		var u []uint16
		for i := 0; i+1 < len(raw); i += 2 {
			u = append(u, binary.BigEndian.Uint16(raw[i:]))
		}
		name = string(utf16.Decode(u))
	}
	name, _, _ = strings.Cut(name, ";")
	return strings.TrimSuffix(name, ".")
}
