package files

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pierrec/lz4/v4"
)

// both writes a number as ISO 9660 has it: once from each end.
func both(n uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, n), n)
}

// discRecord is an entry of a directory of a disc.
func discRecord(name []byte, at, size uint32, flags byte) []byte {
	r := append([]byte{0, 0}, both(at)...)
	r = append(r, both(size)...)
	r = append(r, make([]byte, 7)...)
	r = append(r, flags, 0, 0, 1, 0, 0, 1, byte(len(name)))
	r = append(r, name...)
	if len(r)%2 == 1 {
		r = append(r, 0)
	}
	r[0] = byte(len(r))
	return r
}

// ISO gives a disc image. joliet adds a second list of the same files under
// their Unicode names; hidden stands in that second list only.
func ISO(joliet bool, hidden []Entry, entries ...Entry) []byte {
	const sector = 2048
	out := make([]byte, 19*sector)
	at := uint32(21) // behind two directories
	var body []byte
	place := map[string][2]uint32{}
	for _, e := range append(append([]Entry(nil), entries...), hidden...) {
		place[e.Name] = [2]uint32{at, uint32(len(e.Data))}
		body = append(body, e.Data...)
		body = append(body, make([]byte, (sector-len(e.Data)%sector)%sector)...)
		at = 21 + uint32(len(body)/sector)
	}
	dir := func(self uint32, list []Entry, name func(string) []byte) []byte {
		d := append(discRecord([]byte{0}, self, sector, 2), discRecord([]byte{1}, self, sector, 2)...)
		for _, e := range list {
			d = append(d, discRecord(name(e.Name), place[e.Name][0], place[e.Name][1], 0)...)
		}
		return append(d, make([]byte, sector-len(d))...)
	}
	volume := func(n int, kind byte, self uint32) {
		v := out[n*sector:]
		v[0] = kind
		copy(v[1:], "CD001\x01")
		copy(v[8:], bytes.Repeat([]byte(" "), 64))
		copy(v[80:], both(at))
		copy(v[120:], "\x01\x00\x00\x01\x01\x00\x00\x01\x00\x08\x08\x00") // one of one, sectors of 2,048
		copy(v[132:], both(10))
		binary.LittleEndian.PutUint32(v[140:], 18) // a path table that nobody asks for
		binary.BigEndian.PutUint32(v[148:], 18)
		copy(v[190:], bytes.Repeat([]byte(" "), 623))
		v[881] = 1
		copy(v[156:], discRecord([]byte{0}, self, sector, 2))
	}
	volume(16, 1, 19)
	end := 17
	if joliet {
		volume(17, 2, 20)
		copy(out[17*sector+88:], "%/E")
		end = 18
	}
	out[end*sector] = 255
	copy(out[end*sector+1:], "CD001\x01")
	out = append(out, dir(19, entries, func(n string) []byte { return []byte(strings.ToUpper(n) + ";1") })...)
	out = append(out, dir(20, append(append([]Entry(nil), entries...), hidden...), func(n string) []byte {
		var b []byte
		for _, c := range utf16.Encode([]rune(n)) {
			b = binary.BigEndian.AppendUint16(b, c)
		}
		return b
	})...)
	return append(out, body...)
}

// Cab gives a cabinet: method 0 stored, 1 MSZIP; with another the bytes stand
// there as they are under its number.
func Cab(t testing.TB, method uint16, entries ...Entry) []byte {
	t.Helper()
	le := binary.LittleEndian
	var stream, list []byte
	for _, e := range entries {
		list = le.AppendUint32(list, uint32(len(e.Data)))
		list = le.AppendUint32(list, uint32(len(stream)))
		list = append(list, 0, 0, 0x21, 0x50, 0, 0, 0x20, 0)
		list = append(append(list, e.Name...), 0)
		stream = append(stream, e.Data...)
	}
	var blocks []byte
	n := 0
	var before []byte
	for rest := stream; len(rest) > 0; n++ {
		block := rest[:min(len(rest), 32<<10)]
		rest = rest[len(block):]
		packed := block
		if method == 1 {
			var b bytes.Buffer
			b.WriteString("CK")
			w, err := flate.NewWriterDict(&b, 9, before)
			must(t, err)
			_, err = w.Write(block)
			must(t, err)
			must(t, w.Close())
			packed, before = b.Bytes(), block
		}
		sum := cabSum(packed, 0)
		head := le.AppendUint16(le.AppendUint16(nil, uint16(len(packed))), uint16(len(block)))
		blocks = le.AppendUint32(blocks, cabSum(head, sum))
		blocks = append(append(blocks, head...), packed...)
	}
	h := append([]byte("MSCF"), 0, 0, 0, 0)
	total := 36 + 8 + len(list) + len(blocks)
	h = le.AppendUint32(h, uint32(total))
	h = le.AppendUint32(h, 0)
	h = le.AppendUint32(h, 44)
	h = append(h, 0, 0, 0, 0, 3, 1)
	h = le.AppendUint16(h, 1)
	h = le.AppendUint16(h, uint16(len(entries)))
	h = append(h, 0, 0, 0, 0, 0, 0)
	h = le.AppendUint32(h, uint32(44+len(list)))
	h = le.AppendUint16(h, uint16(n))
	h = le.AppendUint16(h, method)
	return append(append(h, list...), blocks...)
}

// cabSum is the checksum of [MS-CAB] 3.1.
func cabSum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= binary.LittleEndian.Uint32(b)
	}
	var last uint32
	for i := range b { // the rest, the first octet the highest
		last = last<<8 | uint32(b[i])
	}
	return sum ^ last
}

// Ar gives an archive of ar, with the list of long names when one is needed.
func Ar(entries ...Entry) []byte {
	out := []byte("!<arch>\n")
	add := func(name string, data []byte) {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", len(data))
		if out = append(out, data...); len(data)%2 == 1 {
			out = append(out, '\n')
		}
	}
	long := ""
	names := make([]string, len(entries))
	for i, e := range entries {
		if names[i] = e.Name + "/"; len(names[i]) > 16 {
			names[i] = fmt.Sprintf("/%d", len(long))
			long += e.Name + "/\n"
		}
	}
	if long != "" {
		add("//", []byte(long))
	}
	for i, e := range entries {
		add(names[i], e.Data)
	}
	return out
}

// Cpio gives an archive of cpio in its newer form.
func Cpio(entries ...Entry) []byte {
	var out []byte
	pad := func() {
		for len(out)%4 > 0 {
			out = append(out, 0)
		}
	}
	for _, e := range append(append([]Entry(nil), entries...), Entry{Name: "TRAILER!!!"}) {
		out = fmt.Appendf(out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0o100644, 0, 0, 1, 0, len(e.Data), 0, 0, 0, 0, len(e.Name)+1, 0)
		out = append(append(out, e.Name...), 0)
		pad()
		out = append(out, e.Data...)
		pad()
	}
	return out
}

// LZ4 gives a frame of LZ4.
func LZ4(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}
