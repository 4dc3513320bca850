package admin

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/peer"
)

// Paired is a gateway's side of the link: the questions of the manager.
type Paired interface {
	// Pair takes a manager in and commits at once: the manager's administrator
	// has shown an administrator's password of ours, and waits for the answer.
	Pair(ctx context.Context, p mail.Principal, r peer.PairRequest) (peer.PairReply, error)
	Location() (peer.Location, error)
	// Signatures says by which signatures the engine scans now; "": there is none.
	Signatures(ctx context.Context) (string, error)
	// Exchange hears what a manager says of itself, signed, and answers.
	Exchange(ctx context.Context, p mail.Principal, s peer.Signed) (peer.Signed, error)
}

// MachineCommands gives the hidden commands of a gateway; they print one line
// of JSON each.
func MachineCommands(g Paired) []Command {
	locate := func(_ context.Context, c *Call) error {
		l, err := g.Location()
		if err != nil {
			return err
		}
		return printJSON(c, l)
	}
	signatures := func(ctx context.Context, c *Call) error {
		text, err := g.Signatures(ctx)
		if err != nil {
			return err
		}
		return printJSON(c, peer.Signatures{Version: peer.Version, Signatures: text})
	}
	pair := func(ctx context.Context, c *Call) error {
		r, err := peer.DecodePairRequest(c.Take())
		if err != nil {
			return err
		}
		reply, err := g.Pair(ctx, c.Principal, r)
		if err != nil {
			return err
		}
		return printJSON(c, reply)
	}
	exchange := func(ctx context.Context, c *Call) error {
		s, err := peer.DecodeSigned(c.Take())
		if err != nil {
			return err
		}
		answer, err := g.Exchange(ctx, c.Principal, s)
		if err != nil {
			return err
		}
		return printJSON(c, answer)
	}
	return []Command{
		{Name: peer.ExchangeCommand, Summary: "Exchange CPQ certificates", Usage: "cpqexchange STATEMENT", Right: auth.CommandClient, Hidden: true, MaxArgs: 1, Run: exchange},
		{Name: peer.LocateCommand, Summary: "Say where released mail is taken", Usage: "cpqlocate", Right: auth.CommandClient, Hidden: true, Run: locate},
		{Name: peer.SignaturesCommand, Summary: "Say which signatures scan", Usage: "cpqsignatures", Right: auth.CommandClient, Hidden: true, Run: signatures},
		{Name: peer.PairCommand, Summary: "Accept a manager", Usage: "cpqpair REQUEST", Right: auth.UserConfig, Hidden: true, MaxArgs: 1, Run: pair},
	}
}

func printJSON(c *Call, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "encoding the answer")
	}
	c.Printf("%s\n", b)
	return nil
}

// AddAppliance puts a gateway that was paired with into a manager's
// configuration. One that says it is another, known by another host key, is
// refused: it would get what is released to that one.
func AddAppliance(c *config.Config, ssh string, p peer.Paired) error {
	for _, a := range c.Appliances {
		if a.Serial == p.Serial && a.HostKey != p.HostKey {
			return errs.New(errs.Conflict, "The serial number %s is that of %s at %s, which has another SSH host key; if it is the same gateway, made anew, delete it first",
				p.Serial, a.Name, a.SSH)
		}
	}
	c.Appliances = slices.DeleteFunc(c.Appliances, func(a config.Appliance) bool { return a.Serial == p.Serial })
	c.Appliances = append(c.Appliances, config.Appliance{Name: p.Name, Serial: p.Serial, SSH: ssh, User: p.User, HostKey: p.HostKey, Pins: p.Pins})
	return c.AdmitPeer(p.Location.Addr.Addr(), p.Name)
}

// Appliances is a manager's side: the gateways it works for.
type Appliances struct {
	Store   *config.Store
	Client  *peer.Client
	Request func() (peer.PairRequest, error)         // who this manager is
	Paired  func(serial string, pins []string) error // the gateway has heard our pins
	Dial    peer.Dialer                              // nil: the network
	Fault   func(component, text string)
}

// Commands gives applianceconfig.
func (a Appliances) Commands() []Command {
	return []Command{{Name: "applianceconfig", Summary: "Add, remove and test the gateways that this manager works for",
		Usage: "applianceconfig\napplianceconfig add HOST[:PORT] USER FINGERPRINT   (the password is read from the input)\napplianceconfig delete NAME\napplianceconfig test NAME",
		Right: auth.ConfigChange, MaxArgs: 4, Input: true, Run: a.run}}
}

