package appliance

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/listener"
	"lazaret/internal/message"
	"lazaret/internal/reputation"
)

// Sinks are what a role receives with.
type Sinks struct {
	SMTP   listener.Sink // nil on a manager
	CPQ    listener.CPQSink
	Passes *message.Passes // nil on a manager
}

// Listen makes the group of listeners; nothing is open yet.
func (a *Appliance) Listen(s Sinks) error {
	c := a.Config.Committed()
	var err error
	if a.reputation, err = reputation.New(reputation.Options{Resolver: a.Resolver, Log: a.Log, Clock: a.Now}); err != nil {
		return err
	}
	source, err := a.scores(c)
	if err != nil {
		return err
	}
	a.reputation.Use(source)
	g, err := listener.New(listener.Options{
		Hostname: c.Hostname, Log: a.Log, Stats: a.Stats, Resolver: a.Resolver, NextICID: a.State.NextICID, Sink: s.SMTP, CPQSink: s.CPQ, Logins: a.Senders, Clock: a.Now, Reputation: a.reputation, Passes: s.Passes,
	})
	if err != nil {
		return err
	}
	a.Listeners = g
	all, err := a.listenerSettings(c)
	if err != nil {
		return err
	}
	for _, l := range all {
		if err := g.Add(l); err != nil {
			return err
		}
	}
	a.Config.Subscribe(a)
	return nil
}

// OpenPorts suspends what was suspended and opens the rest.
func (a *Appliance) OpenPorts() error {
	if names := a.State.SuspendedListeners(); len(names) > 0 {
		there := a.Listeners.Status()
		names = slices.DeleteFunc(names, func(n string) bool {
			return !slices.ContainsFunc(there, func(s listener.Status) bool { return s.Name == n })
		})
		if len(names) > 0 {
			if _, err := a.Listeners.Suspend(0, names...); err != nil {
				return err
			}
		}
	}
	return a.Listeners.Start()
}

// TellReady says who is ready and where, once all ports are open.
func (a *Appliance) TellReady() {
	if a.opt.Ready == nil {
		return
	}
	c := a.Config.Committed()
	var smtp, hidden []string
	for _, l := range a.Listeners.Status() {
		text := string(l.Protocol) + " " + l.Addr.String()
		if l.State == listener.Suspended {
			text += " (suspended)"
		}
		if l.Protocol == listener.CPQ {
			hidden = append(hidden, text)
		} else {
			smtp = append(smtp, text)
		}
	}
	a.sockets.mu.Lock()
	ssh := "SSH " + a.sockets.at.String()
	a.sockets.mu.Unlock()
	a.opt.Ready(c.Hostname + " is ready: " + strings.Join(slices.Concat(smtp, []string{ssh}, hidden), ", "))
}

// ClosePorts ends all sessions, letting a message in hand be finished.
func (a *Appliance) ClosePorts() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return a.Listeners.Close(ctx)
}

// Prepare implements config.Subscriber.
func (a *Appliance) Prepare(next *config.Config) error {
	if err := a.checkCertificates(next); err != nil {
		return err
	}
	all, err := a.listenerSettings(next)
	if err == nil {
		err = a.Listeners.Check(all)
	}
	if err == nil {
		_, err = a.scores(next)
	}
	if err == nil {
		err = checkMoves(a.Config.Committed(), next)
	}
	return err
}

// Apply implements config.Subscriber. What cannot be opened is said in the log
// and shown as offline; the configuration stands.
func (a *Appliance) Apply(next *config.Config) {
	if err := a.Keys.Set(next.Sources(a.Dir), false); err != nil {
		a.Log.Fault("configuration", err.Error())
	}
	all, err := a.listenerSettings(next)
	if err != nil {
		a.Log.Fault("configuration", err.Error())
		return
	}
	if err := a.Listeners.Replace(all); err != nil {
		a.Log.Fault("listeners", err.Error())
	}
	if source, err := a.scores(next); err != nil {
		a.Log.Fault("configuration", err.Error())
	} else {
		a.reputation.Use(source)
	}
	if err := errors.Join(a.Users.Set(next.AuthUsers()), a.Senders.Set(next.AuthSenders())); err != nil {
		a.Log.Fault("configuration", err.Error())
	}
	a.moveSSH(next)
	a.moveMetrics(next.Metrics.Listen)
}

// listenerSettings translates the configuration.
func (a *Appliance) listenerSettings(c *config.Config) ([]listener.Settings, error) {
	all := make([]listener.Settings, 0, len(c.Listeners))
	for _, l := range c.Listeners {
		s, err := a.listenerSetting(c, l)
		if err != nil {
			return nil, errs.Context(err, "listener %s", l.Name)
		}
		all = append(all, s)
	}
	return all, nil
}

func (a *Appliance) listenerSetting(c *config.Config, l config.Listener) (s listener.Settings, err error) {
	s = listener.Settings{
		Name: l.Name, Protocol: listener.Protocol(l.Protocol), Interface: l.Interface, Backlog: l.Backlog,
		MaxClients: c.Limits.Clients,
	}
	if s.Addr, err = address(c, l.Interface, l.Port); err != nil {
		return s, err
	}
	if s.Kind, err = access.ParseKind(l.Type); err != nil {
		return s, err
	}
	if s.HAT, err = access.ParseHAT(l.HAT); err != nil {
		return s, err
	}
	if len(l.RAT) > 0 {
		if s.RAT, err = access.NewRAT(l.RAT); err != nil {
			return s, err
		}
	}
	if s.Protocol == listener.CPQ {
		s.TLS = a.check.Server()
		return s, nil // a gateway accepted it: its limits held there
	}
	s.MaxSize, s.MaxRecipients, s.Normalise = c.Limits.MessageSize, c.Limits.Recipients, c.Limits.Newlines == "normalise"
	s.ASCIIHeaders = c.Limits.EightBit == "reject"
	s.TLS = &tls.Config{GetCertificate: a.Keys.Server(l.Certificates)}
	return s, c.SSL.Inbound().Apply(s.TLS)
}

// address gives a named interface's address with a port.
func address(c *config.Config, iface string, port int) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(c.InterfaceIP(iface))
	if err != nil {
		return netip.AddrPort{}, errs.New(errs.Invalid, "interface %q does not exist", iface)
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}
