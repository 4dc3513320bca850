package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// Reader is an object on its way here. When the connection breaks, or the
// server falls silent, it goes on where it was, a few times.
type Reader struct {
	c    *Client
	ctx  context.Context
	name string
	etag string
	at   int64 // of the next byte
	end  int64 // size of the object
	left int   // how often it may go on without a byte in between
	body io.ReadCloser
	stop context.CancelCauseFunc
	idle *time.Timer
}

// Get opens an object from an offset: errs.NotFound when there is none.
func (c *Client) Get(ctx context.Context, name string, from int64) (*Reader, error) {
	r := &Reader{c: c, ctx: ctx, name: name, at: from, end: -1, left: c.opt.Tries - 1}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

var errSilent = errors.New("nothing came any more")

func (r *Reader) open() error {
	q := request{method: http.MethodGet, name: r.name, header: http.Header{}}
	if r.at > 0 {
		q.header.Set("Range", fmt.Sprintf("bytes=%d-", r.at))
	}
	if r.etag != "" {
		q.header.Set("If-Match", r.etag)
	}
	ctx, stop := context.WithCancelCause(r.ctx)
	q.size = MaxObject // a reader may take its time; silence ends it
	err := r.c.do(ctx, q, func(a *http.Response) error {
		size, ok := extent(a, r.at)
		if !ok || r.end >= 0 && size != r.end {
			return &Error{Status: a.StatusCode}
		}
		r.end, r.etag, r.body = size, a.Header.Get("Etag"), a.Body
		return nil
	})
	if err != nil {
		stop(nil)
		return err
	}
	r.stop = stop
	r.idle = time.AfterFunc(r.c.opt.Stall, func() { stop(errSilent) })
	return nil
}

// extent gives the size of the whole object by an answer that begins at an offset.
func extent(a *http.Response, at int64) (int64, bool) {
	if at == 0 && a.StatusCode == http.StatusOK {
		return a.ContentLength, a.ContentLength >= 0
	}
	var first, last, size int64
	n, err := fmt.Sscanf(strings.TrimSpace(a.Header.Get("Content-Range")), "bytes %d-%d/%d", &first, &last, &size)
	return size, err == nil && n == 3 && a.StatusCode == http.StatusPartialContent && first == at && last == size-1 && a.ContentLength == size-at
}

// Size is the size of the object.
func (r *Reader) Size() int64 { return r.end }

// Read implements io.Reader. An object that ends early is an error.
func (r *Reader) Read(p []byte) (int, error) {
	for {
		if r.at >= r.end {
			return 0, io.EOF
		}
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		r.idle.Reset(r.c.opt.Stall)
		n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.at)])
		r.idle.Stop()
		if n > 0 {
			r.at += int64(n)
			r.left = r.c.opt.Tries - 1
			return n, nil
		}
		if err == nil {
			continue
		}
		r.drop()
		if r.ctx.Err() != nil {
			return 0, errs.Wrap(errs.Temporary, r.ctx.Err(), "%s was not waited for", r.c.Where())
		}
		if r.left--; r.left < 0 {
			return 0, errs.Wrap(errs.Temporary, err, "reading from %s broke off", r.c.Where())
		}
		if err := r.c.opt.Pause(r.ctx, backoff(1)); err != nil {
			return 0, errs.Wrap(errs.Temporary, err, "%s was not waited for", r.c.Where())
		}
	}
}

func (r *Reader) drop() {
	if r.body != nil {
		r.idle.Stop()
		r.body.Close()
		r.stop(nil)
		r.body = nil
	}
}

// Close implements io.Closer.
func (r *Reader) Close() error {
	r.drop()
	r.end = 0
	return nil
}
