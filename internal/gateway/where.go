package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lazaret/internal/admin"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/tracking"
)

// maxWaiting is how many waiting messages are looked at for one question.
const maxWaiting = 20_000

// tracker answers where messages are: from mail_logs, which has a line for
// everything, and from the queue, for what waits now.
type tracker struct{ g *Gateway }

// Where implements admin.Tracker.
func (t tracker) Where(ctx context.Context, _ mail.Principal, q tracking.Query, note func(string)) (admin.Found, error) {
	if q.GatewayMID != 0 { // here both are the same number
		q.MID, q.GatewayMID = q.GatewayMID, 0
	}
	a, err := t.answer(ctx, q, note)
	if err != nil {
		return admin.Found{}, err
	}
	return admin.Found{
		Rows:  tracking.Rows([]tracking.Answer{a}, nil, t.g.Now().Location()),
		Asked: []tracking.Asked{{Name: a.Name, Serial: a.Serial, From: a.From, Cut: a.Cut}},
	}, nil
}

// Tell implements admin.Told: our manager asks.
func (t tracker) Tell(ctx context.Context, q tracking.Query) (tracking.Answer, error) {
	return t.answer(ctx, q, func(string) {})
}

func (t tracker) answer(ctx context.Context, q tracking.Query, note func(string)) (tracking.Answer, error) {
	follow, size, cut, err := t.g.Track(ctx, q, note)
	if err != nil {
		return tracking.Answer{}, err
	}
	for _, mid := range follow.Open() {
		it, err := t.g.queue.Look(mid)
		switch {
		case errs.Is(err, errs.NotFound):
			follow.Gone(mid)
		case err == nil:
			follow.Lives(live(it))
		}
	}
	more, err := t.waiting(ctx, q, follow)
	if err != nil {
		return tracking.Answer{}, err
	}
	a := follow.Answer()
	c := t.g.Config.Committed()
	a.Serial, a.Name, a.Bytes = c.Serial, c.Hostname, size
	a.Cut = append(append(a.Cut, cut...), more...)
	return a, nil
}

// errEnough ends a walk through the queue.
var errEnough = errors.New("enough")

// waiting adds what waits longer than the log reaches back.
func (t tracker) waiting(ctx context.Context, q tracking.Query, follow *tracking.Follower) (cut []string, err error) {
	n, found := 0, 0
	match := queue.Match{All: q.MID == 0, MID: q.MID}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = t.g.queue.Find(ctx, match, func(it *queue.Item) error {
		if n++; n > maxWaiting || found >= q.Limit {
			return errEnough
		}
		if l := live(it); q.Fits(l) && !follow.Knows(it.MID) {
			found++
			follow.Lives(l)
		}
		return nil
	})
	if errors.Is(err, errEnough) || errors.Is(err, context.DeadlineExceeded) {
		return []string{fmt.Sprintf("of the queue, %d waiting messages were looked at", n)}, nil
	}
	return nil, err
}

// live says what the queue has of a message.
func live(it *queue.Item) *tracking.Live {
	l := &tracking.Live{MID: it.MID, Received: it.Accepted, Sender: it.From.String(), Subject: it.Subject, MessageID: it.MessageID, Judged: it.State == queue.Routed}
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if r.State.Final() {
			continue
		}
		host := r.Dest.Name
		if r.Remote != "" {
			host += " (" + r.Remote + ")"
		}
		l.Waits = append(l.Waits, tracking.Wait{RID: i, Address: r.Address.String(), Host: host, Reply: r.Reply, At: r.Last, Next: r.Next})
	}
	return l
}
