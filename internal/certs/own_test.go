package certs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
)

// clock is a hand-set one.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newOwn(t *testing.T, c *clock) (*Own, string) {
	t.Helper()
	dir := t.TempDir()
	crt, key, err := NewCPQ("GATEWAY01", c.at)
	if err == nil {
		err = Save(filepath.Join(dir, "cpq.crt"), filepath.Join(dir, "cpq.key"), crt, key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return openOwn(t, dir, c), dir
}

func openOwn(t *testing.T, dir string, c *clock) *Own {
	t.Helper()
	o, err := OpenOwn(dir, "GATEWAY01", c.now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func texts(pins []Pin) (all []string) {
	for _, p := range pins {
		all = append(all, p.String())
	}
	return all
}

func (o *Own) advance(t *testing.T, want Step, now bool, peers ...string) {
	t.Helper()
	got, err := o.Advance(peers, now)
	if err != nil || got != want {
		t.Fatalf("step %d, %v; want %d", got, err, want)
	}
}

// A renewal from begin to retire: the change waits for every peer, a peer that
// is away is shown what it trusts, and nothing is forgotten over a restart.
func TestRenewal(t *testing.T) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	o, dir := newOwn(t, c)
	first := o.Current().Pin()
	o.advance(t, NoStep, true, "A", "B")
	if err := o.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := o.Begin(); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second renewal: %v", err)
	}
	pins := o.Pins()
	if len(pins) != 2 || pins[0] != first {
		t.Fatalf("pins %v", pins)
	}
	second := pins[1]
	told := func(peer string) {
		if err := o.Hear(peer, texts(o.Pins()), 0); err != nil {
			t.Fatal(err)
		}
		o = openOwn(t, dir, c) // each step is durable
	}
	told("A")
	o.advance(t, NoStep, true, "A", "B")
	if p := o.Progress([]string{"A", "B"}); p.Next == nil || !slices.Equal(p.Waiting, []string{"B"}) {
		t.Errorf("progress %+v", p)
	}
	c.at = c.at.Add(Patience)
	o.advance(t, Changed, false, "A", "B")
	o = openOwn(t, dir, c)
	if o.Current().Pin() != second {
		t.Fatal("not changed")
	}
	shown := func(peer string, want Pin) {
		t.Helper()
		if got := pinOfTLS(t, o.Pick(o.TrustedBy(peer))); got != want {
			t.Errorf("%s is shown the wrong certificate", peer)
		}
	}
	shown("A", second)
	shown("B", first) // it was away
	c.at = c.at.Add(2 * Overlap)
	o.advance(t, NoStep, true, "A", "B") // B would lose its link
	told("B")
	shown("B", second)
	o.advance(t, Retired, false, "A", "B")
	o = openOwn(t, dir, c)
	if pins := o.Pins(); len(pins) != 1 || pins[0] != second {
		t.Errorf("pins %v", pins)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "cpq*.key")); len(names) != 1 || filepath.Base(names[0]) != "cpq-2.key" {
		t.Errorf("keys left: %v", names)
	}
	o.advance(t, NoStep, false, "A", "B")
}

func pinOfTLS(t *testing.T, c tls.Certificate) Pin {
	t.Helper()
	return PinOf(c.Leaf)
}

// Two thirds of a life are over: the renewal begins by itself. A certificate
// that ran out gives way to its successor wherever that is trusted.
func TestRenewalIsDue(t *testing.T) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	o, _ := newOwn(t, c)
	c.at = c.at.Add(Lifetime/3*2 - 48*time.Hour)
	o.advance(t, NoStep, false, "A")
	c.at = c.at.Add(72 * time.Hour)
	o.advance(t, Began, false, "A")
	o.advance(t, NoStep, false, "A")
	c.at = c.at.Add(Lifetime)
	next := o.Pins()[1]
	if pinOfTLS(t, o.Pick(o.TrustedBy("A"))) == next {
		t.Error("shown before it is trusted")
	}
	if err := o.Hear("A", texts(o.Pins()), 0); err != nil {
		t.Fatal(err)
	}
	c.at = c.at.Add(-Lifetime / 2) // the successor is valid, the first is not
	if pinOfTLS(t, o.Pick(o.TrustedBy("A"))) != next {
		t.Error("an expired certificate is shown")
	}
}

