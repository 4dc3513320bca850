package manager

import (
	"context"
	"io"
	"net/netip"
	"strconv"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

// smtpRoutes gives the routes in force.
func (m *Manager) smtpRoutes() *delivery.Routes { return m.routes.Load() }

// control is how mail of the manager's own is delivered to any domain.
func control(string) delivery.Control {
	return delivery.Control{TLS: delivery.TLSPreferred, DANE: true}
}

// source gives the address that connections leave from: that of the interface
// set for deliveries, else the system's choice.
func (m *Manager) source(string, netip.Addr) delivery.Source {
	c := m.Config.Committed()
	for _, f := range c.Interfaces {
		if f.Name != c.Delivery.Interface {
			continue
		}
		if ip, err := netip.ParseAddr(f.IP); err == nil && !ip.IsUnspecified() {
			return delivery.Source{IP: ip, Hostname: f.Hostname}
		}
	}
	return delivery.Source{}
}

// postAlert implements appliance.PostAlert.
func (m *Manager) postAlert(ctx context.Context, to mail.Address, write func(id string) ([]byte, error)) (mail.MID, error) {
	mid := m.NextMID()
	text, err := write(mid.String() + "." + m.Config.Committed().Serial)
	if err != nil {
		return 0, err
	}
	return mid, m.queue.Post(ctx, m.OwnMail(mid, to, m.Now(), text))
}

// copier sends copies of held messages (quarantine.Copier): the bytes as they
// came, under the header lines that a delivery would have. They have no sender:
// what becomes of a copy is not for the sender of the message to hear.
type copier struct{ m *Manager }

// isCopy is in Origin.Protocol of copies, so that they are known when they fail.
const isCopy = "copy"

// Copy implements quarantine.Copier.
func (c copier) Copy(ctx context.Context, r *quarantine.Record, content io.Reader, to []mail.Address) error {
	m := c.m
	if err := m.outbox.own.Ready(r.Size); err != nil {
		return err
	}
	mid := m.NextMID()
	d, err := m.outbox.own.Receive(ctx, mid)
	if err != nil {
		return err
	}
	defer d.Abort() // does nothing after Commit
	if _, err := io.Copy(d, content); err != nil {
		return err
	}
	it := &queue.Item{MID: mid, State: queue.Routed, Accepted: m.Now(), Subject: r.Subject, MessageID: r.MessageID, Prepend: r.Prepend,
		Origin: mail.Origin{Protocol: isCopy}, Recipients: make([]queue.Recipient, len(to))}
	it.EightBit, it.Binary, it.UTF8, it.RequireTLS = r.Envelope.EightBit, r.Envelope.Binary, r.Envelope.UTF8, r.Envelope.RequireTLS
	lane := delivery.Lane{RequireTLS: it.RequireTLS}.String()
	for i, a := range to {
		it.Recipients[i] = queue.Recipient{RID: mail.RID(i), Address: a, Dest: queue.Dest{Name: a.Domain, Lane: lane}, RcptParams: mail.RcptParams{Notify: mail.NotifyNever}}
	}
	if err := d.Commit(ctx, it); err != nil {
		return err
	}
	m.outbox.add(mid)
	m.Log.Generated(mid, r.MID, "send copy")
	m.queue.Adopt(it)
	return nil
}

// notify implements queue.Notifier. Nobody gets mail about mail of our own that
// failed but the administrators, and they not about alerts: that would go round.
func (m *Manager) notify(_ context.Context, it *queue.Item, events []queue.Event) (queue.Notice, error) {
	for _, e := range events {
		if e.Kind != queue.Failed || it.Release != nil {
			continue
		}
		text := "MID " + it.MID.String() + " to " + strconv.Quote(e.Recipient.Address.String()) + " could not be delivered: " + strconv.Quote(e.Recipient.Reply)
		if it.Origin.Protocol == isCopy {
			m.Alert(appliance.AlertDelivery, "the copy "+text)
		} else {
			m.Log.Warning("the alert " + text)
		}
	}
	return queue.Notice{}, nil
}

// setRoutes puts the SMTP routes of a configuration in force.
func (m *Manager) setRoutes(c *config.Config) error {
	r, err := appliance.Routes(c)
	if err == nil {
		m.routes.Store(r)
	}
	return err
}
