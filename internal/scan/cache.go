package scan

import (
	"container/list"
	"sync"

	"lazaret/internal/mail"
)

// cache remembers verdicts by content and version of the signatures. What was
// scanned with other signatures is not found.
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
	key  cacheKey
	scan mail.Scan
}

func newCache(max int) *cache {
	return &cache{max: max, byKey: make(map[cacheKey]*list.Element), order: list.New()}
}

func (c *cache) get(hash mail.Hash, version string) (mail.Scan, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[cacheKey{hash, version}]
	if !ok {
		return mail.Scan{}, false
	}
	c.order.MoveToFront(e)
	scan := e.Value.(*cacheEntry).scan
	scan.Cached = true
	return scan, true
}

// put remembers a finished verdict.
func (c *cache) put(hash mail.Hash, scan mail.Scan) {
	if c.max <= 0 || hash == (mail.Hash{}) {
		return
	}
	key := cacheKey{hash, scan.Database}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	c.byKey[key] = c.order.PushFront(&cacheEntry{key, scan})
	for c.order.Len() > c.max {
		last := c.order.Back()
		delete(c.byKey, last.Value.(*cacheEntry).key)
		c.order.Remove(last)
	}
}
