package admin

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// UndeliveredMessage is one that failed for good and of which nobody was told.
type UndeliveredMessage struct {
	MID       mail.MID
	Since     time.Time
	From      mail.Address
	To        []UndeliveredRecipient
	Subject   string
	Why       string // nobody was told
	Undecided bool   // and that may change
}

// UndeliveredRecipient is one of those that it was for.
type UndeliveredRecipient struct {
	Address mail.Address
	Code    int
	Reply   string
}

// Undelivered is what the command about such messages works on.
type Undelivered interface {
	List(ctx context.Context) ([]UndeliveredMessage, error)
	Show(ctx context.Context, mid mail.MID) (UndeliveredMessage, io.ReadCloser, error)
	Deliver(ctx context.Context, mid mail.MID) (mail.MID, error) // into the queue again, to those who did not get it
	Remove(ctx context.Context, mid mail.MID) error
}

// UndeliveredCommands gives undelivered.
func UndeliveredCommands(u Undelivered) []Command {
	return []Command{{Name: "undelivered", Summary: "Mail that failed and of which nobody could be told",
		Usage: "undelivered\nundelivered list\nundelivered show MID\nundelivered deliver MID\nundelivered delete MID Y\nundelivered delete all Y",
		Right: auth.QueueChange, MaxArgs: 3, Changes: true,
		Run: func(ctx context.Context, c *Call) error { return undelivered(ctx, c, u) }}}
}

func undelivered(ctx context.Context, c *Call, u Undelivered) error {
	for {
		if len(c.Args) == 0 {
			if err := listUndelivered(ctx, c, u); err != nil || c.Batch {
				return err
			}
		}
		word, err := c.Menu(Choice{"LIST", "List what is kept."}, Choice{"SHOW", "Show a message and why it failed."},
			Choice{"DELIVER", "Try to deliver a message again."}, Choice{"DELETE", "Remove a message for good."})
		if err != nil || word == "" {
			return err
		}
		switch word {
		case "list":
			err = listUndelivered(ctx, c, u)
		case "delete":
			err = deleteUndelivered(ctx, c, u)
		default:
			err = oneUndelivered(ctx, c, u, word)
		}
		if err != nil || c.Batch {
			return err
		}
	}
}

func listUndelivered(ctx context.Context, c *Call, u Undelivered) error {
	all, err := u.List(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		c.Printf("There is no undelivered mail.\n")
		return nil
	}
	c.Printf("%-9s %-25s %-28s %s\n", "MID", "Since", "Sender", "Recipients, and why nobody was told")
	for _, m := range all {
		var to []string
		for _, r := range m.To {
			to = append(to, r.Address.String())
		}
		c.Printf("%-9s %-25s %-28s %s\n", m.MID, stamp(m.Since), Clip(m.From.Path(), 60), Clip(strings.Join(to, ", "), 200))
		c.Printf("%-64s %s\n", "", oneLine(m.Why, 200))
		if c.Err() != nil {
			return c.Err()
		}
	}
	return nil
}

func askMID(c *Call) (mail.MID, error) {
	answer, err := c.Ask("Enter the MID of the message.", "")
	if err != nil {
		return 0, err
	}
	mid, err := mail.ParseMID(answer)
	if err != nil {
		return 0, Usage("%q is not a message ID", Clip(answer, 40))
	}
	return mid, nil
}

func oneUndelivered(ctx context.Context, c *Call, u Undelivered, word string) error {
	mid, err := askMID(c)
	if err != nil {
		return err
	}
	if word == "deliver" {
		again, err := u.Deliver(ctx, mid)
		if err == nil {
			c.Printf("Message %s is in the queue again as message %s.\n", mid, again)
		}
		return err
	}
	m, content, err := u.Show(ctx, mid)
	if err != nil {
		return err
	}
	c.Printf("MID: %s\nSince: %s\nFrom: %s\nSubject: %s\n", m.MID, stamp(m.Since), Plain(m.From.Path()), Clip(message.DecodeHeader(m.Subject), 300))
	for _, r := range m.To {
		c.Printf("To: %s\n  %s\n", Plain(r.Address.Path()), oneLine(r.Reply, 500))
	}
	c.Printf("Nobody was told, since %s.\n\n", oneLine(m.Why, 300))
	_, err = io.Copy(c, io.LimitReader(content, 64<<10))
	return errors.Join(err, content.Close())
}

func deleteUndelivered(ctx context.Context, c *Call, u Undelivered) error {
	var mids []mail.MID
	all := len(c.Args) > 0 && strings.EqualFold(c.Args[0], "all")
	if all {
		c.Take()
		list, err := u.List(ctx)
		if err != nil {
			return err
		}
		for _, m := range list {
			mids = append(mids, m.MID)
		}
	} else {
		mid, err := askMID(c)
		if err != nil {
			return err
		}
		mids = append(mids, mid)
	}
	sure, err := c.Confirm("Are you sure you want to remove "+messageCount(len(mids))+" for good?", false)
	if err != nil {
		return err
	}
	if !sure {
		return errs.New(errs.Conflict, "Nothing was removed: it was not confirmed")
	}
	for _, mid := range mids {
		if err := u.Remove(ctx, mid); err != nil {
			return err
		}
	}
	c.Printf("%s removed.\n", messageCount(len(mids)))
	return nil
}
