package appliance

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"lazaret/internal/access"
	"lazaret/internal/config"
	"lazaret/internal/mail"
)

// A score file that is not there or has a mistake is refused at the commit; a
// good one is in force with it, and gone with the next.
func TestScoreSourceByCommit(t *testing.T) {
	a := bare(t)
	p := mail.Principal{Name: "admin", Role: mail.Administrator}
	use := func(r config.Reputation) error {
		t.Helper()
		if err := a.Config.Change(p, "reputation", func(next *config.Config) error { next.Reputation = r; return nil }); err != nil {
			t.Fatal(err)
		}
		_, err := a.Config.Commit(p, "")
		if err != nil {
			a.Config.Clear(p)
		}
		return err
	}
	score := func() string {
		_, s := a.reputation.Ask(t.Context(), netip.MustParseAddr("192.0.2.1"), access.Needs{Score: true})
		return s.String()
	}
	if err := use(config.Reputation{Source: "file", File: "scores"}); err == nil || !strings.Contains(err.Error(), "config/reputation/file: the file cannot be read") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(a.Path("scores"), []byte("192.0.2.1 bad\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := use(config.Reputation{Source: "file", File: "scores"}); err == nil || !strings.Contains(err.Error(), "line 1") || score() != "None" {
		t.Errorf("a mistake: %v, score %s", err, score())
	}
	if err := os.WriteFile(a.Path("scores"), []byte("192.0.2.1 -7.5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := use(config.Reputation{Source: "file", File: "scores"}); err != nil || score() != "-7.5" {
		t.Errorf("%v, score %s", err, score())
	}
	if err := use(config.Reputation{Source: "none"}); err != nil || score() != "None" {
		t.Errorf("%v, score %s", err, score())
	}
}
