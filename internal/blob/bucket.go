package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"lazaret/internal/blob/s3"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

// # Form in a bucket
//
// Below the prefix, one object a content and one that marks the key:
//
//	content/ID    version; for each chunk four bytes of length and the sealed
//	              chunk; four zero bytes; sealed header
//	key/CHECK     nothing; CHECK tells one master key from another
//	owner/NAME    nothing; NAME is that of the database with the records
//	trial/ID      for a moment at a start or check
//
// Chunks are sealed as in the local store. The header comes last since its hash
// is not known before; a reader gives the last chunk only when the header fits.
//
// # Several managers on one bucket
//
// An object's number is random and never used twice, so no two writers ever
// meet, and a server needs no conditional requests. Which content is kept under
// which number, and by how many messages, is said by one row in SQL, whose key
// is the hash. From that all follows:
//
//   - Put comes before the row, so a row never names what is not there. Two that
//     put the same content at once put two objects; the second to get to the row
//     finds it, uses the object named there, and deletes its own, which no row
//     ever named.
//   - The last message's end removes the row in one transaction, then the object.
//     Who adds the same content meanwhile waits for the row's lock, and then
//     either finds the row with a count of one more, and it is not removed, or
//     finds no row, and makes one that names its own object. The object that is
//     deleted is named by nobody then, and nobody can come to name it.
//   - A sweep deletes an object only after the database noted, in the same table
//     and under the same unique index as the rows, that the number is condemned:
//     who would still write a row with it, say after a night in a suspended
//     machine, is refused, and its mail waits at the gateway.

// BucketOptions of a content store in a bucket.
type BucketOptions struct {
	S3      s3.Options
	Prefix  string        // of all names; empty or with a slash at its end
	Key     []byte        // KeySize bytes; the same for all managers of the bucket
	Scratch string        // directory for large content on its way; it never has a name there
	Check   bool          // only look whether it would work
	OnFault func(error)   // something to be logged
	Rest    time.Duration // how old an object must be to be swept; 0: 24 h
}

const (
	defaultRest = 24 * time.Hour
	sickFor     = 5 * time.Second // after a failure nothing is begun for so long
	maxDeletes  = 100_000         // that wait; what is beyond is left to the sweep
	deleteRetry = time.Minute
	lastDeletes = 10 * time.Second // that Close gives to those that wait
)

// Bucket is a content store in an S3-compatible server. Safe for concurrent use.
type Bucket struct {
	opt BucketOptions
	codec
	s3 *s3.Client

	mu     sync.Mutex
	proven bool   // key and owner fit the bucket
	owner  string // the database with the records; empty until Own
	sick   error  // the last failure
	since  time.Time

	deletes deletes
	checks  sync.Mutex
}

// OpenBucket opens the store. What stands until somebody changes something, such
// as a missing bucket, is an error; a server that is away is not: it is tried
// again with the first content.
func OpenBucket(ctx context.Context, opt BucketOptions) (*Bucket, error) {
	if len(opt.Key) != KeySize {
		return nil, errs.New(errs.Internal, "the content key has %d bytes, not %d", KeySize, len(opt.Key))
	}
	if opt.Rest == 0 {
		opt.Rest = defaultRest
	}
	if opt.OnFault == nil {
		opt.OnFault = func(error) {}
	}
	c, err := s3.New(opt.S3)
	if err != nil {
		return nil, err
	}
	b := &Bucket{opt: opt, s3: c}
	if err := b.codec.init(opt.Key); err != nil {
		return nil, err
	}
	b.deletes.start(b)
	if _, err = opt.S3.Credentials(); err == nil {
		err = b.prove(ctx)
	}
	switch {
	case err == nil:
	case opt.Check, s3.Settled(err), !errs.Is(err, errs.Temporary):
		return nil, errors.Join(errs.Wrap(errs.Invalid, err, "content_store: %s", errs.Public(err)), b.Close())
	default:
		b.opt.OnFault(errs.Context(err, "the content store cannot be reached yet"))
	}
	return b, nil
}

// Close ends the store, after what waits to be deleted, if that is quick.
func (b *Bucket) Close() error {
	b.deletes.end()
	b.codec.close()
	b.s3.Close()
	return nil
}

func (b *Bucket) name(o object) string { return b.opt.Prefix + "content/" + string(o.id()) }

// Where names the place of all content, for managers that have to agree on it.
func (b *Bucket) Where() string {
	if b.opt.Prefix == "" {
		return b.s3.Where()
	}
	return b.s3.Where() + " below " + b.opt.Prefix
}

// Ready says whether content can be taken: not within a few seconds of a failure.
func (b *Bucket) Ready(int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sick != nil && time.Since(b.since) < sickFor {
		return temporary(b.sick)
	}
	return nil
}

// felt notes how the server is, by what an operation on it gave.
func (b *Bucket) felt(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil, errs.Is(err, errs.NotFound):
		b.sick = nil
	case !errs.Is(err, errs.Damaged) && !errors.Is(err, context.Canceled):
		b.sick, b.since = err, time.Now()
	}
	return err
}

