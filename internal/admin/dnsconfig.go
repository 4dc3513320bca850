package admin

import (
	"context"
	"slices"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// dnsCommands are about the resolvers. Flush forgets what they have said; nil:
// there is nothing to forget.
func (f Configuration) dnsCommands() []Command {
	list := []Command{{Name: "dnsconfig", Summary: "Change the DNS servers",
		Usage: "dnsconfig\ndnsconfig new ADDRESS[:PORT] [Y|N]   (Y: it validates DNSSEC and is believed in this)\ndnsconfig delete ADDRESS[:PORT]",
		Right: auth.ConfigChange, MaxArgs: 3, Run: f.dns}}
	if f.FlushDNS != nil {
		list = append(list, Command{Name: "dnsflush", Summary: "Forget what DNS servers have said", Usage: "dnsflush", Right: auth.QueueChange, Changes: true,
			Run: func(_ context.Context, c *Call) error {
				f.FlushDNS()
				c.Printf("DNS answers are asked for anew.\n")
				return nil
			}})
	}
	return list
}

func (f Configuration) dns(ctx context.Context, c *Call) error {
	if len(c.Args) == 0 {
		f.showDNS(c)
		if c.Batch {
			return nil
		}
	}
	return c.actions(ctx, action{"new", "Add a server.", f.newDNS}, action{"delete", "Remove a server.", f.deleteDNS})
}

func (f Configuration) showDNS(c *Call) {
	conf, _ := f.Store.Pending()
	if len(conf.DNSServers) == 0 {
		c.Printf("The DNS servers of the system are used (/etc/resolv.conf). DNSSEC is believed from one on this machine only.\n")
	}
	for i, s := range conf.DNSServers {
		word := "not believed about DNSSEC"
		if at, err := s.AddrPort(); err == nil && (s.Validates || at.Addr().Unmap().IsLoopback()) {
			word = "believed about DNSSEC"
		}
		c.Printf("%d. %s, %s\n", i+1, Plain(s.Addr), word)
	}
}

func (f Configuration) newDNS(_ context.Context, c *Call) error {
	addr, err := c.Ask("Enter the address of the server:", "")
	if err != nil {
		return err
	}
	s := config.DNSServer{Addr: addr}
	if _, err := s.AddrPort(); err != nil {
		return Usage("%q is neither an IP address nor IP:port", Clip(addr, 60))
	}
	if s.Validates, err = c.Confirm("Does it validate DNSSEC, and is the way to it safe?", false); err != nil {
		return err
	}
	return f.changeDNS(c, "new DNS server "+addr, func(next *config.Config) error {
		next.DNSServers = append(next.DNSServers, s)
		return nil
	})
}

func (f Configuration) deleteDNS(_ context.Context, c *Call) error {
	addr, err := c.Ask("Enter the address of the server:", "")
	if err != nil {
		return err
	}
	return f.changeDNS(c, "delete DNS server "+addr, func(next *config.Config) error {
		i := slices.IndexFunc(next.DNSServers, func(s config.DNSServer) bool { return s.Addr == addr })
		if i < 0 {
			return errs.New(errs.NotFound, "There is no DNS server %s", Clip(addr, 60))
		}
		next.DNSServers = slices.Delete(next.DNSServers, i, i+1)
		return nil
	})
}

func (f Configuration) changeDNS(c *Call, what string, change func(*config.Config) error) error {
	err := f.Store.Change(c.Principal, what, change)
	if err == nil {
		c.Printf(pendingNote)
	}
	return err
}
