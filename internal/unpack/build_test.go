package unpack_test

import (
	"testing"

	"lazaret/internal/testlib"
	"lazaret/internal/testlib/files"
)

// What the tests open is built by testlib/files; these are its short names.
type entry struct {
	name string
	data []byte
}

var (
	gzOf    = files.Gzip
	xzOf    = files.XZ
	zstOf   = files.Zstd
	vbaOf   = files.VBA
	ole10Of = files.Ole10
	tnefOf  = files.TNEF
	pdfOf   = files.PDF
)

func entries(list []entry) []files.Entry {
	out := make([]files.Entry, len(list))
	for i, e := range list {
		out[i] = files.Entry{Name: e.name, Data: e.data}
	}
	return out
}

func zipOf(t testing.TB, list ...entry) []byte { return files.Zip(t, entries(list)...) }

func tarOf(t testing.TB, list ...entry) []byte { return files.Tar(t, entries(list)...) }

func rarOf(sealed bool, list ...entry) []byte { return files.Rar(sealed, entries(list)...) }

func oleOf(list ...entry) []byte { return files.OLE(entries(list)...) }

func docxOf(t testing.TB, text string, more ...entry) []byte {
	return files.Docx(t, text, entries(more)...)
}

func tool(t testing.TB, archive string, e entry, words ...string) []byte {
	return files.Tool(t, archive, files.Entry{Name: e.name, Data: e.data}, words...)
}

// eicar gives the test virus; it stands nowhere in one piece.
func eicar() []byte { return []byte(testlib.EICAR()) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
