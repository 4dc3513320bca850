package certs

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
)

// How a renewal goes on by itself.
const (
	Overlap  = 7 * 24 * time.Hour // the old certificate stays valid for so long after the change
	Patience = 24 * time.Hour     // how long the change waits for a peer that is away
)

// ownName is the file that says which of the key files count. It is replaced
// whole, so that a crash leaves either the step before or the step after.
const ownName = "cpq.json"

// Own are the CPQ certificates of this appliance: the one in use and, during a
// renewal, its successor or its predecessor. A renewal has three steps, each
// one durable write:
//
//	begin    a new key pair is made; peers are told its pin beside the old one
//	change   every peer that can be reached trusts it: it is shown from now on
//	retire   the old one is removed; peers are told the new pin alone
//
// Between begin and retire a peer that was away is shown the certificate that
// it trusts, so there is no instant at which a link is broken. Safe for
// concurrent use.
type Own struct {
	dir, serial string
	clock       func() time.Time

	mu    sync.Mutex
	state ownState
	pairs map[int]Pair
}

type ownState struct {
	Version int                 `json:"version"`
	Last    int                 `json:"last"` // number of the newest pair ever made
	Current int                 `json:"current"`
	Next    int                 `json:"next,omitempty"`
	Old     int                 `json:"old,omitempty"`
	Since   time.Time           `json:"since"`             // of the last step
	Trusted map[string][]string `json:"trusted,omitempty"` // by serial: our pins that the peer says it trusts
	Steps   uint64              `json:"steps"`             // how many steps there were ever
	Heard   map[string]uint64   `json:"heard,omitempty"`   // by serial: the peer's own count, of its last statement
}

func (s ownState) clone() ownState {
	s.Trusted, s.Heard = maps.Clone(s.Trusted), maps.Clone(s.Heard)
	if s.Trusted == nil {
		s.Trusted = map[string][]string{}
	}
	if s.Heard == nil {
		s.Heard = map[string]uint64{}
	}
	return s
}

// step gives a copy in which one more step was taken.
func (s ownState) step(now time.Time) ownState {
	next := s.clone()
	next.Steps++
	next.Since = now
	return next
}

// OpenOwn reads the certificates in dir of the appliance with that serial.
func OpenOwn(dir, serial string, clock func() time.Time) (*Own, error) {
	o := &Own{dir: dir, serial: serial, clock: clock, pairs: map[int]Pair{}, state: ownState{Version: 1, Last: 1, Current: 1}}
	b, err := os.ReadFile(filepath.Join(dir, ownName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Wrap(errs.Internal, err, "reading %s", ownName)
	}
	if err == nil {
		if err := json.Unmarshal(b, &o.state); err != nil {
			return nil, errs.Wrap(errs.Damaged, err, "%s is damaged", filepath.Join(dir, ownName))
		}
	}
	if o.state.Version != 1 {
		return nil, errs.New(errs.Invalid, "%s has version %d, made by a newer program", ownName, o.state.Version)
	}
	for _, n := range o.state.numbers() {
		crt, key := o.files(n)
		if o.pairs[n], err = Load(crt, key); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// numbers gives the pairs that count, the one in use first.
func (s ownState) numbers() (all []int) {
	for _, n := range []int{s.Current, s.Next, s.Old} {
		if n != 0 {
			all = append(all, n)
		}
	}
	return all
}

// files gives the names of pair n; the first has those that init gives.
func (o *Own) files(n int) (crt, key string) {
	base := "cpq"
	if n > 1 {
		base += "-" + strconv.Itoa(n)
	}
	return filepath.Join(o.dir, base+".crt"), filepath.Join(o.dir, base+".key")
}

// set makes next durable and then real; the caller holds mu.
func (o *Own) set(next ownState) error {
	b, err := json.Marshal(next)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "writing %s", ownName)
	}
	path := filepath.Join(o.dir, ownName)
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.Wrap(errs.Internal, err, "writing %s", ownName)
	}
	if err := writeNew(tmp, b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errs.Wrap(errs.Internal, err, "writing %s", ownName)
	}
	o.state = next
	return errs.Wrap(errs.Internal, syncDir(o.dir), "writing %s", ownName)
}

