package mtasts

import (
	"context"
	"crypto/tls"
	"io"
	"mime"
	"net"
	"net/http"

	"lazaret/internal/errs"
)

// fetch gets the policy file of a domain, RFC 8461 section 3.3: HTTPS only, a
// certificate for mta-sts.DOMAIN, no redirects, 64 KiB.
func (c *Cache) fetch(ctx context.Context, domain string) (Policy, error) {
	host := "mta-sts." + domain
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+Path, nil)
	if err != nil {
		return Policy{}, errs.Wrap(errs.Invalid, err, "%s", host)
	}
	req.Header.Set("User-Agent", "Lazaret") // and no version: it is nobody's business
	client := http.Client{
		Transport:     c.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return Policy{}, errs.Network(err)
	}
	defer resp.Body.Close() // read or not, nothing is kept of it
	if resp.StatusCode != http.StatusOK {
		return Policy{}, errs.New(errs.Invalid, "%s answers with status %d", host, resp.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return Policy{}, errs.New(errs.Invalid, "%s answers with something that is not text/plain", host)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxPolicy+1))
	if err != nil {
		return Policy{}, errs.Network(err)
	}
	return ParsePolicy(b)
}

// transport makes connections of one use: nothing stays open to servers that
// are asked once a day. There is no proxy, whatever the environment says.
func (c *Cache) transport() *http.Transport {
	return &http.Transport{
		DialContext:            c.dial,
		TLSClientConfig:        &tls.Config{RootCAs: c.opt.Roots, Time: c.now, MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		DisableCompression:     true, // 64 KiB are 64 KiB
		MaxResponseHeaderBytes: 16 << 10,
	}
}

// dial finds the host by our own resolver.
func (c *Cache) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	const most = 4 // addresses of one host that are tried
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := c.opt.Resolver.LookupAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, ip := range addrs[:min(len(addrs), most)] {
		var conn net.Conn
		if conn, err = c.opt.Dial(ctx, network, net.JoinHostPort(ip.String(), port)); err == nil {
			return conn, nil
		}
	}
	if err == nil {
		err = errs.New(errs.NotFound, "%s has no address", host)
	}
	return nil, err
}
