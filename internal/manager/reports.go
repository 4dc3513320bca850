package manager

import (
	"context"
	"time"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
)

// maxReportBlocks is how many blocks of reports a gateway may bring in a minute:
// a hundred reports each, more than it can have releases for.
const maxReportBlocks = 6000

// Report implements listener.ReportSink: what a gateway says became of releases
// that it was given. That the messages are its own the listener has checked.
func (d deposits) Report(ctx context.Context, peer string, list []cpq.Report) error {
	if err := d.m.StillPeer(peer); err != nil {
		return err
	}
	if !d.m.reports.Take(peer, maxReportBlocks, time.Minute, d.m.Now()) {
		return d.over(peer, errs.New(errs.Temporary, "%s brings more than %d blocks of reports in a minute", peer, maxReportBlocks))
	}
	return d.m.pvo.Prove(ctx, peer, list)
}
