package pvo

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// Signatures says, by serial, which signatures the gateways scan with now. One
// that does not answer, or has no engine, is missing.
type Signatures func(ctx context.Context) map[string]string

// SignaturesEvery is the pause between two looks for new signatures.
const SignaturesEvery = 5 * time.Minute

// OutbreakSignature stands in signatures before the name and the serial of the
// outbreak rules in force.
const OutbreakSignature = "; outbreak rules "

// engine gives the part of signatures that is the antivirus engine's.
func engine(signatures string) string {
	before, _, _ := strings.Cut(signatures, OutbreakSignature)
	return before
}

// rescanChunk is how many messages are judged anew in one go, so that what was
// found clean leaves soon.
const rescanChunk = 100

// turnRescan is the turn of one of the managers that share a store.
const (
	turnRescan = "rescan"
	rescanFor  = 2 * SignaturesEvery
)

// WatchSignatures has what is held scanned again when its gateway has new
// signatures, in the quarantines that are set to release what is found clean,
// until ctx ends. kick makes it look at once.
func (q *Quarantines) WatchSignatures(ctx context.Context, ask Signatures, kick <-chan struct{}) {
	t := time.NewTimer(SignaturesEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-kick:
		}
		if err := q.CheckSignatures(ctx, ask); err != nil && ctx.Err() == nil {
			q.base.Log.Fault("re-scan", err.Error())
		}
		t.Reset(SignaturesEvery)
	}
}

// CheckSignatures looks once. Signatures count as those that all was scanned by
// when that is through: whatever ends it before, it begins anew.
func (q *Quarantines) CheckSignatures(ctx context.Context, ask Signatures) error {
	all, outbreak := q.cleaning()
	if len(all) == 0 {
		return nil
	}
	mine, err := q.Store.Turn(ctx, turnRescan, rescanFor)
	if err != nil || !mine {
		return err
	}
	now, before := ask(ctx), q.base.State.Signatures()
	for _, serial := range slices.Sorted(maps.Keys(now)) {
		if before[serial] == now[serial] {
			continue
		}
		names := all
		if engine(before[serial]) == engine(now[serial]) {
			names = outbreak // other rules say nothing new of the rest
		}
		whole, err := q.rescan(ctx, serial, names)
		if err != nil {
			return err
		}
		if whole {
			if err := q.base.State.SetSignatures(serial, now[serial]); err != nil {
				return err
			}
		}
	}
	return nil
}

// cleaning names the quarantines that are set to release what is found clean,
// and those of them that outbreak rules fill.
func (q *Quarantines) cleaning() (all, outbreak []string) {
	for _, c := range q.base.Config.Committed().Quarantines {
		if !c.Clean {
			continue
		}
		all = append(all, c.Name)
		if c.Name == quarantine.Outbreak {
			outbreak = append(outbreak, c.Name)
		}
	}
	return all, outbreak
}

// rescan has all that came from a gateway scanned again; false: it does not scan
// now. What could not be scanned for itself stays as it is.
func (q *Quarantines) rescan(ctx context.Context, serial string, names []string) (whole bool, err error) {
	var mids []mail.MID
	for _, name := range names {
		for m, err := range q.Search(ctx, mail.System(), quarantine.Query{Quarantine: name, Gateway: serial, States: []quarantine.State{quarantine.Held}}) {
			if err != nil {
				return false, err
			}
			mids = append(mids, m.MID)
		}
	}
	slices.Sort(mids)
	mids = slices.Compact(mids)
	for chunk := range slices.Chunk(mids, rescanChunk) {
		out, err := q.Rescan(ctx, mail.System(), chunk, "")
		if err != nil {
			return false, err
		}
		if len(out.Found) == 0 && !slices.ContainsFunc(out.Missed, func(m quarantine.Missed) bool { return m.Final }) {
			return false, nil // it is away: all of it later
		}
		if ok, err := q.Store.Turn(ctx, turnRescan, rescanFor); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}