// What a crash may leave between the steps: keys without their record, a record
// half written, keys that were to be removed. The certificate in use is there,
// a new begin works, and nothing is left for ever.
func TestRenewalCrash(t *testing.T) {
	c := &clock{time.Now()}
	write := func(dir, name string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, left := range map[string][]string{
		"key":            {"cpq-2.key"},
		"both":           {"cpq-2.key", "cpq-2.crt"},
		"record":         {"cpq-2.key", "cpq-2.crt", "cpq.json.new"},
		"not yet remove": {"cpq-7.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			o, dir := newOwn(t, c)
			first := o.Current().Pin()
			for _, f := range left {
				write(dir, f)
			}
			if o = openOwn(t, dir, c); o.Current().Pin() != first || len(o.Pins()) != 1 {
				t.Fatal("another certificate is in use")
			}
			if err := o.Begin(); err != nil {
				t.Fatal(err)
			}
			o = openOwn(t, dir, c)
			if pins := o.Pins(); len(pins) != 2 || pins[0] != first {
				t.Fatalf("%v", pins)
			}
			if err := o.Sweep(); err != nil {
				t.Fatal(err)
			}
			if names, _ := filepath.Glob(filepath.Join(dir, "cpq*.??[ty]")); len(names) != 4 {
				t.Errorf("left: %v", names)
			}
		})
	}
	o, dir := newOwn(t, c)
	_ = o
	write(dir, ownName)
	if _, err := OpenOwn(dir, "GATEWAY01", c.now); !errs.Is(err, errs.Damaged) {
		t.Errorf("a damaged record: %v", err)
	}
}

// A server shows what the client's hint says it trusts.
func TestHint(t *testing.T) {
	now := time.Now()
	old, next, gw := pair(t, "MANAGER01", now), pair(t, "MANAGER01", now), pair(t, "GATEWAY01", now)
	server := Check{Peers: func() []Peer { return []Peer{{ID: "G", Pins: []Pin{gw.Pin()}}} }, Own: func(trusts func(Pin) bool) (tls.Certificate, error) {
		if trusts != nil && trusts(old.Pin()) && !trusts(next.Pin()) {
			return old.TLS, nil
		}
		return next.TLS, nil
	}}
	for name, pins := range map[string][]Pin{"old": {old.Pin()}, "next": {next.Pin()}, "both": {old.Pin(), next.Pin()}} {
		client := check(gw, Peer{ID: "M", Pins: pins})
		if s, c := shake(server.Server(), client.Client()); s != nil || c != nil {
			t.Errorf("%s: %v, %v", name, s, c)
		}
	}
	for _, name := range []string{"", "mx.example.com", "x.cpq.invalid", ".cpq.invalid", string(make([]byte, 300)) + hintEnd} {
		if h := hinted(name); h != nil && h(old.Pin()) {
			t.Errorf("%q is a hint", name)
		}
	}
}

// A connection that was begun when a certificate still counted ends well when it
// is retired meanwhile; the next one does not take it any more (register D2).
func TestSEC_D2_RetiredMeanwhile(t *testing.T) {
	now := time.Now()
	old, next, gw := pair(t, "MANAGER01", now), pair(t, "MANAGER01", now), pair(t, "GATEWAY01", now)
	pins := []Pin{old.Pin()}
	client := Check{
		Own:   func(func(Pin) bool) (tls.Certificate, error) { return gw.TLS, nil },
		Peers: func() []Peer { return []Peer{{ID: "M", Pins: pins}} },
	}
	server := check(old, Peer{ID: "G", Pins: []Pin{gw.Pin()}}).Server()
	begun := client.Client()
	pins = []Pin{next.Pin()}
	if s, c := shake(server, begun); s != nil || c != nil {
		t.Errorf("begun before: %v, %v", s, c)
	}
	if _, c := shake(server, client.Client()); c == nil {
		t.Error("a retired certificate is taken")
	}
}

