package auth

import (
	"net/netip"
	"sync"
	"time"
)

// After freeTries failures each further one doubles the time in which no
// attempt is looked at. An account's delay is short, for a stranger must not be
// able to lock an administrator out; an address's delay is long.
const (
	freeTries    = 4
	maxAccount   = 30 * time.Second
	maxAddress   = 15 * time.Minute
	forgetAfter  = time.Hour
	maxRemember  = 10_000
	firstPenalty = time.Second
)

type delays struct {
	clock   func() time.Time
	maxName int // no longer name is remembered

	mu       sync.Mutex
	accounts map[string]failure
	sources  map[string]failure
}

type failure struct {
	count int
	last  time.Time
}

func newDelays(clock func() time.Time, longest int) *delays {
	return &delays{clock: clock, maxName: longest, accounts: map[string]failure{}, sources: map[string]failure{}}
}

// wait gives how long an attempt must still be refused unseen.
func (d *delays) wait(name, from string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock()
	return max(left(d.accounts[name], now, maxAccount), left(d.sources[network(from)], now, maxAddress))
}

func left(f failure, now time.Time, longest time.Duration) time.Duration {
	if f.count < freeTries {
		return 0
	}
	penalty := longest
	if n := f.count - freeTries; n < 20 {
		penalty = min(firstPenalty<<n, longest)
	}
	// A clock that was set back must not lock anybody out for longer.
	return min(f.last.Add(penalty).Sub(now), penalty)
}

func (d *delays) failed(name, from string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock()
	if len(name) <= d.maxName {
		note(d.accounts, name, now)
	}
	note(d.sources, network(from), now)
}

// succeeded forgets the account's failures, not the address's: otherwise who
// owns one account could guess at others without delay.
func (d *delays) succeeded(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.accounts, name)
}

func note(m map[string]failure, key string, now time.Time) {
	f, known := m[key]
	if now.Sub(f.last) > forgetAfter {
		f = failure{}
	}
	if !known && len(m) >= maxRemember {
		evict(m, now)
	}
	f.count++
	f.last = now
	m[key] = f
}

// evict makes room: all that is too old, or else the oldest of a few. Map order
// is random, so a flood of names cannot choose what is forgotten.
func evict(m map[string]failure, now time.Time) {
	var oldest string
	var at time.Time
	seen := 0
	for k, f := range m {
		if now.Sub(f.last) > forgetAfter {
			delete(m, k)
			continue
		}
		if seen == 0 || f.last.Before(at) {
			oldest, at = k, f.last
		}
		if seen++; seen > 50 && len(m) < maxRemember {
			return
		}
	}
	if len(m) >= maxRemember {
		delete(m, oldest)
	}
}

// network groups addresses that one guesser easily has: /24 and /64.
func network(from string) string {
	ip, err := netip.ParseAddr(from)
	if err != nil {
		return from
	}
	ip = ip.Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return from
	}
	return p.String()
}
