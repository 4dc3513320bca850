package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"

	"lazaret/internal/errs"
)

// request is one request that may be tried several times.
type request struct {
	method string
	name   string // of the object; empty: the bucket
	query  url.Values
	header http.Header
	body   io.ReaderAt // nil: none
	size   int64
	sum    [sha256.Size]byte // of the body
}

// slow is the least speed of a body, bytes a second, below which a try ends.
const slow = 32 << 10

// do tries a request until read took its answer, which it must close. It gives
// up after some tries and at what would not change by trying.
func (c *Client) do(ctx context.Context, r request, read func(*http.Response) error) error {
	renewed, begun := false, time.Now()
	for try := 1; ; try++ {
		e := c.once(ctx, r, read)
		if e == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return errs.Wrap(errs.Temporary, err, "%s was not waited for", c.Where())
		}
		var own *errs.Error
		switch {
		case e.cause != nil && errors.As(e.cause, &own):
			return e.cause // ours: the credentials cannot be read
		case e.expired() && !renewed:
			renewed = true
			c.forget()
			continue
		case !e.again() || try >= c.opt.Tries || time.Since(begun) > 2*c.opt.Stall:
			return c.wrap(e)
		}
		if err := c.opt.Pause(ctx, backoff(try)); err != nil {
			return errs.Wrap(errs.Temporary, err, "%s was not waited for", c.Where())
		}
	}
}

// backoff is 0.1, 0.4, 1.6 s, of which up to a half is left to chance.
func backoff(try int) time.Duration {
	d := 100 * time.Millisecond << (2 * min(try-1, 4))
	return d - rand.N(d/2)
}

// once sends a request once.
func (c *Client) once(ctx context.Context, r request, read func(*http.Response) error) *Error {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Stall+time.Duration(r.size/slow)*time.Second)
	h, err := c.sign(ctx, r)
	if err != nil {
		cancel()
		return &Error{cause: err}
	}
	answer, err := c.http.Do(h)
	if err != nil {
		cancel()
		var u *url.Error // with the address, which the sentence names
		if errors.As(err, &u) {
			err = u.Err
		}
		return &Error{cause: err}
	}
	if answer.StatusCode/100 != 2 {
		defer cancel()
		defer answer.Body.Close()
		return answered(answer)
	}
	answer.Body = &body{answer.Body, cancel}
	if err := read(answer); err != nil {
		answer.Body.Close()
		var e *Error
		if errors.As(err, &e) {
			return e
		}
		return &Error{cause: err}
	}
	return nil
}

// body ends the request's context when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// sign makes the HTTP request.
func (c *Client) sign(ctx context.Context, r request) (*http.Request, error) {
	k, err := c.credentials()
	if err != nil {
		return nil, err
	}
	u := c.object(r.name)
	u.RawQuery = r.query.Encode()
	h, err := http.NewRequestWithContext(ctx, r.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for k, v := range r.header {
		h.Header[k] = v
	}
	sum := sha256.Sum256(nil)
	if r.body != nil {
		sum = r.sum
		h.ContentLength = r.size
		h.Body = io.NopCloser(io.NewSectionReader(r.body, 0, r.size))
		if r.size == 0 {
			h.Body = http.NoBody
		}
	}
	// The sum goes under the signature, with TLS and without: the server refuses
	// a body that was changed on the way.
	h.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	return signer.SignV4(*h, k.AccessKey, k.Secret, k.Session, c.opt.Region), nil
}

func (c *Client) credentials() (Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.creds == nil {
		k, err := c.opt.Credentials()
		if err != nil {
			return k, err
		}
		c.creds = &k
	}
	return *c.creds, nil
}

// forget has the credentials read again at the next request.
func (c *Client) forget() {
	c.mu.Lock()
	c.creds = nil
	c.mu.Unlock()
}
