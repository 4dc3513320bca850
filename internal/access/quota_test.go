package access

import (
	"fmt"
	"testing"
	"time"

	"lazaret/internal/errs"
)

// Each limit is exact, and one peer's quota is nobody else's.
func TestQuota(t *testing.T) {
	l := QuotaLimits{Messages: 3, Bytes: 100, Open: 2}
	q, at := NewQuota(), time.Unix(1e9, 0)
	take := func(peer string, size int64, ok bool) {
		t.Helper()
		if err := q.Take(peer, size, l, at); (err == nil) != ok || err != nil && !errs.Is(err, errs.Temporary) {
			t.Errorf("%s %d: %v", peer, size, err)
		}
	}
	take("A", 60, true)
	take("A", 41, false)
	take("A", 40, true)
	take("A", 0, true)
	take("A", 0, false)
	take("B", 500, true) // the first of a minute goes
	take("B", 1, false)
	at = at.Add(time.Minute)
	take("A", 100, true)
	at = at.Add(-time.Hour) // a clock that went back locks nobody out
	take("A", 100, true)
	for i, ok := range []bool{true, true, false} {
		if err := q.Enter("A", l); (err == nil) != ok {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := q.Enter("B", l); err != nil {
		t.Error(err)
	}
	q.Leave("A")
	if err := q.Enter("A", l); err != nil {
		t.Error(err)
	}
}

// A gateway that brings ten times its quota takes nothing from the others:
// of 1,000 messages of each of nine others, all are taken (register D5 asks
// for nine in ten).
func TestSEC_D5_QuotaIsFair(t *testing.T) {
	l := QuotaLimits{Messages: 1000, Bytes: 1 << 20, Open: 10}
	q, at := NewQuota(), time.Unix(1e9, 0)
	taken := map[string]int{}
	for i := range 10_000 {
		if q.Take("HOSTILE", 100, l, at) == nil {
			taken["HOSTILE"]++
		}
		if i%10 != 0 {
			continue
		}
		for n := range 9 {
			peer := fmt.Sprint("GATEWAY", n)
			if q.Take(peer, 100, l, at) == nil {
				taken[peer]++
			}
		}
	}
	if taken["HOSTILE"] != 1000 {
		t.Errorf("%d of the hostile one", taken["HOSTILE"])
	}
	for n := range 9 {
		if got := taken[fmt.Sprint("GATEWAY", n)]; got != 1000 {
			t.Errorf("gateway %d: %d of 1000", n, got)
		}
	}
}
