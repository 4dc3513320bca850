package proof

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Survival are the shares of unsynced blocks and names, in percent, that a
// crash image keeps at random.
var Survival = [...]int{0, 30, 70}

// Images takes crash images before operations of a file system in memory, one
// for each share of Survival, and has each checked at once, on the goroutine
// that was about to make the operation.
type Images[K any] struct {
	FS *vfs.MemFS // where the life takes place
	// Know copies what the outside world knows; it is called with the lock of
	// Learn held.
	Know func() K
	// Check opens an image with the real recovery and holds it against what is
	// known. The image is the check's own.
	Check func(op string, image *vfs.MemFS, know K) error
	Every int // an image before each of so many operations; 0: each
	Reads bool

	mu    sync.Mutex // of Know and Learn; held while an image is taken
	rng   *rand.Rand
	off   bool
	ops   int
	count int
	err   error
}

// NewImages makes an empty file system to live on.
func NewImages[K any](seed uint64) *Images[K] {
	return &Images[K]{FS: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(seed, 1))}
}

// Life gives the file system for the life that is to be crashed.
func (c *Images[K]) Life() vfs.FS { return errorfs.Wrap(c.FS, errorfs.InjectorFunc(c.before)) }

// Learn changes what is known. It never comes between an image and its knowledge.
func (c *Images[K]) Learn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// before is called before each operation.
func (c *Images[K]) before(op errorfs.Op) error {
	if !c.Reads && op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	type image struct {
		name string
		fs   *vfs.MemFS
		know K
	}
	var taken []image
	c.mu.Lock()
	if c.ops++; !c.off && c.err == nil && c.ops%max(c.Every, 1) == 0 {
		for _, percent := range Survival {
			taken = append(taken, image{
				name: fmt.Sprintf("operation %d (%d on %s, %d%% survive)", c.ops, op.Kind, op.Path, percent),
				fs:   c.FS.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng}),
				know: c.Know(),
			})
		}
	}
	c.mu.Unlock()
	for _, im := range taken {
		err := c.Check(im.name, im.fs, im.know)
		c.mu.Lock()
		c.count++
		if err != nil && c.err == nil {
			c.err = fmt.Errorf("%s: %w", im.name, err)
		}
		c.mu.Unlock()
	}
	return nil
}

// End takes no more images and gives how many there were and the first
// violation.
func (c *Images[K]) End() (count int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = true
	return c.count, c.err
}
