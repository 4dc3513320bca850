package listener

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"io"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// cpqSession is one CPQ connection. The wire lets nothing but EHLO, NOOP, QUIT
// and STARTTLS through before TLS; here everything else waits until the sink
// has said who the peer is, and each message for its metadata.
type cpqSession struct {
	*session
	peer   string
	denied error         // why the peer may do nothing
	over   error         // it has too many connections
	gate   PeerGate      // to be left at the end
	meta   *cpq.Metadata // of the next message
}

var _ interface {
	smtp.Session
	smtp.DataStarter
	smtp.Observer
} = (*cpqSession)(nil)

// cpqExtension is the metadata verb, plugged into smtp.
func cpqExtension() smtp.Extension {
	return cpq.NewExtension(func(ctx context.Context, sess smtp.Session, m cpq.Metadata) smtp.Reply {
		s, ok := sess.(*cpqSession)
		if !ok {
			return smtp.NewReply(503, "5.5.1", "no CPQ here")
		}
		return s.metadata(ctx, m)
	})
}

// reportExtension is the verb of reports, plugged into smtp.
func reportExtension() smtp.Extension {
	return cpq.NewReportExtension(func(ctx context.Context, sess smtp.Session, list []cpq.Report) smtp.Reply {
		s, ok := sess.(*cpqSession)
		if !ok {
			return smtp.NewReply(503, "5.5.1", "no CPQ here")
		}
		return s.reports(ctx, list)
	})
}

// reports takes what a gateway says about releases. A gateway speaks of those
// alone that were given to it: all about messages that it accepted itself.
func (s *cpqSession) reports(ctx context.Context, list []cpq.Report) smtp.Reply {
	if !s.identified() {
		return replyUnidentified
	}
	sink, ok := s.listener.group.opts.CPQSink.(ReportSink)
	if !ok {
		return smtp.NewReply(503, "5.5.1", "no reports here")
	}
	for i := range list {
		_, key, err := mail.ParseActionKey(string(list[i].Action))
		if err != nil {
			return s.refuse(err)
		}
		if _, serial, _, err := mail.ParseKey(string(key)); err != nil || serial != s.peer {
			return s.refuse(cpq.ReplyForeign(key, s.peer).Err())
		}
	}
	if err := sink.Report(ctx, s.peer, list); err != nil {
		return s.refuse(err)
	}
	return cpq.ReplyReported(len(list))
}

// TLSDone finds out who the peer is. The wire has verified the certificate;
// that it is a known peer's is asked once more, of the sink.
func (s *cpqSession) TLSDone(state tls.ConnectionState) {
	s.peer, s.denied = s.listener.group.opts.CPQSink.Peer(state)
	if s.denied == nil && s.peer == "" {
		s.denied = errs.New(errs.Denied, "no certificate from client")
	}
	if s.denied != nil {
		s.log.ICIDTLSFailed(s.icid, s.denied.Error())
		return
	}
	s.session.TLSDone(state)
	gate, ok := s.listener.group.opts.CPQSink.(PeerGate)
	if !ok || s.gate != nil {
		return
	}
	if s.over = gate.Enter(s.peer); s.over == nil {
		s.gate = gate
	}
}

// leave gives back what the peer's gate counted.
func (s *cpqSession) leave() {
	if s.gate != nil {
		s.gate.Leave(s.peer)
	}
}

// Hello refuses a peer that nobody knows.
func (s *cpqSession) Hello(ctx context.Context, c smtp.HelloCommand) smtp.Reply {
	if c.TLS != nil && s.peer == "" {
		return smtp.NewReply(421, "4.7.0", "certificate is not one of a known peer")
	}
	if c.TLS != nil && s.over != nil {
		s.log.ReceivingFailed(s.icid, errs.Public(s.over))
		return smtp.NewReply(421, "4.7.0", errs.Public(s.over))
	}
	r := s.session.Hello(ctx, c)
	s.origin.Protocol = "CPQ"
	return r
}

