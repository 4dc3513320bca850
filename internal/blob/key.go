package blob

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"lazaret/internal/errs"
)

// LoadKey reads the content key from a file and makes the file, mode 0600, when
// it is not there. Without this file all content is lost: it belongs into the
// backup, apart from the content.
func LoadKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading the content key")
	}
	if len(key) != KeySize {
		return nil, errs.New(errs.Damaged, "the content key %s has %d bytes, not %d", path, len(key), KeySize)
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading the content key")
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, errs.New(errs.Denied, "the content key %s may be read by others: set its mode to 0600", path)
	}
	return key, nil
}

// makeKey writes a new key; the name appears only when the bytes are on stable storage.
func makeKey(path string) (key []byte, err error) {
	defer func() { err = errs.Wrap(errs.Internal, err, "making the content key %s", path) }()
	key = make([]byte, KeySize)
	rand.Read(key)
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".content-key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // the second name, or what an error left
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	// Link, unlike rename, never replaces a key that somebody else made now.
	if err := os.Link(f.Name(), path); err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return key, errors.Join(d.Sync(), d.Close())
}
