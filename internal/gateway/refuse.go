package gateway

import (
	"context"

	"lazaret/internal/queue"
)

// refuser ends what a filter bounces: nobody gets it, and the sender is told as
// of any other failure, by the bounce profile. The report does not say which
// filter it was.
type refuser struct{}

// Run implements queue.Courier.
func (refuser) Run(ctx context.Context, _ queue.Dest, feed *queue.Feed) {
	for {
		t, ok := feed.Next(ctx)
		if !ok {
			return
		}
		settle(t, queue.Outcome{State: queue.Bounced, Code: 550, Status: "5.7.1", Reply: "5.7.1 the message is refused by the policy of the recipient's organisation"}, nil)
	}
}
