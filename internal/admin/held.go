package admin

import (
	"context"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// HeldMessage is one that the queue has set aside so that the others flow
// (promise P5): held, because judging it failed again and again, or corrupt,
// because its record or content failed its check.
type HeldMessage struct {
	MID   mail.MID
	State string // held, corrupt
	Since time.Time
	Cause string
}

// Held is what the command about such messages works on.
type Held interface {
	List(ctx context.Context) ([]HeldMessage, error)
	Retry(ctx context.Context, mid mail.MID) error  // a held one goes back into the work queue
	Remove(ctx context.Context, mid mail.MID) error // a corrupt one goes for good
}

// HeldCommands gives heldmessages.
func HeldCommands(h Held) []Command {
	return []Command{{Name: "heldmessages", Summary: "List, retry and remove messages that were set aside",
		Usage: "heldmessages\nheldmessages retry MID\nheldmessages remove MID Y", Right: auth.QueueChange, MaxArgs: 3, Changes: true,
		Run: func(ctx context.Context, c *Call) error { return heldMessages(ctx, c, h) }}}
}

func heldMessages(ctx context.Context, c *Call, h Held) error {
	for {
		if len(c.Args) == 0 {
			if err := listHeld(ctx, c, h); err != nil {
				return err
			}
		}
		word, err := c.Menu(Choice{"RETRY", "Judge a held message once more."}, Choice{"REMOVE", "Remove a corrupt message for good."})
		if err != nil || word == "" {
			return err
		}
		if err := changeHeld(ctx, c, h, word); err != nil || c.Batch {
			return err
		}
	}
}

func listHeld(ctx context.Context, c *Call, h Held) error {
	all, err := h.List(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		c.Printf("No messages are set aside.\n")
		return nil
	}
	c.Printf("%-10s %-8s %-28s %s\n", "MID", "State", "Since", "Cause")
	for _, m := range all {
		since := "-"
		if !m.Since.IsZero() {
			since = stamp(m.Since)
		}
		c.Printf("%-10s %-8s %-28s %s\n", m.MID, m.State, since, oneLine(m.Cause, 200))
	}
	return nil
}

func changeHeld(ctx context.Context, c *Call, h Held, word string) error {
	answer, err := c.Ask("Enter the MID of the message.", "")
	if err != nil {
		return err
	}
	mid, err := mail.ParseMID(answer)
	if err != nil {
		return Usage("%q is not a message ID", answer)
	}
	if word == "retry" {
		if err := h.Retry(ctx, mid); err != nil {
			return err
		}
		c.Printf("Message %s is back in the work queue.\n", mid)
		return nil
	}
	sure, err := c.Confirm("Are you sure you want to remove it for good?", false)
	if err != nil {
		return err
	}
	if !sure {
		return errs.New(errs.Conflict, "Nothing was removed: it was not confirmed")
	}
	if err := h.Remove(ctx, mid); err != nil {
		return err
	}
	c.Printf("Message %s was removed.\n", mid)
	return nil
}
