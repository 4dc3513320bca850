package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"

	"lazaret/internal/access"
	"lazaret/internal/certs"
	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
	"lazaret/internal/stats"
)

// session is one SMTP connection: its decisions and its log lines.
type session struct {
	listener *listener
	rules    *rules
	log      *logs.Mail
	icid     mail.ICID
	policy   *access.Policy
	relay    bool
	origin   mail.Origin
	place    *place

	secure   bool
	extended bool // said EHLO
	messages int  // transactions that came to their content
	tx       transaction
}

// transaction is one message on its way in; its zero value is none.
type transaction struct {
	mid  mail.MID
	env  mail.Envelope
	size int64 // announced
}

var _ interface {
	smtp.Session
	smtp.DataStarter
	smtp.Observer
	smtp.Hurried
} = (*session)(nil)

// Hello notes how the client calls itself. Any name is taken: RFC 5321 section 4.1.4.
func (s *session) Hello(_ context.Context, c smtp.HelloCommand) smtp.Reply {
	s.origin.Helo = c.Domain
	s.extended = c.Extended
	s.setProtocol()
	return smtp.NewReply(250, "", s.listener.group.opts.Hostname)
}

// Mail starts a message.
func (s *session) Mail(ctx context.Context, c smtp.MailCommand) smtp.Reply {
	if s.policy.Params.TLS == access.TLSRequired && !s.secure {
		s.log.ICIDTLSRequired(s.icid)
		return smtp.NewReply(530, "5.7.0", "must issue STARTTLS first") // RFC 3207 section 4
	}
	if s.unproven() {
		return smtp.NewReply(530, "5.7.0", "authentication required") // RFC 4954 section 6
	}
	if r := s.verifySender(ctx, c.From); !r.IsZero() {
		return r
	}
	return s.begin(c, s.listener.group.opts.Sink)
}

// space is the part of both sinks that a transaction needs.
type space interface {
	NextMID() mail.MID
	Ready(size int64) error
}

func (s *session) begin(c smtp.MailCommand, sink space) smtp.Reply {
	// A CPQ courier keeps its connection as long as there is mail.
	if s.rules.Protocol != CPQ && s.messages >= s.policy.Messages() {
		s.log.ReceivingFailed(s.icid, "Too Many Messages")
		return smtp.NewReply(421, "4.7.0", "too many messages in one session")
	}
	// RFC 1870 section 6.1: better now than after the content. Without a size
	// too: a number for the message may have to be reserved on the disk, and on
	// one that is full that waits.
	if err := sink.Ready(c.Size); err != nil {
		return s.notReady(err)
	}
	s.tx = transaction{mid: sink.NextMID(), env: mail.Envelope{From: c.From, Params: c.Params}, size: c.Size}
	if s.rules.Protocol == SMTP {
		s.setProtocol()
	}
	s.log.Start(s.tx.mid, s.icid)
	s.log.From(s.tx.mid, s.icid, c.From)
	return smtp.NewReply(250, "2.1.0", "sender "+c.From.Path()+" ok")
}

func (s *session) notReady(err error) smtp.Reply {
	s.log.ReceivingFailed(s.icid, "Resources Low")
	r := smtp.ErrorReply(err)
	if !r.Temporary() { // in doubt the client keeps the mail (promise P3)
		r = smtp.NewReply(452, "4.3.1", "not ready to take mail")
	}
	return r
}

// Rcpt asks the RAT, unless the client may send to anyone. What is checked is
// the parsed address, and it is what is routed (register B6).
func (s *session) Rcpt(_ context.Context, c smtp.RcptCommand) smtp.Reply {
	h := s.rules.recipient(s.relay, c.To)
	if h.refusedBy != "" {
		return s.invalid(c.To, h.refusedBy, h.reply)
	}
	c.To = h.as
	return s.admit(c, h.reply)
}

// heard is what becomes of a recipient, before rates are asked.
type heard struct {
	as        mail.Address // what it is taken as
	match     string       // the entry of the RAT
	refusedBy string       // as the log says it; "" when it is taken
	reply     smtp.Reply
}

