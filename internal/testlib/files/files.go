// Package files builds archives and documents for tests, by the libraries of
// the language where they write a format, and byte by byte where none does.
package files

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"lazaret/internal/testlib"
)

// Entry is a file to put into an archive, or a stream of a compound file.
type Entry struct {
	Name string
	Data []byte
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Zip gives a ZIP archive.
func Zip(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.Create(e.Name)
		must(t, err)
		_, err = w.Write(e.Data)
		must(t, err)
	}
	must(t, z.Close())
	return b.Bytes()
}

// Tar gives a tar archive.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := tar.NewWriter(&b)
	for _, e := range entries {
		must(t, z.WriteHeader(&tar.Header{Name: e.Name, Size: int64(len(e.Data)), Mode: 0o644, Typeflag: tar.TypeReg}))
		_, err := z.Write(e.Data)
		must(t, err)
	}
	must(t, z.Close())
	return b.Bytes()
}

// Gzip gives data compressed by gzip.
func Gzip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(data)
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

// XZ gives data compressed by xz.
func XZ(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := xz.NewWriter(&b)
	must(t, err)
	_, err = z.Write(data)
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

// Zstd gives data compressed by Zstandard.
func Zstd(t testing.TB, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	must(t, err)
	return z.EncodeAll(data, nil)
}

// Tool has a program of the system make an archive of one file; test.sh
// installs it.
func Tool(t testing.TB, archive string, e Entry, words ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(words[0]); err != nil {
		testlib.Absent(t, words[0]+" is not installed")
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, e.Name), e.Data, 0o600))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, archive))
	must(t, err)
	return b
}

func vint(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// Rar gives a RAR 5 archive of stored files.
func Rar(sealed bool, entries ...Entry) []byte {
	out := []byte("Rar!\x1a\x07\x01\x00")
	block := func(fields ...[]byte) {
		body := bytes.Join(fields, nil)
		head := append(vint(uint64(len(body))), body...)
		out = append(binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(head)), head...)
	}
	block(vint(1), vint(0), vint(0))
	for _, e := range entries {
		n := uint64(len(e.Data))
		flags, extra := uint64(2), []byte(nil)
		if sealed { // file encryption record: type 1, version 0, flags 0, KDF count, salt, IV
			rec := append(append(vint(1), 0, 0, 15), make([]byte, 32)...)
			extra = append(vint(uint64(len(rec))), rec...)
			flags |= 1
		}
		fields := [][]byte{vint(2), vint(flags)}
		if sealed {
			fields = append(fields, vint(uint64(len(extra))))
		}
		crc := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(e.Data))
		fields = append(fields, vint(n), vint(4), vint(n), vint(0o644), crc, vint(0), vint(1), vint(uint64(len(e.Name))), []byte(e.Name), extra)
		block(fields...)
		out = append(out, e.Data...)
	}
	block(vint(5), vint(0), vint(0))
	return out
}

