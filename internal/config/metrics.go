package config

import "net/netip"

// Metrics is where numbers are shown (docs/metrics.md).
type Metrics struct {
	Listen string `xml:"listen"` // IP:port; empty: nowhere
}

func (k checker) metrics() error {
	at := k.c.Metrics.Listen
	if at == "" {
		return nil
	}
	if a, err := netip.ParseAddrPort(at); err != nil || a.Port() == 0 || a.Addr().Zone() != "" || a.Addr().IsMulticast() {
		return k.at("metrics", 0, "listen", "%q is not IP:port, such as 127.0.0.1:9641", clip(at))
	}
	return nil
}
