package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"lazaret/internal/mail"
)

func hashOf(b []byte) mail.Hash { return sha256.Sum256(b) }

// BenchmarkIngest is the whole way of a deposit: content, record, number, on
// stable storage, with so many writers at once.
func BenchmarkIngest(b *testing.B) {
	for _, writers := range []int{1, 8, 16, 64} {
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
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
