// Package s3 speaks the five requests that content needs with an S3-compatible
// server: put, get, delete, delete many, list.
//
// It is not a general client: objects have one part (5 GiB at most), names made
// of plain characters, no metadata, no versions. Signatures are those of a
// library; the rest is ours so that each answer is judged by what the server
// really said. In particular a 404 of a proxy, or that of a missing bucket, is
// never taken for a missing object.
//
// It promises that Put returns nil only after an S3 server answered for the
// whole body, whose SHA-256 it was told; that what may pass by itself is tried
// again a few times and then errs.Temporary; and that no credentials are in
// any error.
package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
)

// Options of a client.
type Options struct {
	Endpoint    string // https://host or https://host:port, or http
	Bucket      string
	Region      string // empty: us-east-1, which most servers call theirs
	PathStyle   bool   // the bucket is in the path, not in the host name
	Roots       *x509.CertPool
	Credentials Source
	Tries       int                                        // of each request; 0: 4
	Stall       time.Duration                              // without a byte, an answer is given up; a request is not tried again after twice this; 0: 10 s
	Pause       func(context.Context, time.Duration) error // nil: wait
}

const (
	defaultRegion = "us-east-1"
	defaultTries  = 4
	defaultStall  = 10 * time.Second
	connections   = 64 // kept open to the server, and the most at once
	// MaxObject is the largest object that one request can put, 5 GiB.
	MaxObject = 5 << 30
)

// Client is safe for concurrent use.
type Client struct {
	opt  Options
	base url.URL
	http *http.Client
	dial *http.Transport

	mu    sync.Mutex
	creds *Credentials // nil: ask the source
}

// New makes a client. It speaks with nobody yet.
func New(opt Options) (*Client, error) {
	u, err := ParseEndpoint(opt.Endpoint)
	if err != nil {
		return nil, err
	}
	if opt.Bucket == "" || opt.Credentials == nil {
		return nil, errs.New(errs.Internal, "an S3 client needs a bucket and credentials")
	}
	if opt.Region == "" {
		opt.Region = defaultRegion
	}
	if opt.Tries <= 0 {
		opt.Tries = defaultTries
	}
	if opt.Stall <= 0 {
		opt.Stall = defaultStall
	}
	if opt.Pause == nil {
		opt.Pause = pause
	}
	if !opt.PathStyle {
		u.Host = opt.Bucket + "." + u.Host
	}
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: opt.Stall}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: opt.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   opt.Stall,
		ResponseHeaderTimeout: opt.Stall,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   connections,
		MaxConnsPerHost:       connections,
		DisableCompression:    true, // what comes is what was put
		// Neither a proxy of the environment nor a redirection: packets go where
		// the configuration says and nowhere else.
	}
	c := &Client{opt: opt, base: *u, dial: t}
	c.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// ParseEndpoint reads the address of a server.
func ParseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || len(s) > 300 {
		return nil, errs.New(errs.Invalid, "%.80q is not the address of an S3 server such as https://s3.example.com", s)
	}
	u.Path = ""
	return u, nil
}

// Close lets idle connections go.
func (c *Client) Close() { c.dial.CloseIdleConnections() }

// Where names server and bucket, for messages.
func (c *Client) Where() string { return "bucket " + c.opt.Bucket + " at " + c.opt.Endpoint }

// object gives the address of an object; of the bucket when name is empty.
func (c *Client) object(name string) *url.URL {
	u := c.base
	u.Path = "/" + name
	if c.opt.PathStyle {
		u.Path = "/" + c.opt.Bucket
		if name != "" {
			u.Path += "/" + name
		}
	}
	return &u
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
