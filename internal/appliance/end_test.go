package appliance

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// After the storage failed, an end that waits for it comes back all the same;
// without a failure it is given all the time it needs.
func TestEndAfterFatal(t *testing.T) {
	a := bare(t)
	a.grace = time.Millisecond
	slow := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { close(slow) })
	if err := a.End(func() error { <-slow; return nil }); err != nil {
		t.Errorf("a slow end: %v", err)
	}
	a.Fatal(errors.New("disk on fire"))
	stuck := make(chan struct{})
	defer close(stuck)
	if err := a.End(func() error { <-stuck; return nil }); !errs.Is(err, errs.Internal) {
		t.Errorf("a stuck end: %v", err)
	}
	if err := <-a.Failed(); err == nil || err.Error() != "disk on fire" {
		t.Error(err)
	}
}

// What could not be read at the start is not written over at the end.
func TestDamagedCountersStay(t *testing.T) {
	dir := t.TempDir()
	if _, err := Init(dir, config.Gateway, InitOptions{}); err != nil {
		t.Fatal(err)
	}
	const text = `{"version":1,"icid":70,"counters":"none"}`
	path := dir + "/state.json"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}, config.Gateway); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("opened: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != text {
		t.Errorf("state.json became %s, %v", b, err)
	}
}
