package access

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Against a model that remembers every event: each answer is exact, over
// windows that end, clocks that step back and keys that come and go.
func TestRatesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type model struct {
			start time.Time
			count int
		}
		r, want := NewRates[int](8), map[int]*model{}
		now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(-5, 20).Draw(t, "minutes")) * time.Minute)
			key, limit := rapid.IntRange(0, 7).Draw(t, "key"), rapid.IntRange(1, 4).Draw(t, "limit")
			m := want[key]
			if m == nil || now.Sub(m.start) >= time.Hour {
				m = &model{start: now}
				want[key] = m
			}
			if now.Before(m.start) {
				m.start = now
			}
			allowed := m.count < limit
			if allowed {
				m.count++
			}
			if got := r.Take(key, limit, time.Hour, now); got != allowed {
				t.Fatalf("key %d, limit %d, count %d: %v", key, limit, m.count, got)
			}
			if allowed && rapid.Bool().Draw(t, "taken back") {
				r.Return(key)
				m.count--
			}
			if got := r.Count(key, now); got != m.count {
				t.Fatalf("key %d: count %d, want %d", key, got, m.count)
			}
		}
	})
}

// However many clients come, so many are remembered; the busy one is not the
// one that is forgotten, and what is over is dropped.
func TestRatesAreBounded(t *testing.T) {
	r, now := NewRates[int](1000), time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for i := range 100_000 {
		now = now.Add(time.Millisecond)
		r.Take(i, 5, time.Hour, now)
		if r.Take(-1, 5, time.Hour, now) != (i < 5) {
			t.Fatalf("the busy client is allowed event %d", i)
		}
		if n := r.Len(); n > 1000 {
			t.Fatalf("%d keys", n)
		}
	}
	now = now.Add(2 * time.Hour)
	for i := range 1000 {
		r.Take(i, 5, time.Hour, now)
	}
	if n := r.Len(); n > 1000 {
		t.Errorf("%d keys", n)
	}
	if !r.Take(-1, 5, time.Hour, now) || r.Count(-1, now) != 1 {
		t.Error("an hour later the client begins anew")
	}
	if r.Count(-2, now) != 0 {
		t.Error("a client nobody has seen")
	}
}
