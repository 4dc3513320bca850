package archive

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Messages stand behind one another as mbox readers expect them; what could be
// taken for the beginning of one cannot; half a message is none; old files go.
func TestArchive(t *testing.T) {
	s := New(t.TempDir() + "/archive")
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	m := Mail{MID: 7, From: mail.Address{Local: "a", Domain: "b.example"}, To: []mail.Address{{Local: "c", Domain: "d.example"}}, At: at, By: "archive filter 'x'"}
	const content = "Subject: x\r\n\r\nFrom here\r\n>From there\r\nFromage\r\nlast"
	if err := s.Add("legal", m, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := s.Add("legal", m, io.MultiReader(strings.NewReader("Subject: half\r\n"), iotest.ErrReader(errors.New("gone")))); !errs.Is(err, errs.Temporary) {
		t.Errorf("half a message: %v", err)
	}
	m.From, m.MID = mail.Address{}, 8
	if err := s.Add("legal", m, strings.NewReader("\r\n")); err != nil {
		t.Fatal(err)
	}
	const head = "From a@b.example Sat Nov 28 09:00:00 2026\nX-Lazaret-MID: 7\nX-Lazaret-Archived: archive filter 'x'\nX-Lazaret-From: <a@b.example>\nX-Lazaret-To: <c@d.example>\n"
	want := head + "Subject: x\n\n>From here\n>>From there\nFromage\nlast\n\n" +
		"From MAILER-DAEMON Sat Nov 28 09:00:00 2026\nX-Lazaret-MID: 8\nX-Lazaret-Archived: archive filter 'x'\nX-Lazaret-From: <>\nX-Lazaret-To: <c@d.example>\n\n\n"
	if got := read(t, s.path("legal", 0)); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	for _, bad := range []string{"", "../x", "a/b", ".x", strings.Repeat("a", 41)} {
		if err := s.Add(bad, m, strings.NewReader("")); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s.maxSize = 1
	for i := range 2 * MaxFiles {
		m.MID = mail.MID(100 + i)
		if err := s.Add("legal", m, strings.NewReader("x\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	files, err := s.List()
	if err != nil || len(files) != MaxFiles || !strings.Contains(read(t, s.path("legal", MaxFiles-1)), "MID: 110\n") || !strings.Contains(read(t, s.path("legal", 0)), "MID: 119\n") {
		t.Errorf("%v %+v", err, files)
	}
	if err := s.RollOver("legal"); err != nil {
		t.Error(err)
	}
	if err := s.RollOver("legal"); !errs.Is(err, errs.NotFound) {
		t.Errorf("nothing to roll over: %v", err)
	}
}
