package admin

import (
	"context"
	"fmt"
	"slices"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

const smtpAuthUsage = "smtpauthconfig\nsmtpauthconfig new USER      (the password is read from the input, twice)\nsmtpauthconfig passwd USER\nsmtpauthconfig delete USER"

// smtpAuth keeps the users who may send mail after SMTP AUTH. They are not
// administrators: such a name opens no command line and no page.
func (f Configuration) smtpAuth(_ context.Context, c *Call) error {
	for {
		conf, _ := f.Store.Pending()
		if len(c.Args) == 0 {
			showSenders(c, conf)
		}
		word, err := c.Menu(Choice{"NEW", "Create a user."}, Choice{"PASSWD", "Change a user's password."}, Choice{"DELETE", "Remove a user."})
		if err != nil || word == "" {
			return err
		}
		switch word {
		case "new":
			err = f.newSender(c, conf)
		case "passwd":
			err = f.senderPassword(c, conf)
		case "delete":
			err = f.deleteSender(c, conf)
		}
		if err == nil {
			c.Printf("Commit to put this in force.\n")
		}
		if err != nil && !c.Batch && isUsage(err) {
			c.Printf("%s\n", Plain(sentence(err))) // said, and the menu comes again
			continue
		}
		if err != nil || c.Batch {
			return err
		}
	}
}

func showSenders(c *Call, conf *config.Config) {
	if len(conf.Senders) == 0 {
		c.Printf("There are no SMTP AUTH users.\n")
	}
	for i, u := range conf.Senders {
		c.Printf("%d. %s\n", i+1, Plain(u.Name))
	}
	if !conf.OffersAuth() {
		c.Printf("No mail flow policy offers SMTP AUTH: smtp_auth = preferred or required in a HAT does (docs/hat.md).\n")
	}
}

func (f Configuration) newSender(c *Call, conf *config.Config) error {
	name, err := c.Ask("Enter the name of the new user, such as ann or ann@example.com.", "")
	if err != nil {
		return err
	}
	if conf.Sender(name) != nil {
		return Usage("The user %q exists already", name)
	}
	// A hash of something shows what is wrong with the name before a password is asked for.
	if err := (auth.Sender{Name: name, Hash: probeHash}).Check(); err != nil {
		return Usage("%s", errs.Public(err))
	}
	hash, err := askNew(c)
	if err != nil {
		return err
	}
	return f.Store.Change(c.Principal, "new SMTP AUTH user "+name, func(next *config.Config) error {
		next.Senders = append(next.Senders, config.Sender{Name: name, Password: hash})
		return nil
	})
}

// probeHash is of the form of a hash and of no password.
const probeHash = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"

// pickSender asks which user is meant.
func pickSender(c *Call, conf *config.Config, question string) (string, error) {
	if len(conf.Senders) == 0 {
		return "", Usage("There are no SMTP AUTH users")
	}
	names := make([]string, len(conf.Senders))
	for i, u := range conf.Senders {
		names[i] = u.Name
	}
	i, err := c.Pick(question, names, 0)
	if err != nil {
		return "", err
	}
	return names[i], nil
}

func (f Configuration) senderPassword(c *Call, conf *config.Config) error {
	name, err := pickSender(c, conf, "Choose the user whose password changes.")
	if err != nil {
		return err
	}
	hash, err := askNew(c)
	if err != nil {
		return err
	}
	return f.Store.Change(c.Principal, fmt.Sprintf("change the password of SMTP AUTH user %s", name), func(next *config.Config) error {
		if u := next.Sender(name); u != nil {
			u.Password = hash
		}
		return nil
	})
}

func (f Configuration) deleteSender(c *Call, conf *config.Config) error {
	name, err := pickSender(c, conf, "Choose the user to remove.")
	if err != nil {
		return err
	}
	return f.Store.Change(c.Principal, "delete SMTP AUTH user "+name, func(next *config.Config) error {
		next.Senders = slices.DeleteFunc(next.Senders, func(u config.Sender) bool { return u.Name == name })
		return nil
	})
}
