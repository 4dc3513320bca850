package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

func hashOf(b []byte) mail.Hash { return sha256.Sum256(b) }

// BenchmarkIngest is the whole way of a deposit: content, record, number, on
// stable storage, with so many writers at once.
func BenchmarkIngest(b *testing.B) {
	for _, writers := range []int{1, 8, 32, 128, 512} {
		b.Run(fmt.Sprintf("4KiB/%dwriters", writers), func(b *testing.B) {
			s, bl, svc, err := place(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				s.Close()
				bl.Close()
			}()
			base := make([]byte, 4096)
			for i := range base {
				if base[i] = "Lorem ipsum dolor sit amet\r\n"[i%28]; i%3 == 0 {
					base[i] = byte(rand.IntN(64) + 32)
				}
			}
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			used := cpuTime()
			for range writers {
				wg.Go(func() {
					for {
						i := int(n.Add(1))
						if i > b.N {
							return
						}
						d, _ := crashDeposit(s, i)
						body := append(fmt.Appendf(nil, "Subject: %d\r\n", i), base...)
						d.Size, d.Hash = int64(len(body)), hashOf(body)
						d.Key = mail.NewKey(serial, d.GatewayMID, d.Hash)
						d.Subject, d.Envelope.From = "Quarterly figures and offers", mail.Address{Local: "sender", Domain: "example.net"}
						if _, _, err := svc.Ingest(ctx, d, bytes.NewReader(body)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(float64((cpuTime()-used).Microseconds())/float64(b.N), "cpu-us/msg")
		})
	}
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkRecords is 64 callers at once who add records, and then a decision
// about all of them, 500 in a transaction, without content.
func BenchmarkRecords(b *testing.B) {
	for name, open := range map[string]func(*memContents) *Store{
		"sqlite": func(c *memContents) *Store {
			return openQuiet(b, Options{Path: filepath.Join(b.TempDir(), "q.db"), Contents: c})
		},
		"postgres": func(c *memContents) *Store {
			return openQuiet(b, Options{DSN: newDatabase(b), Name: "one", Contents: c})
		},
	} {
		b.Run(name, func(b *testing.B) {
			c := &memContents{}
			s := open(c)
			recs := make([]*quarantine.Record, b.N)
			for i := range recs {
				recs[i] = record(b, s, c, i, fmt.Sprint("body", i), "Policy")
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range 64 {
				wg.Go(func() {
					for i := w; i < b.N; i += 64 {
						if _, _, err := s.Add(ctx, recs[i]); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			added, used := b.Elapsed(), cpuTime()
			for list := range slices.Chunk(recs, 500) {
				changes := make([]quarantine.Change, len(list))
				for i, r := range list {
					changes[i] = remove(r)
				}
				if made, err := s.Change(ctx, changes); err != nil || slices.Contains(made, false) {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(added.Microseconds())/float64(b.N), "us/add")
			b.ReportMetric(float64((b.Elapsed()-added).Microseconds())/float64(b.N), "us/change")
			b.ReportMetric(float64((cpuTime()-used).Microseconds())/float64(b.N), "cpu-us/change")
		})
	}
}
