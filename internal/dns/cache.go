package dns

import "time"

// cache keeps answers until their time is over. Its owner locks.
type cache struct {
	clock func() time.Time
	kept  map[question]cached
	bytes int // what the answers hold, about
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
		c.drop(q)
		return answer{}, false
	}
	return e.ans, true
}

func (c *cache) put(q question, a answer) {
	c.drop(q)
	size := a.size()
	if len(c.kept) >= maxCached || c.bytes+size > maxCachedBytes {
		c.shrink()
	}
	c.kept[q] = cached{a, c.clock().Add(a.ttl)}
	c.bytes += size
}

func (c *cache) drop(q question) {
	if e, ok := c.kept[q]; ok {
		c.bytes -= e.ans.size()
		delete(c.kept, q)
	}
}

// shrink drops what is over, and if that is little, whatever the map gives
// first: who floods the cache shall not pay us with a walk for each answer.
func (c *cache) shrink() {
	now := c.clock()
	for q, e := range c.kept {
		if !now.Before(e.until) {
			c.drop(q)
		}
	}
	for q := range c.kept {
		if len(c.kept) <= maxCached*3/4 && c.bytes <= maxCachedBytes*3/4 {
			return
		}
		c.drop(q)
	}
}

// size says about how many bytes an answer keeps alive.
func (a *answer) size() int {
	n := 256 + 48*len(a.mx) + 24*len(a.addrs) + 40*len(a.names) + 32*len(a.tlsa)
	for _, m := range a.mx {
		n += len(m.Host)
	}
	for _, s := range a.names {
		n += len(s)
	}
	for _, s := range a.texts {
		n += 16 + len(s)
	}
	for _, r := range a.tlsa {
		n += len(r.Data)
	}
	return n
}
