package adminssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/errs"
)

// NewKey makes an ed25519 key in the file at path, which must not exist,
// readable by its owner only: an appliance's host key, or the key of a manager's
// command client. One key type is enough: every client of the last ten years
// knows it, and RSA would be one more thing to pin.
func NewKey(path string) (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "making an SSH key")
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "making an SSH key")
	}
	if err := writeNew(path, pem.EncodeToMemory(block)); err != nil {
		return nil, errs.Wrap(errs.Internal, err, "writing %s", path)
	}
	return LoadKey(path)
}

// LoadKey reads the key; a file that others may read is refused.
func LoadKey(path string) (ssh.Signer, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Wrap(errs.NotFound, err, "there is no SSH key")
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading the SSH key")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, errs.New(errs.Invalid, "%s may be read by others: set its mode to 0600", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading the SSH key")
	}
	signer, err := ssh.ParsePrivateKey(data)
	return signer, errs.Wrap(errs.Damaged, err, "%s is not an SSH private key", path)
}

// writeNew makes a file durably: file, then directory.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
