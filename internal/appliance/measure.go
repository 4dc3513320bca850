package appliance

import (
	"context"
	"time"

	"lazaret/internal/appliance/metrics"
	"lazaret/internal/queue"
	"lazaret/internal/stats"
)

// counted are the counters that are shown as metrics.
var counted = [...]struct {
	counter    stats.Counter
	name, help string
}{
	{stats.MessagesReceived, "messages_received_total", "Messages received."},
	{stats.RecipientsReceived, "recipients_received_total", "Recipients received."},
	{stats.RejectedRecipients, "recipients_rejected_total", "Recipients refused."},
	{stats.DroppedMessages, "messages_dropped_total", "Messages dropped by filters and engines."},
	{stats.DeliveredRecipients, "recipients_delivered_total", "Recipients for whom a host has taken the message."},
	{stats.DeletedRecipients, "recipients_deleted_total", "Recipients deleted from the queue."},
	{stats.SoftBouncedEvents, "soft_bounces_total", "Deliveries that are tried again."},
	{stats.BytesReceived, "bytes_received_total", "Bytes of content received."},
	{stats.ConnectionsIn, "connections_in_total", "Connections taken."},
	{stats.ConnectionsOut, "connections_out_total", "Connections made."},
}

// Measure makes the metrics of an appliance with this queue; more are sources of
// the role's own. They are off until Start and unless configured.
func (a *Appliance) Measure(q *queue.Queue, more ...metrics.Source) {
	a.metrics = metrics.New(append([]metrics.Source{a.measured, queued(q, a.Now)}, more...), a.Log.Fault)
}

// measured are the numbers that both roles have.
func (a *Appliance) measured(_ context.Context, put metrics.Put) error {
	put("start_time_seconds", "When the process began, Unix time.", seconds(a.Started))
	for _, c := range counted {
		put(c.name, c.help, float64(a.Stats.Lifetime(c.counter)))
	}
	put("disk_free_bytes", "Free on the disk of the appliance's directory.", float64(freeBytes(a.Dir)))
	for _, x := range a.certificatesInUse() {
		put("certificate_end_seconds", "When a certificate that is in use ends, Unix time.", seconds(x.end), "certificate", x.what, "id", x.key)
	}
	return nil
}

// queued are the numbers of a queue. Of destinations there are only the two of
// CPQ: the others are as many as there are domains.
func queued(q *queue.Queue, now func() time.Time) metrics.Source {
	return func(_ context.Context, put metrics.Put) error {
		g := q.Gauges()
		put("work_queue_messages", "Messages that wait to be judged.", float64(g.WorkQueue))
		put("active_recipients", "Recipients that wait for delivery.", float64(g.ActiveRecipients))
		put("attempted_recipients", "Of these, recipients that were tried already.", float64(g.Attempted))
		put("set_aside_messages", "Messages that an administrator has to look at (heldmessages).", float64(g.Held))
		put("delivery_connections", "Connections to other hosts now.", float64(g.ConnectionsOut))
		age := 0.0
		if !g.Oldest.IsZero() {
			age = max(0, now().Sub(g.Oldest).Seconds())
		}
		put("oldest_message_age_seconds", "Age of the oldest message in the queue; 0: it is empty.", age)
		for _, name := range []string{queue.CPQHost, queue.CPQReleaseHost} {
			waiting, down := 0, 0.0
			lanes := q.Lanes(name)
			for _, s := range lanes {
				waiting += s.Active
				if s.State == queue.Down {
					down = 1
				}
			}
			if len(lanes) > 0 {
				put("cpq_waiting_recipients", "Recipients that wait for a CPQ peer.", float64(waiting), "destination", name)
				put("cpq_down", "1 while a CPQ peer is down.", down, "destination", name)
			}
		}
		return nil
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// moveMetrics follows the configuration; what cannot be opened is in the log, and
// the appliance works all the same.
func (a *Appliance) moveMetrics(at string) {
	if a.metrics == nil || a.opt.Check {
		return
	}
	if err := a.metrics.Listen(at); err != nil {
		a.Log.Fault("metrics", err.Error())
	}
}