// recipient decides about one recipient.
func (r *rules) recipient(relay bool, to mail.Address) heard {
	yes := heard{as: to, reply: smtp.NewReply(250, "2.1.5", "recipient "+to.Path()+" ok")}
	// The names of the quarantines among the destinations are not in DNS: mail
	// for them would stand in the line of held mail and never leave it.
	if r.Protocol != CPQ && (queue.Dest{Name: to.Domain}).Quarantine() {
		return heard{refusedBy: "reserved name", reply: smtp.NewReply(550, "5.1.2", "domain of "+to.Path()+" is not one of the Internet")}
	}
	if to.Domain == "" && r.Protocol != CPQ {
		// <postmaster> without a domain (RFC 5321 section 4.1.1.3) is that of the
		// first domain in the RAT: this host has no mailboxes, and an address at its
		// own name would be lost after our 250. Where mail is taken for no domain
		// there is no postmaster to reach.
		yes.as = mail.Address{Local: to.Local, Domain: r.RAT.Home()}
		d := r.RAT.Decide(to)
		if yes.match = d.Match; !d.Accept || yes.as.Domain == "" {
			return heard{match: d.Match, refusedBy: "RAT", reply: refusal(to, d.Response)}
		}
		return yes
	}
	if relay && r.Protocol != CPQ {
		return yes
	}
	d := r.RAT.Decide(to)
	if yes.match = d.Match; !d.Accept {
		return heard{match: d.Match, refusedBy: "RAT", reply: refusal(to, d.Response)}
	}
	if d.Response.Code != 0 {
		yes.reply = ownReply(d.Response)
	}
	return yes
}

// addRecipient notes a recipient. What was asked for all of them is kept only
// once somebody asked: hardly anybody does.
func (s *session) addRecipient(c smtp.RcptCommand) {
	e := &s.tx.env
	s.log.To(s.tx.mid, s.icid, mail.RID(len(e.To)), c.To)
	if e.Rcpt == nil && c.RcptParams != (mail.RcptParams{}) {
		e.Rcpt = make([]mail.RcptParams, len(e.To), len(e.To)+1)
	}
	if e.Rcpt != nil {
		e.Rcpt = append(e.Rcpt, c.RcptParams)
	}
	e.To = append(e.To, c.To)
}

func refusal(to mail.Address, own access.Response) smtp.Reply {
	if own.Code != 0 {
		return ownReply(own)
	}
	return smtp.NewReply(550, "5.1.0", "address "+to.Path()+" rejected")
}

// ownReply says what an entry of the RAT wants to be said. Its text may start
// with an enhanced status code.
func ownReply(r access.Response) smtp.Reply {
	if status, text, ok := cutStatus(r.Text); ok {
		return smtp.NewReply(r.Code, status, text)
	}
	return smtp.NewReply(r.Code, "", r.Text)
}

// DataStart is the last moment to say no without having the content sent.
func (s *session) DataStart(context.Context) smtp.Reply {
	return s.ready(s.listener.group.opts.Sink)
}

func (s *session) ready(sink space) smtp.Reply {
	if err := sink.Ready(s.tx.size); err != nil {
		return s.notReady(err)
	}
	return smtp.Reply{}
}

// Data hands the message to the sink and answers when it is durable.
func (s *session) Data(ctx context.Context, content io.Reader) smtp.Reply {
	return s.take(ctx, &intake{session: s, from: content}, func(m *Message) (mail.MID, error) {
		return m.MID, s.listener.group.opts.Sink.Receive(ctx, m)
	})
}

