package dns

import "time"

// cache keeps answers until their time is over. Its owner locks.
type cache struct {
	clock func() time.Time
	kept  map[question]cached
}

type cached struct {
	ans   answer
	until time.Time
}

func newCache(clock func() time.Time) *cache {
	return &cache{clock: clock, kept: map[question]cached{}}
}

func (c *cache) get(q question) (answer, bool) {
	e, ok := c.kept[q]
	if !ok {
		return answer{}, false
	}
	// A clock that went back makes the end lie too far off: ask again.
	if left := e.until.Sub(c.clock()); left <= 0 || left > maxTTL {
		delete(c.kept, q)
		return answer{}, false
	}
	return e.ans, true
}

func (c *cache) put(q question, a answer) {
	if len(c.kept) >= maxCached {
		c.shrink()
	}
	c.kept[q] = cached{a, c.clock().Add(a.ttl)}
}

// shrink drops what is over, and if that is little, whatever the map gives
// first: who floods the cache shall not pay us with a walk for each answer.
func (c *cache) shrink() {
	now := c.clock()
	for q, e := range c.kept {
		if !now.Before(e.until) {
			delete(c.kept, q)
		}
	}
	for q := range c.kept {
		if len(c.kept) <= maxCached*3/4 {
			return
		}
		delete(c.kept, q)
	}
}
