package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"lazaret/internal/testlib"
)

// ask asks at an address.
func ask(t *testing.T, at, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + at + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// answers reports whether we answer where we should not; that another program
// does is not our affair.
func answers(at string) bool {
	r, err := http.Get("http://" + at + "/metrics")
	if err != nil {
		return false
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return strings.Contains(string(b), "lazaret_")
}

// What sources give is shown, as gauges and counters; one that fails, or panics,
// is told, and the others are shown all the same. Nothing else is there, and
// nothing at all once it is off.
func TestMetrics(t *testing.T) {
	var mu sync.Mutex
	var faults []string
	wrong := error(nil)
	source := func(_ context.Context, put Put) error {
		put("things_total", "What was counted.", 3)
		put("room_ratio", "How full it is.", 0.25, "quarantine", "Po\"li\ncy")
		mu.Lock()
		defer mu.Unlock()
		return wrong
	}
	s := New([]Source{source, func(_ context.Context, put Put) error { put("last", "Behind it.", 1); return nil }}, func(_, text string) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, text)
	})
	defer s.Close()
	first, second := testlib.FreePort(t).String(), testlib.FreePort(t).String()
	if err := s.Listen(first); err != nil {
		t.Fatal(err)
	}
	status, text := ask(t, first, "/metrics")
	for _, want := range []string{"# TYPE lazaret_things_total counter\nlazaret_things_total 3\n", `lazaret_room_ratio{quarantine="Po\"li\ncy"} 0.25` + "\n", "lazaret_last 1\n", "lazaret_metrics_complete 1\n"} {
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d, no %q in\n%s", status, want, text)
		}
	}
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/x"} {
		if status, _ := ask(t, first, path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	mu.Lock()
	wrong = errors.New("the database cannot be reached")
	mu.Unlock()
	if _, text := ask(t, first, "/metrics"); !strings.Contains(text, "lazaret_last 1\n") || !strings.Contains(text, "lazaret_metrics_complete 0\n") {
		t.Errorf("when a source fails:\n%s", text)
	}
	mu.Lock()
	if len(faults) != 1 || faults[0] != "the database cannot be reached" {
		t.Errorf("told: %q", faults)
	}
	mu.Unlock()
	if err := s.Listen(second); err != nil || s.Addr() != second {
		t.Fatal(err, s.Addr())
	}
	if answers(first) {
		t.Error("it still answers at the address before")
	}
	if taken, err := net.Listen("tcp", first); err == nil { // else somebody else has it by now
		defer taken.Close()
	}
	if err := s.Listen(first); err == nil || s.Addr() != second {
		t.Errorf("an address that another has: %v, at %s", err, s.Addr())
	}
	if status, _ := ask(t, second, "/metrics"); status != http.StatusOK {
		t.Errorf("behind that: %d", status)
	}
	if err := s.Listen(""); err != nil {
		t.Fatal(err)
	}
	if answers(second) {
		t.Error("off, and it answers")
	}
	if err := s.Listen("no address"); err == nil {
		t.Error("no address was taken for one")
	}
}

// A panic in a source ends its numbers, not the process.
func TestMetricsPanic(t *testing.T) {
	told := make(chan string, 1)
	s := New([]Source{func(context.Context, Put) error { panic("oh") }}, func(_, text string) { told <- text })
	defer s.Close()
	at := testlib.FreePort(t).String()
	if err := s.Listen(at); err != nil {
		t.Fatal(err)
	}
	if _, text := ask(t, at, "/metrics"); !strings.Contains(text, "lazaret_metrics_complete 0\n") || !strings.Contains(<-told, "oh") {
		t.Errorf("%s", text)
	}
}
