package scan

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// ClamdOptions say where clamd is and how long it may take.
type ClamdOptions struct {
	Address     string        // "/run/clamav/clamd.ctl", or "host:3310"
	Sessions    int           // at a time; 0: 4. clamd's MaxThreads has to be above it
	ScanTimeout time.Duration // for a message, sending it included; 0: 2 minutes
	MaxSize     int64         // larger messages are unscannable; 0: clamd's StreamMaxLength decides
	MaxAge      time.Duration // older signatures do not count; 0: any do
	CacheSize   int           // verdicts remembered; 0: 100,000, below 0: none

	Dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: the network's
	Now  func() time.Time                                                     // nil: time.Now
}

// versionAge is how long the version of the signatures is believed.
const versionAge = 5 * time.Second

// idle is how long a session is kept for the next message. clamd closes it
// after IdleTimeout, 30 s when not set.
const idle = 20 * time.Second

// EngineName is clamd's in log lines.
const EngineName = "ClamAV"

// Clamd is a client of clamd. Safe for concurrent use.
type Clamd struct {
	o     ClamdOptions
	slots chan struct{}
	cache *cache

	mu      sync.Mutex
	kept    []*session
	closed  bool
	version Version
	asked   time.Time
}

// NewClamd makes a client. It does not connect yet.
func NewClamd(o ClamdOptions) *Clamd {
	if o.Sessions <= 0 {
		o.Sessions = 4
	}
	if o.ScanTimeout <= 0 {
		o.ScanTimeout = 2 * time.Minute
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CacheSize == 0 {
		o.CacheSize = 100_000
	}
	return &Clamd{o: o, slots: make(chan struct{}, o.Sessions), cache: newCache(o.CacheSize)}
}

// Close ends the sessions that nobody uses; those in use end with their scan.
func (c *Clamd) Close() {
	c.mu.Lock()
	c.closed = true
	kept := c.kept
	c.kept = nil
	c.mu.Unlock()
	for _, s := range kept {
		s.close()
	}
}

// Scan asks about one message or part. hash is the SHA-256 of the content, size
// its length; open gives it from its start, and may be called twice. An error
// is one of the content or of ctx; whatever the engine does is a Scan. Without a
// hash nothing is remembered, neither asked for nor kept.
func (c *Clamd) Scan(ctx context.Context, hash mail.Hash, size int64, open func() (io.ReadCloser, error)) (mail.Scan, error) {
	out := mail.Scan{Engine: EngineName}
	if c.o.MaxSize > 0 && size > c.o.MaxSize {
		out.Verdict, out.Name = mail.Unscannable, "larger than the scanner takes"
		return out, nil
	}
	version, err := c.Version(ctx)
	if err != nil {
		out.Name = "the scanner does not answer: " + reason(err)
		return out, ctx.Err()
	}
	if out.Database = version.Text; version.Old(c.o.MaxAge, c.o.Now()) {
		out.Name = "the signatures are of " + version.Date.UTC().Format(time.DateOnly)
		return out, nil
	}
	if known, ok := c.cache.get(hash, version.Text, c.o.Now()); ok { // never without a hash: none is put there
		return known, nil
	}
	text, err := c.send(ctx, open)
	if err != nil {
		var content errContent
		if errors.As(err, &content) {
			return mail.Scan{}, errs.Context(content.error, "reading what is to be scanned")
		}
		out.Name = "the scanner gave no answer: " + reason(err)
		return out, ctx.Err()
	}
	out.Verdict, out.Name = meaning(text)
	if out.Verdict != mail.Unscanned {
		c.cache.put(hash, out, c.o.Now().Add(version.remembered()))
	}
	return out, nil
}

// send has the content scanned, on a kept session if there is one. clamd may
// have closed that meanwhile: then once more on a new one.
func (c *Clamd) send(ctx context.Context, open func() (io.ReadCloser, error)) (string, error) {
	if err := ctx.Err(); err != nil { // a free slot and an end are a matter of luck below
		return "", err
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-c.slots }()
	ctx, cancel := context.WithTimeout(ctx, c.o.ScanTimeout)
	defer cancel()
	for {
		s, old, err := c.session(ctx)
		if err != nil {
			return "", err
		}
		text, err := c.use(ctx, s, open)
		var content errContent
		if err == nil || !old || errors.As(err, &content) || ctx.Err() != nil {
			return text, err
		}
	}
}

// use has the content scanned on one session, and keeps that when it is whole.
func (c *Clamd) use(ctx context.Context, s *session, open func() (io.ReadCloser, error)) (string, error) {
	r, err := open()
	if err != nil {
		c.keep(s)
		return "", errContent{err}
	}
	defer r.Close()
	deadline, _ := ctx.Deadline()
	_ = s.conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	text, err := s.scan(r)
	if !stop() || err != nil || strings.HasSuffix(text, " ERROR") {
		s.abort() // clamd ends the session behind an error
		return text, err
	}
	c.keep(s)
	return text, nil
}

// session gives a kept session, or a new one.
func (c *Clamd) session(ctx context.Context) (s *session, old bool, err error) {
	c.mu.Lock()
	var stale []*session
	for n := len(c.kept); n > 0 && s == nil; n = len(c.kept) {
		last := c.kept[n-1]
		c.kept = c.kept[:n-1]
		if c.o.Now().Sub(last.used) < idle && len(last.replies) == 0 {
			s = last
		} else {
			stale = append(stale, last)
		}
	}
	c.mu.Unlock()
	for _, x := range stale {
		x.abort()
	}
	if s != nil {
		return s, true, nil
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	return newSession(conn), false, nil
}

func (c *Clamd) keep(s *session) {
	s.used = c.o.Now()
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.kept = append(c.kept, s)
	}
	c.mu.Unlock()
	if closed {
		s.close()
	}
}

func (c *Clamd) dial(ctx context.Context) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(c.o.Address, "/") {
		network = "unix"
	}
	return c.o.Dial(ctx, network, c.o.Address)
}

// reason says what the network said, without addresses.
func reason(err error) string { return printable(errs.Network(err).Error()) }
