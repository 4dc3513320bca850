package delivery

import (
	"context"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/queue"
)

// Reports is a connection to the manager for reports about releases. Not safe
// for concurrent use.
type Reports struct {
	c *courier
	l *link
}

// OpenReports connects to the manager, proven like for a deposit.
func (c *Couriers) OpenReports(ctx context.Context) (*Reports, error) {
	way := &cpqWay{opt: &c.opt}
	l, err := way.open(ctx, queue.Dest{Name: queue.CPQHost})
	if err != nil {
		return nil, err
	}
	return &Reports{c: &courier{opt: &c.opt, way: way}, l: l}, nil
}

// Known says whether the manager takes reports: an older one does not.
func (r *Reports) Known() bool {
	versions, ok := r.l.ext.Keywords[cpq.ReportVerb]
	return ok && (hasWord(versions, cpq.VersionWord) || hasWord(versions, cpq.ReportStepWord))
}

// version is the newest that both sides know.
func (r *Reports) version() int {
	if hasWord(r.l.ext.Keywords[cpq.ReportVerb], cpq.ReportStepWord) {
		return cpq.ReportSteps
	}
	return cpq.ReportPlain
}

// Send gives the first of the reports, as many as go at once, and their number.
// They are durable at the manager when the error is nil. errs.Denied: it will
// never take these.
func (r *Reports) Send(ctx context.Context, list []cpq.Report) (int, error) {
	b, n, err := cpq.ReportBlock(r.version(), list)
	if err != nil {
		return 0, err
	}
	reply, err := r.l.client.Extend(ctx, b)
	switch {
	case err != nil:
		return 0, err
	case reply.Positive():
		return n, nil
	case reply.Permanent() && !r.l.client.Closing():
		return n, errs.New(errs.Denied, "the manager refuses reports: %s", reply)
	}
	return 0, errs.New(errs.Temporary, "the manager takes no reports now: %s", reply)
}

// Close ends the connection.
func (r *Reports) Close(ctx context.Context) { r.c.close(ctx, r.l) }
