package config

import (
	"os"
	"path/filepath"
	"strings"

	"lazaret/internal/errs"
)

// Database is where a manager keeps the records of its quarantines. The zero
// value is a file in its own directory.
type Database struct {
	DSN  string `xml:"dsn" secret:"1"` // it may have a password
	File string `xml:"dsn_file"`
}

// maxDSN limits the address of a database.
const maxDSN = 4096

func (k checker) database() error {
	d := k.c.Database
	switch {
	case d == Database{}:
		return nil
	case k.c.Role != string(Manager):
		return k.at("database", 0, "", "the database of quarantines is a setting of a manager")
	case d.DSN != "" && d.File != "":
		return k.at("database", 0, "dsn_file", "the address of the database is in dsn or in a file, not in both")
	case d.DSN == mask:
		return k.at("database", 0, "dsn", "the address is masked; a file with masked secrets cannot be loaded")
	case len(d.DSN) > maxDSN || strings.ContainsAny(d.DSN, "\r\n"):
		return k.at("database", 0, "dsn", "the address of the database is one line of at most %d bytes", maxDSN)
	}
	return nil
}

// Address gives the address of the database server, or nothing: then it is a
// file. dir is the appliance's directory.
func (d Database) Address(dir string) (string, error) {
	if d.File == "" {
		return d.DSN, nil
	}
	path := d.File
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", errs.Wrap(errs.Invalid, err, "config/database/dsn_file")
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", errs.New(errs.Invalid, "config/database/dsn_file: %s can be read by others: it may have a password, so set its mode to 600", path)
	}
	if st.Size() > maxDSN {
		return "", errs.New(errs.Invalid, "config/database/dsn_file: %s is longer than %d bytes", path, maxDSN)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", errs.Wrap(errs.Invalid, err, "config/database/dsn_file")
	}
	dsn := strings.TrimSpace(string(b))
	if dsn == "" || strings.ContainsAny(dsn, "\r\n\x00") {
		return "", errs.New(errs.Invalid, "config/database/dsn_file: %s does not have one line with the address of a database", path)
	}
	return dsn, nil
}