// What was signed is believed with a pinned key alone, and an old statement is
// not believed again (register D4).
func TestStatements(t *testing.T) {
	c := &clock{time.Now()}
	o, _ := newOwn(t, c)
	first := o.Pins()
	if err := o.Begin(); err != nil {
		t.Fatal(err)
	}
	sigs, err := o.Sign([]byte("x"))
	if err != nil || len(sigs) != 2 {
		t.Fatalf("%d signatures, %v", len(sigs), err)
	}
	other, _ := newOwn(t, c)
	forged, err := other.Sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		sigs []Signature
		pins []Pin
		ok   bool
	}{
		"by the old key":   {"x", sigs, first, true},
		"by the new key":   {"x", sigs, o.Pins()[1:], true},
		"other text":       {"y", sigs, first, false},
		"by a stranger":    {"x", forged, first, false},
		"a stranger's pin": {"x", []Signature{{Key: sigs[0].Key, Signature: forged[0].Signature}}, first, false},
		"nobody pinned":    {"x", sigs, nil, false},
		"not signed":       {"x", nil, first, false},
		"too many":         {"x", append(append(sigs, sigs...), sigs...), first, false},
	} {
		if err := VerifySigned([]byte(c.text), c.sigs, c.pins); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []struct {
		steps uint64
		ok    bool
	}{{3, true}, {3, true}, {2, false}, {4, true}} {
		if err := o.Hear("P", []string{"p"}, c.steps); (err == nil) != c.ok {
			t.Errorf("%d: %v", c.steps, err)
		}
	}
	if err := o.Paired("P", nil); err != nil {
		t.Fatal(err)
	}
	if err := o.Hear("P", []string{"p"}, 1); err != nil {
		t.Errorf("after a new pairing: %v", err)
	}
}

// A pinned key does not make up for what is wrong with its certificate, at
// either end; the cause has no word of the peer's in it (register D1).
func TestSEC_D1_PinnedAndNoGood(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	gw := pair(t, "GATEWAY01", now)
	const secret = "words of the peer"
	parse := func(m made) Pair {
		p, err := Parse(m.cert, m.key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	named := func(edit func(*x509.Certificate)) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = secret, []string{secret}; edit(c) }
	}
	for cause, bad := range map[string]Pair{
		"has an RSA key of 1024 bits; at least 2048 are needed": parse(forge(t, small, named(func(*x509.Certificate) {}))),
		"is signed with SHA1-RSA, which can be forged":          parse(sha1Signed(t, strong)),
		"is not one for TLS ":                                   parse(forge(t, ec(t), named(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }))),
		"expired on ":                                           parse(forge(t, ec(t), named(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }))),
		"is not valid before ":                                  parse(forge(t, ec(t), named(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }))),
	} {
		pinned := Peer{ID: "P", Name: "peer", Pins: []Pin{bad.Pin()}}
		other := Peer{ID: "G", Name: "gw", Pins: []Pin{gw.Pin()}}
		serverErr, clientErr := shake(check(gw, pinned).Server(), check(bad, other).Client())
		if serverErr == nil || clientErr == nil || !strings.Contains(ClientCause(serverErr), "certificate of client: "+cause) || strings.Contains(ClientCause(serverErr), secret) {
			t.Errorf("%s: server %v, client %v", cause, serverErr, clientErr)
		}
		serverErr, clientErr = shake(check(bad, other).Server(), check(gw, pinned).Client())
		if serverErr == nil || clientErr == nil || !strings.Contains(Cause(clientErr), "certificate of server: "+cause) || strings.Contains(Cause(clientErr), secret) {
			t.Errorf("%s: client %v, server %v", cause, clientErr, serverErr)
		}
	}
	// One that offers another protocol, and one that proves nothing and offers it too.
	alpn := check(gw, Peer{Pins: []Pin{gw.Pin()}}).Client()
	alpn.NextProtos = []string{secret}
	stranger := check(pair(t, "STRANGER1", now), Peer{Pins: []Pin{gw.Pin()}}).Client()
	stranger.NextProtos = []string{secret}
	server := check(gw, Peer{Pins: []Pin{gw.Pin()}}).Server()
	if s, c := shake(server, alpn); s != nil || c != nil {
		t.Errorf("a protocol nobody asked for: %v %v", s, c)
	}
	if s, _ := shake(server, stranger); s == nil || strings.Contains(ClientCause(s), secret) {
		t.Errorf("a stranger with a protocol: %v", s)
	}
}
