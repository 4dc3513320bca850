package admin

import (
	"context"
	"strconv"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/queue"
)

func (s System) changeCommands() []Command {
	return []Command{
		{Name: "deleterecipients", Summary: "Delete messages from the queue", Usage: "deleterecipients [host] HOST Y\ndeleterecipients sender ADDRESS Y\ndeleterecipients all Y", Right: auth.QueueChange, MaxArgs: 3, Changes: true, Run: s.deleteRecipients},
		{Name: "bouncerecipients", Summary: "Return messages in the queue to their senders", Usage: "bouncerecipients [host] HOST Y\nbouncerecipients sender ADDRESS Y\nbouncerecipients all Y", Right: auth.QueueChange, MaxArgs: 3, Changes: true, Run: s.bounceRecipients},
		{Name: "delivernow", Summary: "Try waiting messages now", Usage: "delivernow [host] HOST\ndelivernow all", Right: auth.QueueChange, MaxArgs: 2, Changes: true, Run: s.deliverNow},
	}
}

// number puts the number of a menu's line in place of the word that stands for
// it in the one-line form. The audit keeps the word: the line is not changed.
func (c *Call) number(words ...string) {
	if len(c.Args) == 0 {
		return
	}
	for i, w := range words {
		if strings.EqualFold(c.Args[0], w) {
			c.Args = append([]string{strconv.Itoa(i + 1)}, c.Args[1:]...)
			return
		}
	}
}

// oneOf refuses a word of a line that is none of those, and no number either:
// the labels of a menu are not what is typed.
func (c *Call) oneOf(words ...string) error {
	if !c.Batch || len(c.Args) == 0 {
		return nil
	}
	if n, err := strconv.Atoi(c.Args[0]); err == nil && n >= 1 && n <= len(words) {
		return nil
	}
	return Usage("%q is not one of: %s", Clip(c.Args[0], 60), strings.Join(words, ", "))
}

// shorthand lets a script name a host or a sender without saying which it is:
// delivernow the.cpq.host.
func (c *Call) shorthand() {
	if len(c.Args) == 0 || !strings.Contains(c.Args[0], ".") {
		return
	}
	word := "host"
	if strings.Contains(c.Args[0], "@") {
		word = "sender"
	}
	c.Args = append([]string{word}, c.Args...)
}

// pickMatch asks for the three ways to choose messages, reference 6.5.
func pickMatch(c *Call, how string) (queue.Match, string, error) {
	if err := c.needs("host, sender or all is needed"); err != nil {
		return queue.Match{}, "", err
	}
	c.shorthand()
	c.number("host", "sender", "all")
	if err := c.oneOf("host", "sender", "all"); err != nil {
		return queue.Match{}, "", err
	}
	n, err := c.Pick("Please select how you would like to "+how+":\n", []string{"By recipient host.", "By Envelope From address.", "All."}, 0)
	if err != nil || n == 2 {
		return queue.Match{All: err == nil}, "all messages", err
	}
	if n == 1 {
		from, err := c.Ask("Please enter the Envelope From address for the messages.", "")
		if err != nil {
			return queue.Match{}, "", err
		}
		a, err := mail.ParseAddress(strings.Trim(from, "<>"))
		if err != nil || a.IsNull() {
			return queue.Match{}, "", Usage("%q is not an address", from)
		}
		return queue.Match{Sender: a.String()}, "all messages from \"" + a.String() + "\"", nil
	}
	host, err := c.Ask("Please enter the hostname for the messages.", "")
	if err == nil && host == "" {
		err = Usage("a host is needed")
	}
	host = strings.ToLower(host)
	return queue.Match{Host: host}, "all messages being delivered to \"" + Plain(host) + "\"", err
}

func (s System) showRecipients(ctx context.Context, c *Call) error {
	m, _, err := pickMatch(c, "show messages")
	if err != nil {
		return err
	}
	c.Printf("MID/      Bytes/   Sender/               Subject\n")
	c.Printf("[RID]     [Atmps]  Recipient\n\n")
	return s.Queue.Find(ctx, m, func(it *queue.Item) error {
		c.Printf("%-9s %-8d %-21s %s\n", it.MID, it.Size, Plain(it.From.Path()), Clip(message.DecodeHeader(it.Subject), 200))
		for _, r := range it.Recipients {
			if r.State.Final() || m.Host != "" && r.Dest.Name != m.Host {
				continue
			}
			c.Printf("[%d]       [%d]      %s\n", int(r.RID), r.Attempts, Plain(r.Address.String()))
		}
		return c.Err()
	})
}

func (s System) deleteRecipients(ctx context.Context, c *Call) error {
	m, what, err := pickMatch(c, "delete messages")
	if err != nil {
		return err
	}
	warning := s.released(m)
	sure, err := c.Confirm(warning+"Are you sure you want to delete "+what+"?", false)
	if err != nil {
		return err
	}
	if !sure {
		if c.Batch {
			c.Printf("%s", warning)
		}
		return errs.New(errs.Conflict, "Nothing was deleted: it was not confirmed")
	}
	c.Printf("Deleting messages, please wait.\n")
	messages, _, err := s.Queue.Delete(ctx, m, nil)
	c.Printf("%s deleted.\n", messageCount(messages))
	return err
}

func (s System) bounceRecipients(ctx context.Context, c *Call) error {
	m, what, err := pickMatch(c, "bounce messages")
	if err != nil {
		return err
	}
	sure, err := c.Confirm("Are you sure you want to bounce "+what+"?", false)
	if err != nil {
		return err
	}
	if !sure {
		return errs.New(errs.Conflict, "Nothing was bounced: it was not confirmed")
	}
	c.Printf("Bouncing messages, please wait.\n")
	messages, recipients, busy, err := s.Queue.Bounce(ctx, m)
	c.Printf("%s bounced, %s recipients.\n", messageCount(messages), comma(recipients))
	if busy > 0 {
		c.Printf("%s left alone: in the work queue and being judged at this moment. Repeat the command for them.\n", messageCount(busy))
	}
	return err
}

// released warns of what is lost when a manager's queue is emptied: what stands
// there has left the quarantine already.
func (s System) released(m queue.Match) string {
	const lost = "released messages that have not reached their gateway; deleting them means that they are never delivered.\n"
	if m.Host == queue.CPQReleaseHost {
		return "These are " + lost
	}
	for _, d := range s.Queue.Destinations() {
		if m.Host == "" && d.Dest.Name == queue.CPQReleaseHost && d.Active > 0 {
			return "Among these may be " + lost
		}
	}
	return ""
}

// messageCount writes how many messages there are.
func messageCount(n int) string {
	if n == 1 {
		return "1 message"
	}
	return comma(n) + " messages"
}

func (s System) deliverNow(_ context.Context, c *Call) error {
	if err := c.needs("a host, or all, is needed"); err != nil {
		return err
	}
	c.shorthand()
	c.number("host", "all")
	if err := c.oneOf("host", "all"); err != nil {
		return err
	}
	n, err := c.Pick("Please choose an option for scheduling immediate delivery:\n", []string{"By recipient host.", "All messages."}, 0)
	if err != nil {
		return err
	}
	host := queue.AllHosts
	if n == 0 {
		if host, err = c.Ask("Please enter the recipient host:", ""); err != nil {
			return err
		}
		if host = strings.ToLower(host); host == "" {
			return Usage("a host is needed")
		}
	}
	count := s.Queue.DeliverNow(host)
	c.Printf("Rescheduled %s for immediate delivery.\n", messageCount(count))
	return nil
}
