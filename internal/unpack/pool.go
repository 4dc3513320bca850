package unpack

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"lazaret/internal/errs"
)

// Options of a Pool.
type Options struct {
	// Program is the worker: this same program, and the words that make it one.
	// Nil is /proc/self/exe unpack-worker.
	Program []string

	Workers  int           // at once: 0 is one for each processor
	Messages int           // after which a worker is replaced: 0 is 200
	Grace    time.Duration // beyond Limits.Time, until a silent worker is killed: 0 is 5 s
	Dir      string        // for unnamed scratch files; "" is the directory of the system
	Limits   Limits
	Warn     func(string) // called once for each wall that a worker could not put up; may be nil
}

// Pool keeps workers. Safe for concurrent use.
type Pool struct {
	o    Options
	room chan struct{} // one token for each worker that may run

	mu     sync.Mutex
	idle   []*worker
	warned map[string]bool
	closed bool
}

// NewPool makes a pool. Workers start when they are needed.
func NewPool(o Options) *Pool {
	if len(o.Program) == 0 {
		o.Program = []string{"/proc/self/exe", "unpack-worker"}
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Messages <= 0 {
		o.Messages = 200
	}
	if o.Grace <= 0 {
		o.Grace = 5 * time.Second
	}
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	o.Limits = o.Limits.filled()
	return &Pool{o: o, room: make(chan struct{}, o.Workers), warned: map[string]bool{}}
}

// get gives a worker of the caller's own. No worker to be had is Temporary: the
// message waits, it is not judged without.
func (p *Pool) get(ctx context.Context) (*worker, error) {
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return nil, errs.Wrap(errs.Temporary, ctx.Err(), "waiting for an unpack worker")
	}
	for {
		w, err := p.pop()
		if err != nil {
			<-p.room
			return nil, err
		}
		if w == nil {
			break
		}
		if w.alive() {
			return w, nil
		}
		w.kill()
	}
	w, missing, err := start(&p.o)
	if err != nil {
		<-p.room
		return nil, errs.Wrap(errs.Temporary, err, "starting an unpack worker")
	}
	for _, wall := range missing {
		p.warn(wall)
	}
	return w, nil
}

// pop gives an idle worker, or nil.
func (p *Pool) pop() (*worker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errs.New(errs.Closed, "the unpack workers are stopped")
	}
	n := len(p.idle)
	if n == 0 {
		return nil, nil
	}
	w := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return w, nil
}

func (p *Pool) warn(wall string) {
	p.mu.Lock()
	first := !p.warned[wall]
	p.warned[wall] = true
	p.mu.Unlock()
	if first && p.o.Warn != nil {
		p.o.Warn("the unpack worker runs without " + wall)
	}
}

// put takes a worker back. One that did something wrong, or has served its
// number of messages, is replaced.
func (p *Pool) put(w *worker, sound bool) {
	defer func() { <-p.room }()
	w.messages++
	p.mu.Lock()
	keep := sound && !p.closed && w.messages < p.o.Messages && w.alive()
	if keep {
		p.idle = append(p.idle, w)
	}
	p.mu.Unlock()
	if !keep {
		w.kill()
	}
}

// Close ends the idle workers, and has those at work end with their message.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, w := range idle {
		w.kill()
	}
}
