package gateway

import (
	"context"
	"io"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/senderauth"
)

// authenticator asks SPF, DKIM, ARC and DMARC about a message. It implements
// pipeline.Authenticator.
type authenticator struct{ g *Gateway }

// authTime bounds the questions about one message. What DNS does not answer by
// then is a temperror, and the message goes on.
const authTime = 20 * time.Second

// Examine implements pipeline.Authenticator.
func (a authenticator) Examine(ctx context.Context, from mail.Origin, sender mail.Address, open func() (io.ReadCloser, error)) (mail.SenderAuth, error) {
	asking, cancel := context.WithTimeout(ctx, authTime)
	defer cancel()
	r, err := a.g.verifier.Examine(asking, from, sender, open)
	if err != nil {
		return mail.SenderAuth{}, err
	}
	return words(r, a.g.Config.Committed().Hostname), nil
}

// words gives a result in words.
func words(r senderauth.Result, authserv string) mail.SenderAuth {
	out := mail.SenderAuth{
		SPF: string(r.SPF.Verdict), DMARC: string(r.DMARC.Verdict), ARC: string(r.ARC.Verdict),
		Author: r.DMARC.Domain, Policy: string(r.DMARC.Policy), Reason: r.DMARC.Reason, Field: r.Field(authserv),
	}
	for _, s := range r.DKIM {
		out.DKIM = append(out.DKIM, string(s.Verdict))
	}
	return out
}

// Claims implements pipeline.Authenticator.
func (a authenticator) Claims(value string) bool {
	return senderauth.Claims(value, a.g.Config.Committed().Hostname)
}
