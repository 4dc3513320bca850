package quarantine

import (
	"context"
	"iter"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Records read at once. A page of a list that is sorted by something else than
// arrival may cost a look at all that is held, so it is a large one.
const (
	page       = 200
	sortedPage = 5000
)

// Search gives the messages that a query wants, newest first, reading page by
// page: what is not looked at costs nothing. An error ends the sequence.
func (s *Service) Search(ctx context.Context, p mail.Principal, q Query) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		if err := s.open(p, &q); err != nil {
			yield(nil, err)
			return
		}
		may, left := s.may(p), q.Limit
		for q.Limit == 0 || left > 0 {
			one := q
			if one.Limit = page; q.By != ByArrival {
				one.Limit = sortedPage
			}
			if q.Limit > 0 {
				one.Limit = min(one.Limit, left)
			}
			list, err := s.opt.Store.Find(ctx, one)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, r := range list {
				left--
				m, ok := view(r, may)
				if q.After = (Cursor{r.MID, q.By, r.Rank}); ok && q.By != ByArrival {
					m.After = q.After.String()
				}
				if ok && !yield(m, nil) {
					return
				}
			}
			if len(list) < one.Limit {
				return
			}
		}
	}
}

// open checks a query and limits it to what the principal may see.
func (s *Service) open(p mail.Principal, q *Query) error {
	if err := s.guard(p); err != nil {
		return err
	}
	if q.Quarantine != "" {
		if err := s.checkName(p, q.Quarantine); err != nil {
			return err
		}
		q.Quarantine = s.named(q.Quarantine)
	}
	if !q.Body.Any() && s.rules().Text == 0 {
		return errs.New(errs.Invalid, "the text of messages is not searched here: search_text of the quarantine rules is 0")
	}
	q.visible, q.all = nil, auth.Can(p.Role, auth.QuarantineAll)
	if !q.all {
		may := s.may(p)
		for _, n := range *s.order.Load() {
			if may(n) {
				q.visible = append(q.visible, n)
			}
		}
	}
	return q.Check()
}

// Count says how many messages a query finds in all, whatever its limit.
func (s *Service) Count(ctx context.Context, p mail.Principal, q Query) (Total, error) {
	if err := s.open(p, &q); err != nil {
		return Total{}, err
	}
	q.Limit, q.After, q.By = 0, Cursor{}, ByArrival
	return s.opt.Store.Count(ctx, q)
}
