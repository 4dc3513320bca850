package blob

import (
	"context"
	"errors"
	"io"

	"lazaret/internal/quarantine"
)

// Both keeps new content in a bucket and still has what was kept on this
// machine before there was one.
type Both struct {
	*Bucket
	Local *Store
}

// local reports whether a content lies on this machine.
func local(id quarantine.ContentID) bool {
	return len(id) > 0 && (id[0] == classSmall || id[0] == classLarge)
}

// Open gives content from its start, as that of the store that has it.
func (b *Both) Open(ctx context.Context, id quarantine.ContentID) (io.ReadCloser, error) {
	if local(id) {
		return b.Local.Open(ctx, id)
	}
	return b.Bucket.Open(ctx, id)
}

// Delete removes content from the store that has it.
func (b *Both) Delete(ctx context.Context, id quarantine.ContentID) error {
	if local(id) {
		return b.Local.Delete(ctx, id)
	}
	return b.Bucket.Delete(ctx, id)
}

// Close ends both.
func (b *Both) Close() error { return errors.Join(b.Bucket.Close(), b.Local.Close()) }
