package quarantine

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// Ingest takes a message into its quarantines. It is durable when err is nil.
// A key that was there before gives the number of that time and existing: the
// peer did not hear our answer, and nothing is done twice.
func (s *Service) Ingest(ctx context.Context, d Deposit, content io.Reader) (mid mail.MID, existing bool, err error) {
	if err := checkDeposit(&d); err != nil {
		return 0, false, err
	}
	header, inside := message.NewHeaderScanner(), newLook(int(s.rules().Text))
	id, size, hash, err := s.opt.Contents.Put(ctx, io.TeeReader(content, io.MultiWriter(header, inside)))
	outline := inside.close(err)
	if err != nil {
		return 0, false, fmt.Errorf("keeping the content of %s: %w", d.Key, err) // the sentence for the peer is the inner one
	}
	if size != d.Size || hash != d.Hash {
		s.drop(id)
		return 0, false, errs.New(errs.Damaged, "content of %s is not what was announced: %d bytes, %s", d.Key, size, hash)
	}
	if d.MessageID == "" {
		d.MessageID = header.MessageID()
	}
	r := s.newRecord(d, id)
	r.Attachments, r.Attached, r.Text = outline.List, outline.Total, outline.Text
	mid, existing, err = s.opt.Store.Add(ctx, r)
	if err != nil {
		// Whether the record was kept is not always known. Content that nobody
		// refers to is swept at the next start; content somebody refers to must stay.
		return 0, false, fmt.Errorf("keeping the record of %s: %w", d.Key, err)
	}
	if d.Gateway != s.opt.Own {
		// Also of a repeat: the first time may have ended before this line.
		s.opt.Log.Mapped(mid, r.gatewayLabel(), d.GatewayMID)
	}
	if existing {
		return mid, true, nil
	}
	s.filled()
	for i := range r.Memberships {
		s.opt.Log.Quarantined(mid, r.Memberships[i].Quarantine, r.Memberships[i].Reason)
	}
	return mid, false, nil
}

func (r *Record) gatewayLabel() string {
	if r.GatewayName != "" {
		return r.GatewayName
	}
	return r.Gateway
}

// drop removes content that nobody will refer to, even when the session it came
// from is over.
func (s *Service) drop(id ContentID) {
	if err := s.opt.Contents.Delete(context.Background(), id); err != nil {
		s.opt.Log.Fault("quarantine", "removing content that was refused: "+err.Error())
	}
}

func checkDeposit(d *Deposit) error {
	_, serial, mid, err := mail.ParseKey(string(d.Key))
	switch {
	case err != nil:
		return err
	case serial != d.Gateway || mid != d.GatewayMID:
		return errs.New(errs.Invalid, "message key %s is not one of gateway %s, MID %s", d.Key, clip(d.Gateway), d.GatewayMID)
	case d.MID == 0:
		return errs.New(errs.Internal, "deposit of %s has no number", d.Key)
	case len(d.Placements) == 0:
		return errs.New(errs.Invalid, "deposit of %s names no quarantine", d.Key)
	case len(d.Envelope.To) == 0:
		return errs.New(errs.Invalid, "deposit of %s has no recipient", d.Key)
	}
	return nil
}

// newRecord places a deposit. Hits on a quarantine that does not exist go to
// Unclassified, and two on one quarantine become one membership.
func (s *Service) newRecord(d Deposit, id ContentID) *Record {
	now := s.now().UTC().Truncate(time.Millisecond)
	r := &Record{Deposit: d, Content: id, Display: display(d.Subject), Received: now, State: Held, Version: 1, Changed: now}
	for _, p := range d.Placements {
		q, ok := s.setting(p.Quarantine)
		reason := p.Reason
		if !ok {
			reason += ` (no quarantine "` + clip(p.Quarantine) + `")`
		}
		if i := slices.IndexFunc(r.Memberships, func(m Membership) bool { return m.Quarantine == q.Name }); i >= 0 {
			r.Memberships[i].Reason += "; " + reason
			r.Memberships[i].Matched = append(slices.Clip(r.Memberships[i].Matched), p.Matched...)
			continue
		}
		r.Memberships = append(r.Memberships, Membership{Quarantine: q.Name, Reason: reason, State: In, Entered: now, Exit: now.Add(retention(q, p)), Matched: p.Matched})
	}
	return r
}

// retention gives how long a message is held at most: in Outbreak as its mail
// policy says (reference 1.2), if it does.
func retention(q Settings, p mail.Placement) time.Duration {
	if q.Kind == KindOutbreak && p.Keep > 0 {
		return min(p.Keep, MaxRetention)
	}
	return q.Retention
}

// maxDisplay limits the decoded subject.
const maxDisplay = 4096

func display(raw string) string {
	t := strings.ToValidUTF8(message.DecodeHeader(raw), "\ufffd")
	if len(t) > maxDisplay {
		t = strings.ToValidUTF8(t[:maxDisplay], "")
	}
	return t
}