func (a Appliances) run(ctx context.Context, c *Call) error {
	for {
		pending, _ := a.Store.Pending()
		if len(c.Args) == 0 {
			a.list(c, pending)
		}
		word, err := c.Menu(Choice{"ADD", "Add a gateway"}, Choice{"DELETE", "Remove a gateway"}, Choice{"TEST", "Ask a gateway where it takes released mail"})
		if err != nil || word == "" {
			return err
		}
		switch word {
		case "add":
			err = a.add(ctx, c)
		case "delete":
			err = a.delete(c, pending)
		case "test":
			err = a.test(ctx, c, pending)
		}
		if err != nil || c.Batch {
			return err
		}
	}
}

func (a Appliances) list(c *Call, conf *config.Config) {
	if len(conf.Appliances) == 0 {
		c.Printf("No gateways have been added.\n")
		return
	}
	c.Printf("%-30s %-20s %s\n", "Gateway", "Serial", "SSH")
	for _, g := range conf.Appliances {
		c.Printf("%-30s %-20s %s\n", Plain(g.Name), Plain(g.Serial), Plain(g.SSH))
	}
}

func (a Appliances) add(ctx context.Context, c *Call) error {
	addr, err := c.Ask("Enter the IP address or host name of the gateway, with :PORT if SSH is not at 22.", "")
	if err != nil {
		return err
	}
	if addr == "" {
		return Usage("the address of a gateway is needed")
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), "22")
	}
	user, err := c.Ask("Enter the name of an administrator of the gateway.", "admin")
	if err != nil {
		return err
	}
	trusted := c.Take() // in a one-line form: the fingerprint, or Y
	password, err := c.Password("Password: ")
	if err != nil {
		return err
	}
	request, err := a.Request()
	if err != nil {
		return err
	}
	p, err := peer.Pair(ctx, peer.PairOptions{Addr: addr, User: user, Password: password, Request: request, Dial: a.Dial, Fault: a.Fault,
		Trust: func(fingerprint, _ string) error { return trust(c, fingerprint, trusted) }})
	if err != nil {
		return errs.New(errs.KindOf(err), "%s", err.Error()) // the cause is what helps here
	}
	if err := a.Paired(p.Serial, request.Pins); err != nil {
		return err
	}
	err = a.Store.Change(c.Principal, "add gateway "+p.Name+" ("+p.Serial+") at "+addr, func(next *config.Config) error { return AddAppliance(next, addr, p) })
	if err != nil {
		return err
	}
	a.Client.Forget(p.Serial)
	c.Printf("The gateway %s (serial number %s) has been added. It takes released mail at %s, interface %s.\nCommit to put this in force.\n",
		Plain(p.Name), p.Serial, p.Location.Addr, Plain(p.Location.Interface))
	return nil
}

// trust asks whether the host key is the right one. Who names it in the line
// need not be asked.
func trust(c *Call, fingerprint, given string) error {
	if given == fingerprint || strings.EqualFold(given, "y") {
		return nil
	}
	if given == "" && !c.Batch {
		c.Printf("The SSH host key of the gateway has the fingerprint %s.\n", fingerprint)
		if ok, err := c.Confirm("Is this the right one?", false); ok || err != nil {
			return err
		}
	}
	return errs.New(errs.Denied, "the host key with the fingerprint %s was not accepted", fingerprint)
}

func pickAppliance(c *Call, conf *config.Config, question string) (config.Appliance, error) {
	var names []string
	for _, g := range conf.Appliances {
		names = append(names, g.Name)
	}
	if len(names) == 0 {
		return config.Appliance{}, errs.New(errs.NotFound, "No gateways have been added")
	}
	n, err := c.Pick(question, names, 0)
	if err != nil {
		return config.Appliance{}, err
	}
	return conf.Appliances[n], nil
}

func (a Appliances) delete(c *Call, conf *config.Config) error {
	g, err := pickAppliance(c, conf, "Choose the gateway to remove.")
	if err != nil {
		return err
	}
	err = a.Store.Change(c.Principal, "remove gateway "+g.Name+" ("+g.Serial+")", func(next *config.Config) error {
		next.Appliances = slices.DeleteFunc(next.Appliances, func(o config.Appliance) bool { return o.Serial == g.Serial })
		return nil
	})
	if err == nil {
		c.Printf("The gateway %s has been removed. Commit to put this in force.\n", Plain(g.Name))
	}
	return err
}

func (a Appliances) test(ctx context.Context, c *Call, conf *config.Config) error {
	g, err := pickAppliance(c, conf, "Choose the gateway to ask.")
	if err != nil {
		return err
	}
	a.Client.Forget(g.Serial)
	l, err := a.Client.Locate(ctx, peer.Gateway{Serial: g.Serial, Name: g.Name, Addr: g.SSH, User: g.User, HostKey: g.HostKey})
	if err != nil {
		return errs.New(errs.KindOf(err), "%s", err.Error())
	}
	c.Printf("%s takes released mail at %s, interface %s.\n", Plain(g.Name), l.Addr, Plain(l.Interface))
	return nil
}
