package outbreak

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"lazaret/internal/errs"
)

// CheckSource finds what is wrong with the place of a feed: an absolute path, or
// an HTTPS URL. It is signed and needs no secrecy, but who asks for it does.
func CheckSource(s string) error {
	if filepath.IsAbs(s) {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || len(s) > 1000 {
		return errs.New(errs.Invalid, "source is an absolute path or a URL such as https://rules.example.com/outbreak.feed, not %q", clip(s))
	}
	return nil
}

// fetched is what a source gave last.
type fetched struct {
	source string
	etag   string
	sum    [sha256.Size]byte
}

// fetch gets a feed. nil without an error: it is the same as last time.
func (k *Keeper) fetch(ctx context.Context, s Settings) (b []byte, now fetched, err error) {
	last := k.last
	if last.source != s.Source {
		last = fetched{}
	}
	now = fetched{source: s.Source}
	if filepath.IsAbs(s.Source) {
		b, err = readFile(s.Source)
	} else {
		b, now.etag, err = k.get(ctx, s, last.etag)
	}
	if err != nil {
		return nil, last, err
	}
	if b == nil {
		return nil, last, nil
	}
	now.sum = sha256.Sum256(b)
	if now.sum == last.sum {
		return nil, now, nil
	}
	return b, now, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errs.New(errs.Temporary, "the outbreak feed cannot be read: %s", reason(err))
	}
	defer f.Close()
	return limited(f)
}

// limited reads a feed that may be of any length.
func limited(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxFeed+1))
	if err != nil {
		return nil, errs.New(errs.Temporary, "the outbreak feed could not be read to its end: %s", reason(err))
	}
	if len(b) > MaxFeed {
		return nil, errs.New(errs.Full, "the outbreak feed is longer than %d bytes", MaxFeed)
	}
	return b, nil
}

// reason gives what is wrong without the URL or path, which the reader has set.
func reason(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return errs.Network(err)
}

// get asks a server, with the mark of what it gave last. nil: nothing is new.
func (k *Keeper) get(ctx context.Context, s Settings, etag string) (b []byte, mark string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Source, nil)
	if err != nil {
		return nil, "", errs.Wrap(errs.Invalid, err, "the URL of the outbreak feed")
	}
	req.Header.Set("User-Agent", "Lazaret")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := k.opt.Client(s.CAFile).Do(req)
	if err != nil {
		return nil, "", errs.New(errs.Temporary, "%s does not give the outbreak feed: %s", req.URL.Host, reason(err))
	}
	defer resp.Body.Close() // read or not, nothing is kept of it
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		return nil, etag, nil
	case resp.StatusCode != http.StatusOK:
		return nil, "", errs.New(errs.Temporary, "%s answers with status %d", req.URL.Host, resp.StatusCode)
	}
	if mark = resp.Header.Get("ETag"); len(mark) > 200 || strings.ContainsAny(mark, "\r\n") {
		mark = ""
	}
	b, err = limited(resp.Body)
	return b, mark, err
}
