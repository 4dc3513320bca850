package dns

import (
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of the machine's files.
const (
	maxFile    = 1 << 20
	maxServers = 3 // as in resolv.conf(5)
	lookAgain  = 5 * time.Second
)

// files knows the machine's resolv.conf and hosts file and reads them anew
// when they have changed, at most every five seconds.
type files struct {
	clock func() time.Time
	fixed func() []Server

	mu      sync.Mutex
	looked  time.Time
	resolv  watched
	hosts   watched
	known   []Server
	forward map[string][]netip.Addr
	reverse map[netip.Addr][]string
}

// watched is a file with the stamp of what was read last.
type watched struct {
	path  string
	mtime time.Time
	size  int64
}

func newFiles(o Options) *files {
	return &files{clock: o.Clock, fixed: o.Servers, resolv: watched{path: o.ResolvConf, size: -1}, hosts: watched{path: o.HostsFile, size: -1}}
}

func (f *files) servers() []Server {
	if f.fixed != nil {
		if list := f.fixed(); len(list) > 0 {
			return list[:min(len(list), maxServers)]
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	return f.known
}

func (f *files) addrs(name string) []netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	return slices.Clone(f.forward[name])
}

func (f *files) names(ip netip.Addr) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	return slices.Clone(f.reverse[ip])
}

// look reads what has changed.
func (f *files) look() {
	now := f.clock()
	if since := now.Sub(f.looked); since >= 0 && since < lookAgain && !f.looked.IsZero() {
		return
	}
	f.looked = now
	if text, changed := f.resolv.read(); changed {
		f.known = parseResolvConf(text)
	}
	if text, changed := f.hosts.read(); changed {
		f.forward, f.reverse = parseHosts(text)
	}
}

// read gives the text if it may have changed. A file that is not there is
// empty: the machine then has no resolver, or no names of its own.
func (w *watched) read() (text string, changed bool) {
	info, err := os.Stat(w.path)
	if err != nil {
		changed = w.size != 0
		w.size, w.mtime = 0, time.Time{}
		return "", changed
	}
	if info.Size() == w.size && info.ModTime().Equal(w.mtime) {
		return "", false
	}
	file, err := os.Open(w.path)
	if err != nil {
		return "", false
	}
	defer file.Close() // only read
	b, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return "", false
	}
	w.size, w.mtime = info.Size(), info.ModTime()
	return string(b), true
}

// parseResolvConf takes the name servers; search lists are not for mail.
func parseResolvConf(text string) []Server {
	var out []Server
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if ip, err := netip.ParseAddr(words[1]); err == nil && len(out) < maxServers {
			out = append(out, Server{Addr: netip.AddrPortFrom(ip, 53)})
		}
	}
	return out
}

func parseHosts(text string) (map[string][]netip.Addr, map[netip.Addr][]string) {
	forward, reverse := map[string][]netip.Addr{}, map[netip.Addr][]string{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		ip = ip.Unmap()
		for _, w := range words[1:] {
			name, err := hostName(w)
			if err != nil {
				continue
			}
			forward[name] = append(forward[name], ip)
			reverse[ip.WithZone("")] = append(reverse[ip.WithZone("")], name)
		}
	}
	return forward, reverse
}
