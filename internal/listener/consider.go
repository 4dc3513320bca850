package listener

import (
	"context"
	"net/netip"

	"lazaret/internal/access"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// Considered is what a listener would make of a client that has not connected.
type Considered struct {
	Origin   mail.Origin // without the client's own name, and without a number
	Client   access.Client
	Decision access.Decision
	Refusal  string // what the client would be told instead of a greeting; "" when it may go on

	MaxSize       int64 // bytes of a message; 0: no limit
	MaxRecipients int   // of a message; 0: no limit

	group *Group
	rules *rules
}

// Consider says how a listener would treat a client at an address, by its
// committed settings, and asks DNS as it would. An empty host is looked up, any
// other is believed. Nothing is counted, and rates are not asked.
func (g *Group) Consider(ctx context.Context, name string, ip netip.Addr, host string) (*Considered, error) {
	g.mu.Lock()
	l := g.find(name)
	g.mu.Unlock()
	if l == nil || l.rules.Load().Protocol != SMTP {
		return nil, errs.New(errs.NotFound, "there is no SMTP listener %q", name)
	}
	r := l.rules.Load()
	client := l.lookUp(ctx, ip, r.HAT)
	if host != "" {
		client.Host, client.Verified, client.Lookup = host, true, access.LookupOK
	}
	d := r.HAT.Decide(client)
	c := &Considered{Client: client, Decision: d, group: g, rules: r}
	c.Origin = mail.Origin{
		Listener: l.name, Interface: r.Interface, RemoteIP: ip, RemoteHost: hostOf(client), Protocol: "ESMTP",
		SenderGroup: d.Group, Policy: d.Policy.Name, Relay: d.Action == access.Relay,
	}
	if d.Action == access.TCPRefuse {
		c.Refusal = "the connection is refused"
		return c, nil
	}
	cfg := g.serverConfig(r.Settings, d.Policy)
	c.MaxSize, c.MaxRecipients = cfg.MaxSize, cfg.MaxRecipients
	if !cfg.Refuse.IsZero() {
		c.Refusal = cfg.Refuse.String()
	}
	return c, nil
}

// Sender says what the client would be told instead of 250 to MAIL; "" when
// the sender is taken.
func (c *Considered) Sender(ctx context.Context, from mail.Address) string {
	if _, no := c.group.badSender(ctx, c.Decision.Policy, from); !no.IsZero() {
		return no.String()
	}
	return ""
}

// Recipient says what becomes of a recipient: what it is taken as, the entry of
// the RAT that it matches ("" when none was asked), and the reply.
func (c *Considered) Recipient(to mail.Address) (as mail.Address, match string, reply smtp.Reply, taken bool) {
	h := c.rules.recipient(c.Origin.Relay, to)
	return h.as, h.match, h.reply, h.refusedBy == ""
}
