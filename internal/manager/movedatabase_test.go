package manager

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/appliance"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

// A manager goes from its file to a server with all that it holds. Until that is
// done it does not start on the empty one, where nobody would know its content,
// and afterwards not without a server.
func TestMoveDatabase(t *testing.T) {
	p, err := testlib.StartPostgres()
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	dir := onServer(t, p.Database(t))
	path := filepath.Join(dir, appliance.ConfigName)
	with, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	without := bytes.Replace(with, []byte("<dsn_file>dsn</dsn_file>"), []byte("<dsn_file></dsn_file>"), 1)
	configure := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options := Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard}
	refused := func(what, text string) {
		t.Helper()
		m, err := New(options)
		if err == nil {
			m.Close()
		}
		if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	move := func() (int64, error) { return MoveDatabase(t.Context(), options, func(string, int64, int64) {}) }

	configure(without)
	m, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	mid, body := deposited(t, m)
	if _, err := move(); !errs.Is(err, errs.Conflict) {
		t.Errorf("while it runs: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := move(); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "names no server") {
		t.Errorf("without a server: %v", err)
	}
	configure(with)
	refused("before the move", "movedatabase")
	if n, err := move(); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if _, err := move(); !errs.Is(err, errs.NotFound) {
		t.Errorf("once more: %v", err)
	}
	if m, err = New(options); err != nil {
		t.Fatal(err)
	}
	content, err := m.Quarantine().Content(t.Context(), mail.System(), mid)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(content); err != nil || !bytes.Equal(b, body) {
		t.Errorf("%q, %v", b, err)
	}
	content.Close()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	configure(without)
	refused("back to a file", "put the element database back")
	noCanary(t, dir)
}
