package certs

import (
	"bytes"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"lazaret/internal/errs"
)

// System names the certificate that every appliance made itself; it is always
// in a Keyring.
const System = "System"

// maxPEM is the largest certificate or key file that is read.
const maxPEM = 1 << 20

// Source is a certificate that lies in files which somebody else may renew.
type Source struct {
	Name string
	Cert string // PEM: the certificate, then the chain
	Key  string // PEM; "" is: in the file of the certificate
}

// Load reads the files and finds what is wrong with them now.
func (s Source) Load(now time.Time) (Pair, error) {
	c, err := ReadPEM(s.Cert)
	if err != nil {
		return Pair{}, err
	}
	k := c
	if s.Key != "" {
		if k, err = ReadPEM(s.Key); err != nil {
			return Pair{}, err
		}
	}
	p, err := Parse(c, k)
	if err != nil {
		return Pair{}, errs.Context(err, "%s", s.Cert)
	}
	return p, errs.Context(p.CheckFile(now), "%s", s.Cert)
}

// ReadPEM reads a certificate or key file of ordinary size.
func ReadPEM(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxPEM) {
		return nil, errs.New(errs.Invalid, "%s is no file of at most %d bytes", path, maxPEM)
	}
	b, err := os.ReadFile(path)
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err // the name is ours to give
	}
	return b, errs.Wrap(errs.Invalid, err, "%s", path)
}

// Held is a certificate in use and what became of the last look at its files.
type Held struct {
	Source
	Pair  Pair
	Since time.Time // when it was read
	Fault string    // why newer files are not used; "" is: they are
}

// Keyring holds the certificates of an appliance by name and follows their
// files. A broken new file changes nothing: the old certificate stays in use,
// for a listener without one would take no mail over TLS. Safe for concurrent
// use.
type Keyring struct {
	clock func() time.Time

	mu  sync.RWMutex
	all map[string]*entry
}

type entry struct {
	held   Held
	stamp  string // of the files that were read
	broken string // of files that could not be used
	told   bool   // about broken
}

// NewKeyring makes a keyring with the appliance's own certificate.
func NewKeyring(system Source, clock func() time.Time) (*Keyring, error) {
	system.Name = System
	k := &Keyring{clock: clock, all: map[string]*entry{}}
	// Whatever is wrong with it but its form: a certificate that has expired
	// must not keep the appliance from starting.
	stamp := stampOf(system)
	p, err := system.Load(clock())
	if p.Leaf == nil {
		return nil, err
	}
	k.all[System] = &entry{held: Held{Source: system, Pair: p, Since: clock()}, stamp: stamp}
	return k, nil
}

// Check loads all sources and throws them away.
func (k *Keyring) Check(sources []Source) error {
	for _, s := range sources {
		if k.known(s) {
			continue // in use: whether its files are still good is told by Poll
		}
		if _, err := s.Load(k.clock()); err != nil {
			return errs.Context(err, "certificate %s", s.Name)
		}
	}
	return nil
}

func (k *Keyring) known(s Source) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	e := k.all[s.Name]
	return e != nil && e.held.Source == s
}

