package manager

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

// contents is where content is kept: on this machine, in a bucket, or new
// content in a bucket and old on this machine.
type contents interface {
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

func (m *Manager) openContents(opt Options) (err error) {
	s := m.Config.Committed().ContentStore
	o := blob.Options{Dir: m.Path("content"), OnFatal: m.Fatal, OnFault: m.fault, Disk: m.Watch("content"), MemTable: opt.Memory.Buffer()}
	path := m.Path("keys", "content.key")
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
		m.local, err = blob.Open(o)
		m.contents = m.local
		if err != nil {
			m.contents = nil
		}
		return err
	}
	if m.bucket, err = m.openBucket(s, o.Key, opt.Check); err != nil {
		return err
	}
	m.contents = m.bucket
	if opt.Check || fresh != nil {
		return nil
	}
	if m.local, err = blob.Open(o); err == nil {
		m.contents = &blob.Both{Bucket: m.bucket, Local: m.local}
	}
	return err
}

func (m *Manager) openBucket(s config.ContentStore, key []byte, check bool) (*blob.Bucket, error) {
	o := blob.BucketOptions{
		S3:     s3.Options{Endpoint: s.Endpoint, Bucket: s.Bucket, Region: s.Region, PathStyle: s.PathStyle, Credentials: s3.Environment(os.Getenv)},
		Prefix: s.Prefix, Key: key, Scratch: m.Path(), Check: check, OnFault: m.fault,
	}
	if s.Credentials != "" {
		o.S3.Credentials = s3.File(m.file(s.Credentials))
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(m.file(s.CAFile))
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
func (m *Manager) file(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return m.Path(name)
}

// checkContents refuses a bucket that is another database's, and a configuration
// that lost the bucket of messages that are held.
func (m *Manager) checkContents(opt Options) error {
	if m.bucket != nil {
		if opt.Check {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), openWait)
		defer cancel()
		name, err := m.store.Identity(ctx)
		if err == nil {
			err = m.bucket.Own(ctx, name)
		}
		return err
	}
	is, err := m.store.InBucket(context.Background())
	if err == nil && is {
		err = errs.New(errs.Invalid, "messages in quarantine have their content in a bucket, and content_store names none: put the element back")
	}
	return err
}

// sweep removes content that a crash left behind: on this machine once, in a
// bucket every day.
func (m *Manager) sweep(ctx context.Context) {
	if m.local != nil {
		m.wg.Go(func() {
			known, err := m.store.Known(ctx)
			if err == nil {
				_, err = m.local.Sweep(ctx, known)
			}
			m.swept(ctx, err)
		})
	}
	if m.bucket == nil {
		return
	}
	m.wg.Go(func() {
		t := time.NewTicker(sweepEvery)
		defer t.Stop()
		for ctx.Err() == nil {
			_, err := m.bucket.Sweep(ctx, m.store.Condemn)
			m.swept(ctx, err)
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
	})
}

func (m *Manager) swept(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		m.Log.Fault("content", "sweeping: "+err.Error())
	}
}
