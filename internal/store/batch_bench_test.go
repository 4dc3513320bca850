package store

import (
	"fmt"
	"path/filepath"
	"testing"

	"lazaret/internal/quarantine"
)

// BenchmarkBatch is a transaction of exactly so many new records.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{1, 4, 8, 16, 32, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := &memContents{}
			s := openQuiet(b, Options{Path: filepath.Join(b.TempDir(), "q.db"), Contents: c})
			recs := make([]*quarantine.Record, b.N)
			for i := range recs {
				recs[i] = record(b, s, c, i, fmt.Sprint("body", i), "Policy")
			}
			b.ResetTimer()
			used := cpuTime()
			for at := 0; at < len(recs); at += n {
				batch := make([]*job, 0, n)
				for _, r := range recs[at:min(at+n, len(recs))] {
					a, err := s.addition(r)
					if err != nil {
						b.Fatal(err)
					}
					batch = append(batch, &job{add: a, durable: true, done: make(chan struct{})})
				}
				if err := s.commit(batch); err != nil { // the writer has nothing to do meanwhile
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64((cpuTime()-used).Microseconds())/float64(b.N), "cpu-us/msg")
		})
	}
}