// Sweep removes key files that a crash left behind: pairs that do not count.
func (o *Own) Sweep() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []error
	for _, pattern := range []string{"cpq*.crt", "cpq*.key"} {
		names, err := filepath.Glob(filepath.Join(o.dir, pattern))
		all = append(all, err)
		for _, name := range names {
			if n, ok := numberOf(filepath.Base(name)); ok && !slices.Contains(o.state.numbers(), n) {
				all = append(all, os.Remove(name))
			}
		}
	}
	return errs.Wrap(errs.Internal, errors.Join(all...), "removing keys of old")
}

// numberOf is the way back from files.
func numberOf(name string) (int, bool) {
	base := strings.TrimSuffix(name, filepath.Ext(name))
	if base == "cpq" {
		return 1, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(base, "cpq-"))
	return n, err == nil && n > 1
}

// Pins are those that peers are to trust: that of the certificate in use, and
// of the one before or after it.
func (o *Own) Pins() []Pin {
	o.mu.Lock()
	defer o.mu.Unlock()
	var pins []Pin
	for _, n := range o.state.numbers() {
		pins = append(pins, o.pairs[n].Pin())
	}
	return pins
}

// Current is the pair in use.
func (o *Own) Current() Pair {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pairs[o.state.Current]
}

// Pairs gives all that count, the one in use first.
func (o *Own) Pairs() []Pair {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []Pair
	for _, n := range o.state.numbers() {
		all = append(all, o.pairs[n])
	}
	return all
}

// Pick gives the pair to show to somebody who trusts what trusts says: the one
// in use, or else another that is trusted and in its dates. One in use that has
// run out gives way to its successor. nil is: nothing is known.
func (o *Own) Pick(trusts func(Pin) bool) tls.Certificate {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock()
	for _, n := range o.state.numbers() {
		p := o.pairs[n]
		if (trusts == nil || trusts(p.Pin())) && InTime(p.Leaf, now) == nil {
			return p.TLS
		}
	}
	return o.pairs[o.state.Current].TLS
}

// TrustedBy says whether the peer with that serial is known to trust a pin of ours.
func (o *Own) TrustedBy(serial string) func(Pin) bool {
	o.mu.Lock()
	known, told := o.state.Trusted[serial]
	first := o.pairs[o.state.Current].Pin()
	if o.state.Old != 0 {
		first = o.pairs[o.state.Old].Pin()
	}
	o.mu.Unlock()
	return func(p Pin) bool {
		if !told {
			return p == first // paired before it was asked: it has the pin of that time
		}
		return slices.Contains(known, p.String())
	}
}

// Steps counts the steps of all renewals; it goes into what peers are told.
func (o *Own) Steps() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.Steps
}

// Hear keeps what a peer says it trusts, durably. steps is the peer's count: a
// statement older than one that was heard is refused, or who recorded it could
// bring back a certificate that was retired (register D4).
func (o *Own) Hear(serial string, pins []string, steps uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	heard := o.state.Heard[serial]
	if steps < heard {
		return errs.New(errs.Denied, "the statement is an old one: number %d, %d was heard", steps, heard)
	}
	if steps == heard && slices.Equal(o.state.Trusted[serial], pins) {
		return nil
	}
	next := o.state.clone()
	next.Trusted[serial], next.Heard[serial] = slices.Clone(pins), steps
	return o.set(next)
}

// Paired begins anew with a peer: it trusts pins, and nothing was heard of it.
func (o *Own) Paired(serial string, pins []string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := o.state.clone()
	next.Trusted[serial], next.Heard[serial] = slices.Clone(pins), 0
	return o.set(next)
}

