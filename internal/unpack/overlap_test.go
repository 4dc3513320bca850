package unpack_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"lazaret/internal/unpack"
)

// overlapping makes a ZIP archive whose list has the file of another one n
// times, every time at the same place.
func overlapping(t *testing.T, e entry, n int) []byte {
	t.Helper()
	z := zipOf(t, e)
	at := bytes.Index(z, []byte("PK\x01\x02"))
	end := bytes.LastIndex(z, []byte("PK\x05\x06"))
	list := bytes.Repeat(z[at:end], n)
	out := append(bytes.Clone(z[:at]), list...)
	tail := bytes.Clone(z[end:])
	binary.LittleEndian.PutUint16(tail[8:], uint16(n))
	binary.LittleEndian.PutUint16(tail[10:], uint16(n))
	binary.LittleEndian.PutUint32(tail[12:], uint32(len(list)))
	return append(out, tail...)
}

// Register C2: files of a ZIP archive that share their bytes are a finding, and
// a thousand that are each 20 MiB of the same 20 KiB end at the limit, long
// before the 20 GiB that they pretend to be.
func TestSEC_C2_OverlappingZip(t *testing.T) {
	p := newPool(t, unpack.Options{Workers: 1})
	if g := open(t, p, "x.zip", zipOf(t, entry{"a", eicar()}, entry{"b", eicar()})); g.Has(unpack.OverlapMember) {
		t.Errorf("files beside each other: %s", g)
	}
	g := open(t, p, "x.zip", overlapping(t, entry{"a", eicar()}, 2))
	if _, un := g.Unscannable(); !g.Has(unpack.OverlapMember) || un || strings.Count(strings.Join(g.data, ""), string(eicar())) < 2 {
		t.Errorf("two files in one: %s", g)
	}
	bomb := overlapping(t, entry{"a", make([]byte, 20<<20)}, 1000)
	g = open(t, p, "x.zip", bomb)
	if f, un := g.Unscannable(); !un || f.Kind != unpack.RatioLimit || !g.Has(unpack.OverlapMember) || g.Bytes > 200*int64(len(bomb))+1<<20 {
		t.Errorf("a bomb of %d bytes: %d came out, %v", len(bomb), g.Bytes, g.Findings)
	}
}
