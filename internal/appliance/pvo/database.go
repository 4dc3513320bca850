package pvo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"lazaret/internal/appliance"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
	"lazaret/internal/store"
)

// Files of the appliance that say where its records are. Content that no record
// names is swept at the start: records that are looked for in the wrong place
// would take all content along.
const (
	fileName   = "quarantine.db"
	movedName  = "quarantine.db.moved"     // what the file was, behind a move to a server
	serverMark = "quarantine.db.on-server" // which server has the records
)

// openStore opens the database of records: a file, or one on a server that
// several managers may share.
func (q *Quarantines) openStore(opt Options) error {
	o, err := q.storeOptions(opt)
	if err != nil {
		return err
	}
	if err := q.inPlace(o); err != nil {
		return err
	}
	if opt.Check { // a server is asked and left as it is; all else is built on an empty file
		if o.DSN != "" {
			if err := store.Try(context.Background(), o); err != nil {
				return err
			}
		}
		o.DSN = ""
		if o.Path, err = q.base.Scratch(fileName); err != nil {
			return err
		}
	}
	if q.Store, err = store.Open(context.Background(), o); err == nil && o.DSN != "" {
		err = q.mark()
	}
	return err
}

func (q *Quarantines) storeOptions(opt Options) (store.Options, error) {
	c := q.base.Config.Committed()
	dsn, err := c.Database.Address(q.base.Dir)
	o := store.Options{Contents: q.Contents, OnFatal: q.base.Fatal, OnFault: q.fault, Clock: q.base.Now, Disk: q.base.Watch("database"), Readers: opt.Readers}
	if dsn == "" {
		o.Path = q.base.Path(fileName)
		return o, err
	}
	o.DSN, o.Name, o.Place = dsn, c.Serial, "the directory of manager "+c.Serial
	if q.bucket != nil {
		o.Place = q.bucket.Where()
	}
	return o, err
}

// inPlace refuses to look for records in another place than they were.
func (q *Quarantines) inPlace(o store.Options) error {
	name, text := serverMark, "the records of this manager are on a server (%s), and the configuration names none: put the element database back, or remove the file %s when they are given up"
	if o.DSN != "" {
		name, text = fileName, "the records of this manager are in a file (%s): lazaret movedatabase carries them to the server that the configuration names; remove the file %s when they are given up"
	}
	path := q.base.Path(name)
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return errs.Wrap(errs.Internal, err, "looking for %s", path)
	}
	return errs.New(errs.Conflict, text, path, name)
}

// mark notes that the records are on a server.
func (q *Quarantines) mark() error {
	f, err := os.OpenFile(q.base.Path(serverMark), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	return errs.Wrap(errs.Internal, err, "noting where the records are")
}

// Move carries the records of an appliance that does not run from its file to
// the server that its configuration names, and puts the file aside. An error
// before that leaves the file as it was and the server empty.
func Move(ctx context.Context, base *appliance.Appliance, opt Options, tell store.Progress) (messages int64, err error) {
	q := &Quarantines{base: base}
	defer func() { err = errors.Join(err, q.Close()) }()
	if err := q.openContents(opt); err != nil {
		return 0, err
	}
	o, err := q.storeOptions(opt)
	if err != nil {
		return 0, err
	}
	path := base.Path(fileName)
	if o.DSN == "" {
		return 0, errs.New(errs.Invalid, "the configuration names no server: set the element database first")
	}
	if _, err := os.Stat(path); err != nil {
		return 0, errs.Wrap(errs.NotFound, err, "there is no file %s to be moved", path)
	}
	if messages, _, err = store.Move(ctx, path, o, tell); err != nil {
		return 0, err
	}
	if err := q.mark(); err != nil {
		return 0, err
	}
	return messages, errs.Wrap(errs.Internal, os.Rename(path, base.Path(movedName)), "putting %s aside", path)
}

// digest is of all settings by which mail leaves a quarantine.
func digest(all []quarantine.Settings, rules quarantine.Rules) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d\n", rules.UndoRelease, rules.DeleteRest, rules.Pool)
	for _, q := range all {
		fmt.Fprintf(h, "%q %v %d %s %v %v\n", q.Name, q.Kind, q.Retention, q.DefaultAction, q.Exempt, q.ReleaseClean)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
