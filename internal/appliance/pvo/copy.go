package pvo

import (
	"context"
	"io"

	"lazaret/internal/appliance"
	"lazaret/internal/delivery"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// Copier sends copies of held messages (quarantine.Copier): the bytes as they
// came, under the header lines that a delivery would have. They have no sender:
// what becomes of a copy is not for the sender of the message to hear.
type Copier struct {
	Base    *appliance.Appliance
	Spool   *spool.Spool
	NextMID func() mail.MID
	Adopt   func(*queue.Item) // takes up what is in the spool
}

// IsCopy is in Origin.Protocol of copies, so that they are known when they fail.
const IsCopy = "copy"

// Copy implements quarantine.Copier.
func (c Copier) Copy(ctx context.Context, r *quarantine.Record, content io.Reader, to []mail.Address) error {
	if err := c.Spool.Ready(r.Size); err != nil {
		return err
	}
	mid := c.NextMID()
	d, err := c.Spool.Receive(ctx, mid)
	if err != nil {
		return err
	}
	defer d.Abort() // does nothing after Commit
	if _, err := io.Copy(d, content); err != nil {
		return err
	}
	it := &queue.Item{MID: mid, State: queue.Routed, Accepted: c.Base.Steady(), Subject: r.Subject, MessageID: r.MessageID, Prepend: r.Prepend,
		Origin: mail.Origin{Protocol: IsCopy}, Recipients: make([]queue.Recipient, len(to))}
	it.EightBit, it.Binary, it.UTF8, it.RequireTLS = r.Envelope.EightBit, r.Envelope.Binary, r.Envelope.UTF8, r.Envelope.RequireTLS
	lane := delivery.Lane{RequireTLS: it.RequireTLS}.String()
	for i, a := range to {
		it.Recipients[i] = queue.Recipient{RID: mail.RID(i), Address: a, Dest: queue.Dest{Name: a.Domain, Lane: lane}, RcptParams: mail.RcptParams{Notify: mail.NotifyNever}}
	}
	if err := d.Commit(ctx, it); err != nil {
		return err
	}
	c.Base.Log.Generated(mid, r.MID, "send copy")
	c.Adopt(it)
	return nil
}
