package config

import (
	"net/netip"
	"slices"
	"strings"

	"lazaret/internal/mail"
)

// The values of a switch that is on when it is left out.
const (
	On  = "on"
	Off = "off"
)

func isSwitch(s string) bool { return s == "" || s == On || s == Off }

// The values of the destination controls; what they mean is known to delivery.
var (
	tlsModes      = []string{"none", "preferred", "required", "preferred-verify", "required-verify"}
	ipPreferences = []string{"prefer-ipv4", "prefer-ipv6", "ipv4-only", "ipv6-only"}
)

// delivery checks what all deliveries share, and where mail leaves from.
func (k checker) delivery() error {
	d := k.c.Delivery
	if d.Interface != "" && d.Interface != "Auto" && k.c.InterfaceIP(d.Interface) == "" {
		return k.at("deliveryconfig", 0, "default_interface", "interface %q does not exist; there are %s", clip(d.Interface), k.names())
	}
	if !isSwitch(d.Possible) {
		return k.at("deliveryconfig", 0, "possible_delivery", "%q is neither on nor off", clip(d.Possible))
	}
	if d.Concurrency < 0 || d.Concurrency > 10000 {
		return k.at("deliveryconfig", 0, "max_concurrency", "%d is not a number from 0 (default) to 10000", d.Concurrency)
	}
	for i, a := range k.c.AltSrcHosts {
		if k.c.Role == string(Manager) {
			return k.at("altsrchosts", 0, "", "altsrchosts are settings of a gateway")
		}
		if a.Match == "" || strings.ContainsAny(a.Match, " \t\r\n") {
			return k.at("altsrchosts/altsrchost", i, "match", "%q is not a sender, a domain, an address or a network", clip(a.Match))
		}
		if err := k.iface("altsrchosts/altsrchost", i, a.Interface); err != nil {
			return err
		}
	}
	return k.dns()
}

func (k checker) dns() error {
	if len(k.c.DNSServers) > 3 {
		return k.at("dns", 0, "", "more than three servers")
	}
	for i, s := range k.c.DNSServers {
		if _, err := s.AddrPort(); err != nil {
			return k.at("dns/server", i, "address", "%q is neither an IP address nor IP:port", clip(s.Addr))
		}
	}
	return nil
}

// AddrPort gives the server's address; the port is 53 when none was given.
func (s DNSServer) AddrPort() (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(s.Addr); err == nil {
		return netip.AddrPortFrom(ip, 53), nil
	}
	return netip.ParseAddrPort(s.Addr)
}

// DefaultDestination is the row that holds for domains without one.
const DefaultDestination = "DEFAULT"

func (k checker) destinations() error {
	const path = "destination_controls/destination_control"
	seen := map[string]bool{}
	for i, d := range k.c.Destinations {
		name := d.Domain
		if name != DefaultDestination {
			var err error
			if name, err = mail.ParseDomain(d.Domain); err != nil {
				return k.at(path, i, "domain", "%q is neither a domain nor DEFAULT", clip(d.Domain))
			}
		}
		if seen[name] {
			return k.at(path, i, "domain", "%q stands here twice", d.Domain)
		}
		seen[name] = true
		if err := k.destination(path, i, d); err != nil {
			return err
		}
	}
	return nil
}

func (k checker) destination(path string, i int, d Destination) error {
	switch {
	case !slices.Contains(tlsModes, d.TLS):
		return k.at(path, i, "tls", "%q is not one of %s", clip(d.TLS), strings.Join(tlsModes, ", "))
	case d.IP != "" && !slices.Contains(ipPreferences, d.IP):
		return k.at(path, i, "ip_preference", "%q is not one of %s", clip(d.IP), strings.Join(ipPreferences, ", "))
	case d.Concurrency < 0 || d.Concurrency > 500 || d.Messages < 0 || d.Messages > 100_000:
		return k.at(path, i, "", "concurrency is 0 (default) to 500, messages_per_connection 0 to 100000")
	case d.RateLimit < 0 || d.RateLimit > 1_000_000_000:
		return k.at(path, i, "recipient_limit", "%d is not a number from 0 (none) to 1000000000", d.RateLimit)
	case d.RateMinutes < 0 || d.RateMinutes > 60 || d.RateMinutes == 0 && d.RateLimit > 0:
		return k.at(path, i, "recipient_minutes", "%d is not a number of minutes from 1 to 60", d.RateMinutes)
	case !isSwitch(d.DANE):
		return k.at(path, i, "dane", "%q is neither on nor off", clip(d.DANE))
	case !isSwitch(d.MTASTS):
		return k.at(path, i, "mta_sts", "%q is neither on nor off", clip(d.MTASTS))
	case d.BounceProfile != "" && !k.c.HasBounceProfile(d.BounceProfile):
		return k.at(path, i, "bounce_profile", "bounce profile %q does not exist", clip(d.BounceProfile))
	}
	return nil
}
