package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/errs"
)

// The address of the database comes from the setting or from a file that only
// its owner can read, and is never shown.
func TestDatabaseAddress(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	const dsn = "postgres://lazaret:canary@db1/lazaret"
	write("good", dsn+"\n", 0o600)
	write("open", dsn, 0o640)
	write("empty", "\n", 0o600)
	write("two", dsn+"\n"+dsn, 0o600)
	write("long", strings.Repeat("x", 5000), 0o600)
	for _, c := range []struct {
		d    Database
		want string
	}{
		{Database{}, ""}, {Database{DSN: dsn}, dsn}, {Database{File: "good"}, dsn}, {Database{File: filepath.Join(dir, "good")}, dsn},
	} {
		if got, err := c.d.Address(dir); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c.d, got, err)
		}
	}
	for _, name := range []string{"open", "empty", "two", "long", "missing"} {
		_, err := Database{File: name}.Address(dir)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "config/database/dsn_file") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := sample(t, Manager)
	c.Database.DSN = dsn
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if text := string(c.Text(true)); strings.Contains(text, "canary") || !strings.Contains(text, "<dsn>*****</dsn>") {
		t.Error("the address is shown")
	}
	if back, err := Parse(c.Text(false)); err != nil || back.Database != c.Database {
		t.Errorf("%+v, %v", back.Database, err)
	}
}
