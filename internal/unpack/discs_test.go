package unpack_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/testlib"
	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack"
)

// Discs, cabinets and the archives of Unix give what is in them; what they hide,
// and what is not read, is a finding.
func TestDiscs(t *testing.T) {
	p := newPool(t, unpack.Options{Workers: 1})
	mark := string(eicar())
	e := files.Entry{Name: "evil.exe", Data: []byte("MZ" + mark)}
	long := files.Entry{Name: "a name that is longer than the place of one.exe", Data: []byte("MZ-" + mark)}
	big := files.Entry{Name: "big.bin", Data: append(bytes.Repeat([]byte("0123456789"), 9000), mark...)}
	note := files.Entry{Name: "note.txt", Data: []byte("a note")}
	bridge := files.ISO(true, nil, note, e)
	copy(bridge[18*2048:], "\x00NSR02\x01")
	loop := files.ISO(false, nil, files.Entry{Name: "dir", Data: []byte("x")})
	at := bytes.Index(loop, []byte("DIR;1")) - 33
	loop[at+25] = 2
	for _, place := range []int{at + 2, at + 9} { // the directory stands in itself
		loop[place] = 19
	}
	two := files.ISO(false, nil, e)
	two[bytes.Index(two, []byte("EVIL.EXE;1"))-33+9] = 20 // the other number leads elsewhere
	cut := func(b []byte, n int) []byte { return b[:len(b)-n] }
	for _, c := range []struct {
		name  string
		data  []byte
		typ   string
		find  []unpack.Kind
		wants []string
	}{
		{"iso", files.ISO(false, nil, note, e), "iso", nil, []string{mark, "a note"}},
		{"iso with Joliet", files.ISO(true, nil, note, e), "iso", nil, []string{mark, "a note"}},
		{"iso with a file in its second list only", files.ISO(true, []files.Entry{e}, note), "iso", nil, []string{mark, "a note"}},
		{"iso with UDF", bridge, "iso", []unpack.Kind{unpack.Unsupported}, []string{mark}},
		{"iso with a directory in itself", loop, "iso", nil, nil},
		{"iso with two places for a file", two, "iso", []unpack.Kind{unpack.HiddenMember}, []string{mark}},
		{"iso, cut", cut(files.ISO(false, nil, note, e), 2048), "iso", []unpack.Kind{unpack.Corrupt}, []string{"a note"}},
		{"udf", append(append(make([]byte, 0x8000), "\x00BEA01\x01"...), make([]byte, 4096)...), "udf", []unpack.Kind{unpack.Unsupported}, nil},
		{"cab, stored", files.Cab(t, 0, note, e, big), "cab", nil, []string{mark, "a note"}},
		{"cab by MSZIP", files.Cab(t, 1, note, big, e), "cab", nil, []string{mark, "a note"}},
		{"cab by LZX", files.Cab(t, 3, e), "cab", []unpack.Kind{unpack.Unsupported}, nil},
		{"cab, cut", cut(files.Cab(t, 1, note, big), 60), "cab", []unpack.Kind{unpack.Corrupt}, []string{"a note"}},
		{"cab with a tail", append(files.Cab(t, 1, note), e.Data...), "cab", []unpack.Kind{unpack.HiddenMember}, []string{mark, "a note"}},
		{"cab of another maker", []byte("ISc(............................................"), "cab", []unpack.Kind{unpack.Unsupported}, nil},
		{"cab, empty head", []byte("MSCF\x00\x00\x00\x00............................................"), "cab", []unpack.Kind{unpack.Corrupt}, nil},
		{"ar", files.Ar(note, e, long), "ar", nil, []string{mark, "a note"}},
		{"ar, cut", cut(files.Ar(note, e), 30), "ar", []unpack.Kind{unpack.Corrupt}, []string{"a note"}},
		{"cpio", files.Cpio(note, e, long), "cpio", nil, []string{mark, "a note"}},
		{"cpio, cut", cut(files.Cpio(note, e), 200), "cpio", []unpack.Kind{unpack.Corrupt}, []string{"a note"}},
		{"cpio, old", []byte("\xc7\x71......................................"), "cpio", []unpack.Kind{unpack.Unsupported}, nil},
		{"lz4", files.LZ4(t, big.Data), "lz4", nil, []string{mark}},
		{"lz4, cut", cut(files.LZ4(t, big.Data), 40), "lz4", []unpack.Kind{unpack.Corrupt}, nil},
	} {
		g := open(t, p, "attachment", c.data)
		if len(g.parts) == 0 || g.parts[0].Type != c.typ {
			t.Errorf("%s: is no %s: %s", c.name, c.typ, g)
		}
		for _, k := range c.find {
			if !g.Has(k) {
				t.Errorf("%s: no finding %s: %.900s", c.name, k, g)
			}
		}
		if len(c.find) == 0 && len(g.Findings) > 0 {
			t.Errorf("%s: findings %v", c.name, g.Findings)
		}
		for _, w := range c.wants {
			if !g.has(w) {
				t.Errorf("%s: no %.20q in %.900s", c.name, w, g)
			}
		}
	}
	g := open(t, p, "x.iso", files.ISO(true, nil, note, e))
	if len(g.parts) != 3 {
		t.Errorf("what stands in two lists is given %d times: %s", len(g.parts), g)
	}
}

// What we build for these tests is what others read: the program 7z lists and
// extracts the same files.
func TestDiscsOfOthers(t *testing.T) {
	if _, err := exec.LookPath("7z"); err != nil {
		testlib.Absent(t, "7z is not installed")
	}
	e := files.Entry{Name: "evil.exe", Data: bytes.Repeat([]byte("MZ and more "), 5000)}
	for name, data := range map[string][]byte{"x.iso": files.ISO(true, nil, e), "y.iso": files.ISO(false, nil, e), "x.cab": files.Cab(t, 1, e), "y.cab": files.Cab(t, 0, e), "x.deb": files.Ar(e), "x.cpio": files.Cpio(e)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("7z", "e", "-y", "-oout", name)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
			continue
		}
		got, err := os.ReadDir(filepath.Join(dir, "out"))
		i := slices.IndexFunc(got, func(d os.DirEntry) bool { return strings.EqualFold(d.Name(), e.Name) })
		if err != nil || i < 0 {
			t.Errorf("%s: %v %v", name, got, err)
			continue
		}
		if b, err := os.ReadFile(filepath.Join(dir, "out", got[i].Name())); err != nil || !bytes.Equal(b, e.Data) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}
