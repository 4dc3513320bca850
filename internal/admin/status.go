package admin

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/listener"
	"lazaret/internal/queue"
	"lazaret/internal/stats"
)

func (s System) viewCommands() []Command {
	return []Command{
		{Name: "status", Summary: "Show the state of the system, counters and gauges", Usage: "status [detail]", Right: auth.Status, MaxArgs: 1, Run: s.status},
		{Name: "tophosts", Summary: "Show the busiest destinations", Usage: "tophosts [active_rcpts | conn_out | deliv_recip | hard_bounced | soft_bounced]", Right: auth.Status, MaxArgs: 1, Run: s.topHosts},
		{Name: "showhosts", Summary: "Show destinations: up or down, waiting mail, next try, last error", Usage: "showhosts [host]", Right: auth.Status, MaxArgs: 1, Run: s.showHosts},
		{Name: "hoststatus", Summary: "Show one destination", Usage: "hoststatus HOST", Right: auth.Status, MaxArgs: 1, Run: s.hostStatus},
		{Name: "showrecipients", Summary: "Show messages in the queue", Usage: "showrecipients host HOST\nshowrecipients sender ADDRESS\nshowrecipients all", Right: auth.QueueView, MaxArgs: 2, Run: s.showRecipients},
	}
}

// systemStatus is one of the values of reference 6.2.
func (s System) systemStatus() string {
	receiving := false
	for _, l := range s.Listeners.Status() {
		receiving = receiving || l.State == listener.Listening
	}
	delivering := !slices.Contains(s.Queue.Suspended(), queue.AllHosts)
	switch {
	case receiving && delivering:
		return "Online"
	case delivering:
		return "Receiving Suspended"
	case receiving:
		return "Delivery Suspended"
	}
	return "Offline"
}

// status is reference 6.3 in the layout of 9b.
func (s System) status(ctx context.Context, c *Call) error {
	detail := false
	if a := c.Take(); a != "" {
		if detail = strings.EqualFold(a, "detail"); !detail {
			return Usage("%q is not detail", a)
		}
	}
	if !detail {
		c.Printf("Enter \"status detail\" for more information.\n\n")
	}
	now, g := s.Clock(), s.Queue.Gauges()
	oldest := "No Messages"
	if !g.Oldest.IsZero() {
		oldest = ago(now.Sub(g.Oldest))
	}
	c.Printf("Status as of:          %s\n", stamp(now))
	c.Printf("Up since:              %s (%s)\n", stamp(s.Started), span(now.Sub(s.Started)))
	c.Printf("Last counter reset:    Never\n")
	c.Printf("System status:         %s\n", s.systemStatus())
	if all, stopped := s.Listeners.Status(), s.Listeners.Suspended(); len(stopped) > 0 && len(stopped) < len(all) {
		c.Printf("Listeners suspended:   %s\n", strings.Join(stopped, ", "))
	}
	if s.Troubles != nil {
		for _, trouble := range s.Troubles() {
			c.Printf("Storage degraded:      %s\n", trouble)
		}
	}
	if s.Attention != nil {
		for _, line := range s.Attention() {
			c.Printf("Attention:             %s\n", Plain(line))
		}
	}
	c.Printf("Oldest Message:        %s\n", oldest)
	s.counters(c, detail)
	return s.gauges(ctx, c, g, detail)
}

func (s System) counters(c *Call, detail bool) {
	row := func(indent int, name string, counters ...stats.Counter) {
		var reset, up, life uint64
		for _, n := range counters {
			reset, up, life = reset+s.Stats.SinceReset(n), up+s.Stats.Uptime(n), life+s.Stats.Lifetime(n)
		}
		c.Printf("%-28s%12s%12s%12s\n", strings.Repeat(" ", indent)+name, comma(reset), comma(up), comma(life))
	}
	hard := []stats.Counter{stats.HardBouncedDNS, stats.HardBounced5XX, stats.HardBouncedFilter, stats.HardBouncedExpired, stats.HardBouncedOther}
	c.Printf("Counters:                          Reset      Uptime    Lifetime\n")
	c.Printf("  Receiving\n")
	row(4, "Messages Received", stats.MessagesReceived)
	row(4, "Recipients Received", stats.RecipientsReceived)
	if detail {
		row(4, "Gen. Bounce Recipients", stats.GenBounceRecipients)
	}
	c.Printf("  Rejection\n")
	row(4, "Rejected Recipients", stats.RejectedRecipients)
	row(4, "Dropped Messages", stats.DroppedMessages)
	c.Printf("  Queue\n")
	row(4, "Soft Bounced Events", stats.SoftBouncedEvents)
	c.Printf("  Completion\n")
	row(4, "Completed Recipients", append(hard, stats.DeliveredRecipients, stats.DeletedRecipients)...)
	if detail {
		row(6, "Hard Bounced Recipients", hard...)
		row(8, "DNS Hard Bounces", stats.HardBouncedDNS)
		row(8, "5XX Hard Bounces", stats.HardBounced5XX)
		row(8, "Filter Hard Bounces", stats.HardBouncedFilter)
		row(8, "Expired Hard Bounces", stats.HardBouncedExpired)
		row(8, "Other Hard Bounces", stats.HardBouncedOther)
		row(6, "Delivered Recipients", stats.DeliveredRecipients)
		row(6, "Deleted Recipients", stats.DeletedRecipients)
		row(4, "Global Unsub. Hits", stats.GlobalUnsubHits)
	}
	mid, icid, dcid := s.IDs()
	c.Printf("  Current IDs\n")
	c.Printf("%-29s%35s\n", "    Message ID (MID)", comma(uint64(mid)))
	c.Printf("%-29s%35s\n", "    Injection Conn. ID (ICID)", comma(uint64(icid)))
	c.Printf("%-29s%35s\n", "    Delivery Conn. ID (DCID)", comma(uint64(dcid)))
}

func (s System) gauges(ctx context.Context, c *Call, g queue.Gauges, detail bool) error {
	row := func(name string, n int64) { c.Printf("    %s%*s\n", name, max(36-len(name), 1), comma(n)) }
	c.Printf("Gauges:                          Current\n")
	c.Printf("  Connections\n")
	row("Current Inbound Conn.", int64(s.Listeners.Clients()))
	row("Current Outbound Conn.", int64(g.ConnectionsOut))
	c.Printf("  Queue\n")
	row("Active Recipients", int64(g.ActiveRecipients))
	if detail {
		row("  Unattempted Recipients", int64(g.ActiveRecipients-g.Attempted))
		row("  Attempted Recipients", int64(g.Attempted))
	}
	row("Messages In Work Queue", int64(g.WorkQueue))
	if s.Space != nil {
		used, free := s.Space()
		row("Kilobytes Used", used/1024)
		row("Kilobytes Free", free/1024)
	}
	if detail {
		row("Destinations In Memory", int64(len(s.Queue.Destinations())))
		row("Messages Set Aside", int64(g.Held))
	}
	if s.Held == nil {
		return nil
	}
	h, err := s.Held(ctx)
	if err != nil {
		return err
	}
	c.Printf("  Quarantine\n    Messages In Quarantine\n")
	row("  Policy, Virus and Outbreak", h.Messages)
	c.Printf("    Kilobytes In Quarantine\n")
	row("  Policy, Virus and Outbreak", h.Bytes/1024)
	return nil
}
