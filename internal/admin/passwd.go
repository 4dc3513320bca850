package admin

import (
	"context"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// minPassword is the least a new password has.
const minPassword = 8

// passwd changes a password: one's own, or another's for who may keep users.
// It is in force at once: a password that waits for a commit is one that
// nobody knows whether it is true. Who sits at the local socket is a user of
// the machine, not one of ours, and names whose password it is.
func (f Configuration) passwd(_ context.Context, c *Call) error {
	name := c.Take()
	own := name == "" || name == c.Principal.Name
	if name == "" {
		name = c.Principal.Name
	}
	if !own && !auth.Can(c.Principal.Role, auth.UserConfig) {
		return errs.New(errs.Denied, "Only the users themselves and administrators change a password")
	}
	user := f.Store.Committed().User(name)
	if user == nil {
		return errs.New(errs.NotFound, "The user %q does not exist", name)
	}
	if own {
		if err := f.checkOld(c, user); err != nil {
			return err
		}
	}
	hash, err := askNew(c)
	if err != nil {
		return err
	}
	err = f.Store.Update(c.Principal, "change the password of "+name, func(next *config.Config) error {
		if u := next.User(name); u != nil { // gone in what is pending: nothing to change there
			u.Password = hash
		}
		return nil
	})
	if err == nil {
		c.Printf("The password of %s is changed.\n", Plain(name))
	}
	return err
}

// checkOld keeps a stranger at an unattended terminal from taking the account.
func (f Configuration) checkOld(c *Call, user *config.User) error {
	old, err := c.Password("Old password: ")
	if err != nil {
		return err
	}
	users, err := auth.NewUsers([]auth.User{user.Auth()}, auth.Options{Clock: f.Clock})
	if err != nil {
		return err
	}
	_, err = users.Password(user.Name, old, c.Principal.From, c.Principal.Via)
	if err != nil {
		return errs.New(errs.Denied, "The old password is not right")
	}
	return nil
}

func askNew(c *Call) (hash string, err error) {
	first, err := c.Password("New password: ")
	if err != nil {
		return "", err
	}
	if len(first) < minPassword {
		return "", errs.New(errs.Invalid, "A password has %d characters or more", minPassword)
	}
	again, err := c.Password("New password again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errs.New(errs.Invalid, "The two passwords differ; nothing is changed")
	}
	return auth.HashPassword(first)
}
