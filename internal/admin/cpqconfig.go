package admin

import (
	"context"
	"fmt"
	"strconv"

	"lazaret/internal/config"
	"lazaret/internal/listener"
)

// cpq shows and changes where this side takes CPQ connections (reference 4.1:
// interface and port, default 7025). On a gateway the manager need not be told:
// it asks before it delivers (F87).
func (f Configuration) cpq(ctx context.Context, c *Call) error {
	for {
		conf, _ := f.Store.Pending()
		if len(c.Args) == 0 {
			f.showCPQ(c, conf)
		}
		word, err := c.Menu(f.cpqChoices()...)
		if err != nil || word == "" {
			return err
		}
		switch word {
		case "port":
			err = f.cpqPort(c, conf)
		case "interface":
			err = f.cpqInterface(c, conf)
		case "unpair":
			err = f.unpair(c)
		default:
			err = f.renew(ctx, c, word)
		}
		if err != nil || c.Batch {
			return err
		}
	}
}

// CPQState tells where the hidden listener of a group stands.
func CPQState(g *listener.Group) func() string {
	return func() string {
		for _, l := range g.Status() {
			if l.Name == listener.CPQName {
				return l.State.String()
			}
		}
		return listener.Offline.String()
	}
}

func (f Configuration) showCPQ(c *Call, conf *config.Config) {
	l := conf.CPQListener()
	c.Printf("Centralized Policy, Virus and Outbreak Quarantine\n")
	c.Printf("Interface: %s (%s)   Port: %d\n", Plain(l.Interface), Plain(conf.InterfaceIP(l.Interface)), l.Port)
	if f.CPQState != nil {
		c.Printf("State: %s\n", f.CPQState())
	}
	if f.Link != nil {
		for _, line := range f.Link.LinkLines() {
			c.Printf("%s\n", Plain(line))
		}
	}
	if conf.Role == string(config.Manager) {
		c.Printf("Gateways: %d (applianceconfig)\n", len(conf.Appliances))
		return
	}
	state := "no: quarantined mail is held here (quarantine list) until a manager adds this gateway"
	if conf.CPQ.Enabled {
		state = "yes"
	}
	c.Printf("Centralized: %s\n", state)
	for _, m := range conf.CPQ.Managers {
		c.Printf("Manager: %s (%s) at %s\n", Plain(m.Name), m.Serial, Plain(m.Addr))
	}
}

func (f Configuration) cpqPort(c *Call, conf *config.Config) error {
	answer, err := c.Ask("Enter the port for CPQ connections.", strconv.Itoa(conf.CPQListener().Port))
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(answer)
	if err != nil || port < 1 || port > 65535 {
		return Usage("%q is not a port from 1 to 65535", answer)
	}
	return f.changeCPQ(c, fmt.Sprintf("CPQ port %d", port), func(l *config.Listener) { l.Port = port })
}

func (f Configuration) cpqInterface(c *Call, conf *config.Config) error {
	names := make([]string, len(conf.Interfaces))
	at := 0
	for i, n := range conf.Interfaces {
		if names[i] = n.Name; n.Name == conf.CPQListener().Interface {
			at = i
		}
	}
	i, err := c.Pick("Choose the interface for CPQ connections.", names, at)
	if err != nil {
		return err
	}
	return f.changeCPQ(c, "CPQ interface "+names[i], func(l *config.Listener) { l.Interface = names[i] })
}

func (f Configuration) changeCPQ(c *Call, what string, change func(*config.Listener)) error {
	err := f.Store.Change(c.Principal, what, func(next *config.Config) error {
		change(next.CPQListener())
		return nil
	})
	if err != nil {
		return err
	}
	c.Printf("Commit to put this in force.\n")
	return nil
}
