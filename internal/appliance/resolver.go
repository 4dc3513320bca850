package appliance

import (
	"slices"

	"lazaret/internal/config"
	"lazaret/internal/dns"
)

// dnsServers gives the resolvers of the configuration; none: the machine's.
func (a *Appliance) dnsServers() []dns.Server { return dnsServers(a.Config.Committed()) }

func dnsServers(c *config.Config) []dns.Server {
	var all []dns.Server
	for _, s := range c.DNSServers {
		if at, err := s.AddrPort(); err == nil { // config has checked it
			all = append(all, dns.Server{Addr: at, Validates: s.Validates})
		}
	}
	return all
}

// flusher forgets what other resolvers said when they are changed: one that is
// not believed any more must not be believed for another day.
type flusher struct {
	stub *dns.Stub
	last []dns.Server
}

// Prepare implements config.Subscriber.
func (*flusher) Prepare(*config.Config) error { return nil }

// Apply implements config.Subscriber.
func (f *flusher) Apply(next *config.Config) {
	if now := dnsServers(next); !slices.Equal(now, f.last) {
		f.last = now
		f.stub.Flush()
	}
}
