package pipeline

import (
	"context"
	"io"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Authenticator finds out who sent a message: SPF, DKIM, ARC, DMARC. What DNS
// does not answer is a temperror; an error is one of reading the content.
type Authenticator interface {
	Examine(ctx context.Context, from mail.Origin, sender mail.Address, open func() (io.ReadCloser, error)) (mail.SenderAuth, error)
	// Claims reports whether an Authentication-Results field says that it is ours.
	Claims(value string) bool
}

// AuthField is the field of RFC 8601.
const AuthField = "Authentication-Results"

// SenderAuth implements filter.Message.
func (in *input) SenderAuth(ctx context.Context) (mail.SenderAuth, error) {
	if in.authed || in.auth == nil {
		return in.sender, nil
	}
	var err error
	if in.sender, err = in.auth.Examine(ctx, in.Origin, in.Env.From, in.Open); err != nil {
		return mail.SenderAuth{}, errs.Context(err, "authenticating the sender of MID %s", in.MID)
	}
	in.authed = true
	return in.sender, nil
}

// authenticate puts our own Authentication-Results on top of a message from
// outside, has those that only claim to be ours taken out (RFC 8601 section 5),
// and does what the settings want about a DMARC that failed.
func (p *Pipeline) authenticate(ctx context.Context, s *Settings, in *input, d *mail.Disposition) error {
	if s.Auth == nil || in.Origin.Relay {
		return nil
	}
	a, err := in.SenderAuth(ctx)
	if err != nil {
		return err
	}
	p.o.Log.SenderAuth(in.MID, a)
	header, err := mail.NewHeader(AuthField, a.Field)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "the field %s", AuthField)
	}
	d.Headers = append([]mail.Header{header}, d.Headers...)
	values, _, err := in.Header(ctx, AuthField)
	if err != nil {
		return err
	}
	for _, v := range values {
		d.Unforge = d.Unforge || s.Auth.Claims(v)
	}
	if s.HoldDMARC != "" && a.DMARC == "fail" && (a.Policy == "reject" || a.Policy == "quarantine") && !d.Drop && len(d.Quarantine) == 0 {
		d.Quarantine = append(d.Quarantine, mail.Placement{Quarantine: s.HoldDMARC, Reason: "DMARC: " + a.Author + " asks for " + a.Policy})
	}
	return nil
}