// identified guards every verb that moves mail; it is the last line, behind
// the wire's own and Hello's.
func (s *cpqSession) identified() bool {
	return s.secure && s.peer != "" && s.denied == nil && s.over == nil
}

var replyUnidentified = smtp.NewReply(530, "5.7.0", "must issue STARTTLS first")

// metadata takes the block that goes before MAIL.
func (s *cpqSession) metadata(ctx context.Context, m cpq.Metadata) smtp.Reply {
	s.meta = nil
	if !s.identified() {
		return replyUnidentified
	}
	// A gateway deposits only what it accepted itself (register D4). Whether a
	// manager may release is a question of the ledger, and so of the sink.
	if _, serial, _, err := mail.ParseKey(string(m.Key())); m.Deposit != nil && (err != nil || serial != s.peer || m.Deposit.GatewaySerial != s.peer) {
		return s.refuse(cpq.ReplyForeign(m.Key(), s.peer).Err())
	}
	if _, ok := s.listener.group.opts.CPQSink.(Examiner); m.Rescan != nil && !ok {
		return s.refuse(cpq.ReplyNoRescans().Err())
	}
	if err := s.listener.group.opts.CPQSink.Accept(ctx, s.peer, m); err != nil {
		return s.refuse(err)
	}
	s.meta = &m
	return cpq.ReplyTaken()
}

func (s *cpqSession) refuse(err error) smtp.Reply {
	s.log.ReceivingFailed(s.icid, errs.Public(err))
	return smtp.ErrorReply(err)
}

// size is the content's according to the metadata.
func (s *cpqSession) size() int64 {
	switch {
	case s.meta.Deposit != nil:
		return s.meta.Deposit.Size
	case s.meta.Rescan != nil:
		return s.meta.Rescan.Size
	}
	return s.meta.Release.Size
}

// Mail needs metadata, and a size that is the metadata's.
func (s *cpqSession) Mail(_ context.Context, c smtp.MailCommand) smtp.Reply {
	switch {
	case !s.identified():
		return replyUnidentified
	case s.meta == nil:
		return cpq.ReplyNoMetadata()
	case c.Size != 0 && c.Size != s.size():
		s.meta = nil
		return smtp.NewReply(501, "5.5.4", "SIZE is not the size of the metadata")
	}
	c.Size = s.size()
	r := s.begin(c, s.listener.group.opts.CPQSink)
	if !r.Positive() {
		s.meta = nil
	}
	return r
}

// DataStart implements smtp.DataStarter.
func (s *cpqSession) DataStart(context.Context) smtp.Reply {
	return s.ready(s.listener.group.opts.CPQSink)
}

// Data hands message and metadata to the sink.
func (s *cpqSession) Data(ctx context.Context, content io.Reader) smtp.Reply {
	if s.meta == nil || !s.identified() {
		return replyUnidentified
	}
	in := &intake{session: s.session, from: content, peer: s.peer, metadata: *s.meta, hash: sha256.New()}
	s.meta = nil
	if in.metadata.Rescan != nil {
		return s.examine(ctx, in)
	}
	return s.take(ctx, in, func(m *Message) (mail.MID, error) {
		return s.listener.group.opts.CPQSink.Take(ctx, m)
	})
}

// examine has a sink look at content that it does not keep.
func (s *cpqSession) examine(ctx context.Context, in *intake) smtp.Reply {
	var found mail.Finding
	r := s.take(ctx, in, func(m *Message) (_ mail.MID, err error) {
		found, err = s.listener.group.opts.CPQSink.(Examiner).Examine(ctx, m)
		return m.MID, err
	})
	if r.Positive() {
		return cpq.ReplyFound(found)
	}
	return r
}

// Reset forgets the metadata too.
func (s *cpqSession) Reset(ctx context.Context) {
	s.meta = nil
	s.session.Reset(ctx)
}
