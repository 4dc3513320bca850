package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// tri is whether something is there, as the outside world knows it.
type tri uint8

const (
	no    tri = iota // never was, was refused, or its removal is on stable storage
	maybe            // an operation on it is under way, or not synced yet
	yes              // promised
)

// is reports whether seeing it, or not, breaks a promise.
func (k tri) breaks(there bool) bool { return k == yes && !there || k == no && there }

// message is what is known of one number.
type message struct {
	live, aside tri
	body        []byte
	items       []*queue.Item // the forms that its record may have
	with        mail.MID      // comes and goes in one step with the absence of that one; 0: none
}

// facts are all that the outside world knows at a moment.
type facts struct {
	messages map[mail.MID]message
	actions  map[mail.ActionKey]taken
	sent     map[mail.Key]tri
	put      []string // values that a small state may have; "" is none
	last     mail.MID // the highest number given out
}

type taken struct {
	is  tri
	mid mail.MID
}

func newFacts() facts {
	return facts{messages: map[mail.MID]message{}, actions: map[mail.ActionKey]taken{}, sent: map[mail.Key]tri{}, put: []string{""}}
}

// clone gives facts that a life may go on beside; nothing inside is ever changed.
func (k *facts) clone() facts {
	return facts{messages: maps.Clone(k.messages), actions: maps.Clone(k.actions), sent: maps.Clone(k.sent), put: k.put, last: k.last}
}

func (k *facts) change(mid mail.MID, f func(*message)) {
	m := k.messages[mid]
	f(&m)
	k.messages[mid] = m
}

// verify holds an open spool against what is known, after its sweep, and gives
// its state in a form that can be compared.
func (k *facts) verify(s *Spool) (state string, err error) {
	live, err := k.verifyLive(s)
	if err != nil {
		return "", err
	}
	list, err := s.Aside()
	if err != nil {
		return "", err
	}
	aside := make(map[mail.MID]bool)
	for _, a := range list {
		aside[a.MID] = true
	}
	for mid, m := range k.messages {
		if m.live.breaks(live[mid] != nil) || m.aside.breaks(aside[mid]) {
			return "", fmt.Errorf("MID %d: known to be %d live and %d aside; is it live %v, aside %v", mid, m.live, m.aside, live[mid] != nil, aside[mid])
		}
		if m.live == yes && m.aside == yes || live[mid] != nil && aside[mid] {
			return "", fmt.Errorf("MID %d is live and aside", mid)
		}
		if m.with != 0 && m.live == maybe && (live[mid] != nil) == (live[m.with] != nil) {
			return "", fmt.Errorf("MID %d and its copy %d: half of a change", m.with, mid)
		}
	}
	if err := k.verifyLedger(s, live); err != nil {
		return "", err
	}
	if v, err := s.Get("x"); err != nil || !slices.Contains(k.put, string(v)) {
		return "", fmt.Errorf("the small state is %q, %v", v, err)
	}
	if err := k.verifyKeys(s, live, aside); err != nil {
		return "", err
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(live)), slices.Sorted(maps.Keys(aside))), nil
}

// verifyLive reads all that is in the queue: known, whole, with its envelope.
func (k *facts) verifyLive(s *Spool) (map[mail.MID]*queue.Item, error) {
	live := make(map[mail.MID]*queue.Item)
	err := s.Scan(context.Background(), func(it *queue.Item) error {
		m, known := k.messages[it.MID]
		if !known {
			return fmt.Errorf("MID %d is nobody's", it.MID)
		}
		live[it.MID] = it
		if !slices.ContainsFunc(m.items, func(want *queue.Item) bool { return reflect.DeepEqual(it, want) }) {
			return fmt.Errorf("MID %d: the record is %+v", it.MID, it)
		}
		r, err := s.Open(context.Background(), it.MID)
		if err != nil {
			return err
		}
		defer r.Close()
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, m.body) {
			return fmt.Errorf("MID %d: content of %d bytes is %d, %w", it.MID, len(m.body), len(b), err)
		}
		return nil
	})
	return live, err
}

