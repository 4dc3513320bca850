package appliance

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lazaret/internal/adminssh"
	"lazaret/internal/auth"
	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// InitOptions say what a new appliance is. Zero fields get the defaults.
type InitOptions struct {
	Hostname string // ROLE.lazaret.example
	IP       string // 127.0.0.1
	SSHPort  int    // 2222
	SMTPPort int    // 25
	CPQPort  int    // 7025
	Edit     func(*config.Config)
}

// Init makes an appliance in dir: configuration, keys, the first
// administrator, whose password is returned and kept nowhere else. A directory
// that holds one already is left alone.
func Init(dir string, role config.Role, o InitOptions) (password string, err error) {
	if _, err := os.Lstat(filepath.Join(dir, ConfigName)); err == nil {
		return "", errs.New(errs.Conflict, "%s holds an appliance already", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", errs.Wrap(errs.Internal, err, "looking at %s", dir)
	}
	o.defaults(role)
	serial, err := newSerial()
	if err != nil {
		return "", err
	}
	password = auth.NewPassword()
	hash, err := auth.HashPassword(password)
	if err != nil {
		return "", err
	}
	c := config.Defaults(config.Params{
		Role: role, Hostname: o.Hostname, Serial: serial, IP: o.IP, SSHPort: o.SSHPort, SMTPPort: o.SMTPPort, CPQPort: o.CPQPort, Password: hash,
	})
	if o.Edit != nil {
		o.Edit(c)
	}
	if err := c.Check(); err != nil {
		return "", err
	}
	if err := makeKeys(filepath.Join(dir, keysName), c, role); err != nil {
		return "", err
	}
	// The configuration comes last: where it is, everything is.
	return password, config.WriteFile(filepath.Join(dir, ConfigName), c.Text(false), 0o600)
}

func (o *InitOptions) defaults(role config.Role) {
	if o.Hostname == "" {
		o.Hostname = string(role) + ".lazaret.example"
	}
	if o.IP == "" {
		o.IP = "127.0.0.1"
	}
	for _, p := range []struct {
		v   *int
		def int
	}{{&o.SSHPort, 2222}, {&o.SMTPPort, 25}, {&o.CPQPort, 7025}} {
		if *p.v == 0 {
			*p.v = p.def
		}
	}
}

// newSerial gives 16 random letters and digits.
func newSerial() (string, error) {
	b := make([]byte, 10)
	if _, err := rand.Read(b); err != nil {
		return "", errs.Wrap(errs.Internal, err, "making a serial number")
	}
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b), nil
}

// makeKeys makes all keys of an appliance anew. What a broken init left is removed.
func makeKeys(dir string, c *config.Config, role config.Role) error {
	if err := os.RemoveAll(dir); err != nil {
		return errs.Wrap(errs.Internal, err, "removing unfinished keys")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.Wrap(errs.Internal, err, "making %s", dir)
	}
	now := time.Now()
	crt, key, err := certs.NewCPQ(c.Serial, now)
	if err == nil {
		err = certs.Save(filepath.Join(dir, "cpq.crt"), filepath.Join(dir, "cpq.key"), crt, key)
	}
	if err != nil {
		return err
	}
	crt, key, err = certs.NewHost(c.Hostname, now)
	if err == nil {
		err = certs.Save(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), crt, key)
	}
	if err != nil {
		return err
	}
	if _, err := adminssh.NewKey(filepath.Join(dir, "ssh_host_ed25519")); err != nil {
		return err
	}
	if role == config.Manager {
		_, err = adminssh.NewKey(filepath.Join(dir, ClientKey))
	}
	return err
}

// ClientKey is the file of the key that a manager's command client logs in with.
const ClientKey = "command_client_ed25519"
