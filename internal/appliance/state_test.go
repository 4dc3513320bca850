package appliance

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lazaret/internal/errs"
	"lazaret/internal/stats"
	"lazaret/internal/testlib/proof"
)

// What is suspended and the lifetime counters survive.
func TestStateSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	open := func() *State {
		s, err := OpenState(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if err := s.SetSuspendedListeners([]string{"cpq_listener"}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetSuspendedDelivery([]string{"*"}); err != nil {
		t.Fatal(err)
	}
	var set stats.Set
	set.Add(stats.MessagesReceived, 7)
	if err := s.SaveCounters(&set); err != nil {
		t.Fatal(err)
	}

	if s.NextICID() != 1 || s.NextICID() != 2 {
		t.Error("numbers do not begin at 1")
	}
	again := open() // s was not settled: a kill -9
	if id := again.NextICID(); id <= 2 {
		t.Errorf("ICID %d given again after a kill", id)
	}
	if got := again.SuspendedListeners(); !slices.Equal(got, []string{"cpq_listener"}) {
		t.Errorf("suspended listeners %v", got)
	}
	if got := again.SuspendedDelivery(); !slices.Equal(got, []string{"*"}) {
		t.Errorf("suspended delivery %v", got)
	}
	id := again.NextDCID()
	again.settle()
	if err := again.SaveCounters(&set); err != nil {
		t.Fatal(err)
	}
	if next := open().NextDCID(); next != id+1 {
		t.Errorf("DCID %d after a clean end at %d", next, id)
	}
	var back stats.Set
	if err := again.RestoreCounters(&back); err != nil || back.Lifetime(stats.MessagesReceived) != 7 {
		t.Errorf("lifetime %d, %v", back.Lifetime(stats.MessagesReceived), err)
	}
}

// A damaged or newer state file stops the start with its name, and is not overwritten.
func TestStateRefused(t *testing.T) {
	for _, text := range []string{"{", `{"version":2}`} {
		path := filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenState(path); err == nil || errs.KindOf(err) == errs.Internal {
			t.Errorf("%s: %v", text, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%s: the file became %q, %v", text, b, err)
		}
	}
}

// F6: each byte of the state file flipped, the file cut at each length: refused,
// with what to do, or what it was.
func TestStateDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	s, err := OpenState(path)
	if err == nil {
		err = s.SetSuspendedListeners([]string{"cpq_listener"})
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	trials := 0
	for i := range text {
		flipped := slices.Clone(text)
		flipped[i] ^= 0x11
		for _, bad := range [][]byte{flipped, text[:i]} {
			trials++
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := OpenState(path)
			switch {
			case err == nil && !slices.Equal(got.SuspendedListeners(), []string{"cpq_listener"}):
				t.Errorf("byte %d: a suspended listener would open", i)
			case err != nil && !errs.Is(err, errs.Damaged):
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
	proof.Line(t, "state-damaged", trials)
}
