package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/queue"
)

// topMany is how many hosts tophosts shows; the quarantine's own are always there.
const topMany = 20

// sorts are the orders of tophosts, each with its batch word (reference 6.4).
var sorts = []struct {
	word, name string
	key        func(queue.DestStatus) uint64
}{
	{"active_rcpts", "Active Recipients", func(d queue.DestStatus) uint64 { return uint64(d.Active) }},
	{"conn_out", "Connections Out", func(d queue.DestStatus) uint64 { return uint64(d.ConnOut) }},
	{"deliv_recip", "Delivered Recipients", func(d queue.DestStatus) uint64 { return d.Delivered }},
	{"hard_bounced", "Hard Bounced Recipients", func(d queue.DestStatus) uint64 { return d.HardBounced }},
	{"soft_bounced", "Soft Bounced Events", func(d queue.DestStatus) uint64 { return d.SoftBounced }},
}

func (s System) topHosts(_ context.Context, c *Call) error {
	order, err := pickSort(c)
	if err != nil {
		return err
	}
	all := s.Queue.Destinations()
	slices.SortStableFunc(all, func(a, b queue.DestStatus) int { return cmp.Compare(sorts[order].key(b), sorts[order].key(a)) })
	c.Printf("\nStatus as of:          %s\n", stamp(s.Clock()))
	c.Printf("Hosts marked with '*' were down as of the last delivery attempt.\n\n")
	c.Printf("                              Active   Conn.   Deliv.     Soft     Hard\n")
	c.Printf(" #  Recipient Host            Recip.     Out   Recip.  Bounced  Bounced\n")
	shown := 0
	for _, d := range all {
		if shown >= topMany && !d.Dest.Quarantine() {
			continue
		}
		shown++
		mark := " "
		if d.State == queue.Down {
			mark = "*"
		}
		c.Printf("%2d%s %-24s %7s %7s %8s %8s %8s\n", shown, mark, Clip(d.Dest.Name, 60), comma(d.Active), comma(d.ConnOut), comma(d.Delivered), comma(d.SoftBounced), comma(d.HardBounced))
	}
	return nil
}

func pickSort(c *Call) (int, error) {
	words := make([]string, len(sorts))
	names := make([]string, len(sorts))
	for i, o := range sorts {
		words[i], names[i] = o.word, o.name
	}
	if len(c.Args) > 0 {
		if i := slices.Index(words, strings.ToLower(c.Args[0])); i >= 0 {
			return i, nil
		}
	}
	if err := c.oneOf(words...); err != nil {
		return 0, err
	}
	return c.Pick("Sort results by:\n", names, 0)
}

// showHosts lists per destination what an operator wants to know first. The
// seed names the command and shows nothing of it; with a host it shows that one
// with each of its links.
func (s System) showHosts(_ context.Context, c *Call) error {
	list := s.Queue.Destinations()
	if host := strings.ToLower(c.Take()); host != "" {
		list = slices.DeleteFunc(list, func(d queue.DestStatus) bool { return d.Dest.Name != host })
		if len(list) == 0 {
			return errs.New(errs.NotFound, "The host %s does not exist in the queue", Clip(host, 60))
		}
		if lanes := s.Queue.Lanes(host); len(lanes) > 1 || len(lanes) == 1 && lanes[0].Dest.Lane != "" {
			list = append(list, lanes...)
		}
	}
	now := s.Clock()
	c.Printf("Status as of:          %s\n\n", stamp(now))
	c.Printf("Recipient Host            Status     Active  Oldest             Next Try\n")
	for _, d := range list {
		c.Printf("%-25s %-9s %7s  %-17s  %s\n", Clip(d.Dest.String(), 60), upDown(d), comma(d.Active), since(now, d.Oldest), next(now, d))
		if d.LastError != "" {
			c.Printf("    Last error: %s%s\n", Clip(d.LastError, 300), at(d.LastErrorAt))
		}
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}

func upDown(d queue.DestStatus) string {
	if d.Suspended {
		return "suspended"
	}
	return d.State.String()
}

func since(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return ago(now.Sub(t))
}

// next says when a destination is tried again.
func next(now time.Time, d queue.DestStatus) string {
	switch {
	case d.Suspended:
		return "after resumedel"
	case d.NextTry.IsZero():
		return "-"
	case d.NextTry.After(now):
		return "in " + ago(d.NextTry.Sub(now))
	}
	return "now"
}

func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " (" + stamp(t) + ")"
}

// hostStatus is reference 6.4 and 9b, of what is known here.
func (s System) hostStatus(_ context.Context, c *Call) error {
	host, err := c.Ask("Recipient host:", "")
	if err != nil {
		return err
	}
	if host = strings.ToLower(host); host == "" {
		return Usage("a host is needed")
	}
	now := s.Clock()
	for _, d := range s.Queue.Destinations() {
		if d.Dest.Name == host {
			s.printHost(c, now, d)
			return nil
		}
	}
	return errs.New(errs.NotFound, "The host %s does not exist in the queue", Clip(host, 60))
}

func (s System) printHost(c *Call, now time.Time, d queue.DestStatus) {
	row := func(name, value string) { c.Printf("%-28s%12s\n", name, value) }
	c.Printf("Host mail status for: '%s'\n", Plain(d.Dest.Name))
	c.Printf("Status as of:          %s\n", stamp(now))
	c.Printf("Host up/down:          %s\n", upDown(d))
	c.Printf("Counters:\n  Queue\n")
	row("    Soft Bounced Events", comma(d.SoftBounced))
	c.Printf("  Completion\n")
	row("    Completed Recipients", comma(d.HardBounced+d.Delivered))
	row("      Hard Bounced Recipients", comma(d.HardBounced))
	row("      Delivered Recipients", comma(d.Delivered))
	c.Printf("Gauges:\n  Queue\n")
	row("    Active Recipients", comma(d.Active))
	c.Printf("  Connections\n")
	row("    Current Outbound Conn.", comma(d.ConnOut))
	c.Printf("Oldest Message         %s\n", since(now, d.Oldest))
	last := "Never"
	if !d.LastUsed.IsZero() {
		last = stamp(d.LastUsed)
	}
	c.Printf("Last Activity          %s\n", last)
	c.Printf("Next Try               %s\n", next(now, d))
	if d.LastError != "" {
		c.Printf("Last Error:            %s%s\n", Clip(d.LastError, 300), at(d.LastErrorAt))
	}
	for _, l := range s.Queue.Lanes(d.Dest.Name) {
		if l.Dest.Lane != "" {
			c.Printf("Link %-17s %s, %s active recipients\n", Clip(l.Dest.Lane, 40), upDown(l), comma(l.Active))
		}
	}
}
