package manager

import (
	"context"

	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
	"lazaret/internal/peer"
	"lazaret/internal/queue"
)

// locator asks the gateway where released mail goes, over SSH, and remembers
// the answer until it does not work (reference 4.1).
type locator struct{ m *Manager }

// Locate implements delivery.Locator.
func (l locator) Locate(ctx context.Context, dest queue.Dest) (delivery.Endpoint, error) {
	a, ok := l.m.gateway(dest.Lane)
	if !ok {
		return delivery.Endpoint{}, errs.New(errs.Temporary,
			"gateway %s is not one of this manager's any more: add it again with applianceconfig, or the message waits", dest.Lane)
	}
	at, err := l.m.client.Locate(ctx, toPeer(a))
	if err != nil {
		return delivery.Endpoint{}, err
	}
	return delivery.Endpoint{Addr: at.Addr, TLS: l.m.ClientTLS(a.Serial), Name: a.Name}, nil
}

// Forget implements delivery.Locator.
func (l locator) Forget(dest queue.Dest, _ delivery.Endpoint) { l.m.client.Forget(dest.Lane) }

// gateway finds a paired gateway by its serial.
func (m *Manager) gateway(serial string) (config.Appliance, bool) {
	for _, a := range m.Config.Committed().Appliances {
		if a.Serial == serial {
			return a, true
		}
	}
	return config.Appliance{}, false
}

func toPeer(a config.Appliance) peer.Gateway {
	return peer.Gateway{Serial: a.Serial, Name: a.Name, Addr: a.SSH, User: a.User, HostKey: a.HostKey}
}