func (k *facts) verifyLedger(s *Spool, live map[mail.MID]*queue.Item) error {
	for a, want := range k.actions {
		mid, there, err := s.Action(a)
		if err != nil || want.is.breaks(there) || there && mid != want.mid {
			return fmt.Errorf("action %s: %d %v %w", a, mid, there, err)
		}
		if want.is == maybe && there != (live[want.mid] != nil) && k.messages[want.mid].live == maybe {
			return fmt.Errorf("action %s: the ledger says %v and the message %v", a, there, live[want.mid] != nil)
		}
	}
	for key, want := range k.sent {
		if _, there, err := s.Sent(key); err != nil || want.breaks(there) {
			return fmt.Errorf("receipt of %s: %v, known %d, %w", key, there, want, err)
		}
	}
	return nil
}

// verifyKeys holds the accounts: no chunk without a record, no number again.
func (k *facts) verifyKeys(s *Spool, live map[mail.MID]*queue.Item, aside map[mail.MID]bool) error {
	chunks := 0
	for _, it := range live {
		chunks += s.chunksOf(it.Size)
	}
	for mid := range aside {
		chunks += s.chunksOf(int64(len(k.messages[mid].body)))
	}
	if n, err := count(s, keyContent); n != chunks || err != nil {
		return fmt.Errorf("%d chunks are there for %d in records: %w", n, chunks, err)
	}
	if mid := s.NextMID(); mid <= k.last {
		return fmt.Errorf("MID %d is given again, %d was the last", mid, k.last)
	}
	return nil
}

// recovered opens what a crash left, lets the cleaning pass end, and verifies;
// twice, and both times it is the same. No file is left over.
func (k *facts) recovered(o Options) error {
	first, before := "", map[string]bool(nil)
	for n := range 2 {
		s, err := Open(o)
		if err != nil {
			return fmt.Errorf("opening, time %d: %w", n+1, err)
		}
		s.wg.Wait() // the sweep
		state, err := k.verify(s)
		tables := liveTables(s)
		err = errors.Join(err, s.Close())
		if err == nil {
			before, err = leftOver(o, before, tables)
		}
		if err != nil {
			return fmt.Errorf("time %d: %w", n+1, err)
		}
		if n == 1 && state != first {
			return fmt.Errorf("recovery gives %s, then %s", first, state)
		}
		first = state
		k.last += 1 // verify took a number
	}
	return nil
}

func liveTables(s *Spool) map[string]bool {
	live := make(map[string]bool)
	levels, err := s.db.SSTables()
	if err != nil {
		return nil
	}
	for _, l := range levels {
		for _, t := range l {
			live[fmt.Sprintf("%06d.sst", uint64(t.FileNum))] = true
		}
	}
	return live
}

// leftOver complains about files that the closed engine does not need. One of
// each kind may be on its way out. before are the tables that were there before
// this life, live those that it knew when it had recovered.
func leftOver(o Options, before, live map[string]bool) (now map[string]bool, err error) {
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return nil, err
	}
	now = make(map[string]bool)
	n := make(map[string]int)
	for _, name := range names {
		switch ext := filepath.Ext(name); {
		case ext == ".sst":
			if now[name] = true; before[name] && !live[name] {
				n["dead table"]++
			}
		case ext == ".log":
			n["log"]++
		case strings.HasPrefix(name, "MANIFEST-"), strings.HasPrefix(name, "OPTIONS-"), strings.HasPrefix(name, "marker."):
			n[name[:6]]++
		case name == "LOCK", name == "departed-0", name == "departed-1":
		default:
			n[name] = 100
		}
	}
	sort.Strings(names)
	if n["dead table"] > 0 || n["log"] > 2 || n["MANIFE"] > 2 || n["OPTION"] > 2 || n["marker"] > 4 {
		return nil, errs.New(errs.Internal, "files are left over: %s %v", names, n)
	}
	for name, i := range n {
		if i >= 100 {
			return nil, errs.New(errs.Internal, "an unknown file is left over: %s", name)
		}
	}
	return now, nil
}

// count counts the keys of a kind.
func count(s *Spool, prefix byte) (n int, err error) {
	it, err := s.db.NewIter(only(prefix))
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, it.Close()
}
