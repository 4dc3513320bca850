package pvo

import (
	"context"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

// Home routes a release to the gateway the message came from; each gateway is
// a lane of its own behind the.cpq.release.host, so that one that is down does
// not hold up the others. It implements queue.Processor.
type Home struct{}

// Process implements queue.Processor.
func (Home) Process(_ context.Context, it *queue.Item, _ queue.Opener) (queue.Routing, error) {
	if it.Release == nil { // mail of our own comes routed
		return queue.Routing{}, errs.New(errs.Damaged, "MID %s is in the queue of releases without a release", it.MID)
	}
	to := queue.Dest{Name: queue.CPQReleaseHost, Lane: it.Release.Gateway}
	return queue.Routing{Dest: func(queue.Recipient) queue.Dest { return to }}, nil
}

// fates are the words of the wire in those of the quarantine.
var fates = map[cpq.Fate]quarantine.DeliveryState{
	cpq.Waiting: quarantine.Waiting, cpq.Aside: quarantine.Aside, cpq.Accepted: quarantine.Accepted, cpq.Bounced: quarantine.Bounced,
	cpq.Deleted: quarantine.DeletedThere, cpq.Discarded: quarantine.Discarded, cpq.Unknown: quarantine.LostSight,
	cpq.HeldAgain: quarantine.HeldAgain,
}

// Prove notes what the gateway says became of releases that it was given.
func (q *Quarantines) Prove(ctx context.Context, gateway string, list []cpq.Report) error {
	out := make([]quarantine.Report, len(list))
	for i, r := range list {
		out[i] = quarantine.Report{MID: r.ManagerMID, Action: r.Action, Recipient: r.Recipient, Nth: r.Nth, State: fates[r.Fate],
			Proof: quarantine.Proof{Seq: r.Seq, At: r.At, Next: r.Next, Attempts: r.Attempts, Host: r.Host, Code: r.Code, Reply: r.Reply, Rescan: r.Rescanned}}
	}
	_, err := q.Service.Prove(ctx, gateway, out)
	return err
}
