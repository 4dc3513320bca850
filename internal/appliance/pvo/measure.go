package pvo

import (
	"context"

	"lazaret/internal/appliance/metrics"
	"lazaret/internal/mail"
)

// Measure gives the numbers of the quarantines. It is a metrics.Source.
func (q *Quarantines) Measure(ctx context.Context, put metrics.Put) error {
	u, err := q.Store.Usage(ctx)
	if err != nil {
		return err
	}
	limit := q.Service.PoolLimit()
	put("quarantine_pool_limit_bytes", "What all quarantines may hold together; 0: as much as the disk.", float64(limit))
	put("quarantine_pool_used_bytes", "What all quarantines hold, the bin and what is leaving included.", float64(u.All.Bytes))
	put("quarantine_pool_bin_bytes", "What of it lies in the bin.", float64(u.Bin.Bytes))
	put("quarantine_pool_leaving_bytes", "What of it is released and not proven yet.", float64(u.Going.Bytes))
	if limit > 0 {
		put("quarantine_pool_used_ratio", "What of the limit is used: administrators are told at 0.75, 0.85 and 0.95.", float64(u.All.Bytes)/float64(limit))
	}
	all, err := q.Service.Quarantines(ctx, mail.System())
	if err != nil {
		return err
	}
	for _, l := range all {
		put("quarantine_messages", "Messages that a quarantine holds.", float64(l.Messages), "quarantine", l.Name)
		put("quarantine_bytes", "Content that a quarantine holds; a message in several counts in each.", float64(l.Bytes), "quarantine", l.Name)
	}
	return nil
}
