package listener

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/mail"
	"lazaret/internal/reputation"
	"lazaret/internal/smtp"
	"lazaret/internal/stats"
)

// rates are the counts of all clients of the group's listeners. They live as
// long as the process: after a restart all begin anew.
type rates struct {
	recipients *access.Rates[clientKey] // accepted
	invalid    *access.Rates[clientKey] // refused
	senders    *access.Rates[senderKey] // accepted, by envelope sender
}

// maxRated is how many keys each of them remembers, some 250 octets each.
const maxRated = 50_000

func newRates() rates {
	return rates{access.NewRates[clientKey](maxRated), access.NewRates[clientKey](maxRated), access.NewRates[senderKey](maxRated)}
}

// clientKey is a client of a listener.
type clientKey struct {
	listener string
	client   netip.Prefix
}

// senderKey is an envelope sender, as a hash: what a client calls itself may be
// long and there may be many, and none shall count for another.
type senderKey struct {
	listener string
	sender   [16]byte
}

func (s *session) clientKey() clientKey {
	return clientKey{s.listener.name, s.policy.Client(s.origin.RemoteIP)}
}

func (s *session) senderKey() senderKey {
	sum := sha256.Sum256([]byte(strings.ToLower(s.tx.env.From.Path())))
	return senderKey{s.listener.name, [16]byte(sum[:])}
}

// admit takes a recipient, unless a rate of the policy says that there were
// enough (reference 7.1).
func (s *session) admit(c smtp.RcptCommand, yes smtp.Reply) smtp.Reply {
	if no, over := s.overRate(); over {
		s.log.ToRejected(s.tx.mid, s.icid, c.To, "Injection Control")
		s.listener.group.opts.Stats.Add(stats.RejectedRecipients, 1)
		return limitReply(no)
	}
	s.addRecipient(c)
	return yes
}

// overRate counts one recipient, or says which refusal it gets.
func (s *session) overRate() (access.Response, bool) {
	if s.rules.Protocol == CPQ {
		return access.Response{}, false
	}
	g := s.listener.group
	now := g.opts.Clock()
	bySender, length, no := s.policy.Sender()
	// Bounces of all the world have the null sender: it is nobody's rate.
	if bySender > 0 && s.tx.env.From.IsNull() {
		bySender = 0
	}
	if bySender > 0 && !g.rates.senders.Take(s.senderKey(), bySender, length, now) {
		return no, true
	}
	if hourly, no := s.policy.Hourly(); hourly > 0 && !g.rates.recipients.Take(s.clientKey(), hourly, time.Hour, now) {
		if bySender > 0 {
			g.rates.senders.Return(s.senderKey())
		}
		return no, true
	}
	return access.Response{}, false
}

// invalid refuses a recipient, and ends the connection of a client that had
// too many refused: it is guessing (directory harvest, reference 7.1).
func (s *session) invalid(to mail.Address, by string, no smtp.Reply) smtp.Reply {
	s.log.ToRejected(s.tx.mid, s.icid, to, by)
	g := s.listener.group
	g.opts.Stats.Add(stats.RejectedRecipients, 1)
	limit, last := s.policy.Invalid()
	if limit == 0 || s.rules.Protocol == CPQ || g.rates.invalid.Take(s.clientKey(), limit, time.Hour, g.opts.Clock()) {
		return no
	}
	s.log.ReceivingFailed(s.icid, "Too Many Invalid Recipients")
	return limitReply(last)
}

// harvested reports whether the client has used up its invalid recipients, and
// the line that it is told.
func (s *session) harvested() (string, bool) {
	limit, no := s.policy.Invalid()
	g := s.listener.group
	if limit == 0 || s.rules.Protocol == CPQ || g.rates.invalid.Count(s.clientKey(), g.opts.Clock()) < limit {
		return "", false
	}
	return limitReply(no).String(), true
}

// limitReply says what a policy wants to be said. A text that has no enhanced
// status gets that of a matter of policy, RFC 3463 section 3.8.
func limitReply(r access.Response) smtp.Reply {
	if status, text, ok := cutStatus(r.Text); ok {
		return smtp.NewReply(r.Code, status, text)
	}
	return smtp.NewReply(r.Code, strconv.Itoa(r.Code/100)+".7.1", r.Text)
}

// verifySender asks whether the envelope sender could be answered, where the
// policy wants that known. The reply is zero when MAIL may go on. Who cannot be
// asked for now may try again (promise P3).
func (s *session) verifySender(ctx context.Context, from mail.Address) smtp.Reply {
	why, no := s.listener.group.badSender(ctx, s.policy, from)
	if why != "" {
		s.log.SenderRejected(s.icid, from, why)
	}
	return no
}

// badSender says why a policy refuses a sender, for the log and to the client.
func (g *Group) badSender(ctx context.Context, p *access.Policy, from mail.Address) (why string, no smtp.Reply) {
	if !p.Params.VerifySender.On() || from.IsNull() {
		return "", smtp.Reply{}
	}
	ctx, cancel := context.WithTimeout(ctx, g.opts.LookupTimeout)
	defer cancel()
	switch reputation.CheckSender(ctx, g.opts.Resolver, from.Domain) {
	case reputation.SenderMissing:
		return "envelope sender domain does not exist", smtp.NewReply(553, "5.1.8", "domain of sender address "+from.Path()+" does not exist")
	case reputation.SenderNullMX: // RFC 7505 section 4.2
		return "envelope sender domain takes no mail", smtp.NewReply(550, "5.7.27", "domain of sender address "+from.Path()+" takes no mail (null MX)")
	case reputation.SenderNotKnown:
		return "envelope sender domain could not be looked up", smtp.NewReply(451, "4.1.8", "domain of sender address "+from.Path()+" could not be looked up now")
	}
	return "", smtp.Reply{}
}
