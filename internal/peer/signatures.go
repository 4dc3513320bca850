package peer

import (
	"context"

	"lazaret/internal/errs"
)

// SignaturesCommand is the hidden command by which a manager asks a gateway
// which signatures it scans with.
const SignaturesCommand = "cpqsignatures"

// maxSignatures is the longest text that is believed.
const maxSignatures = 500

// Signatures is the answer of a gateway.
type Signatures struct {
	Version    int    `json:"version"`
	Signatures string `json:"signatures"` // in the words of its engine; "": it has none
}

// Signatures asks g which signatures it scans with now.
func (c *Client) Signatures(ctx context.Context, g Gateway) (string, error) {
	fault := func(text string) { c.o.Fault(component, g.Name+": "+text) }
	s, err := supervise(ctx, c.o.Timeout, fault, func(ctx context.Context) (s Signatures, err error) {
		out, _, err := c.ask(ctx, g, SignaturesCommand)
		if err != nil {
			return s, err
		}
		return s, decode(out, &s)
	})
	if err == nil && (s.Version != Version || len(s.Signatures) > maxSignatures) {
		err = errs.New(errs.Invalid, "the answer is not understood")
	}
	return s.Signatures, errs.Context(err, "asking %s for its signatures", g.Name)
}
