package spool

import (
	"context"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// syncFS counts the flushes of log files.
type syncFS struct {
	vfs.FS
	n atomic.Int64
}

type syncFile struct {
	vfs.File
	fs *syncFS
}

func (f *syncFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return syncFile{file, f}, err
}

func (f syncFile) SyncData() error { f.fs.n.Add(1); return f.File.SyncData() }
func (f syncFile) Sync() error     { f.fs.n.Add(1); return f.File.Sync() }

// A completion waits for a flush of its own only when no other commit has taken
// it along; and what was taken along is there after a power cut.
func TestCompletionsRideWithAcceptance(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := &syncFS{FS: mem}
	s := open(t, fs, nil)
	defer s.Close()
	put := func() *queue.Item {
		it := sample(0)
		if err := store(t, s, []byte("x\r\n"), it); err != nil {
			t.Fatal(err)
		}
		return it
	}
	apply := func(u queue.Update) int64 {
		before := fs.n.Load()
		if err := s.Apply(context.Background(), u); err != nil {
			t.Fatal(err)
		}
		return fs.n.Load() - before
	}
	sync := queue.Update{Durable: true}
	a, b := put(), put()
	if n := apply(sync); n != 0 {
		t.Errorf("%d flushes with nothing to flush", n)
	}
	apply(queue.Update{Remove: []mail.MID{a.MID}})
	if n := apply(sync); n == 0 {
		t.Error("a completion on its own was not flushed")
	}
	apply(queue.Update{Remove: []mail.MID{b.MID}})
	c := put()
	if n := apply(sync); n != 0 {
		t.Errorf("%d flushes for a completion that went with an acceptance", n)
	}
	after := open(t, mem.CrashClone(vfs.CrashCloneCfg{}), nil)
	defer after.Close()
	var left []mail.MID
	err := after.Scan(context.Background(), func(it *queue.Item) error { left = append(left, it.MID); return nil })
	if err != nil || len(left) != 1 || left[0] != c.MID {
		t.Errorf("after a power cut there are %v, %v", left, err)
	}
}

// What a schedule needs is the same in both scans.
func TestLeanScanSaysTheSame(t *testing.T) {
	s := opened4test(t)
	for n := range 50 {
		it := full()
		it.Tries, it.State = n%3, []queue.MessageState{queue.Work, queue.Routed, queue.Held}[n%3]
		it.Recipients = it.Recipients[:n%len(it.Recipients)+1]
		for i := range it.Recipients {
			it.Recipients[i].Dest = queue.Dest{Name: []string{"a.example", "b.example"}[(n+i)%2], Lane: []string{"", "x"}[n%2]}
		}
		if err := store(t, s, []byte("x\r\n"), it); err != nil {
			t.Fatal(err)
		}
	}
	type need struct {
		mid      mail.MID
		state    queue.MessageState
		tries    int
		accepted time.Time
		to       []queue.Recipient
	}
	var want, got []need
	gather := func(list *[]need) func(*queue.Item) error {
		return func(it *queue.Item) error {
			n := need{it.MID, it.State, it.Tries, it.Accepted, nil}
			for _, r := range it.Recipients {
				n.to = append(n.to, queue.Recipient{RID: r.RID, Dest: r.Dest, State: r.State, Attempts: r.Attempts, Next: r.Next})
			}
			*list = append(*list, n)
			return nil
		}
	}
	if err := s.Scan(context.Background(), gather(&want)); err != nil {
		t.Fatal(err)
	}
	if err := s.ScanLean(context.Background(), gather(&got)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 50 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d items\ngot  %+v\nwant %+v", len(got), got, want)
	}
}
