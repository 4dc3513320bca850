package disk

import "sync"

// Gate counts those who are inside the key-value engine, so that it is closed
// behind the last of them: it panics when it is closed under a commit. A write
// whose client was answered long ago may be on its way in at any time.
//
// It is not a sync.RWMutex because nobody may wait at it: behind a commit that
// hangs on a dead disk the answer is still due. The zero Gate is open.
type Gate struct {
	mu     sync.Mutex
	inside int
	shut   bool
	empty  chan struct{} // made by Close, closed when the last one leaves
}

// Enter reports whether the caller may go in; who may has to Leave.
func (g *Gate) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.inside++
	return true
}

// Leave is said once for each Enter that let in.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.shut && g.inside == 0 {
		close(g.empty)
	}
}

// Close lets nobody in any more and waits for those inside.
func (g *Gate) Close() {
	g.mu.Lock()
	if !g.shut {
		g.shut, g.empty = true, make(chan struct{})
		if g.inside == 0 {
			close(g.empty)
		}
	}
	g.mu.Unlock()
	<-g.empty
}
