package quarantine

import (
	"context"
	"io"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// Inside is what was found in the content of a message.
type Inside struct {
	MID         mail.MID
	Attachments []message.Attachment // at most message.MaxAttachments
	Attached    int                  // all of them
}

// NotLooked in place of a number of attachments: the message came in before
// anybody looked, or its content cannot be read.
const (
	NotLooked  = -1
	Unreadable = -2
)

// look reads a message while it streams by. Closing it is not optional: it ends
// what it began.
type look struct {
	to   *io.PipeWriter
	done chan struct{}
	out  message.Outline
	err  error
}

func newLook(text int) *look {
	r, w := io.Pipe()
	l := &look{to: w, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.out, l.err = message.NewOutline(r, text)
		r.CloseWithError(l.err) // the writer must not wait for a reader that is gone
	}()
	return l
}

// Write implements io.Writer.
func (l *look) Write(p []byte) (int, error) { return l.to.Write(p) }

// close says that the content has ended, well or not, and waits for the result.
func (l *look) close(err error) message.Outline {
	l.to.CloseWithError(err) // nil: io.EOF
	<-l.done
	return l.out
}

// Pauses of the look at what came in before there was one: it works half of the
// time, and asks for more each minute.
const (
	insideBatch = 50
	insidePause = time.Minute
)

// lookBack looks into messages that an earlier version brought, newest first.
func (s *Service) lookBack(ctx context.Context) {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
		pause := insidePause
		if s.keeper(ctx) {
			began := time.Now()
			n, err := s.LookInside(ctx, insideBatch)
			s.trouble("looking for attachments", err)
			if n > 0 && err == nil {
				pause = time.Since(began)
			}
		}
		rest.Reset(pause)
	}
}

// LookInside looks into at most limit messages that nobody has looked into, and
// gives their number.
func (s *Service) LookInside(ctx context.Context, limit int) (int, error) {
	list, err := s.opt.Store.NotLooked(ctx, limit)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	records, err := s.opt.Store.Load(ctx, list)
	if err != nil {
		return 0, err
	}
	found := make([]Inside, 0, len(list))
	seen := make(map[mail.MID]bool, len(list))
	for _, r := range records {
		in, err := s.inside(ctx, r)
		if err != nil {
			return 0, err
		}
		found, seen[r.MID] = append(found, in), true
	}
	for _, mid := range list { // a damaged record must not be asked for for ever
		if !seen[mid] {
			found = append(found, Inside{MID: mid, Attached: Unreadable})
		}
	}
	return len(list), s.opt.Store.SetInside(ctx, found)
}

func (s *Service) inside(ctx context.Context, r *Record) (Inside, error) {
	in := Inside{MID: r.MID, Attached: Unreadable}
	if !r.State.HasContent() {
		return in, nil
	}
	c, err := s.opt.Contents.Open(ctx, r.Content)
	if err == nil {
		var o message.Outline
		o, err = message.NewOutline(c, 0)
		c.Close()
		if err == nil {
			in.Attachments, in.Attached = o.List, o.Total
			return in, nil
		}
	}
	if errs.Is(err, errs.NotFound) || errs.Is(err, errs.Damaged) { // others are for reporting that
		return in, nil
	}
	return in, err
}
