package spool

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// benchItem is a plain message.
func benchItem() *queue.Item {
	it := sample(0)
	it.Accepted = time.Now()
	return it
}

func onDisk(b testing.TB) *Spool {
	return open(b, nil, func(o *Options) { o.Dir = b.TempDir(); o.MemTable = 0; o.MinBytes = 1 })
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkAccept is durable acceptance: content and record, synced, by 1, 16
// and 64 sessions.
func BenchmarkAccept(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, writers), func(b *testing.B) {
				s := onDisk(b)
				defer s.Close()
				body := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
				run(b, writers, func() {
					if err := store(b, s, body, benchItem()); err != nil {
						b.Error(err)
					}
				})
			})
		}
	}
}

// run spreads b.N calls over workers and reports rate and CPU.
func run(b *testing.B, workers int, f func()) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	began, used := time.Now(), cpu()
	for range workers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				f()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "msg/s")
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N), "cpu-us/msg")
}

type pass struct{}

func (pass) Process(context.Context, *queue.Item, queue.Opener) (queue.Routing, error) {
	return queue.Routing{}, nil
}

// null is a courier that reads each message and throws it away.
type null struct{ done chan struct{} }

func (n null) Run(ctx context.Context, _ queue.Dest, f *queue.Feed) {
	for {
		t, ok := f.Next(ctx)
		if !ok {
			return
		}
		r, err := t.Open()
		if err == nil {
			_, err = r.(io.WriterTo).WriteTo(io.Discard)
			r.Close()
		}
		if err != nil {
			t.Done(nil)
			continue
		}
		t.Done([]queue.Outcome{{State: queue.Delivered, Code: 250}})
		n.done <- struct{}{}
	}
}

type quiet struct{ faults }

func (*quiet) Finished(mail.MID, bool)                                                 {}
func (*quiet) Deleted(mail.MID, []mail.RID)                                            {}
func (*quiet) Suspended(string)                                                        {}
func (*quiet) Pending(mail.MID, []mail.RID, time.Time)                                 {}
func (*quiet) Bounced(mail.DCID, mail.MID, mail.RID, string, string, string, []string) {}

// BenchmarkPassThrough is the whole queue: accepted and durable, judged,
// delivered to a courier that throws away, removed.
func BenchmarkPassThrough(b *testing.B) {
	for _, writers := range []int{1, 20, 100} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := onDisk(b)
			defer s.Close()
			done := make(chan struct{}, 1024)
			q, err := queue.New(queue.Options{Store: s, Processor: pass{}, Log: &quiet{},
				Courier: func(queue.Dest) queue.Courier { return null{done} }})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error)
			go func() { ended <- q.Run(ctx) }()
			all := make(chan struct{})
			go func() {
				for range b.N {
					<-done
				}
				close(all)
			}()
			body := bytes.Repeat([]byte("0123456789abcde\n"), 256)
			run(b, writers, func() {
				it := benchItem()
				if err := store(b, s, body, it); err != nil {
					b.Error(err)
				}
				q.Add(it)
			})
			<-all
			cancel()
			<-ended
		})
	}
}

// What waits costs little memory: 100,000 messages behind a host that is down.
// The goal is 300 bytes a message with a million; the engine's write buffer and
// the whole messages kept are fixed and stand apart.
func TestMemoryOfWaitingMessages(t *testing.T) {
	if raceEnabled || !cgoEnabled {
		t.Skip("memory is measured without the race detector, and where the engine's buffers are not on Go's heap")
	}
	const n = 100_000
	s := onDisk(t)
	defer s.Close()
	q, err := queue.New(queue.Options{Store: s, Processor: pass{}, Log: &quiet{}, MaxLoaded: 256,
		Suspended: []string{queue.AllHosts}, Courier: func(queue.Dest) queue.Courier { return null{} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx) }()
	for i := range n { // unsynced: the test is about memory, not about the disk
		it := benchItem()
		it.MID = mail.MID(i + 1)
		key := midKey(keyRecord, it.MID)
		if err := s.db.Set(key, appendRecord(nil, key, it), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	before := s.heap()
	for i := range n {
		q.Enqueue(mail.MID(i + 1))
	}
	for q.WorkCount() > 0 {
		runtime.Gosched()
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	each := float64(s.heap()-before) / n
	if g := q.Gauges(); g.ActiveRecipients != n || g.OldestMID != 1 {
		t.Errorf("%+v", g)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	t.Logf("%.0f bytes of heap for each of %d waiting messages", each, n)
	if each > 300 || each < 8 { // its number alone has eight: something else was measured
		t.Error("more than 300 bytes a message, or none")
	}
	began := time.Now()
	q, _ = queue.New(queue.Options{Store: s, Processor: pass{}, Log: &quiet{}, Suspended: []string{queue.AllHosts},
		Courier: func(queue.Dest) queue.Courier { return null{} }})
	if err := q.Recover(ctx); err != context.Canceled && err == nil {
		t.Error("Recover goes on after its context ended")
	}
	if err := q.Recover(context.Background()); err != nil {
		t.Error(err)
	}
	if g := q.Gauges(); g.ActiveRecipients != n {
		t.Errorf("after a restart: %+v", g)
	}
	t.Logf("recovered in %v", time.Since(began))
}

// heap is the heap in use; with cgo the engine's write buffer and cache are not in it.
func (s *Spool) heap() int64 {
	for range 3 { // a pool lets go at the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkRecover takes up a queue of a million messages that wait, as at the
// start: one operation is the whole queue.
func BenchmarkRecover(b *testing.B) {
	const n = 1_000_000
	s := onDisk(b)
	defer s.Close()
	for i := 0; i < n; {
		batch := s.db.NewBatch()
		for range 1000 {
			it := full()
			i++
			it.MID, it.Release, it.Placements = mail.MID(i), nil, nil
			key := midKey(keyRecord, it.MID)
			batch.Set(key, appendRecord(nil, key, it), nil)
		}
		if err := s.commit(batch, false); err != nil {
			b.Fatal(err)
		}
		batch.Close()
	}
	b.ResetTimer()
	for b.Loop() {
		q, err := queue.New(queue.Options{Store: s, Processor: pass{}, Log: &quiet{}, Suspended: []string{queue.AllHosts},
			Courier: func(queue.Dest) queue.Courier { return null{} }})
		if err == nil {
			err = q.Recover(context.Background())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
