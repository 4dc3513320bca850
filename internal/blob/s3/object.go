package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"lazaret/internal/errs"
)

// Put keeps an object of size bytes whose SHA-256 is sum.
func (c *Client) Put(ctx context.Context, name string, b io.ReaderAt, size int64, sum [sha256.Size]byte) error {
	if size > MaxObject {
		return errs.New(errs.Full, "an object of %d bytes is too large for one request", size)
	}
	r := request{method: http.MethodPut, name: name, body: b, size: size, sum: sum, header: http.Header{"Content-Type": {"application/octet-stream"}}}
	return c.do(ctx, r, func(a *http.Response) error {
		defer a.Body.Close()
		// Every S3 server gives an ETag; a page that some box in between shows
		// with status 200 has not kept anything.
		if a.Header.Get("Etag") == "" {
			return &Error{Status: a.StatusCode}
		}
		_, err := io.Copy(io.Discard, io.LimitReader(a.Body, maxErrorBody))
		return err
	})
}

// Delete removes an object; one that is not there is no error.
func (c *Client) Delete(ctx context.Context, name string) error {
	err := c.do(ctx, request{method: http.MethodDelete, name: name}, func(a *http.Response) error { return a.Body.Close() })
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	return err
}

// maxMany is how many objects one request may delete.
const maxMany = 1000

// DeleteMany removes objects, with one request for a thousand where the server
// knows that, else one by one.
func (c *Client) DeleteMany(ctx context.Context, names []string) error {
	for len(names) > 0 {
		n := min(len(names), maxMany)
		if err := c.deleteSome(ctx, names[:n]); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

func (c *Client) deleteSome(ctx context.Context, names []string) error {
	type object struct{ Key string }
	b, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Object  []object
	}{Quiet: true, Object: func() (l []object) {
		for _, n := range names {
			l = append(l, object{n})
		}
		return l
	}()})
	if err != nil {
		return errs.Wrap(errs.Internal, err, "asking for a deletion")
	}
	digest := md5.Sum(b) // asked for by S3 here, not for security
	r := request{method: http.MethodPost, query: url.Values{"delete": {""}}, body: bytes.NewReader(b), size: int64(len(b)), sum: sha256.Sum256(b),
		header: http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(digest[:])}, "Content-Type": {"application/xml"}}}
	type leftover struct{ Key, Code string }
	var left struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Error   []leftover
	}
	err = c.do(ctx, r, func(a *http.Response) error { return readXML(a, &left) })
	var e *Error
	if errors.As(err, &e) && (e.Status == http.StatusNotImplemented || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusBadRequest) {
		return c.deleteEach(ctx, names)
	}
	if err != nil || len(left.Error) == 0 {
		return err
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return !slices.ContainsFunc(left.Error, func(l leftover) bool { return l.Key == n && l.Code != "NoSuchKey" })
	})
	return c.deleteEach(ctx, names)
}

func (c *Client) deleteEach(ctx context.Context, names []string) error {
	for _, n := range names {
		if err := c.Delete(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// Listed is an object in a list.
type Listed struct {
	Name string
	Age  time.Duration // by the server's clock
	Size int64
}

const maxListBody = 8 << 20

// List gives up to 1,000 objects whose names begin with prefix and come after
// another name, in the order of their names.
func (c *Client) List(ctx context.Context, prefix, after string, limit int) (list []Listed, more bool, err error) {
	q := url.Values{"list-type": {"2"}, "prefix": {prefix}, "max-keys": {strconv.Itoa(min(limit, 1000))}}
	if after != "" {
		q.Set("start-after", after)
	}
	err = c.do(ctx, request{method: http.MethodGet, query: q}, func(a *http.Response) error {
		var page struct {
			XMLName     xml.Name `xml:"ListBucketResult"`
			IsTruncated bool
			Contents    []struct {
				Key          string
				LastModified time.Time
				Size         int64
			}
		}
		now, err := http.ParseTime(a.Header.Get("Date"))
		if err != nil {
			now = time.Now()
		}
		if err := readXML(a, &page); err != nil {
			return err
		}
		list, more = make([]Listed, len(page.Contents)), page.IsTruncated
		for i, o := range page.Contents {
			list[i] = Listed{o.Key, now.Sub(o.LastModified), o.Size}
		}
		return nil
	})
	return list, more && len(list) > 0, err
}

// readXML reads an answer whose root element v names; another is not S3.
func readXML(a *http.Response, v any) error {
	defer a.Body.Close()
	b, err := io.ReadAll(io.LimitReader(a.Body, maxListBody))
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(b, v); err != nil {
		return &Error{Status: a.StatusCode}
	}
	return nil
}
