package config

import (
	"slices"

	"lazaret/internal/access"
	"lazaret/internal/auth"
)

func (k checker) senders() error {
	seen := map[string]bool{}
	for i, u := range k.c.Senders {
		const path = "smtp_auth_users/smtp_auth_user"
		if u.Password == mask {
			return k.at(path, i, "enc_password", "the passphrase is masked; a file with masked passphrases cannot be loaded")
		}
		if seen[u.Name] {
			return k.at(path, i, "username", "user %q exists already", clip(u.Name))
		}
		seen[u.Name] = true
		if err := (auth.Sender{Name: u.Name, Hash: u.Password}).Check(); err != nil {
			return k.at(path, i, "", "%s", err) // quotes no hash
		}
	}
	return nil
}

// OffersAuth reports whether a mail flow policy of an SMTP listener lets clients
// log in.
func (c *Config) OffersAuth() bool {
	for _, l := range c.Listeners {
		hat, err := access.ParseHAT(l.HAT)
		if err != nil || l.Protocol != "SMTP" {
			continue
		}
		if slices.ContainsFunc(hat.Policies(), func(p access.Policy) bool { return p.Params.Auth != access.AuthOff }) {
			return true
		}
	}
	return false
}

// AuthSenders gives the users of SMTP AUTH as auth reads them.
func (c *Config) AuthSenders() []auth.Sender {
	all := make([]auth.Sender, 0, len(c.Senders))
	for _, u := range c.Senders {
		all = append(all, auth.Sender{Name: u.Name, Hash: u.Password})
	}
	return all
}