// Set makes the keyring hold exactly these and the appliance's own. One that
// cannot be read is left out, with an error, unless lenient: then a
// certificate outside its dates, or a weak one, is used all the same. That is
// for the start: what was good when it was configured must not stop mail.
func (k *Keyring) Set(sources []Source, lenient bool) error {
	next := map[string]*entry{}
	var all []error
	for _, s := range sources {
		k.mu.RLock()
		e := k.all[s.Name]
		k.mu.RUnlock()
		if e != nil && e.held.Source == s {
			next[s.Name] = e
			continue
		}
		stamp := stampOf(s)
		p, err := s.Load(k.clock())
		if err != nil {
			err = errs.Context(err, "certificate %s", s.Name)
			all = append(all, err)
			if p.Leaf == nil || !lenient {
				continue
			}
		}
		next[s.Name] = &entry{held: Held{Source: s, Pair: p, Since: k.clock()}, stamp: stamp}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	next[System] = k.all[System]
	k.all = next
	return errors.Join(all...)
}

// Change is what Poll found.
type Change struct {
	Name  string
	Pair  Pair   // of a certificate that is now in use
	Fault string // or why the new files are not
}

// Poll looks whether files changed and takes up what is new. A pair is written
// one file after the other: what does not fit is looked at once more before it
// is told as a fault, unless at once.
func (k *Keyring) Poll(atOnce bool) (changes []Change) {
	k.mu.RLock()
	list := make([]*entry, 0, len(k.all))
	for _, e := range k.all {
		list = append(list, e)
	}
	k.mu.RUnlock()
	slices.SortFunc(list, func(a, b *entry) int { return strings.Compare(a.held.Name, b.held.Name) })
	for _, e := range list {
		if c, told := k.poll(e, atOnce); told {
			changes = append(changes, c)
		}
	}
	return changes
}

func (k *Keyring) poll(e *entry, atOnce bool) (Change, bool) {
	k.mu.RLock()
	s, stamp, broken, told := e.held.Source, e.stamp, e.broken, e.told
	k.mu.RUnlock()
	now := stampOf(s)
	if now == stamp && broken == "" || now == broken && told {
		return Change{}, false
	}
	p, err := s.Load(k.clock())
	if err == nil && stampOf(s) != now {
		return Change{}, false // being written: the next look will do
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		e.stamp, e.broken, e.told = now, "", false
		was := e.held
		e.held.Pair, e.held.Fault, e.held.Since = p, "", k.clock()
		return Change{Name: s.Name, Pair: p}, was.Fault != "" || !was.Pair.Leaf.Equal(p.Leaf)
	}
	e.told = atOnce || broken == now
	e.broken = now
	if !e.told {
		return Change{}, false
	}
	e.held.Fault = err.Error()
	return Change{Name: s.Name, Fault: e.held.Fault}, true
}

// stampOf says whether files are those of before: time, size and place on disk.
func stampOf(s Source) string {
	var b strings.Builder
	for _, path := range []string{s.Cert, s.Key} {
		if path == "" {
			continue
		}
		st, err := os.Stat(path)
		if err != nil {
			b.WriteString("missing;")
			continue
		}
		b.WriteString(st.ModTime().UTC().Format(time.RFC3339Nano))
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			b.WriteString(" " + itoa(int64(sys.Ino)))
		}
		b.WriteString(" " + itoa(st.Size()) + ";")
	}
	return b.String()
}

// All gives what is held, the appliance's own first, then by name.
func (k *Keyring) All() []Held {
	k.mu.RLock()
	defer k.mu.RUnlock()
	list := make([]Held, 0, len(k.all))
	for _, e := range k.all {
		list = append(list, e.held)
	}
	slices.SortFunc(list, func(a, b Held) int {
		if (a.Name == System) != (b.Name == System) {
			if a.Name == System {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// get gives a certificate by name; one that could not be loaded is the
// appliance's own.
func (k *Keyring) get(name string) *tls.Certificate {
	k.mu.RLock()
	defer k.mu.RUnlock()
	e := k.all[name]
	if e == nil {
		e = k.all[System]
	}
	return &e.held.Pair.TLS
}

// Server gives the choice among the named certificates by what the client asks
// for (SNI, RFC 6066 section 3): the first that fits the name and the client's
// algorithms, else the first that fits the algorithms, else the first. No names
// is the appliance's own.
func (k *Keyring) Server(names []string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(names) == 0 {
		names = []string{System}
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName != "" {
			for _, n := range names {
				if c := k.get(n); hello.SupportsCertificate(c) == nil { // asks for the name too
					return c, nil
				}
			}
		}
		any := *hello
		any.ServerName = ""
		for _, n := range names {
			if c := k.get(n); any.SupportsCertificate(c) == nil {
				return c, nil
			}
		}
		return k.get(names[0]), nil
	}
}

// Client gives the certificate that is shown to a server which asks; "" is none.
func (k *Keyring) Client(name string) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if name == "" {
			return new(tls.Certificate), nil
		}
		return k.get(name), nil
	}
}

// Import writes a pair that was pasted or read from files into one new file in
// dir, in place of an older one, durably, and gives its path. One file, so that
// nobody ever sees the new certificate with the old key.
func Import(dir, name string, certPEM, keyPEM []byte, now time.Time) (string, error) {
	p, err := Parse(certPEM, keyPEM)
	if err != nil {
		return "", err
	}
	if err := p.CheckFile(now); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", errs.Wrap(errs.Internal, err, "making %s", dir)
	}
	path := filepath.Join(dir, name+".pem")
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", errs.Wrap(errs.Internal, err, "writing %s", path)
	}
	both := ended(certPEM)
	if !bytes.Equal(certPEM, keyPEM) {
		both = append(both, ended(keyPEM)...)
	}
	if err := writeNew(tmp, both, 0o600); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", errs.Wrap(errs.Internal, err, "writing %s", path)
	}
	return path, errs.Wrap(errs.Internal, syncDir(dir), "writing %s", path)
}

func ended(b []byte) []byte { return append(slices.Clone(b), '\n') }
