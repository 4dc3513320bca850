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
	c.shorthand()
	c.number("host", "sender", "all")
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
	sure, err := c.Confirm("Are you sure you want to delete "+what+"?", false)
	if err != nil {
		return err
	}
	if !sure {
		return errs.New(errs.Conflict, "Nothing was deleted: it was not confirmed")
	}
	c.Printf("Deleting messages, please wait.\n")
	messages, _, err := s.Queue.Delete(ctx, m, nil)
	c.Printf("%s messages deleted.\n", comma(messages))
	return err
}

func (s System) deliverNow(_ context.Context, c *Call) error {
	c.shorthand()
	c.number("host", "all")
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
	c.Printf("Rescheduled %s messages for immediate delivery.\n", comma(count))
	return nil
}