// prove finds out, once, that the bucket is of our key, and at a check or start
// that all that is needed is allowed.
func (b *Bucket) prove(ctx context.Context) error {
	b.checks.Lock()
	defer b.checks.Unlock()
	b.mu.Lock()
	proven, owner := b.proven, b.owner
	b.mu.Unlock()
	if proven {
		return nil
	}
	if err := b.Ready(0); err != nil { // who waited here before has just found out
		return err
	}
	err := b.checkMark(ctx, "key/", hex.EncodeToString(keyCheck(b.opt.Key)[:16]),
		"was made with another content key: all managers of a bucket need the same key file")
	if err == nil && owner != "" {
		err = b.checkMark(ctx, "owner/", owner, "belongs to another database: managers share a bucket and prefix only when they share a database")
	}
	if err == nil {
		err = b.trial(ctx)
	}
	if b.felt(err) != nil {
		return err
	}
	b.mu.Lock()
	b.proven = b.owner == owner
	b.mu.Unlock()
	return nil
}

// checkMark holds a mark of our own against those below a name, and makes it
// when there is none. others says what foreign ones mean.
//
// Two managers that differ may both find no mark. Each writes its own first and
// looks after that; the list of an S3 server is what was written, so at least
// the later one sees both, takes its own mark away, and refuses. Who finds a
// foreign mark at once never writes.
func (b *Bucket) checkMark(ctx context.Context, below, mark, others string) error {
	own := b.opt.Prefix + below + mark
	look := func() (ours bool, foreign string, err error) {
		list, _, err := b.s3.List(ctx, b.opt.Prefix+below, "", 10)
		for _, l := range list {
			if l.Name == own {
				ours = true
			} else {
				foreign = strings.TrimPrefix(l.Name, b.opt.Prefix)
			}
		}
		return ours, foreign, err
	}
	ours, foreign, err := look()
	if err == nil && foreign == "" && !ours {
		if err = b.unmarked(ctx, below); err != nil || b.opt.Check {
			return err
		}
		if err = b.put(ctx, own, nil); err != nil {
			return err
		}
		var made bool
		if made, foreign, err = look(); err == nil && !made {
			return errs.New(errs.Temporary, "%s does not list what was just put: it cannot be used", b.s3.Where())
		}
		if foreign != "" {
			err = b.s3.Delete(ctx, own)
		}
	}
	if err == nil && foreign != "" {
		return errs.New(errs.Invalid, "%s %s (mark %.60q)", b.s3.Where(), others, foreign)
	}
	return err
}

// Own says which database has the records of what is in the bucket: with one
// that knows nothing of them, a sweep would remove all content of another
// manager. As OpenBucket, it goes on when the server is away.
func (b *Bucket) Own(ctx context.Context, database string) error {
	b.mu.Lock()
	b.owner, b.proven = database, false
	b.mu.Unlock()
	err := b.prove(ctx)
	if err != nil && errs.Is(err, errs.Temporary) && !s3.Settled(err) {
		b.opt.OnFault(errs.Context(err, "the content store cannot be reached yet"))
		return nil
	}
	return errs.Wrap(errs.Invalid, err, "content_store: %s", errs.Public(err))
}

// unmarked refuses content without a mark: somebody took the mark away.
func (b *Bucket) unmarked(ctx context.Context, below string) error {
	list, _, err := b.s3.List(ctx, b.opt.Prefix+"content/", "", 1)
	if err == nil && len(list) > 0 {
		return errs.New(errs.Invalid, "%s holds content and no mark below %s%s: put the mark back from a backup, or use another prefix", b.s3.Where(), b.opt.Prefix, below)
	}
	return err
}

// trial keeps an object, reads it and deletes it: rights are known only when used.
func (b *Bucket) trial(ctx context.Context) error {
	const text = "trial"
	name := b.opt.Prefix + "trial/" + string(newObject(classKept).id())
	if err := b.put(ctx, name, []byte(text)); err != nil {
		return err
	}
	r, err := b.s3.Get(ctx, name, 0)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(r, 100))
	if err = errors.Join(err, r.Close(), b.s3.Delete(ctx, name)); err == nil && string(got) != text {
		err = errs.New(errs.Temporary, "%s does not give what was put", b.s3.Where())
	}
	return err
}

// Delete removes content soon; one that is not there is no error.
func (b *Bucket) Delete(_ context.Context, id quarantine.ContentID) error {
	o, err := parseID(id, classKept)
	if err != nil {
		return err
	}
	if !b.deletes.add(o) {
		return errs.New(errs.Full, "too many deletions wait for %s: the sweep makes up for this one", b.s3.Where())
	}
	return nil
}

// store puts the object of a content. After a failure it is not always known
// whether the object came to be; nobody will name it.
func (b *Bucket) store(ctx context.Context, o object, body io.ReaderAt, size int64, sum [sha256.Size]byte) error {
	err := b.felt(b.s3.Put(ctx, b.name(o), body, size, sum))
	if err != nil {
		b.deletes.add(o)
	}
	return err
}

func (b *Bucket) put(ctx context.Context, name string, body []byte) error {
	return b.s3.Put(ctx, name, bytes.NewReader(body), int64(len(body)), sha256.Sum256(body))
}
