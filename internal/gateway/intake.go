package gateway

import (
	"context"
	"io"

	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/queue"
)

// intake takes mail from SMTP listeners into the spool.
type intake struct{ g *Gateway }

// NextMID implements listener.Sink.
func (s intake) NextMID() mail.MID { return s.g.nextMID() }

// Ready implements listener.Sink.
func (s intake) Ready(size int64) error { return s.g.spool.Ready(size) }

// Receive implements listener.Sink: nil means on stable storage (P1). Filters
// run afterwards, so that 250 comes fast (rule Q-3).
func (s intake) Receive(ctx context.Context, m *listener.Message) error {
	d, err := s.g.spool.Receive(ctx, m.MID)
	if err != nil {
		return err
	}
	defer d.Abort() // does nothing after Commit
	if _, err := io.Copy(d, m.Content); err != nil {
		return err
	}
	it := s.g.item(m)
	it.Prepend = message.Received(m.Origin, s.g.Config.Committed().Hostname, m.MID, m.Envelope.To, it.Accepted)
	it.Prepend = append(it.Prepend, s.g.passes.Line(m.MID)...)
	if err := d.Commit(ctx, it); err != nil {
		return err
	}
	s.g.queue.Add(it)
	return nil
}

// item makes the record of a message that arrived.
func (g *Gateway) item(m *listener.Message) *queue.Item {
	it := &queue.Item{
		MID: m.MID, From: m.Envelope.From, Params: m.Envelope.Params, Accepted: g.Steady(), Origin: m.Origin,
		Subject: m.Header.Subject(), MessageID: m.Header.MessageID(), Recipients: make([]queue.Recipient, len(m.Envelope.To)),
	}
	for i, to := range m.Envelope.To {
		it.Recipients[i] = queue.Recipient{RID: mail.RID(i), Address: to, RcptParams: m.Envelope.RcptParams(i)}
	}
	return it
}
