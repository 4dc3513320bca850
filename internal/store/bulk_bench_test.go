package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// BenchmarkDelete is a decision by hand about many messages: into the bin.
func BenchmarkDelete(b *testing.B) {
	s, bl, svc, err := place(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		s.Close()
		bl.Close()
	}()
	if err := svc.Configure(quarantine.Defaults(), quarantine.DefaultRules()); err != nil {
		b.Fatal(err)
	}
	mids := make([]mail.MID, b.N)
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := int(n.Add(1)); i <= b.N; i = int(n.Add(1)) {
				d, _ := crashDeposit(s, i)
				body := fmt.Sprintf("Subject: %d\r\n\r\ntext of %d\r\n", i, i)
				d.Size, d.Hash = int64(len(body)), hashOf([]byte(body))
				d.Key = mail.NewKey(serial, d.GatewayMID, d.Hash)
				if mids[i-1], _, err = svc.Ingest(ctx, d, strings.NewReader(body)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(mids)
	b.ResetTimer()
	used := cpuTime()
	out, err := svc.Delete(ctx, mail.Principal{Name: "admin", Role: mail.Administrator}, mids, "")
	b.StopTimer()
	if err != nil || out.Count != b.N {
		b.Fatal(out.Count, err)
	}
	b.ReportMetric(float64((cpuTime()-used).Microseconds())/float64(b.N), "cpu-us/msg")
}
