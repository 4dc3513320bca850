package spool

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// gateFS holds flushes of log files back while its gate is shut.
type gateFS struct {
	syncFS
	gate sync.RWMutex
}

type gateFile struct {
	vfs.File
	fs *gateFS
}

func (f *gateFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return gateFile{file, f}, err
}

func (f gateFile) SyncData() error {
	f.fs.n.Add(1)
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
	return f.File.SyncData()
}

// What comes while a flush is under way shares the next one: forty messages
// behind a flush that does not end take one more. None is answered before its own.
func TestCommitsShareAFlush(t *testing.T) {
	fs := &gateFS{syncFS: syncFS{FS: vfs.NewCrashableMem()}}
	s := open(t, fs, nil)
	defer s.Close()
	if err := send(s, 500); err != nil { // a block of numbers is reserved
		t.Fatal(err)
	}
	fs.gate.Lock()
	open := sync.OnceFunc(fs.gate.Unlock)
	defer open() // before Close, which would wait
	before := fs.n.Load()
	answers := make(chan error, 41)
	start := func(n int) {
		for range n {
			go func() { answers <- send(s, 500) }()
		}
	}
	start(1)
	until(t, func() bool { return fs.n.Load() == before+1 })
	start(40)
	until(t, func() bool {
		s.group.mu.Lock()
		defer s.group.mu.Unlock()
		return len(s.group.waiting) == 40
	})
	if len(answers) != 0 {
		t.Error("answered before the flush")
	}
	open()
	for range 41 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if n := fs.n.Load() - before; n != 2 {
		t.Errorf("%d flushes instead of 2", n)
	}
}

// Completions that nothing has taken along stand in no acceptance's way: behind
// a flush that does not end, their flush and that of a message are one.
func TestFlushOfCompletionsIsShared(t *testing.T) {
	fs := &gateFS{syncFS: syncFS{FS: vfs.NewCrashableMem()}}
	s := open(t, fs, nil)
	defer s.Close()
	it := sample(0)
	if err := store(t, s, []byte("x\r\n"), it); err != nil {
		t.Fatal(err)
	}
	fs.gate.Lock()
	open := sync.OnceFunc(fs.gate.Unlock)
	defer open() // before Close, which would wait
	before := fs.n.Load()
	answers := make(chan error, 3)
	go func() { answers <- send(s, 500) }()
	until(t, func() bool { return fs.n.Load() == before+1 })
	if err := s.Apply(context.Background(), queue.Update{Remove: []mail.MID{it.MID}}); err != nil {
		t.Fatal(err)
	}
	go func() { answers <- s.Apply(context.Background(), queue.Update{Durable: true}) }()
	go func() { answers <- send(s, 500) }()
	until(t, func() bool {
		s.group.mu.Lock()
		defer s.group.mu.Unlock()
		return len(s.group.waiting) == 2
	})
	open()
	for range 3 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if n := fs.n.Load() - before; n != 2 {
		t.Errorf("%d flushes instead of 2", n)
	}
	if !s.covered() {
		t.Error("the completion is not covered")
	}
}

// A group has a limit, and one batch that is over it goes alone.
func TestGroupsHaveALimit(t *testing.T) {
	s := open(t, vfs.NewCrashableMem(), nil)
	defer s.Close()
	var g group
	for _, size := range []int{maxGroup + 1, 1000, 1000, maxGroup - 1500, 10} {
		b := s.db.NewBatch()
		if err := b.Set([]byte("n"), make([]byte, size), nil); err != nil {
			t.Fatal(err)
		}
		g.waiting = append(g.waiting, &order{b: b})
	}
	var sizes []int
	for {
		got := g.take(nil)
		if len(got) == 0 {
			break
		}
		sizes = append(sizes, len(got))
		for _, o := range got {
			o.b.Close()
		}
	}
	if fmt.Sprint(sizes) != "[1 2 2]" {
		t.Errorf("groups of %v", sizes)
	}
}

// until waits for a state that other goroutines make.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it never came to that")
		}
		time.Sleep(time.Millisecond)
	}
}
