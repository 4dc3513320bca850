package manager

import (
	"context"
	"time"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

// maxReportBlocks is how many blocks of reports a gateway may bring in a minute:
// a hundred reports each, more than it can have releases for.
const maxReportBlocks = 6000

// fates are the words of the wire in those of the quarantine.
var fates = map[cpq.Fate]quarantine.DeliveryState{
	cpq.Waiting: quarantine.Waiting, cpq.Aside: quarantine.Aside, cpq.Accepted: quarantine.Accepted, cpq.Bounced: quarantine.Bounced,
	cpq.Deleted: quarantine.DeletedThere, cpq.Discarded: quarantine.Discarded, cpq.Unknown: quarantine.LostSight,
}

// Report implements listener.ReportSink: what a gateway says became of releases
// that it was given. That the messages are its own the listener has checked.
func (d deposits) Report(ctx context.Context, peer string, list []cpq.Report) error {
	if err := d.m.StillPeer(peer); err != nil {
		return err
	}
	if !d.m.reports.Take(peer, maxReportBlocks, time.Minute, d.m.Now()) {
		return d.over(peer, errs.New(errs.Temporary, "%s brings more than %d blocks of reports in a minute", peer, maxReportBlocks))
	}
	out := make([]quarantine.Report, len(list))
	for i, r := range list {
		out[i] = quarantine.Report{MID: r.ManagerMID, Action: r.Action, Recipient: r.Recipient, Nth: r.Nth, State: fates[r.Fate],
			Proof: quarantine.Proof{Seq: r.Seq, At: r.At, Next: r.Next, Attempts: r.Attempts, Host: r.Host, Code: r.Code, Reply: r.Reply}}
	}
	_, err := d.m.quarantine.Prove(ctx, peer, out)
	return err
}