// OLE gives a compound file. A name with a slash stands in a storage. Streams
// are filled up to 4096 bytes, below which they would live in another place.
func OLE(entries ...Entry) []byte {
	const sector = 512
	type dirent struct {
		name               string
		kind               byte
		left, right, child int32
		start, size        uint32
	}
	dirs := []dirent{{"Root Entry", 5, -1, -1, -1, 0xfffffffe, 0}}
	var body []byte
	var fat []uint32
	storages := map[string]int{}
	chain := map[int]int{} // last child of a directory
	link := func(parent, kid int) {
		if last, ok := chain[parent]; ok {
			dirs[last].right = int32(kid)
		} else {
			dirs[parent].child = int32(kid)
		}
		chain[parent] = kid
	}
	store := func(data []byte) uint32 {
		start := uint32(len(fat))
		n := (len(data) + sector - 1) / sector
		body = append(body, data...)
		body = append(body, make([]byte, n*sector-len(data))...)
		for i := range n {
			next := start + uint32(i) + 1
			if i == n-1 {
				next = 0xfffffffe
			}
			fat = append(fat, next)
		}
		return start
	}
	for _, e := range entries {
		parent, name := 0, e.Name
		if dir, base, ok := strings.Cut(e.Name, "/"); ok {
			if _, there := storages[dir]; !there {
				dirs = append(dirs, dirent{dir, 1, -1, -1, -1, 0, 0})
				storages[dir] = len(dirs) - 1
				link(0, len(dirs)-1)
			}
			parent, name = storages[dir], base
		}
		data := append(bytes.Clone(e.Data), make([]byte, max(0, 4096-len(e.Data)))...)
		dirs = append(dirs, dirent{name, 2, -1, -1, -1, store(data), uint32(len(data))})
		link(parent, len(dirs)-1)
	}
	var dir []byte
	le := binary.LittleEndian
	for _, d := range dirs {
		b := make([]byte, 128)
		u := utf16.Encode([]rune(d.name))
		for i, c := range u {
			le.PutUint16(b[2*i:], c)
		}
		le.PutUint16(b[64:], uint16(2*len(u)+2))
		b[66], b[67] = d.kind, 1
		le.PutUint32(b[68:], uint32(d.left))
		le.PutUint32(b[72:], uint32(d.right))
		le.PutUint32(b[76:], uint32(d.child))
		le.PutUint32(b[116:], d.start)
		le.PutUint32(b[120:], d.size)
		dir = append(dir, b...)
	}
	dirStart := store(dir)
	fatStart := uint32(len(fat))
	n := (len(fat)*4 + sector) / sector
	for len(fat)*4 > (n-1)*sector && n < (len(fat)+n+127)/128 {
		n++
	}
	for range n {
		fat = append(fat, 0xfffffffd)
	}
	fatBytes := bytes.Repeat([]byte{0xff}, n*sector)
	for i, v := range fat {
		le.PutUint32(fatBytes[4*i:], v)
	}
	h := make([]byte, sector)
	copy(h, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	le.PutUint16(h[24:], 0x3e)
	le.PutUint16(h[26:], 3)
	le.PutUint16(h[28:], 0xfffe)
	le.PutUint16(h[30:], 9)
	le.PutUint16(h[32:], 6)
	le.PutUint32(h[44:], uint32(n))
	le.PutUint32(h[48:], dirStart)
	le.PutUint32(h[56:], 4096)
	le.PutUint32(h[60:], 0xfffffffe)
	le.PutUint32(h[68:], 0xfffffffe)
	for i := range 109 {
		v := uint32(0xffffffff)
		if i < n {
			v = fatStart + uint32(i)
		}
		le.PutUint32(h[76+4*i:], v)
	}
	return append(append(h, body...), fatBytes...)
}

// VBA gives a module as VBA stores it, without saving a byte: in front of
// every eight bytes the flags that say so.
func VBA(source string) []byte {
	src := "Attribute VB_Name = \"Module1\"\r\n" + source
	var chunk []byte
	for len(src) > 0 {
		n := min(8, len(src))
		chunk = append(append(chunk, 0), src[:n]...)
		src = src[n:]
	}
	out := append([]byte("compiled code, whatever that is\x01"), 0, 0)
	binary.LittleEndian.PutUint16(out[len(out)-2:], uint16(len(chunk)-1)|0xb000)
	return append(out, chunk...)
}

// Ole10 gives a stream with a file, as OLE packages have it.
func Ole10(name string, data []byte) []byte {
	le := binary.LittleEndian
	b := append(le.AppendUint16(nil, 2), "label\x00"...)
	b = append(append(b, name...), 0)
	b = le.AppendUint32(b, 0x30000)
	b = le.AppendUint32(b, 5)
	b = append(b, "path\x00"...)
	b = le.AppendUint32(b, uint32(len(data)))
	b = append(b, data...)
	return append(le.AppendUint32(nil, uint32(len(b))), b...)
}

// TNEF gives a winmail.dat with one attachment.
func TNEF(name string, data []byte) []byte {
	le := binary.LittleEndian
	out := []byte("\x78\x9f\x3e\x22\x01\x00")
	add := func(level byte, id uint32, v []byte) {
		out = le.AppendUint32(append(out, level), id)
		out = append(le.AppendUint32(out, uint32(len(v))), v...)
		out = append(out, 0, 0)
	}
	add(2, 0x69002, make([]byte, 14))
	add(2, 0x18010, []byte("SHORT~1.EXE\x00"))
	add(2, 0x6800f, data)
	var wide []byte
	for _, c := range utf16.Encode([]rune(name + "\x00")) {
		wide = le.AppendUint16(wide, c)
	}
	prop := le.AppendUint32(le.AppendUint32([]byte{1, 0, 0, 0, 0x1f, 0, 7, 0x37}, 1), uint32(len(wide)))
	add(2, 0x69005, append(prop, wide...))
	return out
}

// PDF gives a file with one stream of content and whatever else stands in it.
func PDF(t testing.TB, content, more string) []byte {
	t.Helper()
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, err := w.Write([]byte(content))
	must(t, err)
	must(t, w.Close())
	return fmt.Appendf(nil, "%%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\n2 0 obj << /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream endobj\n%s\ntrailer << /Root 1 0 R >>\n%%%%EOF\n", z.Len(), z.String(), more)
}

// Docx gives a document with a text and other files beside it.
func Docx(t testing.TB, text string, more ...Entry) []byte {
	return Zip(t, append([]Entry{
		{"[Content_Types].xml", []byte(`<?xml version="1.0"?><Types/>`)},
		{"word/document.xml", []byte(`<?xml version="1.0"?><w:document><w:p><w:r><w:t>` + text[:len(text)/2] + `</w:t></w:r><w:r><w:t>` + text[len(text)/2:] + `</w:t></w:r></w:p></w:document>`)},
	}, more...)...)
}

// UU encodes as uuencode does (POSIX.1-2017, uuencode).
func UU(name string, data []byte) string {
	var b strings.Builder
	b.WriteString("begin 644 " + name + "\r\n")
	for len(data) > 0 {
		n := min(45, len(data))
		line := append([]byte(nil), data[:n]...)
		data = data[n:]
		b.WriteByte(byte(' ' + n))
		for len(line)%3 != 0 {
			line = append(line, 0)
		}
		for i := 0; i < len(line); i += 3 {
			for _, v := range []byte{line[i] >> 2, line[i]<<4&63 | line[i+1]>>4, line[i+1]<<2&63 | line[i+2]>>6, line[i+2] & 63} {
				if v == 0 {
					v = '`' - ' '
				}
				b.WriteByte(' ' + v)
			}
		}
		b.WriteString("\r\n")
	}
	return b.String() + "`\r\nend\r\n"
}
