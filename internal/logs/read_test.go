package logs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
)

// Read gives whole lines over rolled files in their order, passes over what is
// too old and, of what is too much, the oldest; half a line, one that is too
// long, a file that is gone or closed meanwhile hurt nobody.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("mail.@20250401T000000.s", "one\n")
	put("mail.@20250402T000000.s", "two\n"+strings.Repeat("x", 300<<10)+"\nthree\n")
	put("mail.@20250402T000000-000001.s", "four\n")
	put("mail.@20250403T000000.c", "five\nhal")
	read := func(r Reading) (string, bool) {
		names, _, cut, err := ReadFiles(dir, "mail", r)
		var all []string
		err = errors.Join(err, Read(t.Context(), names, r, func(b []byte) { all = append(all, string(b)) }))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(all, " "), cut
	}
	day := func(d int) time.Time { return time.Date(2025, 4, d, 12, 0, 0, 0, time.UTC) }
	for _, tc := range []struct {
		proves, want string
		r            Reading
		cut          bool
	}{
		{"all", "one two three four five", Reading{}, false},
		{"what ended before is passed over", "four five", Reading{Since: day(2)}, false},
		{"the last file always counts", "five", Reading{Since: day(9)}, false},
		{"too much: the newest, and that is said", "four five", Reading{MaxBytes: 100}, true},
	} {
		if got, cut := read(tc.r); got != tc.want || cut != tc.cut {
			t.Errorf("%s: %q, cut %v", tc.proves, got, cut)
		}
	}
	names, size, _, err := ReadFiles(dir, "mail", Reading{})
	if err != nil || len(names) != 4 || size < 300<<10 {
		t.Fatalf("%q %d %v", names, size, err)
	}
	n, told := 0, int64(0)
	err = errors.Join(os.Rename(names[3], closedName(names[3])), os.Remove(names[0]))
	put("mail.@20250402T000000-000001.s", strings.Repeat("line\n", 1<<19))
	err = errors.Join(err, Read(t.Context(), names, Reading{Progress: func(of, all int64) {
		if of <= told || of > all {
			t.Errorf("%d of %d after %d", of, all, told)
		}
		told = of
	}}, func([]byte) { n++ }))
	if err != nil || n != 3+1<<19 || told == 0 {
		t.Errorf("%d lines, progress %d, %v", n, told, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Read(ctx, names, Reading{}, func([]byte) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := Read(t.Context(), []string{dir}, Reading{}, func([]byte) {}); !errs.Is(err, errs.Internal) {
		t.Error(err)
	}
}