// take brings one transaction to its end: 250 if and only if the content was
// read to its end and the sink said nil (promise P1).
func (s *session) take(ctx context.Context, in *intake, give func(*Message) (mail.MID, error)) smtp.Reply {
	s.messages++
	tx := s.tx
	s.tx = transaction{}
	s.place.busy.Store(true)
	defer s.place.busy.Store(false)
	if s.rules.ASCIIHeaders && s.rules.Protocol == SMTP && !tx.env.UTF8 {
		in.ascii = &asciiHeader{}
	}
	in.mid, in.sender, in.header = tx.mid, tx.env.From, message.NewHeaderScanner()
	if s.rules.Protocol == SMTP { // by CPQ comes what was looked at before
		in.header.CountPasses(s.listener.group.opts.Passes)
	}
	mid, err := give(&Message{
		MID: tx.mid, Envelope: tx.env, Origin: s.origin, Size: tx.size,
		Content: in, Header: in.header, Peer: in.peer, Metadata: in.metadata,
	})
	switch {
	case in.err != nil:
		s.contentRefused(tx.mid, in.err)
		return in.reply()
	case err == nil && !in.done:
		err = errs.New(errs.Internal, "message was not read to its end")
	}
	if err != nil {
		return s.notTaken(tx.mid, err)
	}
	s.listener.delivered(s.place)
	if in.metadata.Rescan != nil {
		s.log.Aborted(tx.mid, "scanned again only: it stays with the manager")
	} else if mid != tx.mid {
		s.log.Aborted(tx.mid, "already taken as MID "+mid.String())
	} else {
		st := s.listener.group.opts.Stats
		st.Add(stats.MessagesReceived, 1)
		st.Add(stats.RecipientsReceived, uint64(len(tx.env.To)))
		st.Add(stats.BytesReceived, uint64(in.size))
	}
	return cpq.ReplyAccepted(mid) // SMTP says the same, as in the original
}

// notTaken is the sink's refusal. Its cause goes to the log, not to the peer.
func (s *session) notTaken(mid mail.MID, err error) smtp.Reply {
	s.log.ReceivingAborted(mid)
	switch errs.KindOf(err) {
	case errs.Full:
		s.log.ReceivingFailed(s.icid, "Resources Low")
	case errs.Internal, errs.Damaged, errs.Temporary:
		s.log.Fault("listener "+s.listener.name, "MID "+mid.String()+": "+err.Error())
	}
	return smtp.ErrorReply(err)
}

// contentRefused writes why content was not taken.
func (s *session) contentRefused(mid mail.MID, err error) {
	var refused *smtp.RefusedError
	var mismatch mismatchError
	switch {
	case errors.Is(err, errLoop), errors.Is(err, errPasses):
		s.log.ReceivingFailed(s.icid, "Message loop")
	case errors.Is(err, errEightBit):
		s.log.ReceivingFailed(s.icid, "Header is not ASCII")
	case errors.As(err, &mismatch):
		s.log.ReceivingFailed(s.icid, mismatch.Error())
	case errors.As(err, &refused) && refused.Reply.Code == 552:
		s.log.ReceivingFailed(s.icid, "Message size exceeds limit")
	case errors.As(err, &refused):
		s.log.ReceivingFailed(s.icid, refused.Reply.Message())
	}
	s.log.ReceivingAborted(mid)
}

// Reset ends an open transaction.
func (s *session) Reset(context.Context) {
	if s.tx.mid != 0 {
		s.log.ReceivingAborted(s.tx.mid)
	}
	s.tx = transaction{}
}

// TLSDone implements smtp.Observer.
func (s *session) TLSDone(state tls.ConnectionState) {
	s.secure = true
	s.log.ICIDTLSSuccess(s.icid, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
}

// TLSFailed implements smtp.Observer.
func (s *session) TLSFailed(err error) { s.log.ICIDTLSFailed(s.icid, certs.ClientCause(err)) }

// UnknownCommand implements smtp.Observer.
func (s *session) UnknownCommand(line string) { s.log.UnknownCommand(s.icid, line) }

// BadSyntax implements smtp.Observer.
func (s *session) BadSyntax(line string) { s.log.BadSyntax(s.icid, line) }

// cutStatus splits "5.1.1 text".
func cutStatus(s string) (status, text string, ok bool) {
	i := 0
	for i < len(s) && s[i] != ' ' {
		if (s[i] < '0' || s[i] > '9') && s[i] != '.' {
			return "", "", false
		}
		i++
	}
	if i < 5 || i > 9 || i == len(s) || s[1] != '.' {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}
