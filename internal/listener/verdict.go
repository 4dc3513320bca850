package listener

import (
	"context"

	"lazaret/internal/cpq"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// verdictExtension is the verb of verdicts, plugged into smtp.
func verdictExtension() smtp.Extension {
	return cpq.NewVerdictExtension(func(ctx context.Context, sess smtp.Session, list []cpq.Verdict) smtp.Reply {
		s, ok := sess.(*cpqSession)
		if !ok {
			return smtp.NewReply(503, "5.5.1", "no CPQ here")
		}
		return s.verdicts(ctx, list)
	})
}

// verdicts takes what a gateway says of held messages: of its own alone.
func (s *cpqSession) verdicts(ctx context.Context, list []cpq.Verdict) smtp.Reply {
	if !s.identified() {
		return replyUnidentified
	}
	sink, ok := s.listener.group.opts.CPQSink.(VerdictSink)
	if !ok {
		return smtp.NewReply(503, "5.5.1", "no verdicts here")
	}
	for i := range list {
		if _, serial, _, err := mail.ParseKey(string(list[i].Key)); err != nil || serial != s.peer {
			return s.refuse(cpq.ReplyForeign(list[i].Key, s.peer).Err())
		}
	}
	gone, err := sink.Verdicts(ctx, s.peer, list)
	if err != nil {
		return s.refuse(err)
	}
	return cpq.ReplyJudged(gone)
}
