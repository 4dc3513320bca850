package spool

import "sync"

// gate counts those who are inside the engine, so that it is closed behind the
// last of them: the engine panics when it is closed under a commit. An order
// whose client was answered long ago may be on its way in at any time.
//
// It is not a sync.RWMutex because nobody may wait at it: behind a commit that
// hangs on a dead disk the answer is still due.
type gate struct {
	mu     sync.Mutex
	inside int
	shut   bool
	empty  chan struct{} // made by close, closed when the last one leaves
}

// enter reports whether the caller may go in; who may has to leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.shut && g.inside == 0 {
		close(g.empty)
	}
}

// close lets nobody in any more and waits for those inside. It is called once.
func (g *gate) close() {
	g.mu.Lock()
	g.shut, g.empty = true, make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
}
