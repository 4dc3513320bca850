package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/scan"
)

// clamdSessions are those that a gateway keeps.
const clamdSessions = 4

// clamdAlone scans messages like those of the load over kept sessions, with
// nothing beside, for as long as it takes to say what clamd can do; and notes
// what share of that went through the gateway a moment ago.
func (o *Options) clamdAlone(ctx context.Context, r *result, through float64) error {
	c := scan.NewClamd(scan.ClamdOptions{Address: o.Clamd, Sessions: clamdSessions, CacheSize: -1})
	defer c.Close()
	const span = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, 10*span)
	defer cancel()
	var scanned atomic.Int64
	var wg sync.WaitGroup
	var failure atomic.Pointer[error]
	end := time.Now().Add(span)
	began := time.Now()
	for w := range clamdSessions {
		wg.Go(func() {
			text := content(o.Size)
			for n := 0; time.Now().Before(end) && failure.Load() == nil; n++ {
				b := bytes.ReplaceAll(text, []byte(numberMark), fmt.Appendf(nil, "%014d", n*clamdSessions+w))
				got, err := c.Scan(ctx, sha256.Sum256(b), int64(len(b)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
				if err == nil && got.Verdict != mail.Clean {
					err = errs.New(errs.Invalid, "clamd says %s of a message that is clean: %s", got.Verdict, got.Name)
				}
				if err != nil {
					failure.Store(&err)
					return
				}
				scanned.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failure.Load(); err != nil {
		return errs.Context(*err, "clamd alone")
	}
	alone := float64(scanned.Load()) / time.Since(began).Seconds()
	r.add("clamd alone, 4 sessions", "scans/s", alone)
	r.add("share of clamd alone", "%", 100*through/alone)
	return nil
}
