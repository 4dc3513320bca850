package peer

import (
	"bytes"
	"context"
	"time"

	"lazaret/internal/tracking"
)

// WhereCommand is the hidden command by which a manager asks a gateway what
// became of a message.
const WhereCommand = "cpqwhere"

// WhereTimeout is for a whole such question: the gateway reads its log.
const WhereTimeout = 45 * time.Second

// Where asks a gateway what became of messages.
func (c *Client) Where(ctx context.Context, g Gateway, q tracking.Query) (tracking.Answer, error) {
	word, err := q.Encode()
	if err != nil {
		return tracking.Answer{}, err
	}
	timeout := c.o.Where
	if timeout <= 0 {
		timeout = WhereTimeout
	}
	fault := func(text string) { c.o.Fault(component, g.Name+": "+text) }
	return supervise(ctx, timeout, fault, func(ctx context.Context) (a tracking.Answer, err error) {
		out, _, err := c.askUpTo(ctx, g, WhereCommand+" "+word, tracking.MaxWire)
		if err != nil {
			return a, err
		}
		return tracking.DecodeAnswer(bytes.TrimSpace(out), g.Serial)
	})
}