// Begin makes the successor of the certificate in use. There is only one
// renewal at a time: a third pin would be needed otherwise.
func (o *Own) Begin() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state.Next != 0 || o.state.Old != 0 {
		return errs.New(errs.Conflict, "the CPQ certificate is being renewed already; cpqconfig shows how far it is")
	}
	next := o.state.step(o.clock())
	next.Last++
	next.Next = next.Last
	crt, key, err := NewCPQ(o.serial, o.clock())
	if err != nil {
		return err
	}
	crtFile, keyFile := o.files(next.Next)
	for _, name := range []string{crtFile, keyFile} { // of a begin that a crash ended
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errs.Wrap(errs.Internal, err, "making a key")
		}
	}
	if err := Save(crtFile, keyFile, crt, key); err != nil {
		return err
	}
	p, err := Parse(crt, key)
	if err != nil {
		return err
	}
	o.pairs[next.Next] = p
	return o.set(next)
}

// Step says what Advance did.
type Step uint8

// The steps.
const (
	NoStep Step = iota
	Began
	Changed
	Retired
)

// Due reports whether two thirds of the life of the certificate in use are
// over, which is when it is renewed without being asked.
func (o *Own) Due() bool {
	c := o.Current().Leaf
	return o.clock().After(c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2))
}

// Advance takes the next step of a renewal when it is time: peers are the
// serials of all that we are paired with. now means without waiting for the
// overlap to pass; nothing makes it forget a peer that would lose its link.
func (o *Own) Advance(peers []string, now bool) (Step, error) {
	if o.Due() && o.idle() {
		if err := o.Begin(); !errs.Is(err, errs.Conflict) { // another was faster
			return Began, err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	waited := o.clock().Sub(o.state.Since)
	switch {
	case o.state.Next != 0:
		ready, away := o.count(o.state.Next, peers)
		over := InTime(o.pairs[o.state.Current].Leaf, o.clock()) != nil // then it is of no use to those who are away
		if away > 0 && (ready == 0 || waited < Patience && !over) {
			return NoStep, nil
		}
		next := o.state.step(o.clock())
		next.Old, next.Current, next.Next = next.Current, next.Next, 0
		return Changed, o.set(next)
	case o.state.Old != 0:
		_, away := o.count(o.state.Current, peers)
		if away > 0 || !now && waited < Overlap {
			return NoStep, nil
		}
		return Retired, o.retire(peers)
	}
	return NoStep, nil
}

func (o *Own) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.Next == 0 && o.state.Old == 0
}

// count gives how many peers trust pair n, and how many do not yet.
func (o *Own) count(n int, peers []string) (ready, away int) {
	pin := o.pairs[n].Pin().String()
	for _, p := range peers {
		if slices.Contains(o.state.Trusted[p], pin) {
			ready++
		} else {
			away++
		}
	}
	return ready, away
}

// retire removes the old pair and forgets peers that are none any more.
func (o *Own) retire(peers []string) error {
	gone := o.state.Old
	next := o.state.step(o.clock())
	next.Old = 0
	maps.DeleteFunc(next.Trusted, func(serial string, _ []string) bool { return !slices.Contains(peers, serial) })
	if err := o.set(next); err != nil {
		return err
	}
	delete(o.pairs, gone)
	crt, key := o.files(gone)
	return errs.Wrap(errs.Internal, errors.Join(os.Remove(crt), os.Remove(key), syncDir(o.dir)), "removing the old key")
}

// Progress is how far a renewal is.
type Progress struct {
	Current   Pair
	Next, Old *Pair     // nil: none
	Since     time.Time // of the last step
	Waiting   []string  // serials of peers that do not trust the newest yet
}

// Progress tells how far a renewal is.
func (o *Own) Progress(peers []string) Progress {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := Progress{Current: o.pairs[o.state.Current], Since: o.state.Since}
	newest := o.state.Current
	if n := o.state.Next; n != 0 {
		pair := o.pairs[n]
		p.Next, newest = &pair, n
	}
	if n := o.state.Old; n != 0 {
		pair := o.pairs[n]
		p.Old = &pair
	}
	for _, serial := range peers {
		if _, away := o.count(newest, []string{serial}); away > 0 && newest != 1 {
			p.Waiting = append(p.Waiting, serial)
		}
	}
	return p
}
