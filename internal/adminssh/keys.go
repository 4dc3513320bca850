package adminssh

import (
	"errors"
	"sync"
	"time"

	"lazaret/internal/console"
)

// maxAhead is how much may be typed ahead; more is dropped.
const maxAhead = 64 * 1024

const ctrlC = 3

var errIdle = errors.New("idle")

// keys is what was typed and not yet read. Ctrl-C is a key for who reads, and
// an interrupt for the command that runs while nobody reads.
type keys struct {
	mu        sync.Mutex
	buf       []byte
	afterCR   bool
	listening bool
	err       error
	wake      chan struct{} // holds one token when something changed
	stop      chan struct{} // closed by Ctrl-C while a command runs
	stopped   bool
}

func newKeys() *keys {
	return &keys{wake: make(chan struct{}, 1), stop: make(chan struct{})}
}

// feed takes bytes from the wire. CR, LF and CR LF are all one Enter: people's
// terminals send the first, programs the others.
func (k *keys) feed(p []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range p {
		if b == '\n' && k.afterCR {
			k.afterCR = false
			continue
		}
		if k.afterCR = b == '\r'; b == '\n' {
			b = '\r'
		}
		if b == ctrlC && !k.listening {
			k.interruptLocked()
			continue
		}
		if len(k.buf) < maxAhead {
			k.buf = append(k.buf, b)
		}
	}
	k.signal()
}

// interrupt is Ctrl-C by other means.
func (k *keys) interrupt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listening {
		k.buf = append(k.buf, ctrlC)
		k.signal()
		return
	}
	k.interruptLocked()
}

// interruptLocked stops the command and forgets what was typed for after it.
func (k *keys) interruptLocked() {
	k.buf = k.buf[:0]
	if !k.stopped {
		close(k.stop)
		k.stopped = true
	}
}

func (k *keys) end(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	k.signal()
}

func (k *keys) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// listen says whether somebody reads keys. Who reads has not been interrupted:
// a Ctrl-C that a finished command did not see is forgotten.
func (k *keys) listen(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listening = on
	if on && k.stopped {
		k.stop, k.stopped = make(chan struct{}), false
	}
}

func (k *keys) interrupted() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stop
}

// next waits for one byte.
func (k *keys) next(idle time.Duration) (byte, error) {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		if b, ok, err := k.take(); ok || err != nil {
			return b, err
		}
		select {
		case <-k.wake:
		case <-timer.C:
			return 0, errIdle
		}
	}
}

func (k *keys) take() (byte, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.buf) == 0 {
		return 0, false, k.err
	}
	b := k.buf[0]
	if k.buf = k.buf[1:]; len(k.buf) == 0 {
		k.buf = nil
	}
	if b == ctrlC {
		return 0, false, console.ErrInterrupt
	}
	return b, true, nil
}
