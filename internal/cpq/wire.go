package cpq

import (
	"context"
	"errors"
	"io"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// NewExtension makes the server's side of XCPQ. take is asked about each sound
// block, with the Session of its connection; a positive reply lets MAIL follow.
//
// The Session is reset before a block is looked at, so that a refused one
// leaves none: the next message can never go under the metadata of another.
func NewExtension(take func(ctx context.Context, sess smtp.Session, m Metadata) smtp.Reply) smtp.Extension {
	return smtp.Extension{
		Verb: Verb, Keyword: Keyword, NeedTLS: true, MaxBlock: MaxBlock,
		Handle: func(ctx context.Context, sess smtp.Session, _ string, block io.Reader) smtp.Reply {
			sess.Reset(ctx)
			b, err := io.ReadAll(block)
			if err != nil {
				return smtp.NewReply(451, "4.3.0", "metadata did not come whole")
			}
			m, err := Decode(b)
			if err != nil {
				return refusal(err)
			}
			return take(ctx, sess, m)
		},
	}
}

func refusal(err error) smtp.Reply {
	var v *VersionError
	if errors.As(err, &v) {
		return smtp.NewReply(554, "5.5.4", v.Error())
	}
	return smtp.NewReply(554, "5.6.0", err.Error())
}

// Block makes the client's side: what goes before MAIL.
func Block(m Metadata) (smtp.Block, error) {
	b, err := Encode(m)
	return smtp.Block{Verb: Verb, Data: b}, err
}

// The replies of a server, docs/cpq.md section 6.

// ReplyTaken answers sound metadata.
func ReplyTaken() smtp.Reply { return smtp.NewReply(250, "2.0.0", "metadata taken") }

// ReplyNoMetadata answers MAIL without XCPQ.
func ReplyNoMetadata() smtp.Reply { return smtp.NewReply(503, "5.5.1", "XCPQ comes before MAIL") }

// ReplyNoReleases is a manager's answer to a release.
func ReplyNoReleases() smtp.Reply {
	return smtp.NewReply(550, "5.7.1", "a manager takes deposits, not releases")
}

// ReplyNoDeposits is a gateway's answer to a deposit.
func ReplyNoDeposits() smtp.Reply {
	return smtp.NewReply(550, "5.7.1", "a gateway takes releases, not deposits")
}

// ReplyNoRescans is a manager's answer to a re-scan: it has no engines.
func ReplyNoRescans() smtp.Reply {
	return smtp.NewReply(550, "5.7.1", "nothing is scanned here")
}

// ReplyForeign answers metadata that is not this peer's to send.
func ReplyForeign(key mail.Key, peer string) smtp.Reply {
	return smtp.NewReply(550, "5.7.1", "message key "+string(key)+" does not belong to "+peer)
}

const (
	acceptedBefore = "ok:  Message " // two blanks, as programs know it
	acceptedAfter  = " accepted"
)

// ReplyAccepted answers a message that is stored: mid is its number here.
func ReplyAccepted(mid mail.MID) smtp.Reply {
	return smtp.NewReply(250, "2.0.0", acceptedBefore+mid.String()+acceptedAfter)
}

// ParseAccepted reads the number out of ReplyAccepted: the receipt.
func ParseAccepted(r smtp.Reply) (mail.MID, error) {
	if r.Code == 250 && len(r.Text) == 1 {
		word, ok := strings.CutPrefix(r.Text[0], acceptedBefore)
		word, ok2 := strings.CutSuffix(word, acceptedAfter)
		if mid, err := mail.ParseMID(word); ok && ok2 && err == nil && mid.String() == word {
			return mid, nil
		}
	}
	return 0, errs.New(errs.Invalid, "reply %q is no receipt", r.String())
}

// CheckContent compares content that has come with what the metadata says of it.
func (m Metadata) CheckContent(size int64, hash mail.Hash) error {
	wantSize, want := int64(-1), mail.Hash{}
	switch {
	case m.Deposit != nil:
		wantSize, want = m.Deposit.Size, m.Deposit.Hash
	case m.Release != nil:
		wantSize, want = m.Release.Size, m.Release.Hash
	case m.Rescan != nil:
		wantSize, want = m.Rescan.Size, m.Rescan.Hash
	}
	switch {
	case size != wantSize:
		return errs.New(errs.Invalid, "content is not the one of the metadata: it has %d octets, not %d", size, wantSize)
	case hash != want:
		return errs.New(errs.Invalid, "content is not the one of the metadata: its SHA-256 is %s, not %s", hash, want)
	}
	return nil
}

// Key gives the message key of either form.
func (m Metadata) Key() mail.Key {
	switch {
	case m.Deposit != nil:
		return m.Deposit.Key
	case m.Release != nil:
		return m.Release.Key
	case m.Rescan != nil:
		return m.Rescan.Key
	}
	return ""
}
