package manager

import (
	"context"
	"time"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

// maxReportBlocks is how many blocks of reports, or of verdicts, a gateway may bring in a minute:
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

// Verdicts implements listener.VerdictSink: what a gateway says now of mail that
// outbreak rules hold here (reference 2.6). What no rule holds any more goes home.
func (d deposits) Verdicts(ctx context.Context, peer string, list []cpq.Verdict) ([]int, error) {
	if err := d.m.StillPeer(peer); err != nil {
		return nil, err
	}
	if !d.m.reports.Take(peer, maxReportBlocks, time.Minute, d.m.Now()) {
		return nil, d.over(peer, errs.New(errs.Temporary, "%s brings more than %d blocks of verdicts in a minute", peer, maxReportBlocks))
	}
	all := make([]quarantine.Verdict, len(list))
	for i, v := range list {
		all[i] = quarantine.Verdict{MID: v.ManagerMID, Key: v.Key, Known: v.Stand != cpq.NotKnown, Rule: v.Rule}
		if v.For == cpq.ForAnalysis {
			all[i].Quarantine = quarantine.FileAnalysis
		}
	}
	out, gone, err := d.m.quarantine.Judged(ctx, peer, all)
	if out.Released+out.Changed > 0 {
		d.m.Log.Info(out.String())
	}
	return gone, err
}
