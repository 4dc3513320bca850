package manager

import (
	"context"
	"net/netip"
	"strconv"

	"lazaret/internal/appliance"
	"lazaret/internal/appliance/pvo"
	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/mail"
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
	return mid, m.queue.Post(ctx, m.OwnMail(mid, to, m.Steady(), text))
}

// adopt takes up a message that is in the spool of our own mail.
func (m *Manager) adopt(it *queue.Item) {
	m.outbox.add(it.MID)
	m.queue.Adopt(it)
}

// notify implements queue.Notifier. Nobody gets mail about mail of our own that
// failed but the administrators, and they not about alerts: that would go round.
func (m *Manager) notify(_ context.Context, it *queue.Item, events []queue.Event) (queue.Notice, error) {
	for _, e := range events {
		if e.Kind != queue.Failed || it.Release != nil {
			continue
		}
		text := "MID " + it.MID.String() + " to " + strconv.Quote(e.Recipient.Address.String()) + " could not be delivered: " + strconv.Quote(e.Recipient.Reply)
		if it.Origin.Protocol == pvo.IsCopy {
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
