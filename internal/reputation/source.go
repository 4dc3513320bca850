package reputation

import (
	"bufio"
	"context"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
)

// Zone takes scores from DNS: a zone that answers 127.0.4.N, N from 0 (worst)
// to 100 (best), for an address that it knows. This is the form that public
// score services use; 0 is -10.0 here and 100 is 10.0.
type Zone struct {
	Resolver Resolver
	Name     string
}

// String names the source.
func (z Zone) String() string { return "score zone " + z.Name }

// Score implements Source. Addresses that are private to somebody are not
// asked for: outside nobody can know them.
func (z Zone) Score(ctx context.Context, ip netip.Addr) (int, bool, error) {
	if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return 0, false, nil
	}
	addrs, err := z.Resolver.LookupIPv4(ctx, dns.ReverseName(ip)+"."+z.Name)
	switch {
	case errs.Is(err, errs.NotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case len(addrs) == 0:
		return 0, false, nil
	}
	b := addrs[0].As4()
	if b[0] != 127 || b[1] != 0 || b[2] != 4 || b[3] > 100 {
		return 0, false, errs.New(errs.Temporary, "it answers with %s, which is no score: 127.0.4.0 to 127.0.4.100", addrs[0])
	}
	return 2*int(b[3]) - 100, true, nil
}

// Limits of a score file.
const (
	maxFile    = 64 << 20
	maxEntries = 1_000_000
	maxLine    = 200
	lookAgain  = 10 * time.Second
)

// File takes scores from a file that somebody else writes: an address or
// network and its score a line, such as "192.0.2.0/24 -4.5"; empty lines and
// lines that start with # are skipped. The longest network counts. The file is
// looked at every ten seconds and read anew when it has changed; one with a
// mistake leaves the scores as they were.
type File struct {
	path  string
	clock func() time.Time

	table atomic.Pointer[table]

	mu     sync.Mutex // held by the one who looks at the file
	looked time.Time
	stamp  stamp
	bad    error // of the file as it stands there
}

type stamp struct {
	mtime time.Time
	size  int64
}

// table is what a file says.
type table struct {
	nets   map[netip.Prefix]int8
	bits4  []int // prefix lengths in use, the longest first
	bits6  []int
	number int
}

// OpenFile reads the file; an error names its line.
func OpenFile(path string, clock func() time.Time) (*File, error) {
	if clock == nil {
		clock = time.Now
	}
	f := &File{path: path, clock: clock, looked: clock()}
	t, s, err := read(path)
	if err != nil {
		return nil, err
	}
	f.table.Store(t)
	f.stamp = s
	return f, nil
}

// String names the source.
func (f *File) String() string { return "score file " + f.path }

// Len is the number of entries in force.
func (f *File) Len() int { return f.table.Load().number }

// Score implements Source.
func (f *File) Score(_ context.Context, ip netip.Addr) (int, bool, error) {
	err := f.look()
	tenths, known := f.table.Load().find(ip)
	if known {
		return tenths, true, nil // an old score is better than none
	}
	return 0, false, err
}

// look reads the file anew if it has changed. One does it, the others go on
// with what is there.
func (f *File) look() error {
	if !f.mu.TryLock() {
		return nil
	}
	defer f.mu.Unlock()
	if now := f.clock(); now.Sub(f.looked) >= lookAgain || now.Before(f.looked) {
		f.looked = now
		info, err := os.Stat(f.path)
		if err != nil {
			f.bad = errs.Wrap(errs.Temporary, err, "the file cannot be read")
			return f.bad
		}
		if s := (stamp{info.ModTime(), info.Size()}); s != f.stamp {
			t, s, err := read(f.path)
			if err == nil {
				f.table.Store(t)
			}
			f.stamp, f.bad = s, err
		} else if f.bad != nil && errs.Is(f.bad, errs.Temporary) {
			f.bad = nil // it is back, and what it was
		}
	}
	return f.bad
}

// read reads a whole file.
func read(path string) (*table, stamp, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, stamp{}, errs.Wrap(errs.Temporary, err, "the file cannot be read")
	}
	defer file.Close() // only read from
	info, err := file.Stat()
	if err != nil {
		return nil, stamp{}, errs.Wrap(errs.Temporary, err, "the file cannot be read")
	}
	s := stamp{info.ModTime(), info.Size()}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, s, errs.New(errs.Invalid, "%s is not a file of at most %d bytes", path, maxFile)
	}
	t, err := parse(file)
	return t, s, errs.Context(err, "%s", path)
}

func parse(r io.Reader) (*table, error) {
	t := &table{nets: map[netip.Prefix]int8{}}
	in := bufio.NewScanner(io.LimitReader(r, maxFile))
	in.Buffer(make([]byte, 0, maxLine), maxLine)
	n := 0
	for in.Scan() {
		n++
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.add(line); err != nil {
			return nil, errs.Context(err, "line %d", n)
		}
	}
	if err := in.Err(); err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "line %d is longer than %d bytes, or cannot be read", n+1, maxLine)
	}
	t.number = len(t.nets)
	longest := func(a, b int) int { return b - a }
	slices.SortFunc(t.bits4, longest)
	slices.SortFunc(t.bits6, longest)
	return t, nil
}

func (t *table) add(line string) error {
	words := strings.Fields(line)
	if len(words) != 2 {
		return errs.New(errs.Invalid, "an address or network and its score are expected, such as 192.0.2.0/24 -4.5")
	}
	net, err := netip.ParsePrefix(words[0])
	if err != nil {
		ip, err := netip.ParseAddr(words[0])
		if err != nil || ip.Zone() != "" {
			return errs.New(errs.Invalid, "%q is neither an address nor a network", words[0])
		}
		net = netip.PrefixFrom(ip, ip.BitLen())
	}
	if net.Masked() != net || net.Addr().Is4In6() {
		return errs.New(errs.Invalid, "%q has bits behind its prefix, or is IPv4 written as IPv6", words[0])
	}
	tenths, err := access.ParseTenths(words[1])
	if err != nil {
		return err
	}
	bits := &t.bits6
	if net.Addr().Is4() {
		bits = &t.bits4
	}
	if !slices.Contains(*bits, net.Bits()) {
		*bits = append(*bits, net.Bits())
	}
	t.nets[net] = int8(tenths)
	if len(t.nets) > maxEntries {
		return errs.New(errs.Invalid, "the file has more than %d entries", maxEntries)
	}
	return nil
}

func (t *table) find(ip netip.Addr) (tenths int, known bool) {
	bits := t.bits6
	if ip.Is4() {
		bits = t.bits4
	}
	for _, n := range bits {
		if p, err := ip.Prefix(n); err == nil {
			if v, ok := t.nets[p]; ok {
				return int(v), true
			}
		}
	}
	return 0, false
}
