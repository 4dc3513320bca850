package appliance

import (
	"context"
	"fmt"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/tracking"
)

// Limits of one search of mail_logs.
const (
	maxLogRead = 1 << 30          // bytes, in each of two readings
	maxLogTime = 30 * time.Second // for both
)

// Track searches mail_logs for what a query asks, in two readings: which
// messages are meant, and what became of them. It gives the second, the bytes
// of log, and why that is not all.
func (a *Appliance) Track(ctx context.Context, q tracking.Query, note func(string)) (*tracking.Follower, int64, []string, error) {
	if a.MailLog != nil {
		a.MailLog.Sync()
	}
	limited, cancel := context.WithTimeout(ctx, maxLogTime)
	defer cancel()
	pass := 0
	r := logs.Reading{Since: q.Since, MaxBytes: maxLogRead, Progress: func(of, all int64) {
		note(fmt.Sprintf("Reading mail_logs: %d%%", min(99, 50*int64(pass)+of*50/max(all, 1))))
	}}
	names, size, older, err := logs.ReadFiles(a.Path("log", "mail_logs"), "mail", r)
	if err != nil {
		return nil, 0, nil, err
	}
	var cut []string
	if older {
		cut = append(cut, fmt.Sprintf("older files of mail_logs were not read: %d bytes are the limit", int64(maxLogRead)))
	}
	find := tracking.NewFinder(q, a.Now().Location())
	if err = logs.Read(limited, names, r, find.Line); err == nil {
		pass = 1
		follow := find.Follow()
		if follow.Wanted() {
			err = logs.Read(limited, names, r, follow.Line)
		}
		if err == nil {
			return follow, size, cut, nil
		}
	}
	if ctx.Err() != nil {
		return nil, 0, nil, ctx.Err()
	}
	if limited.Err() != nil {
		return nil, 0, nil, errs.New(errs.Temporary, "reading mail_logs took longer than %s: ask for a shorter time with --since", maxLogTime)
	}
	return nil, 0, nil, err
}
