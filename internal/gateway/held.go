package gateway

import (
	"context"
	"slices"

	"lazaret/internal/admin"
	"lazaret/internal/mail"
)

// held shows what the queue set aside, for the command heldmessages.
type held struct{ g *Gateway }

// List implements admin.Held.
func (h held) List(context.Context) ([]admin.HeldMessage, error) {
	var all []admin.HeldMessage
	for _, mid := range h.g.queue.Held() {
		all = append(all, admin.HeldMessage{MID: mid, State: "held", Cause: "judging it failed again and again; mail_logs has the cause"})
	}
	corrupt, err := h.g.spool.Aside()
	for _, a := range corrupt {
		all = append(all, admin.HeldMessage{MID: a.MID, State: "corrupt", Since: a.At, Cause: a.Cause})
	}
	slices.SortFunc(all, func(a, b admin.HeldMessage) int { return int(a.MID) - int(b.MID) })
	return all, err
}

// Retry implements admin.Held.
func (h held) Retry(ctx context.Context, mid mail.MID) error { return h.g.queue.RetryHeld(ctx, mid) }

// Remove implements admin.Held.
func (h held) Remove(_ context.Context, mid mail.MID) error { return h.g.spool.Discard(mid) }
