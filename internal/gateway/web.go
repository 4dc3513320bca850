package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"lazaret/internal/errs"
)

// web makes a client for questions to a web server: TLS 1.2 or more, names found
// by our own resolver, no redirects and no proxy, whatever the environment says.
// Its errors show when it is used, also that of a file of roots.
func (g *Gateway) web(caFile string) *http.Client {
	c := &tls.Config{MinVersion: tls.VersionTLS12, Time: g.Now}
	roots, err := g.roots(caFile)
	c.RootCAs = roots
	t := &http.Transport{
		DialContext: g.dialWeb, TLSClientConfig: c, DisableKeepAlives: true, DisableCompression: true,
		MaxResponseHeaderBytes: 64 << 10, ResponseHeaderTimeout: time.Minute,
	}
	if err != nil {
		t.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// maxRoots is the most of a file of roots that is read.
const maxRoots = 1 << 20

// roots reads certificates; nil are those of the system.
func (g *Gateway) roots(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	if !filepath.IsAbs(caFile) {
		caFile = g.Path(caFile)
	}
	info, err := os.Stat(caFile)
	if err == nil && info.Size() > maxRoots {
		err = errs.New(errs.Invalid, "it is too large to hold certificates")
	}
	var pem []byte
	if err == nil {
		pem, err = os.ReadFile(caFile)
	}
	if err != nil {
		return nil, errs.New(errs.Invalid, "ca_file cannot be read: %s", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errs.New(errs.Invalid, "ca_file has no certificate in PEM")
	}
	return pool, nil
}

func (g *Gateway) dialWeb(ctx context.Context, network, addr string) (net.Conn, error) {
	const most = 4 // addresses of one host that are tried
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := &net.Dialer{Timeout: 30 * time.Second}
	addrs, err := []netip.Addr(nil), error(nil)
	if ip, perr := netip.ParseAddr(host); perr == nil {
		addrs = []netip.Addr{ip}
	} else if addrs, err = g.Resolver.LookupAddr(ctx, host); err != nil {
		return nil, err
	}
	for _, ip := range addrs[:min(len(addrs), most)] {
		var conn net.Conn
		if conn, err = d.DialContext(ctx, network, net.JoinHostPort(ip.String(), port)); err == nil {
			return conn, nil
		}
	}
	if err == nil {
		err = errs.New(errs.NotFound, "%s has no address", host)
	}
	return nil, err
}
