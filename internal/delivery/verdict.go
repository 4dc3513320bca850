package delivery

import (
	"context"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
)

// Judges says whether the manager takes verdicts about what it holds: an older
// one does not.
func (r *Reports) Judges() bool {
	versions, ok := r.l.ext.Keywords[cpq.VerdictVerb]
	return ok && hasWord(versions, cpq.VersionWord)
}

// Judge gives cpq.MaxVerdicts verdicts at most. They are durable at the manager
// when the error is nil; gone are the places of messages that it does not hold
// any more. errs.Denied: it will never take these.
func (r *Reports) Judge(ctx context.Context, list []cpq.Verdict) (gone []int, err error) {
	b, err := cpq.VerdictBlock(list)
	if err != nil {
		return nil, err
	}
	reply, err := r.l.client.Extend(ctx, b)
	switch {
	case err != nil:
		return nil, err
	case reply.Positive():
		return cpq.ParseJudged(reply, len(list))
	case reply.Permanent() && !r.l.client.Closing():
		return nil, errs.New(errs.Denied, "the manager refuses verdicts: %s", reply)
	}
	return nil, errs.New(errs.Temporary, "the manager takes no verdicts now: %s", reply)
}
