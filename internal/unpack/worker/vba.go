package worker

import (
	"bytes"
	"encoding/binary"

	"lazaret/internal/unpack"
)

// module gives the source text of a stream of a VBA storage. Where the text
// begins stands in the stream "dir"; but each module begins with the line
// Attribute VB_Name, whose first letters no compression can shorten, so that it
// is found without trust in what "dir" says.
func (s *session) module(f *file, name string, b []byte) {
	i := bytes.Index(b, []byte("\x00Attribut"))
	if i < 3 || b[i-3] != 1 {
		return // no text: dir, _VBA_PROJECT, or only compiled
	}
	s.text(f, unpack.Macros, []byte("' "+name+"\r\n"+latin(decompressVBA(b[i-3:]))))
}

// decompressVBA decompresses a container of MS-OVBA 2.4.1 as far as it is in order.
func decompressVBA(b []byte) []byte {
	var out []byte
	b = b[1:] // the signature
	for len(b) >= 2 && len(out) < maxText {
		h := binary.LittleEndian.Uint16(b)
		n := int(h&0xfff) + 1 // without the header
		if h>>12&7 != 3 {
			break
		}
		chunk := b[2:min(len(b), 2+n)]
		if h&0x8000 == 0 {
			out = append(out, chunk...)
		} else {
			out = decompressChunk(out, chunk)
		}
		b = b[2+len(chunk):]
	}
	return out
}

// decompressChunk reads tokens: a byte of flags, then for each bit a byte as it
// is or a copy of what came before, MS-OVBA 2.4.1.3.5.
func decompressChunk(out, chunk []byte) []byte {
	start := len(out)
	for i := 0; i < len(chunk); {
		flags := chunk[i]
		i++
		for bit := 0; bit < 8 && i < len(chunk); bit++ {
			if flags>>bit&1 == 0 {
				out = append(out, chunk[i])
				i++
				continue
			}
			if i+2 > len(chunk) {
				return out
			}
			offset, length := copyToken(binary.LittleEndian.Uint16(chunk[i:]), len(out)-start)
			i += 2
			if offset > len(out)-start || len(out)-start > 4096 {
				return out
			}
			for range length {
				out = append(out, out[len(out)-offset])
			}
		}
	}
	return out
}

// copyToken splits a token; how many bits the offset has depends on how far the
// chunk is, MS-OVBA 2.4.1.3.19.1.
func copyToken(t uint16, at int) (offset, length int) {
	bits := 4
	for 1<<bits < at {
		bits++
	}
	return int(t>>(16-bits)) + 1, int(t&(0xffff>>bits)) + 3
}
