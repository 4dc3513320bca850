package litedisk

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"lazaret/internal/testlib/proof"
)

// Images takes crash images before operations of a Disk, one for each share of
// proof.Survival, and has each checked at once, on the goroutine that was about
// to make the operation. It is proof.Images for SQLite.
type Images[K any] struct {
	Disk *Disk
	// Know copies what the outside world knows; it is called with the lock of
	// Learn held.
	Know func() K
	// Check opens the image in a directory, which is the check's own, with the
	// real recovery, and holds it against what is known.
	Check func(op, dir string, know K) error
	Every int // an image before each of so many operations; 0: each

	t     testing.TB
	mu    sync.Mutex // of Know and Learn; held while an image is taken
	rng   *rand.Rand
	off   bool
	ops   int
	count int
	err   error
}

// NewImages makes a Disk to live on. Nothing is taken before Start.
func NewImages[K any](t testing.TB, seed uint64) *Images[K] {
	c := &Images[K]{Disk: New(t), t: t, rng: rand.New(rand.NewPCG(seed, 1)), off: true}
	c.Disk.Before = c.before
	return c
}

// Start begins.
func (c *Images[K]) Start() { c.Learn(func() { c.off = false }) }

// Learn changes what is known. It never comes between an image and its knowledge.
func (c *Images[K]) Learn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *Images[K]) before(operation, file string) error {
	type image struct {
		name, dir string
		know      K
	}
	var taken []image
	c.mu.Lock()
	if c.ops++; !c.off && c.err == nil && c.ops%max(c.Every, 1) == 0 {
		for _, percent := range proof.Survival {
			im := image{fmt.Sprintf("operation %d (%s of %s, %d%% survive)", c.ops, operation, file, percent), "", c.Know()}
			var err error
			if im.dir, err = os.MkdirTemp(c.t.TempDir(), ""); err == nil {
				err = c.Disk.Image(im.dir, percent, c.rng)
			}
			if err != nil {
				c.err = err
				break
			}
			taken = append(taken, im)
		}
	}
	c.mu.Unlock()
	for _, im := range taken {
		err := c.Check(im.name, im.dir, im.know)
		c.mu.Lock()
		c.count++
		if err != nil && c.err == nil {
			c.err = fmt.Errorf("%s: %w", im.name, err)
		}
		c.mu.Unlock()
		os.RemoveAll(im.dir)
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

// Copy copies the files of an image into a directory of its own below another,
// and gives its name.
func Copy(below, dir string) (string, error) {
	to, err := os.MkdirTemp(below, "")
	if err == nil {
		err = os.CopyFS(to, os.DirFS(dir))
	}
	return to, err
}
