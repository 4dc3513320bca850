package delivery

import (
	"net/netip"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// MaxSourceRules is the largest number of entries in the table.
const MaxSourceRules = 10000

// SourceRule sends mail out by an interface: altsrchost of the field.
type SourceRule struct {
	Match     string // user@domain, domain, .domain, an address or a network
	Interface string
}

// Sources is the table of them, by which mail of some senders or clients leaves
// from an interface of its own ("virtual gateways"). Of rules that match, the
// most exact counts, and what the sender says counts before where it came from:
// the whole address, its domain, the longest .domain, then the smallest
// network. It does not change after NewSources.
type Sources struct {
	senders  map[string]string // address, domain, or .domain
	networks []sourceNetwork   // longest prefix first is found by looking at all
}

type sourceNetwork struct {
	prefix netip.Prefix
	iface  string
}

// NewSources checks the rules and builds the table; at is the rule that an
// error is about.
func NewSources(rules []SourceRule) (s *Sources, at int, err error) {
	s = &Sources{senders: map[string]string{}}
	if len(rules) > MaxSourceRules {
		return nil, 0, errs.New(errs.Full, "more than %d entries", MaxSourceRules)
	}
	for i, r := range rules {
		if err := s.add(r); err != nil {
			return nil, i, err
		}
	}
	return s, 0, nil
}

func (s *Sources) add(r SourceRule) error {
	if p, ok := parseNetwork(r.Match); ok {
		for _, n := range s.networks {
			if n.prefix == p {
				return errs.New(errs.Conflict, "%s stands here twice", p)
			}
		}
		s.networks = append(s.networks, sourceNetwork{p, r.Interface})
		return nil
	}
	key, err := parseSender(r.Match)
	if err != nil {
		return err
	}
	if _, twice := s.senders[key]; twice {
		return errs.New(errs.Conflict, "%s stands here twice", key)
	}
	s.senders[key] = r.Interface
	return nil
}

func parseNetwork(s string) (netip.Prefix, bool) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err == nil
}

// parseSender gives the form in which a sender is looked up.
func parseSender(match string) (string, error) {
	bad := errs.New(errs.Invalid, "%q is none of user@domain, domain, .domain, an address, a network such as 192.0.2.0/24", clip(match))
	if strings.Contains(match, "@") {
		a, err := mail.ParseAddress(match)
		if err != nil || a.Domain == "" {
			return "", bad
		}
		return senderKey(a), nil
	}
	name, dot := strings.CutPrefix(match, ".")
	domain, err := mail.ParseDomain(name)
	if err != nil || domain[0] == '[' {
		return "", bad
	}
	if dot {
		return "." + domain, nil
	}
	return domain, nil
}

// senderKey takes the local part without case: which interface mail leaves from
// is for an administrator to say, and he does not think of "Ann" and "ann" as two.
func senderKey(a mail.Address) string { return strings.ToLower(a.Local) + "@" + a.Domain }

// Lookup gives the interface for a message, empty for the default.
func (s *Sources) Lookup(from mail.Address, client netip.Addr) string {
	if len(s.senders) > 0 && from.Domain != "" {
		if iface, ok := s.senders[senderKey(from)]; ok {
			return iface
		}
		if iface, ok := s.senders[from.Domain]; ok {
			return iface
		}
		for rest := from.Domain; ; {
			dot := strings.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			if iface, ok := s.senders[rest[dot:]]; ok {
				return iface
			}
			rest = rest[dot+1:]
		}
	}
	best, iface := -1, ""
	for _, n := range s.networks {
		if n.prefix.Contains(client.Unmap()) && n.prefix.Bits() > best {
			best, iface = n.prefix.Bits(), n.iface
		}
	}
	return iface
}
