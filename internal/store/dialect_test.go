package store

import (
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

// What mail brings comes back byte for byte, and databases take it.
func TestEscape(t *testing.T) {
	for _, s := range []string{"", "plain", "Grüße", "a\x00b", "\xff\xfe", "\xe4", "half \xe2\x82", "\U0010FE41", "\U0010FEFF\x00\U0010FFFF", strings.Repeat("\x80", 300)} {
		e := escape(s)
		if !utf8.ValidString(e) || strings.IndexByte(e, 0) >= 0 {
			t.Errorf("%q became %q", s, e)
		}
		if back := unescape(e); back != s {
			t.Errorf("%q came back as %q", s, back)
		}
	}
	if s := "Grüße"; escape(s) != s {
		t.Error("ordinary text was changed")
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x00\xff\U0010FE41")
	f.Fuzz(func(t *testing.T, s string) {
		e := escape(s)
		if !utf8.ValidString(e) || strings.IndexByte(e, 0) >= 0 || unescape(e) != s {
			t.Errorf("%q became %q and then %q", s, e, unescape(e))
		}
	})
}

// Migrations are pairs: each number and name exists for both databases.
func TestMigrationPairs(t *testing.T) {
	lite, err := listMigrations(migrations, liteDialect{}.name())
	if err != nil {
		t.Fatal(err)
	}
	big, err := listMigrations(migrations, (&pgDialect{}).name())
	if err != nil {
		t.Fatal(err)
	}
	for i := range max(len(lite), len(big)) {
		if i >= len(lite) || i >= len(big) || lite[i].name != big[i].name {
			t.Fatalf("migration %d is not there for both databases under one name", i+1)
		}
	}
	names, err := fs.Glob(migrations, "migration/*")
	if err != nil || len(names) != len(lite)+len(big) {
		t.Errorf("%d files for %d and %d migrations, %v", len(names), len(lite), len(big), err)
	}
}
