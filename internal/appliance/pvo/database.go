package pvo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"lazaret/internal/quarantine"
	"lazaret/internal/store"
)

// openStore opens the database of records: a file, or one on a server that
// several managers may share.
func (q *Quarantines) openStore(opt Options) error {
	c := q.base.Config.Committed()
	dsn, err := c.Database.Address(q.base.Dir)
	if err != nil {
		return err
	}
	o := store.Options{Contents: q.Contents, OnFatal: q.base.Fatal, OnFault: q.fault, Clock: q.base.Now, Disk: q.base.Watch("database"), Readers: opt.Readers}
	if dsn == "" {
		o.Path = q.base.Path("quarantine.db")
	} else {
		o.DSN, o.Name, o.Place = dsn, c.Serial, "the directory of manager "+c.Serial
		if q.bucket != nil {
			o.Place = q.bucket.Where()
		}
	}
	if opt.Check { // a server is asked and left as it is; all else is built on an empty file
		if dsn != "" {
			if err := store.Try(context.Background(), o); err != nil {
				return err
			}
		}
		o.DSN = ""
		if o.Path, err = q.base.Scratch("quarantine.db"); err != nil {
			return err
		}
	}
	q.Store, err = store.Open(context.Background(), o)
	return err
}

// digest is of all settings by which mail leaves a quarantine.
func digest(all []quarantine.Settings, rules quarantine.Rules) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d\n", rules.UndoRelease, rules.DeleteRest, rules.Pool)
	for _, q := range all {
		fmt.Fprintf(h, "%q %v %d %s %v\n", q.Name, q.Kind, q.Retention, q.DefaultAction, q.Exempt)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
