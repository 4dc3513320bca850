package quarantine

import (
	"context"
	"errors"
	"io"

	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// errEnough ends a walk whose caller has what it wants.
var errEnough = errors.New("enough")

// Parts gives each part of a message to fn, with the word that names it
// (message.Pieces), and the bytes of the message as they are read to raw, which
// may be nil. fn may end it with Enough.
func (s *Service) Parts(ctx context.Context, p mail.Principal, mid mail.MID, raw io.Writer, fn func(id string, part *message.Part) error) error {
	r, err := s.Content(ctx, p, mid)
	if err != nil {
		return err
	}
	defer r.Close()
	var from io.Reader = r
	if raw != nil {
		from = io.TeeReader(r, raw)
	}
	if _, err = message.Pieces(from, fn); errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// Enough ends Parts without an error.
func Enough() error { return errEnough }
