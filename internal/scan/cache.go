package scan

import (
	"container/list"
	"sync"
	"time"

	"lazaret/internal/mail"
)

// Times for which a verdict is remembered. The version of clamd does not change
// with signatures of one's own, so that it is no proof that nothing is new.
const (
	rememberDated   = time.Hour
	rememberUndated = time.Minute // all signatures may be one's own
)

// cache remembers verdicts by content and version of the signatures, for a
// time. What was scanned with other signatures is not found.
type cache struct {
	max int

	mu    sync.Mutex
	byKey map[cacheKey]*list.Element
	order *list.List // of *cacheEntry, the last used one first
}

type cacheKey struct {
	hash    mail.Hash
	version string
}

type cacheEntry struct {
	key   cacheKey
	scan  mail.Scan
	until time.Time
}

func newCache(max int) *cache {
	return &cache{max: max, byKey: make(map[cacheKey]*list.Element), order: list.New()}
}

func (c *cache) get(hash mail.Hash, version string, now time.Time) (mail.Scan, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[cacheKey{hash, version}]
	if !ok {
		return mail.Scan{}, false
	}
	entry := e.Value.(*cacheEntry)
	if !now.Before(entry.until) {
		delete(c.byKey, entry.key)
		c.order.Remove(e)
		return mail.Scan{}, false
	}
	c.order.MoveToFront(e)
	scan := entry.scan
	scan.Cached = true
	return scan, true
}

// put remembers a finished verdict until a time.
func (c *cache) put(hash mail.Hash, scan mail.Scan, until time.Time) {
	if c.max <= 0 || hash == (mail.Hash{}) {
		return
	}
	key := cacheKey{hash, scan.Database}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	c.byKey[key] = c.order.PushFront(&cacheEntry{key, scan, until})
	for c.order.Len() > c.max {
		last := c.order.Back()
		delete(c.byKey, last.Value.(*cacheEntry).key)
		c.order.Remove(last)
	}
}
