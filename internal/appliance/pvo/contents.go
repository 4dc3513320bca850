package pvo

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/blob"
	"lazaret/internal/blob/s3"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

// Contents is where content is kept: on this machine, in a bucket, or new
// content in a bucket and old on this machine.
type Contents interface {
	quarantine.Contents
	Ready(size int64) error
	Close() error
}

const (
	// sweepEvery is how often a bucket is swept: other managers die too.
	sweepEvery = 24 * time.Hour
	// openWait limits a start or a check that waits for the bucket's server.
	openWait = time.Minute
)

func (q *Quarantines) openContents(opt Options) (err error) {
	s := q.base.Config.Committed().ContentStore
	o := blob.Options{Dir: q.base.Path("content"), OnFatal: q.base.Fatal, OnFault: q.fault, Disk: q.base.Watch("content"), MemTable: opt.MemTable}
	path := q.base.Path("keys", "content.key")
	_, absent := os.Stat(path)
	_, fresh := os.Stat(o.Dir)
	if opt.Check {
		o.FS, o.Key = vfs.NewMem(), make([]byte, blob.KeySize)
	}
	if !opt.Check || s.Endpoint != "" && absent == nil { // a check makes no key
		if o.Key, err = blob.LoadKey(path); err != nil {
			return err
		}
	}
	if s.Endpoint == "" {
		q.local, err = blob.Open(o)
		q.Contents = q.local
		if err != nil {
			q.Contents = nil
		}
		return err
	}
	if q.bucket, err = q.openBucket(s, o.Key, opt.Check); err != nil {
		return err
	}
	q.Contents = q.bucket
	if opt.Check || fresh != nil {
		return nil
	}
	if q.local, err = blob.Open(o); err == nil {
		q.Contents = &blob.Both{Bucket: q.bucket, Local: q.local}
	}
	return err
}

func (q *Quarantines) openBucket(s config.ContentStore, key []byte, check bool) (*blob.Bucket, error) {
	o := blob.BucketOptions{
		S3:     s3.Options{Endpoint: s.Endpoint, Bucket: s.Bucket, Region: s.Region, PathStyle: s.PathStyle, Credentials: s3.Environment(os.Getenv)},
		Prefix: s.Prefix, Key: key, Scratch: q.base.Path(), Check: check, OnFault: q.fault,
	}
	if s.Credentials != "" {
		o.S3.Credentials = s3.File(q.file(s.Credentials))
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(q.file(s.CAFile))
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, err, "content_store: the ca_file %s cannot be read", s.CAFile)
		}
		o.S3.Roots = x509.NewCertPool()
		if !o.S3.Roots.AppendCertsFromPEM(pem) {
			return nil, errs.New(errs.Invalid, "content_store: there is no certificate in the ca_file %s", s.CAFile)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), openWait)
	defer cancel()
	return blob.OpenBucket(ctx, o)
}

// file gives the path of a file that the configuration names.
func (q *Quarantines) file(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return q.base.Path(name)
}

// checkContents refuses a bucket that is another database's, and a configuration
// that lost the bucket of messages that are held.
func (q *Quarantines) checkContents(opt Options) error {
	if q.bucket != nil {
		if opt.Check {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), openWait)
		defer cancel()
		name, err := q.Store.Identity(ctx)
		if err == nil {
			err = q.bucket.Own(ctx, name)
		}
		return err
	}
	is, err := q.Store.InBucket(context.Background())
	if err == nil && is {
		err = errs.New(errs.Invalid, "messages in quarantine have their content in a bucket, and content_store names none: put the element back")
	}
	return err
}

// sweep removes content that a crash left behind: on this machine once, in a
// bucket every day.
func (q *Quarantines) sweep(ctx context.Context) {
	if q.local != nil {
		q.wg.Go(func() {
			known, err := q.Store.Known(ctx)
			if err == nil {
				_, err = q.local.Sweep(ctx, known)
			}
			q.swept(ctx, err)
		})
	}
	if q.bucket == nil {
		return
	}
	q.wg.Go(func() {
		t := time.NewTicker(sweepEvery)
		defer t.Stop()
		for ctx.Err() == nil {
			_, err := q.bucket.Sweep(ctx, q.Store.Condemn)
			q.swept(ctx, err)
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
	})
}

func (q *Quarantines) swept(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		q.base.Log.Fault("content", "sweeping: "+err.Error())
	}
}
