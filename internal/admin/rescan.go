package admin

import (
	"context"
	"time"

	"lazaret/internal/errs"
)

const rescanned = `
Each gateway scans what came from it with the signatures that it has now; here nothing changes, but: what is found
clean leaves the quarantines with release_clean yes (see quarantineconfig).`

// rescan has messages scanned again and says what was found.
func (q Quarantines) rescan(ctx context.Context, c *Call) error {
	ch, err := q.choose(ctx, c)
	if err != nil {
		return err
	}
	out, err := q.Service.Rescan(ctx, c.Principal, ch.mids, ch.quarantine)
	for i, f := range out.Found {
		if i == maxMIDs {
			c.Printf("... and %s more\n", comma(len(out.Found)-maxMIDs))
			break
		}
		c.Printf("MID %s: %s\n", f.MID, Plain(f.Text))
	}
	for i, m := range out.Missed {
		if i == shown {
			c.Printf("... and %s more\n", comma(len(out.Missed)-shown))
			break
		}
		c.Printf("MID %s: %s\n", m.MID, Plain(m.Why))
	}
	if err == nil || len(out.Found) > 0 {
		c.Printf("%s of %s messages scanned again, %s released.\n", comma(len(out.Found)), comma(len(ch.mids)), comma(out.Released))
	}
	if out.Decision != 0 {
		c.Printf("To take the release back, until %s: quarantine undo --decision %s\n", out.Until.UTC().Format(time.RFC3339), out.Decision)
	}
	if err == nil && len(out.Missed) > 0 {
		err = errs.New(errs.Conflict, "%d of %d messages were not scanned again", len(out.Missed), len(ch.mids))
	}
	return err
}
