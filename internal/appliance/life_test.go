package appliance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// Each end has its line: one in good order and a failure in their own life, a
// kill and a crash in the next.
func TestEachEndIsExplained(t *testing.T) {
	dir := t.TempDir()
	if _, err := Init(dir, config.Gateway, InitOptions{}); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancelCause(context.Background())
	stop(errors.New("terminated signal received"))
	var crash string
	opt := Options{Dir: dir, Status: func(error) int { return 75 }, OnCrash: func(f *os.File) error { crash = f.Name(); return nil }}
	lines := func() string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, "log", "mail_logs", "mail.current"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	seen := 0
	for _, c := range []struct {
		name, want string
		end        func(a *Appliance)
	}{
		{"the first", "Info: Begin Logfile\n", func(a *Appliance) { a.TellEnd(stopped, nil) }},
		{"after an end in good order", "Info: Ends with status 0: terminated signal received\n", func(a *Appliance) {
			a.TellEnd(context.Background(), errs.New(errs.Temporary, "the spool cannot be written"))
		}},
		{"after a failure", "Critical: Ends with status 75: the spool cannot be written\n", func(a *Appliance) {
			a.lock.Close() // killed: nothing is told, the mark stays
			a.lock = nil
		}},
		{"after a kill", "Warning: The last run did not end in good order: process ", func(a *Appliance) {
			a.lock.Close()
			a.lock = nil
			if err := os.WriteFile(crash, []byte("some text\npanic: index out of \x1b[31mrange\n\ngoroutine 1:\n"), 0o600); err != nil {
				t.Error(err)
			}
		}},
		{"after a crash", `; panic: index out of \x1b[31mrange; more in `, func(a *Appliance) { a.TellEnd(stopped, nil) }},
	} {
		a, err := Open(opt, config.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		a.MailLog.Sync()
		text := lines()
		if !strings.Contains(text[seen:], c.want) {
			t.Errorf("%s: no %q in\n%s", c.name, c.want, text[seen:])
		}
		if cut := strings.Contains(text[seen:], "good order"); cut != (c.name == "after a kill" || c.name == "after a crash") {
			t.Errorf("%s: cut off: %v", c.name, cut)
		}
		a.MailLog.Sync()
		seen = len(lines())
		c.end(a)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, runningName)); !os.IsNotExist(err) {
		t.Errorf("the mark of a run that ended in good order: %v", err)
	}
}

// One that may not run beside another changes nothing of that one's marks.
func TestSecondStartLeavesTheMark(t *testing.T) {
	dir := t.TempDir()
	if _, err := Init(dir, config.Manager, InitOptions{}); err != nil {
		t.Fatal(err)
	}
	a, err := Open(Options{Dir: dir}, config.Manager)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}, config.Manager); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second one: %v", err)
	}
	if head(a.Path(runningName)) == "" {
		t.Error("the mark is gone")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
